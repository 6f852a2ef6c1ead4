"""The stages of a rollout as a pure state machine: where a verdict or a person leads, and the shares of each place.

A rollout runs through its stages, may be held in one, and ends promoted, rolled back, rejected or cancelled. What was
promoted may still be rolled back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

from msgspec import UNSET, UnsetType, structs

from loopwright.core.amendment import Amendment, ArmChange
from loopwright.core.errors import Conflict, Invalid
from loopwright.core.experiment import Experiment
from loopwright.core.gate import Verdict
from loopwright.core.rollout import Move, NewRollout, Rollout, RolloutState, Share

FULL: Final = "full"
"""The name of what follows the last stage: the challenger has taken the champion's place."""

Order = Literal["hold", "resume", "approve", "roll_back", "cancel"]

_TAKEN_BACK: Final[tuple[RolloutState, ...]] = ("rolled_back", "rejected", "cancelled")


def begun(new: NewRollout, experiment: Experiment, *, now_ms: int, actor: str) -> Rollout:
    """Return the rollout in its first stage. Raises `Invalid` or `Conflict` when it cannot be begun."""
    _check(new, experiment)
    targeting = experiment.targeting
    made = Rollout(
        id=new.id,
        tenant_id=experiment.tenant_id,
        experiment_id=experiment.id,
        challenger=new.challenger,
        champion=new.champion,
        stages=new.stages,
        assigned=new.assigned,
        watch_margin=new.watch_margin,
        note=new.note,
        entered_at_ms=now_ms,
        before={
            arm.id: Share(state=arm.state, min_share=arm.min_share, max_share=arm.max_share)
            for arm in experiment.arms
        },
        default_arm=None if targeting is None else targeting.default_arm,
    )
    move = Move(
        at_ms=now_ms,
        action="begin",
        stage=new.stages[0].name,
        reasons=(new.note,) if new.note else (),
        actor=actor,
    )
    return structs.replace(made, moves=(move,))


def judged(rollout: Rollout, verdict: Verdict, *, now_ms: int) -> Rollout:
    """Return where a verdict leads: the same rollout when it is to wait."""
    if rollout.state != "running":
        return rollout
    # Harm before failure: what was harmful is not tried again for a day.
    if verdict.is_harmful:
        return _taken_back(rollout, "rolled_back", verdict=verdict, now_ms=now_ms)
    if verdict.outcome == "fail":
        return _taken_back(rollout, "rejected", verdict=verdict, now_ms=now_ms)
    if verdict.outcome == "wait":
        return rollout
    stage = rollout.stages[rollout.stage]
    if stage.needs_approval:
        reason = f"the gate of stage {stage.name} has passed; a person has to approve"
        return _moved(
            rollout,
            Move(
                at_ms=now_ms,
                action="hold",
                stage=stage.name,
                reasons=(reason, *verdict.reasons),
                verdict=verdict,
            ),
            state="held",
        )
    return _advanced(rollout, now_ms=now_ms, verdict=verdict)


