from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from tests.unit.rollout.conftest import BETTER, HARMLESS, QUICK, Stand

from loopwright.core.errors import Conflict, Invalid, LoopError, NotFound
from loopwright.core.gate import Gate, Safety
from loopwright.core.rollout import Rollout, Stage
from loopwright.rollout.gates import Evidence

FAIR = {"old": 0.3, "new": 0.7}
BAD = {"old": 0.7, "new": 0.2}


def test_a_better_arm_goes_through_its_stages_and_takes_the_champions_place(stand: Stand) -> None:
    stand.begin()
    assert stand.shares()["new"] == ("enabled", 0.2, 0.2)
    got = stand.serve(400, FAIR)
    assert 50 < got["new"] < 120
    assert stand.look() == "running 1"
    assert stand.shares()["new"] == ("enabled", 0.5, 0.5)
    stand.serve(400, FAIR)
    assert stand.look() == "promoted 2"
    assert stand.shares()["old"][0] == "disabled"
    assert stand.serve(20, FAIR) == {"new": 20}
    moves = stand.loop.rollouts.list().items[0].moves
    assert [(move.action, move.stage) for move in moves] == [
        ("begin", "canary"),
        ("advance", "ab"),
        ("promote", "full"),
    ]
    assert any("better" in reason for reason in moves[-1].reasons)


def test_every_move_is_a_fact_with_its_verdict(stand: Stand) -> None:
    stand.begin()
    stand.serve(400, FAIR)
    stand.look()
    facts = stand.audit("rollout/r")
    assert [fact.action for fact in facts] == ["begin", "advance"]
    verdict = facts[-1].detail["verdict"]
    assert verdict["outcome"] == "pass"
    assert {f["criterion"] for f in verdict["findings"]} >= {"guardrail/reward", "sample_ratio"}


def test_harm_is_taken_back_and_the_shares_are_as_before(stand: Stand) -> None:
    before = stand.shares()
    stand.begin()
    stand.serve(600, BAD)
    assert stand.look() == "rolled_back 0"
    assert stand.shares()["old"] == before["old"]
    assert stand.shares()["new"][0] == "disabled"
    (move,) = [m for m in stand.loop.rollouts.list().items[0].moves if m.action == "roll_back"]
    assert "worse by more than the margin of 0.2" in move.reasons[0]


def test_a_promotion_that_turns_bad_is_taken_back(stand: Stand) -> None:
    stand.begin()
    stand.serve(400, FAIR)
    stand.look()
    stand.serve(400, FAIR)
    assert stand.look() == "promoted 2"
    stand.serve(300, FAIR)
    assert stand.look() == "promoted 2"
    stand.serve(300, {"new": 0.1})
    assert stand.look() == "rolled_back 2"
    assert stand.shares()["old"][0] == "enabled"
    assert stand.serve(20, BAD) == {"old": 20}
    last = stand.loop.rollouts.list().items[0].moves[-1]
    assert "reward fell below" in last.reasons[0]


def test_what_was_taken_back_is_not_tried_again_at_once_unless_somebody_says_so(
    stand: Stand,
) -> None:
    stand.begin()
    stand.serve(600, BAD)
    stand.look()
    with pytest.raises(Conflict, match="less than a day ago"):
        stand.begin("again")
    stand.begin("again", again=True)
    assert stand.loop.rollouts.report("again").rollout.state == "running"


def test_a_kill_between_a_move_and_its_shares_is_mended_at_the_next_look(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.begin()
    stand.serve(600, BAD)
    stand.learn()
    stand.clock.advance(seconds=11)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stand.services.truth.catalog.experiments, "update", killed)
        with pytest.raises(KeyboardInterrupt):
            stand.rollouts.run()
    rollout = stand.loop.rollouts.list().items[0]
    assert (rollout.state, rollout.is_applied) == ("rolled_back", False)
    assert stand.shares()["new"][0] == "enabled"
    stand.loop.close()
    stand.open()
    assert stand.look() == "rolled_back 0"
    assert stand.shares()["new"][0] == "disabled"
    assert [fact.action for fact in stand.audit("rollout/r")] == ["begin", "roll_back"]


def test_a_rollout_goes_on_after_a_restart_in_every_stage(stand: Stand) -> None:
    stand.begin()
    for expected in ("running 1", "promoted 2"):
        stand.loop.close()
        stand.open()
        stand.serve(400, FAIR)
        stand.loop.close()
        stand.open()
        assert stand.look() == expected


