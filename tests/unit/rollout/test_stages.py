from __future__ import annotations

import msgspec
import pytest

from loopwright.core.amendment import ArmChange
from loopwright.core.errors import Conflict
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.gate import Finding, GateOutcome, Verdict
from loopwright.core.rollout import NewRollout, Rollout
from loopwright.core.targeting import Targeting
from loopwright.rollout.stages import (
    Order,
    amendment,
    begun,
    drifted,
    dropped,
    judged,
    next_step,
    ordered,
)

EXPERIMENT = Experiment(
    id="e",
    tenant_id="t",
    state="running",
    arms=(Arm(id="old", max_share=0.9), Arm(id="new", state="disabled"), Arm(id="third")),
    targeting=Targeting(sticky=True, default_arm="old"),
)


def verdict(outcome: GateOutcome, *, harmful: bool = False) -> Verdict:
    found = Finding(criterion="primary/reward", outcome=outcome, sentence=f"it {outcome}s")
    return Verdict(outcome=outcome, findings=(found,), is_harmful=harmful, more_units=70)


def rollout() -> Rollout:
    new = NewRollout(id="r", experiment_id="e", champion="old", challenger="new")
    return begun(new, EXPERIMENT, now_ms=1, actor="key")


def changes(of: Rollout) -> dict[str, ArmChange]:
    found = amendment(of, EXPERIMENT).arms
    assert isinstance(found, dict)
    return found


def full() -> Rollout:
    return judged(judged(rollout(), verdict("pass"), now_ms=2), verdict("pass"), now_ms=3)


def test_a_pass_goes_on_and_a_wait_stays() -> None:
    begun_one = rollout()
    assert judged(begun_one, verdict("wait"), now_ms=2) is begun_one
    second = judged(begun_one, verdict("pass"), now_ms=2)
    assert (second.stage, second.entered_at_ms, second.is_applied) == (1, 2, False)
    assert second.revision == begun_one.revision + 1
    assert (full().state, full().stage) == ("promoted", 2)


def test_a_failed_gate_rejects_and_harm_rolls_back() -> None:
    assert judged(rollout(), verdict("fail"), now_ms=2).state == "rejected"
    back = judged(rollout(), verdict("fail", harmful=True), now_ms=2)
    assert (back.state, back.moves[-1].reasons) == ("rolled_back", ("it fails",))


def test_a_held_rollout_is_not_moved_by_its_gate() -> None:
    held = ordered(rollout(), "hold", now_ms=2, actor="key")
    assert judged(held, verdict("pass"), now_ms=3) is held


def test_the_shares_of_each_place() -> None:
    assert changes(rollout())["new"].min_share == changes(rollout())["new"].max_share == 0.05
    promoted = changes(full())
    assert (promoted["new"].state, promoted["old"].state) == ("enabled", "disabled")
    assert "third" not in promoted
    back = changes(dropped(full(), "it fell", now_ms=4))
    assert (back["old"].state, back["old"].max_share) == ("enabled", 0.9)
    assert back["new"].state == "disabled"


def test_the_default_arm_of_the_gate_goes_along() -> None:
    promoted = amendment(full(), EXPERIMENT).targeting
    assert isinstance(promoted, Targeting)
    assert promoted.default_arm == "new"
    after = msgspec.structs.replace(EXPERIMENT, targeting=promoted)
    restored = amendment(dropped(full(), "it fell", now_ms=4), after).targeting
    assert isinstance(restored, Targeting)
    assert restored.default_arm == "old"


def test_other_shares_than_the_stages_are_noticed() -> None:
    arms = (EXPERIMENT.arms[0], Arm(id="new", min_share=0.05, max_share=0.05), EXPERIMENT.arms[2])
    as_is = msgspec.structs.replace(EXPERIMENT, arms=(Arm(id="old"), *arms[1:]))
    assert drifted(rollout(), as_is) is None
    assert "somebody changed it" in (drifted(rollout(), EXPERIMENT) or "")
    ended = msgspec.structs.replace(as_is, state="ended")
    assert drifted(rollout(), ended) == "experiment 'e' is ended"


@pytest.mark.parametrize("order", ["hold", "resume", "approve", "cancel"])
def test_what_is_over_takes_no_order(order: Order) -> None:
    with pytest.raises(Conflict, match="begin another one"):
        ordered(full(), order, now_ms=5, actor="key")


def test_orders_that_do_not_fit_are_refused() -> None:
    held = ordered(rollout(), "hold", now_ms=2, actor="key")
    with pytest.raises(Conflict, match="held already"):
        ordered(held, "hold", now_ms=3, actor="key")
    with pytest.raises(Conflict, match="only a held one"):
        ordered(rollout(), "resume", now_ms=3, actor="key")
    with pytest.raises(Conflict, match="not judged"):
        ordered(held, "approve", now_ms=3, actor="key")
    with pytest.raises(Conflict, match="it waits"):
        ordered(held, "approve", now_ms=3, actor="key", verdict=verdict("wait"))
    assert ordered(held, "approve", now_ms=3, actor="key", verdict=verdict("pass")).stage == 1


def test_the_next_step_is_told_in_every_state() -> None:
    assert "70 more units" in next_step(rollout(), verdict("wait"))
    assert "goes on to ab at the next look" in next_step(rollout(), verdict("pass"))
    assert "taken back at the next look" in next_step(rollout(), verdict("fail"))
    assert "waits for a person" in next_step(ordered(rollout(), "hold", now_ms=2, actor="k"), None)
    assert "takes it back by itself" in next_step(full(), None)
    assert "over" in next_step(dropped(full(), "it fell", now_ms=4), None)


def test_an_experiment_that_does_not_run_takes_no_rollout() -> None:
    draft = msgspec.structs.replace(EXPERIMENT, state="draft")
    new = NewRollout(id="r", experiment_id="e", champion="old", challenger="new")
    with pytest.raises(Conflict, match="start or resume"):
        begun(new, draft, now_ms=1, actor="key")
