from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loopwright.learning import Status


def status(**figures: Any) -> Status:
    return Status(
        tenant_id="acme",
        experiment_id="greeting",
        state="running",
        policy="BetaThompson",
        arms=(),
        **figures,
    )


@pytest.mark.parametrize(
    ("decisions", "feedback", "rate"), [(0, 0, None), (8, 0, 0.0), (8, 2, 0.25), (8, 8, 1.0)]
)
def test_the_rate_of_feedback_is_none_before_the_first_decision(
    decisions: int, feedback: int, rate: float | None
) -> None:
    assert status(decisions=decisions, feedback=feedback).feedback_rate == rate


def test_feedback_on_decisions_that_were_shed_may_exceed_what_was_logged() -> None:
    assert status(decisions=2, feedback=3, shed=5).feedback_rate == 1.5


def test_a_status_of_an_earlier_version_reads_with_the_later_figures_at_zero() -> None:
    body = {"tenant_id": "a", "experiment_id": "b", "state": "draft", "policy": "p", "arms": []}
    found = msgspec.convert(body, Status)
    assert (found.expected, found.skipped, found.earlier) == (0, {}, None)
