"""What the gate decides for one request, and how a unit sticks to its arm.

Nothing is remembered: a unit's place comes from a hash of its id, salted with the tenant and the experiment, so
it is the same on every machine and after every restart, and independent between experiments.

**Sticky units.** A unit has one exponential clock per arm, drawn from the hash of its id; arm k's clock runs at the
speed p(k) of the law, and the first to ring wins. The clocks are independent and exponential over units, so arm k
wins with probability p(k) exactly: the propensity is that of the law, as for a drawn number. For two laws p and
q, arm k wins under both with probability 1 / Σⱼ max(p(j)/p(k), q(j)/q(k)), so the share of units that move is
at most 2d / (1 + d), d being their total variation distance; with two arms it is d. No rule that sees one law at a time can promise
less. A unit moves from a to b only if b gained on a; disabling an arm moves only its own units.

What it means for estimates: units are randomised, not requests. A propensity is exact over units, and each
unit is one draw however often it comes back, so intervals and off-policy estimates must treat the unit as the
one observation. The law that a returning unit meets was learned in part from that unit: a small part among many
units, a large one among few.

Papers: Thaler and Ravishankar 1998 (highest random weight); Efraimidis and Spirakis 2006 (the weights);
Bavarian et al. 2020 (the bound is the best possible).
"""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Sequence
from hashlib import blake2b
from typing import Any, Final

import msgspec

from loopwright.core.context import Context
from loopwright.core.decision import Mode
from loopwright.core.errors import Invalid
from loopwright.core.experiment import Experiment
from loopwright.core.targeting import (
    BY_ROLLOUT,
    BY_SCHEDULE,
    STEPS,
    Condition,
    Fixed,
    Rule,
    Targeting,
)
from loopwright.policies import Draw

Test = Callable[[Any], bool]
Reading = Callable[[str | None, Context], Any]
Applies = Callable[[str | None, Context], bool]

_WORDS: Final = struct.Struct("<8Q")
"""One BLAKE2b digest: the clocks of eight arms."""


class Assignment(msgspec.Struct, frozen=True, gc=False):
    """What the gate decides: an arm for certain, or None for the bandit; with the mode and the rule to record."""

    draw: Draw | None = None
    mode: Mode = "live"
    rule: str | None = None


LIVE: Final = Assignment()


class Assigner:
    """Follows the gate of one experiment; made once per snapshot.

    A fixed arm has the propensity 1 and is never `live`: it was given, not drawn, and learning from it as if
    drawn would be wrong. The held-out part of a rollout is `holdout`, a random sample of the units; what the
    schedule or a rule gives is `fallback`, which is no random sample. A rule that lets a request through to the
    bandit leaves it `live`, with the law's propensity.
    """

    def __init__(self, targeting: Targeting, experiment: Experiment) -> None:
        positions = {arm.id: position for position, arm in enumerate(experiment.arms)}
        default = (
            None if targeting.default_arm is None else Draw(positions[targeting.default_arm], 1.0)
        )
        # Without it, the same units would be in the first tenth of every rollout, and experiments would
        # confound each other.
        salt = blake2b(f"{experiment.tenant_id}\0{experiment.id}".encode(), digest_size=32).digest()
        self._needs_unit = targeting.needs_unit
        self._starts_ms = -math.inf if targeting.starts_at_ms is None else targeting.starts_at_ms
        self._ends_ms = math.inf if targeting.ends_at_ms is None else targeting.ends_at_ms
        self._closed = Assignment(default, "fallback", BY_SCHEDULE)
        self._held = Assignment(default, "holdout", BY_ROLLOUT)
        self._steps = targeting.steps
        self._rules = [
            (_applies(rule), _assignment(rule, positions, default=default))
            for rule in targeting.rules
        ]
        # `person` separates the two hashes: were place and clocks one number, the arm of a unit would
        # depend on when the rollout let it in.
        self._place = blake2b(key=salt, person=b"rollout", digest_size=8)
        self._clocks = [
            # One block per eight arms, so an arm that is added leaves the clocks of the others as they are.
            blake2b(key=salt, person=b"arm", salt=struct.pack("<QQ", targeting.epoch, block))
            for block in range(math.ceil(len(positions) / 8))
        ]

    def assign(self, unit_id: str | None, context: Context, *, now_ms: int) -> Assignment:
        """Return what the gate decides; raises `Invalid` when it needs a unit and there is none."""
        if unit_id is None and self._needs_unit:
            raise Invalid(
                "unit_id is missing; the gate of this experiment assigns by unit (it is sticky or rolled out "
                "to a share of them): send the id of the user, account or ticket that the request is about",
                expected="unit_id",
            )
        if not self._starts_ms <= now_ms < self._ends_ms:
            return self._closed
        # Rules before the rollout: an arm that a rule pins for a unit must not change while the rollout grows.
        for applies, assignment in self._rules:
            if applies(unit_id, context):
                return assignment
        if self._steps == STEPS or (unit_id is not None and self.place(unit_id) < self._steps):
            return LIVE
        return self._held

    def place(self, unit_id: str) -> int:
        """Return the unit's place in the rollout, 0 to 9,999: it is in when the rollout exceeds it."""
        place = self._place.copy()
        # JSON can escape half a surrogate pair, which strict UTF-8 refuses to encode.
        place.update(unit_id.encode("utf-8", "surrogatepass"))
        # Multiply and shift (Lemire 2019): no division, and a bias below 2^-50. A unit that is in stays in as
        # the share grows.
        return int.from_bytes(place.digest(), "little") * STEPS >> 64

    def draw(self, law: Sequence[float], unit_id: str) -> Draw:
        """Return the arm that the unit sticks to under `law`, with its probability."""
        unit = unit_id.encode("utf-8", "surrogatepass")
        words: list[int] = []
        for block in self._clocks:
            clock = block.copy()
            clock.update(unit)
            words += _WORDS.unpack(clock.digest())
        first, earliest = -1, math.inf
        for arm, p in enumerate(law):
            if p > 0.0:
                # An exponential time of rate p. The half keeps the uniform number off 0, and so the logarithm
                # finite.
                rings = -math.log((words[arm] + 0.5) * 2.0**-64) / p
                if rings < earliest:
                    first, earliest = arm, rings
        return Draw(first, law[first])


