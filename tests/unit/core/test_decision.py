from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loopwright.core.decision import Decision

MADE = Decision("d1", "acme", "greeting", "a", 0.25, 7, 1_000)


@pytest.mark.parametrize(
    ("metadata", "session_id"),
    [
        (None, None),
        ({}, None),
        ({"session_id": "s1", "other": 2}, "s1"),
        ({"session_id": ""}, None),
        ({"session_id": 17}, None),
    ],
)
def test_the_session_is_a_text_in_the_metadata_or_nothing(
    metadata: dict[str, Any] | None, session_id: str | None
) -> None:
    assert msgspec.structs.replace(MADE, metadata=metadata).session_id == session_id


def test_a_decision_from_before_the_later_fields_stays_readable() -> None:
    written = msgspec.msgpack.encode(["d1", "acme", "greeting", "a", 0.25, 7, 1_000])
    assert msgspec.msgpack.decode(written, type=Decision) == MADE
    assert (MADE.mode, MADE.rule) == ("live", None)


def test_fields_are_added_at_the_end_only() -> None:
    first = ("id", "tenant_id", "experiment_id", "arm_id", "propensity", "snapshot")
    then = ("decided_at_ms", "mode", "unit_id", "context_id", "vector", "metadata", "rule")
    assert Decision.__struct_fields__[:13] == first + then
