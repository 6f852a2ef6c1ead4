"""Status: what is computed of its figures."""

from __future__ import annotations

from loopwright.core.status import Status


def test_a_feedback_rate_needs_a_decision() -> None:
    plain = Status(tenant_id="t", experiment_id="x", state="running", policy="TopTwo", arms=())
    assert plain.feedback_rate is None
    seen = Status(
        tenant_id="t",
        experiment_id="x",
        state="running",
        policy="TopTwo",
        arms=(),
        decisions=8,
        feedback=2,
    )
    assert seen.feedback_rate == 0.25
