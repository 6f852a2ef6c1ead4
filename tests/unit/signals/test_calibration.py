from __future__ import annotations

from typing import Any

import pytest

from loopwright.core.clock import DAY_MS
from loopwright.core.errors import Invalid
from loopwright.signals.calibration import MOST_DAYS, answers, window_ms
from loopwright.signals.surrogate import Row

START = 1_750_000_000_000


def fact(**members: Any) -> dict[str, Any]:
    blank = dict.fromkeys(
        ("decision_id", "trace_id", "span_id", "session_id", "message_id", "output_id", "flags")
    )
    return {
        **blank,
        "kind": "signal",
        "metric": "copy",
        "value": 1.0,
        "occurred_at_ms": START,
        "quarantined": None,
        **members,
    }


def test_facts_that_share_a_reference_are_about_one_answer() -> None:
    ours = f"{START - 5_000:012x}7" + "0" * 19
    rows = answers(
        [
            fact(output_id="o1"),
            fact(decision_id=ours, metric="dwell", value=300_000.0),
            fact(
                decision_id=ours,
                output_id="o1",
                metric="dwell_scaled",
                value=0.5,
                flags='["derived"]',
            ),
            fact(output_id="o1", kind="outcome", metric="resolved", value=0.0),
            fact(output_id="o1", kind="outcome", metric="resolved", value=1.0),
            fact(output_id="o2", metric="first_action", value=300_000.0),
            fact(output_id="o3", quarantined="shape"),
            fact(trace_id="t"),
            fact(output_id="o4", kind="rating", metric="rating"),
        ],
        metric="resolved",
    )
    assert rows == [
        Row(START - 5_000, {"copy": 1.0, "dwell_scaled": 0.5}, 1.0),
        Row(START, {"first_action_scaled": 1.0}, None),
    ]


@pytest.mark.parametrize("days", [0, -1, MOST_DAYS + 1, float("nan")])
def test_a_window_of_no_time_or_of_ages_is_refused(days: float) -> None:
    with pytest.raises(Invalid, match="above 0 and up to 3650"):
        window_ms(days)


def test_a_window_is_at_least_one_millisecond() -> None:
    assert [window_ms(1), window_ms(1e-12)] == [DAY_MS, 1]
