"""What makes an experiment sound, how it may move through its life, and what may change when.

Pure: every function takes an experiment and returns the next one or raises.
"""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, Final, Literal

import msgspec
from msgspec import UNSET

from loopwright import policies
from loopwright.core.amendment import Amendment, ArmChange
from loopwright.core.errors import Conflict, Invalid, NoArms, NotFound, StaleVersion
from loopwright.core.experiment import (
    Arm,
    Experiment,
    ExperimentState,
    PolicyChoice,
)
from loopwright.core.targeting import check_arms

from .tenant import slug

Move = Literal["start", "pause", "resume", "end"]

MAX_ARMS: Final = 1000
MAX_DEPTH: Final = 64
"""Levels of lists and objects in a payload: every reader, on any stack, can decode it."""
SLACK: Final = 1e-9
"""Rounding allowed when shares are summed."""

_MOVES: Final[dict[Move, tuple[tuple[ExperimentState, ...], ExperimentState]]] = {
    "start": (("draft",), "running"),
    "pause": (("running",), "paused"),
    "resume": (("paused",), "running"),
    "end": (("draft", "running", "paused"), "ended"),
}
_FROZEN: Final = ("policy", "reward", "context", "caps")
_ON_WIRE: Final = dict(
    zip(Experiment.__struct_fields__, Experiment.__struct_encode_fields__, strict=True)
)
"""What clients call the fields of an experiment."""


def check(experiment: Experiment) -> None:
    """Raise `Invalid` or `PolicyMismatch` when `experiment` could not run as described."""
    slug(experiment.id, "experiment id")
    _check_arms(experiment.arms)
    _check_shares(experiment)
    _check_gate(experiment)
    # Made and thrown away: only the policy itself knows which parameters it takes.
    policies.make(resolved(experiment).name, experiment.policy.params)


def resolved(experiment: Experiment) -> PolicyChoice:
    """Return the policy that will learn: `auto` and aliases replaced by the class they stand for."""
    name = policies.resolve(
        experiment.policy.name,
        reward_type=experiment.reward.type,
        has_context=experiment.context is not None,
    )
    return msgspec.structs.replace(experiment.policy, name=name)


def moved(experiment: Experiment, move: Move) -> Experiment:
    """Return `experiment` after a step of its life.

    Raises `Conflict` when the step is not possible from its state, `NoArms` when it would run without an arm.
    Starting settles the policy, so that a later default never changes what an experiment learns.
    """
    sources, target = _MOVES[move]
    if experiment.state not in sources:
        raise Conflict(
            f"experiment '{experiment.id}' is {experiment.state}; {move} is possible from "
            f"{' or '.join(sources)}{_way_out(experiment.state)}",
            found=experiment.state,
            expected=list(sources),
        )
    # Here and not at creation: a draft follows the default that is current until it starts.
    if move == "start":
        experiment = msgspec.structs.replace(experiment, policy=resolved(experiment))
    experiment = msgspec.structs.replace(experiment, state=target)
    _check_runnable(experiment)
    return experiment


def amended(experiment: Experiment, amendment: Amendment) -> Experiment:
    """Return `experiment` after `amendment`; not checked yet.

    Raises `Conflict` for what its state no longer allows and `NotFound` for an unknown arm.
    """
    _refuse_ended(experiment)
    changes = {
        field: value
        for field in ("name", "explore_floor", "targeting", *_FROZEN)
        if (value := getattr(amendment, field)) is not UNSET
    }
    if experiment.state != "draft":
        _refuse_frozen(experiment, changes)
    changed = msgspec.structs.replace(experiment, **changes)
    match amendment.arms:
        case list(arms):
            if experiment.state != "draft":
                raise Conflict(
                    f"experiment '{experiment.id}' is {experiment.state}, so its list of arms cannot be "
                    "replaced: arms keep their position for life. Send a mapping from arm id to what "
                    "changes, or add arms"
                )
            changed = msgspec.structs.replace(changed, arms=tuple(arms))
        case dict(by_id):
            for arm_id, change in by_id.items():
                changed = _with_arm(changed, arm_id, change)
    _check_runnable(changed)
    return changed


def extended(experiment: Experiment, arm: Arm) -> Experiment:
    """Return `experiment` with a new arm in the last position; not checked yet."""
    _refuse_ended(experiment)
    # Retired arms count too: the log names arms by id, so an id must mean one arm for life.
    if any(arm.id == other.id for other in experiment.arms):
        raise Conflict(
            f"experiment '{experiment.id}' already has an arm '{arm.id}'; ids stay taken, even by "
            "retired arms: choose another",
            found=arm.id,
        )
    return msgspec.structs.replace(experiment, arms=(*experiment.arms, arm))


def expect_revision(experiment: Experiment, revision: int | None) -> None:
    """Raise `StaleVersion` when the caller knows another revision than the present one."""
    if revision is not None and revision != experiment.revision:
        raise StaleVersion(
            f"experiment '{experiment.id}' is at revision {experiment.revision}, not {revision}: "
            "somebody changed it; read it again and repeat",
            found=experiment.revision,
            expected=revision,
        )


def difference(before: Experiment, after: Experiment) -> list[str]:
    """Return what differs, as field names; arms as `arms/<id>`."""
    old = {arm.id: arm for arm in before.arms}
    new = {arm.id: arm for arm in after.arms}
    arms = [f"arms/{arm}" for arm in {**old, **new} if old.get(arm) != new.get(arm)]
    fields = ("name", "state", "explore_floor", "targeting", *_FROZEN)
    changed = [f for f in fields if getattr(before, f) != getattr(after, f)]
    return [_ON_WIRE[f] for f in changed] + arms