def ordered(
    rollout: Rollout,
    order: Order,
    *,
    now_ms: int,
    actor: str,
    reason: str = "",
    verdict: Verdict | None = None,
) -> Rollout:
    """Return where a person's order leads. Raises `Conflict` when it does not fit the state.

    `verdict` is the gate's of this moment: what has not passed cannot be approved.
    """
    at = rollout.stages[rollout.stage].name if rollout.is_open else FULL
    reasons = (reason,) if reason else ()
    if order == "roll_back":
        if not (rollout.is_open or rollout.state == "promoted"):
            raise Conflict(
                f"rollout {rollout.id!r} is {rollout.state}; there is nothing to roll back"
            )
        return _taken_back(rollout, "rolled_back", now_ms=now_ms, actor=actor, reasons=reasons)
    if not rollout.is_open:
        raise Conflict(f"rollout {rollout.id!r} is {rollout.state}; begin another one")
    if order == "cancel":
        return _taken_back(rollout, "cancelled", now_ms=now_ms, actor=actor, reasons=reasons)
    if order == "hold":
        if rollout.state == "held":
            raise Conflict(f"rollout {rollout.id!r} is held already")
        return _moved(
            rollout,
            Move(at_ms=now_ms, action="hold", stage=at, reasons=reasons, actor=actor),
            state="held",
        )
    if rollout.state != "held":
        raise Conflict(f"rollout {rollout.id!r} is running; only a held one can be {order}d")
    if order == "resume":
        return _moved(
            rollout,
            Move(at_ms=now_ms, action="approve", stage=at, reasons=reasons, actor=actor),
            state="running",
        )
    if verdict is None or verdict.outcome != "pass":
        said = "; ".join(verdict.reasons) if verdict is not None else "it was not judged"
        raise Conflict(
            f"rollout {rollout.id!r} cannot be approved, as the gate of stage {at} has not passed: {said}. Resume it instead"
        )
    return _advanced(rollout, now_ms=now_ms, verdict=verdict, actor=actor, reasons=reasons)


def dropped(rollout: Rollout, reason: str, *, now_ms: int) -> Rollout:
    """Return a promoted rollout taken back because the reward has fallen."""
    return _taken_back(rollout, "rolled_back", now_ms=now_ms, reasons=(reason,))


def amendment(rollout: Rollout, experiment: Experiment) -> Amendment:
    """Return what to change of the experiment, so that its arms have the shares that the rollout is at."""
    arms: dict[str, ArmChange] = {}
    if rollout.state in _TAKEN_BACK:
        there = {arm.id for arm in experiment.arms if arm.state != "retired"}
        for id, share in rollout.before.items():
            # The challenger gets nothing, even if it had a share before: it was just found wanting.
            if id in there:
                state = "disabled" if id == rollout.challenger else share.state
                arms[id] = ArmChange(
                    state=state, min_share=share.min_share, max_share=share.max_share
                )
        default = rollout.default_arm
    elif rollout.state == "promoted":
        arms[rollout.challenger] = ArmChange(state="enabled", min_share=0.0, max_share=1.0)
        arms[rollout.champion] = ArmChange(state="disabled", min_share=0.0, max_share=1.0)
        default = (
            rollout.challenger if rollout.default_arm == rollout.champion else rollout.default_arm
        )
    else:
        part = rollout.stages[rollout.stage].share
        arms[rollout.challenger] = ArmChange(state="enabled", min_share=part, max_share=part)
        arms[rollout.champion] = ArmChange(state="enabled", min_share=0.0, max_share=1.0)
        default = rollout.default_arm
    targeting: UnsetType | object = UNSET
    if experiment.targeting is not None and experiment.targeting.default_arm != default:
        targeting = structs.replace(experiment.targeting, default_arm=default)
    return Amendment(arms=arms, targeting=targeting)  # type: ignore[arg-type]


def drifted(rollout: Rollout, experiment: Experiment) -> str | None:
    """Return what somebody changed of the shares while the rollout runs; None when they are as they should be."""
    if experiment.state not in ("running", "paused"):
        return f"experiment {experiment.id!r} is {experiment.state}"
    wanted = amendment(rollout, experiment).arms
    assert isinstance(wanted, Mapping)
    found = {arm.id: arm for arm in experiment.arms}
    for id, change in wanted.items():
        arm = found[id]
        if (arm.state, arm.min_share, arm.max_share) != (
            change.state,
            change.min_share,
            change.max_share,
        ):
            return (
                f"arm {id!r} is {arm.state} with shares from {arm.min_share:g} to {arm.max_share:g}, where the stage "
                f"has {change.min_share:g} to {change.max_share:g}: somebody changed it"
            )
    return None


