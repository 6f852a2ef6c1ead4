from __future__ import annotations

from typing import Any

import pytest

from loopwright.core.errors import Invalid
from loopwright.core.feedback import Note
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
