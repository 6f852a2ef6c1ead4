from __future__ import annotations

from typing import Any

import pytest
from tests.unit.feedback.world import World

from loopwright.core.errors import Invalid
from loopwright.core.feedback import Note
from loopwright.feedback import TypedBatch, examples
from loopwright.feedback.members import Members
from loopwright.feedback.times import iso_time, read_time, read_timestamp, time_as_sent

AT_MS = 1_795_167_000_000


@pytest.mark.parametrize(
    "sent",
    [AT_MS, iso_time(AT_MS), "2026-11-20T10:30:00+01:00", "2026-11-20T09:30:00Z"],
)
def test_a_time_is_understood_and_comes_back_as_it_was_sent(sent: Any) -> None:
    at_ms, wire, flags = read_time(sent, "timestamp")
    assert (at_ms, flags) == (AT_MS, ())
    assert time_as_sent(Note(occurred_at_ms=at_ms, wire=wire)) == sent


def test_a_time_without_a_zone_is_utc_and_flagged() -> None:
    assert read_time("2026-11-20T09:30:00", "t")[::2] == (AT_MS, ("timestamp_without_zone",))


@pytest.mark.parametrize("wrong", ["soon", -1, 10**18, True, None, 1.5, "1969-12-31T23:59:59Z"])
def test_what_is_no_time_is_refused_by_name(wrong: Any) -> None:
    with pytest.raises(Invalid, match=r"^taken_at is "):
        read_time(wrong, "taken_at")


def test_without_a_timestamp_the_time_of_arrival_counts_and_none_comes_back() -> None:
    at_ms, wire, flags, is_dated = read_timestamp(Members({}), 7)
    assert (at_ms, flags, is_dated) == (7, (), False)
    assert time_as_sent(Note(occurred_at_ms=7, wire=wire)) is None


@pytest.mark.parametrize("seconds", [0, 1_795_167_000, 99_999_999_999])
def test_an_integer_that_is_probably_in_seconds_is_flagged(seconds: int) -> None:
    assert read_time(seconds, "t") == (seconds, {"at": seconds}, ("timestamp_in_seconds",))
    assert read_time(100_000_000_000, "t")[2] == ()


SECONDS = 1_795_167_000
DATED = [
    ("feedback", {"kind": "signal", "name": "copy", "output_id": "o", "occurred_at": SECONDS}),
    ("feedback", {"type": "query", "output_id": "o", "timestamp": SECONDS}),
    ("feedback", {"output_id": "o", "thumbs": "up", "timestamp": SECONDS}),
    ("correction", {"original": "a", "corrected": "b", "output_id": "o", "timestamp": SECONDS}),
    ("rating", {**examples.RATING, "timestamp": SECONDS}),
    (
        "signals",
        {"type": "signal", "kind": "copy", "value": 1, "session_id": "s", "at_ms": SECONDS},
    ),
    ("interaction", {"id": "c", "started_at": SECONDS}),
    ("step", {"session_id": "s", "kind": "sql", "taken_at": SECONDS}),
]


@pytest.mark.parametrize(("path", "item"), DATED)
def test_seconds_are_flagged_in_the_answer_for_every_shape(
    path: str, item: Any, world: World
) -> None:
    results = world.settle(world.take(item, path=path))
    assert isinstance(results.content, TypedBatch)
    assert "timestamp_in_seconds" in results.content.results[0].flags