def _assignment(rule: Rule, positions: dict[str, int], *, default: Draw | None) -> Assignment:
    match rule.then:
        case Fixed(arm_id):
            return Assignment(Draw(positions[arm_id], 1.0), "fallback", rule.id)
        case "default":
            return Assignment(default, "fallback", rule.id)
        case _:
            return Assignment(None, "live", rule.id)


def _applies(rule: Rule) -> Applies:
    conditions = [(_reading(c.attribute), _test(c)) for c in rule.when]

    def applies(unit_id: str | None, context: Context) -> bool:
        # A loop costs half of what `all` over a generator does.
        for read, test in conditions:  # noqa: SIM110
            if not test(read(unit_id, context)):
                return False
        return True

    return applies


def _reading(attribute: str) -> Reading:
    if attribute == "unit_id":
        return lambda unit_id, context: unit_id
    if attribute == "context_id":
        return lambda unit_id, context: context.id
    key = attribute.removeprefix("metadata.")
    return lambda unit_id, context: None if context.metadata is None else context.metadata.get(key)


def _test(condition: Condition) -> Test:
    """Return the condition as a test of what was found; None is a missing attribute."""
    # Closures, made once per snapshot, so that a select runs nothing but the comparisons.
    value = condition.value
    values = value if isinstance(value, tuple) else (value,)
    match condition.op:
        case "eq" | "in":
            return _among(values)
        case "ne" | "not_in":
            return _not_among(values)
        case "exists":
            return lambda found: (found is not None) == (value is not False)
        case "starts_with":
            return lambda found: isinstance(found, str) and found.startswith(str(value))
        case "contains":
            return _containing(value)
        case order:
            return _ordered(order, value)


def _kinded(value: Any) -> tuple[bool, Any]:
    """Tell true from 1, which Python takes for equal."""
    return isinstance(value, bool), value


def _among(values: Sequence[Any]) -> Test:
    known = frozenset(map(_kinded, values))
    return lambda found: isinstance(found, bool | int | float | str) and _kinded(found) in known


def _not_among(values: Sequence[Any]) -> Test:
    among = _among(values)
    return lambda found: found is not None and not among(found)


def _containing(value: Any) -> Test:
    same = _among((value,))

    def contains(found: Any) -> bool:
        if isinstance(found, str):
            return isinstance(value, str) and value in found
        return isinstance(found, list | tuple) and any(map(same, found))

    return contains


def _ordered(order: str, bound: Any) -> Test:
    compare = getattr(operator, order)
    kind = str if isinstance(bound, str) else int | float
    return lambda found: (
        # Python counts True as the integer 1; a rule about a number must not match it.
        isinstance(found, kind) and not isinstance(found, bool) and bool(compare(found, bound))
    )