def next_step(rollout: Rollout, verdict: Verdict | None) -> str:
    """Return what happens next, in a sentence."""
    if rollout.state == "promoted":
        return "The challenger serves; a fall of the reward takes it back by itself."
    if not rollout.is_open:
        return "Nothing: it is over."
    after = (
        rollout.stages[rollout.stage + 1].name if rollout.stage + 1 < len(rollout.stages) else FULL
    )
    if rollout.state == "held":
        return f"It waits for a person: approve to go on to {after}, resume, cancel or roll back."
    if verdict is None or verdict.outcome == "wait":
        more = None if verdict is None else verdict.more_units
        so_far = "" if more is None else f", in about {more} more units at the present difference"
        return f"It goes on to {after} once the gate passes{so_far}."
    if verdict.outcome == "fail":
        return "It is taken back at the next look."
    return f"It goes on to {after} at the next look."


def _check(new: NewRollout, experiment: Experiment) -> None:
    if experiment.state != "running":
        raise Conflict(
            f"experiment {experiment.id!r} is {experiment.state}; start or resume it before a rollout"
        )
    arms = {arm.id: arm for arm in experiment.arms}
    for role, id in (("challenger", new.challenger), ("champion", new.champion)):
        if id not in arms:
            raise Invalid(
                f"the {role} {id!r} is no arm of experiment {experiment.id!r}; it has {', '.join(arms)}"
            )
        if arms[id].state == "retired":
            raise Invalid(f"the {role} {id!r} is retired; name another arm")
    if new.challenger == new.champion:
        raise Invalid(f"{new.challenger!r} is both champion and challenger; name two arms")
    if arms[new.champion].state != "enabled":
        raise Invalid(
            f"the champion {new.champion!r} is {arms[new.champion].state}; name the arm that serves"
        )
    names = [stage.name for stage in new.stages]
    if len(set(names)) < len(names) or FULL in names:
        raise Invalid(
            f"stages are called {', '.join(names)}; names are unique, and {FULL!r} is what follows the last"
        )
    # A stage with less than the one before would send units back to the champion, who were told nothing.
    shares = [stage.share for stage in new.stages]
    if sorted(shares) != shares:
        raise Invalid(f"stages have the shares {shares}; let them grow")
    is_sticky = experiment.targeting is not None and experiment.targeting.sticky
    if new.assigned == "unit" and not is_sticky:
        raise Invalid(
            f"experiment {experiment.id!r} is not sticky, so one unit meets both arms and its decisions cannot be "
            "compared: set its gate to sticky and send unit_id, or begin the rollout with assigned 'decision' "
            "where decisions do not influence each other"
        )


def _advanced(
    rollout: Rollout,
    *,
    now_ms: int,
    verdict: Verdict,
    actor: str = "",
    reasons: tuple[str, ...] = (),
) -> Rollout:
    after = rollout.stage + 1
    is_last = after == len(rollout.stages)
    move = Move(
        at_ms=now_ms,
        action="promote" if is_last else "advance",
        stage=FULL if is_last else rollout.stages[after].name,
        reasons=reasons + verdict.reasons,
        verdict=verdict,
        actor=actor,
    )
    moved = _moved(rollout, move, state="promoted" if is_last else "running")
    return structs.replace(moved, stage=after, entered_at_ms=now_ms, is_applied=False)


def _taken_back(
    rollout: Rollout,
    state: RolloutState,
    *,
    now_ms: int,
    verdict: Verdict | None = None,
    actor: str = "",
    reasons: tuple[str, ...] = (),
) -> Rollout:
    action: Literal["roll_back", "reject", "cancel"] = (
        "roll_back" if state == "rolled_back" else "reject" if state == "rejected" else "cancel"
    )
    told = reasons + (
        ()
        if verdict is None
        else tuple(f.sentence for f in verdict.findings if f.outcome == "fail")
    )
    move = Move(at_ms=now_ms, action=action, stage="", reasons=told, verdict=verdict, actor=actor)
    return structs.replace(_moved(rollout, move, state=state), is_applied=False)


def _moved(rollout: Rollout, move: Move, *, state: RolloutState) -> Rollout:
    return structs.replace(
        rollout, state=state, moves=(*rollout.moves, move), revision=rollout.revision + 1
    )