def test_late_outcomes_are_waited_for(stand: Stand) -> None:
    stand.loop.experiments.create(
        "slow",
        arms=["old", {"id": "new"}],
        gate={"sticky": True},
        reward={"type": "binary", "window_s": 3600.0, "default": 0.0},
    )
    stand.begin("s", experiment_id="slow", stages=(Stage(name="ab", share=0.5, gate=BETTER),))
    stand.learn()
    tokens = [(n, stand.loop.agent.select("slow", unit_id=f"u{n}")) for n in range(300)]
    # The challenger's successes come at once, the champion's, which are as many, just before the window closes.
    soon = [s.request_id for n, s in tokens if s.arm.id == "new" and n % 2]
    late = [s.request_id for n, s in tokens if s.arm.id == "old" and n % 2]
    stand.loop.agent.feedback_batch([{"request_id": id, "reward": 1} for id in soon])
    assert stand.look() == "running 0"
    report = stand.loop.rollouts.report("s")
    assert report.verdict is not None
    assert report.verdict.outcome == "wait"
    stand.clock.advance(seconds=3000)
    stand.loop.agent.feedback_batch([{"request_id": id, "reward": 1} for id in late])
    stand.clock.advance(seconds=900)
    assert stand.look() == "running 0"
    report = stand.loop.rollouts.report("s")
    assert report.verdict is not None
    (found,) = [f for f in report.verdict.findings if f.criterion == "primary/reward"]
    assert found.figures["estimate"] == pytest.approx(0.0, abs=0.1)
    assert found.figures["units"] == 300


def test_a_unit_counts_once_however_often_it_comes(stand: Stand) -> None:
    stand.begin()
    stand.serve(100, FAIR)
    for _ in range(3):
        stand.serve(100, FAIR, same=True)
    stand.learn()
    seen = stand.rollouts.evidence(stand.loop.rollouts.list().items[0])
    assert seen.champion.units + seen.challenger.units + seen.mixed == 100
    assert seen.mixed == 0


def test_earlier_values_of_the_units_are_part_of_the_evidence(stand: Stand) -> None:
    stand.serve(200, {"old": 0.5, "new": 0.5})
    stand.begin(stages=(Stage(name="ab", share=0.5, gate=BETTER),))
    stand.serve(200, FAIR, same=True)
    stand.learn()
    seen = stand.rollouts.evidence(stand.loop.rollouts.list().items[0])
    both = seen.champion.metrics["reward"] + seen.challenger.metrics["reward"]
    assert both.n == 200
    assert 60 < both.x < 140
    assert both.xx == both.x


def test_a_scanners_finding_on_the_challenger_takes_it_back(stand: Stand) -> None:
    gate = Gate(primary=None, safety=(Safety(metric="leaks"),), least_units=20)
    stand.begin(stages=(Stage(name="canary", share=0.3, gate=gate),))
    stand.learn()
    token = ""
    while not token:
        selected = stand.loop.agent.select("greeting", unit_id=f"s{stand.rng.random()}")
        token = selected.request_id or "" if selected.arm.id == "new" else ""
    stand.loop.feedback.send(
        [
            {
                "kind": "measurement",
                "name": "leaks",
                "value": 1,
                "unit": "count",
                "request_id": token,
            }
        ]
    )
    assert stand.look() == "rolled_back 0"
    reasons = stand.loop.rollouts.list().items[0].moves[-1].reasons
    assert reasons == ("leaks: 1 found on the challenger, at most 0 allowed",)


def test_a_person_has_to_approve_where_the_stage_says_so(stand: Stand) -> None:
    held = Stage(name="ab", share=0.5, gate=BETTER, needs_approval=True)
    stand.begin(stages=(held,))
    with pytest.raises(Conflict, match="only a held one"):
        stand.loop.rollouts.approve("r")
    stand.serve(400, FAIR)
    assert stand.look() == "held 0"
    assert "waits for a person" in stand.loop.rollouts.report("r").next
    assert stand.loop.rollouts.approve("r", reason="looks fine").state == "promoted"
    assert stand.loop.rollouts.list().items[0].moves[-1].actor == "embedded"


def test_what_has_not_passed_cannot_be_approved(stand: Stand) -> None:
    stand.begin()
    stand.loop.rollouts.hold("r", reason="a holiday")
    with pytest.raises(Conflict, match="has not passed"):
        stand.loop.rollouts.approve("r")
    assert stand.loop.rollouts.resume("r").state == "running"


def test_shares_that_somebody_changed_hold_the_rollout(stand: Stand) -> None:
    stand.begin()
    stand.loop.experiments.change_arm("greeting", "new", min_share=0.0, max_share=0.5)
    assert stand.look() == "held 0"
    assert "somebody changed it" in stand.loop.rollouts.list().items[0].moves[-1].reasons[0]


def test_an_ended_experiment_holds_its_rollout(stand: Stand) -> None:
    stand.begin()
    stand.loop.experiments.end("greeting")
    assert stand.look() == "held 0"
    assert stand.loop.rollouts.cancel("r").state == "cancelled"


def test_a_rollback_by_hand_restores_what_was(stand: Stand) -> None:
    before = stand.shares()["old"]
    stand.begin()
    rollout = stand.loop.rollouts.roll_back("r", reason="a complaint")
    assert (rollout.state, rollout.is_applied) == ("rolled_back", True)
    assert stand.shares()["old"] == before
    with pytest.raises(Conflict, match="nothing to roll back"):
        stand.loop.rollouts.roll_back("r")