def normal(experiment: Experiment) -> tuple[Experiment, str]:
    """Return `experiment` as it will be read back, and the JSON text that is stored.

    Raises `Invalid` for a field of the wrong type or range and for a payload that JSON cannot carry.
    """
    try:
        _refuse_unwritable(experiment.policy.params)
        for arm in experiment.arms:
            _refuse_unwritable(arm.payload)
            _refuse_unwritable(arm.metadata)
        # Encoded and decoded at once: what memory serves is exactly what a restart will read.
        body = msgspec.json.encode(experiment)
        return _decode(body), body.decode()
    except msgspec.ValidationError as error:
        raise Invalid(f"the experiment is not acceptable: {error}") from error
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Invalid(f"an arm's payload or metadata cannot be written as JSON: {error}") from error


def parsed(body: str) -> Experiment:
    """Return the experiment that `normal` stored."""
    return _decode(body)


_decode: Final = msgspec.json.Decoder(Experiment).decode


def _with_arm(experiment: Experiment, arm_id: str, change: ArmChange) -> Experiment:
    position = next((i for i, arm in enumerate(experiment.arms) if arm.id == arm_id), None)
    if position is None:
        raise NotFound(f"experiment '{experiment.id}' has no arm '{arm_id}'")
    arms = list(experiment.arms)
    arm = arms[position]
    if arm.state == "retired" and change.state not in (UNSET, "retired"):
        raise Conflict(
            f"arm '{arm_id}' is retired, and that is for good; add a new arm with another id"
        )
    values = msgspec.structs.asdict(change).items()
    arms[position] = msgspec.structs.replace(
        arm, **{field: value for field, value in values if value is not UNSET}
    )
    return msgspec.structs.replace(experiment, arms=tuple(arms))


def _refuse_ended(experiment: Experiment) -> None:
    if experiment.state == "ended":
        raise Conflict(
            f"experiment '{experiment.id}' has ended and stays as it was; make a new experiment",
            found="ended",
        )


def _refuse_frozen(experiment: Experiment, changes: dict[str, Any]) -> None:
    for field in _FROZEN:
        # Equal values pass: clients send back what they have read, with one field changed.
        if field in changes and changes[field] != getattr(experiment, field):
            raise Conflict(
                f"experiment '{experiment.id}' is {experiment.state}, so its {_ON_WIRE[field]} can no longer change: "
                "what it has learned would mean something else; make a new experiment",
                field=_ON_WIRE[field],
                found=experiment.state,
                expected="draft",
            )


def _way_out(state: ExperimentState) -> str:
    return "; make a new experiment" if state == "ended" else ""


def _check_runnable(experiment: Experiment) -> None:
    if experiment.state == "running" and not _enabled(experiment.arms):
        raise NoArms(
            f"experiment '{experiment.id}' would run without an enabled arm; enable or add one, "
            "or pause the experiment"
        )


def _enabled(arms: tuple[Arm, ...]) -> list[Arm]:
    return [arm for arm in arms if arm.state == "enabled"]


def _check_arms(arms: tuple[Arm, ...]) -> None:
    if not 1 <= len(arms) <= MAX_ARMS:
        raise Invalid(
            f"the experiment has {len(arms)} arms; give 1 to {MAX_ARMS}",
            found=len(arms),
            expected=[1, MAX_ARMS],
        )
    for arm in arms:
        slug(arm.id, "arm id")
    arm_id, count = Counter(arm.id for arm in arms).most_common(1)[0]
    if count > 1:
        raise Invalid(f"arm id '{arm_id}' occurs {count} times; ids are unique", found=arm_id)


def _check_shares(experiment: Experiment) -> None:
    """Every enabled arm can get its floor and its least share, and the largest shares add up to all traffic."""
    arms = _enabled(experiment.arms)
    if not arms:
        return
    floor = experiment.explore_floor / len(arms)
    for arm in arms:
        low = max(arm.min_share, floor)
        if low > arm.max_share + SLACK:
            raise Invalid(
                f"arm '{arm.id}' must get at least {low:.4g} of the traffic (its min_share, or its part of "
                f"explore_floor) and at most {arm.max_share:.4g}: raise max_share, lower the other, "
                "or disable the arm",
                found=arm.max_share,
                expected=low,
            )
    # fsum rounds once, at the end: plain sums of many decimal shares miss 1 by more with every arm.
    least = math.fsum(max(arm.min_share, floor) for arm in arms)
    if least > 1 + SLACK:
        raise Invalid(
            f"the least shares of the enabled arms add up to {least:.4g} (explore_floor counts as "
            f"{floor:.4g} for each); lower them to 1 or less",
            found=least,
            expected=1,
        )
    most = math.fsum(arm.max_share for arm in arms)
    if most < 1 - SLACK:
        raise Invalid(
            f"the largest shares of the enabled arms add up to {most:.4g}, so some traffic would have no "
            "arm; raise them to 1 or more",
            found=most,
            expected=1,
        )


def _check_gate(experiment: Experiment) -> None:
    """A gate gives enabled arms only: no unit may get, by a rule, what was taken out of service."""
    if experiment.targeting is not None:
        check_arms(experiment.targeting, {arm.id: arm.state for arm in experiment.arms})


def _refuse_unwritable(value: Any, *, depth: int = 0) -> None:
    """Refuse NaN and infinity, which JSON would turn into null without a word, and bottomless nesting."""
    if depth > MAX_DEPTH:
        raise ValueError(f"it nests deeper than {MAX_DEPTH} levels")
    match value:
        case float() if not math.isfinite(value):
            raise ValueError(f"{value} is not a JSON number")
        case dict():
            for item in value.values():
                _refuse_unwritable(item, depth=depth + 1)
        case list() | tuple():
            for item in value:
                _refuse_unwritable(item, depth=depth + 1)