def test_one_rollout_at_a_time_for_an_experiment(stand: Stand) -> None:
    stand.begin()
    with pytest.raises(Conflict, match="has an open rollout"):
        stand.begin("other")
    with pytest.raises(Conflict, match="already a rollout"):
        stand.begin()


def test_shares_that_cannot_be_had_begin_nothing(stand: Stand) -> None:
    stand.loop.experiments.change_arm("greeting", "old", min_share=0.9)
    stand.loop.experiments.add_arm("greeting", "third", min_share=0.05)
    with pytest.raises(LoopError):
        stand.begin(stages=(Stage(name="ab", share=0.99, gate=BETTER),))
    assert stand.loop.rollouts.list().items[0].state == "cancelled"


WRONG: dict[str, tuple[Callable[[Stand], None], type[Exception], str]] = {
    "no such experiment": (lambda s: s.begin(experiment_id="nope"), NotFound, "nope"),
    "no such arm": (lambda s: s.begin(challenger="nope"), Invalid, "no arm"),
    "one arm twice": (lambda s: s.begin(challenger="old"), Invalid, "name two arms"),
    "a stage twice": (lambda s: s.begin(stages=(QUICK[0], QUICK[0])), Invalid, "unique"),
    "shares that shrink": (lambda s: s.begin(stages=QUICK[::-1]), Invalid, "let them grow"),
    "no stage": (lambda s: s.begin(stages=()), Invalid, "length"),
    "a share of all": (
        lambda s: s.begin(stages=({"name": "x", "share": 1.0, "gate": {}},)),
        Invalid,
        "share",
    ),
    "a gate with an unknown member": (
        lambda s: s.begin(stages=({"name": "x", "share": 0.5, "gate": {"primry": None}},)),
        Invalid,
        "primry",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_rolled_out_is_refused(stand: Stand, name: str) -> None:
    act, error, said = WRONG[name]
    with pytest.raises(error, match=said):
        act(stand)
    assert stand.loop.rollouts.list().items == ()


def test_an_experiment_that_is_not_sticky_needs_decisions_as_units(stand: Stand) -> None:
    stand.loop.experiments.create("loose", arms=["old", "new"])
    with pytest.raises(Invalid, match="not sticky"):
        stand.begin(experiment_id="loose")
    stand.begin(experiment_id="loose", assigned="decision")


def test_an_arm_must_point_to_a_registered_version(stand: Stand) -> None:
    stand.loop.experiments.create(
        "pointing", arms=[{"id": "old"}, {"id": "new", "version": "v2"}], gate={"sticky": True}
    )
    with pytest.raises(NotFound, match="v2"):
        stand.begin(experiment_id="pointing")
    stand.loop.versions.add("v2", kind="prompt", content="Hello.")
    stand.begin(experiment_id="pointing")


def test_a_rollout_that_fails_does_not_keep_the_others_from_moving(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.loop.experiments.create("other", arms=["old", {"id": "new"}], gate={"sticky": True})
    stand.begin(
        "second", experiment_id="other", stages=(Stage(name="c", share=0.2, gate=HARMLESS),)
    )
    # Later, so that it is looked at after the one that breaks.
    stand.clock.advance(seconds=1)
    stand.begin()
    stand.serve(400, FAIR)
    stand.learn()
    evidence = stand.rollouts.evidence

    def broken(rollout: Rollout) -> Evidence:
        if rollout.id == "second":
            raise RuntimeError("a bug")
        return evidence(rollout)

    with monkeypatch.context() as patch:
        patch.setattr(stand.rollouts, "evidence", broken)
        stand.clock.advance(seconds=11)
        with pytest.raises(RuntimeError, match="a bug"):
            stand.rollouts.run()
    assert stand.loop.rollouts.report("r").rollout.stage == 1
    assert stand.loop.rollouts.report("second").rollout.stage == 0


def test_orders_and_the_background_do_not_disturb_each_other(stand: Stand) -> None:
    stand.loop.close()
    stand.open()
    stop, failed = threading.Event(), list[LoopError]()

    def look() -> None:
        while not stop.is_set():
            try:
                stand.rollouts.run()
            except LoopError as error:
                failed.append(error)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        for n in range(15):
            stand.begin(f"r{n}", again=True)
            stand.loop.rollouts.hold(f"r{n}")
            stand.loop.rollouts.resume(f"r{n}")
            stand.loop.rollouts.roll_back(f"r{n}")
    finally:
        stop.set()
        thread.join()
    assert failed == []
    assert {rollout.state for rollout in stand.loop.rollouts.list().items} == {"rolled_back"}


def test_tenants_do_not_see_each_others_rollouts(stand: Stand, tmp_path: Path) -> None:
    stand.begin()
    with pytest.raises(NotFound):
        stand.rollouts.get("other", "r")
    assert stand.rollouts.list("other").items == ()
