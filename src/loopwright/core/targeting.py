"""What stands before the bandit: a schedule, targeting rules, a rollout, sticky units.

Only the declaration is here, and what makes it sound; `serving.assign` follows it. The order is fixed:

1. Outside the schedule every unit gets the default arm.
2. The first rule whose conditions all hold decides.
3. The rollout lets a share of the units through to the bandit; the rest gets the default arm.

A decision whose arm the bandit did not draw is not `live`, so nothing is learned from it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from .errors import Invalid

# Buckets and no floating-point share: a unit's bucket never moves, so raising the rollout only adds units.
STEPS: Final = 10_000
"""Parts that a rollout is divided into: one step is 0.01 %."""

MAX_RULES: Final = 100
MAX_CONDITIONS: Final = 20
MAX_VALUES: Final = 1000
MAX_TEXT: Final = 1024
"""Longest text that a condition compares with."""

BY_SCHEDULE: Final = "schedule"
BY_ROLLOUT: Final = "rollout"
"""What a decision names as its rule when one of the gate's own two decided; no rule may be called so."""

Scalar = bool | int | float | str

Operator = Literal[
    "eq", "ne", "in", "not_in", "lt", "le", "gt", "ge", "contains", "exists", "starts_with"
]

# JavaScript holds whole numbers exactly up to 2⁵³.
Moment = Annotated[int, Meta(ge=0, le=2**53)]
"""Milliseconds since the epoch."""


class Condition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A claim about one request.

    `attribute` is `unit_id`, `context_id` or `metadata.<key>`; what follows `metadata.` is one key, dots and
    all. A missing key and a null make every condition false, `ne` and `not_in` too; only `exists` with the
    value false is then true. Numbers compare with numbers and text with text; true and false are no numbers.

    `in` and `not_in` take a list; `lt`, `le`, `gt` and `ge` a number or a text; `starts_with` a text;
    `contains` looks into a text or for an item of a list; `exists` takes true (also when left out) or false.
    """

    attribute: str
    op: Operator = "eq"
    value: Scalar | tuple[Scalar, ...] | None = None

    def __post_init__(self) -> None:
        if self.attribute not in ("unit_id", "context_id") and not (
            self.attribute.startswith("metadata.") and len(self.attribute) > len("metadata.")
        ):
            raise ValueError(
                f"attribute is {self.attribute!r}; name unit_id, context_id or metadata.<key>"
            )
        # Types allow any scalar or list; which of them an operator can compare with is known only here.
        wanted, fits = _VALUES.get(self.op, _A_SCALAR)
        if not fits(self.value):
            raise ValueError(
                f"the condition {self.attribute!r} {self.op} has the value {self.value!r:.80}; "
                f"give {wanted}"
            )


class Fixed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Always the same arm, by id."""

    arm: str


class Rule(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What happens to requests that meet every condition; without conditions, to all that reach the rule.

    `then` is a fixed arm, `default` for the gate's default arm, or `bandit` for the bandit, whatever the
    rollout says: so a team can use a feature before its release.
    """

    id: Annotated[str, Meta(min_length=1, max_length=128)]
    when: tuple[Condition, ...] = ()
    then: Literal["bandit", "default"] | Fixed = "bandit"

    def __post_init__(self) -> None:
        if self.id in (BY_SCHEDULE, BY_ROLLOUT):
            raise ValueError(
                f"a rule has the id {self.id!r}, which stands for the {self.id} itself in decisions; "
                "choose another id"
            )
        if len(self.when) > MAX_CONDITIONS:
            raise ValueError(
                f"rule {self.id!r} has {len(self.when)} conditions; at most {MAX_CONDITIONS}, and "
                "`in` takes many values at once"
            )


class Targeting(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which requests reach the bandit, and what the others get.

    `rollout` is the percentage of units that see the bandit, in steps of 0.01. Raising it only adds units,
    and who is in one experiment says nothing about who is in another. The rest are `holdout`: they are a random
    sample, so they compare with the live ones that no rule let through.

    `starts_at_ms` (included) and `ends_at_ms` (excluded) bound the time in which the bandit is on at all.

    With `sticky` the same unit keeps getting the same arm while the law stays the same, and few units move
    when it changes (see `serving.assign`); raising `epoch` deals the arms anew.
    """

    rules: tuple[Rule, ...] = ()
    percentage: Annotated[float, Meta(ge=0, le=100)] = msgspec.field(name="rollout", default=100.0)
    starts_at_ms: Moment | None = None
    ends_at_ms: Moment | None = None
    default_arm: str | None = None
    sticky: bool = False
    epoch: Annotated[int, Meta(ge=0, le=2**32)] = 0

    def __post_init__(self) -> None:
        # Before all else: the checks below use `steps`, which cannot be computed from NaN.
        self._check_rollout()
        starts, ends = self.starts_at_ms, self.ends_at_ms
        if starts is not None and ends is not None and starts >= ends:
            raise ValueError(
                f"the gate starts at {starts} and ends at {ends}; let it end after it starts"
            )
        self._check_rules()
        if self.default_arm is None and (asking := self._wants_default()):
            raise ValueError(
                f"{asking} gives the default arm, and there is none; set default_arm to an arm's id"
            )

    @property
    def steps(self) -> int:
        """The rollout as a number of `STEPS`."""
        return round(self.percentage * STEPS / 100)

    @property
    def needs_unit(self) -> bool:
        """Whether a request must say which unit it is about."""
        # At 0 % and at 100 % the answer is the same for every unit, so requests need not name one.
        return self.sticky or 0 < self.steps < STEPS

    def _check_rollout(self) -> None:
        rollout = self.percentage
        if not (math.isfinite(rollout) and 0 <= rollout <= 100):
            raise ValueError(f"rollout is {rollout}; give a percentage from 0 to 100")
        # Decimal shares such as 0.07 are not exact in binary; only that rounding is forgiven.
        if abs(self.steps * 100 / STEPS - rollout) > 1e-9:
            raise ValueError(f"rollout is {rollout} %; it goes in steps of {100 / STEPS:g} %")

    def _check_rules(self) -> None:
        if len(self.rules) > MAX_RULES:
            raise ValueError(f"the gate has {len(self.rules)} rules; at most {MAX_RULES}")
        for rule_id, count in Counter(rule.id for rule in self.rules).items():
            if count > 1:
                raise ValueError(f"rule id {rule_id!r} occurs {count} times; ids are unique")

    def _wants_default(self) -> str | None:
        if self.starts_at_ms is not None or self.ends_at_ms is not None:
            return "the schedule"
        if self.steps < STEPS:
            return f"a rollout of {self.percentage:g} %"
        return next((f"rule {rule.id!r}" for rule in self.rules if rule.then == "default"), None)


def check_arms(gate: Targeting, states: Mapping[str, str]) -> None:
    """Raise `Invalid` when `gate` gives an arm that cannot be given; `states` are the arms' states by id."""
    given = [(f"rule {r.id!r}", r.then.arm) for r in gate.rules if isinstance(r.then, Fixed)]
    if gate.default_arm is not None:
        given.append(("default_arm", gate.default_arm))
    for giver, arm_id in given:
        state = states.get(arm_id)
        if state is None:
            raise Invalid(
                f"the gate's {giver} names the arm {arm_id!r}; this experiment's arms are "
                f"{', '.join(map(repr, states))}",
                found=arm_id,
            )
        # A disabled arm must not come back through a rule: the gate would bypass the switch that turned it off.
        if state != "enabled":
            raise Invalid(
                f"the gate's {giver} gives the arm {arm_id!r}, which is {state}; name another arm in the gate, "
                "before or in the same change, or enable this one",
                found=arm_id,
            )


def _is_scalar(value: Any) -> bool:
    match value:
        case str():
            return len(value) <= MAX_TEXT
        case float():
            return math.isfinite(value)
        case _:
            return isinstance(value, bool | int)


def _is_orderable(value: Any) -> bool:
    # In Python `bool` is a kind of `int`: true would be compared as 1.
    return _is_scalar(value) and not isinstance(value, bool)


def _is_list(value: Any) -> bool:
    return isinstance(value, tuple) and 0 < len(value) <= MAX_VALUES and all(map(_is_scalar, value))


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and _is_scalar(value)


def _is_claim(value: Any) -> bool:
    return value is None or isinstance(value, bool)


_A_SCALAR: Final = (
    f"a finite number, true, false, or a text of at most {MAX_TEXT} characters",
    _is_scalar,
)
_A_LIST: Final = (f"a list of 1 to {MAX_VALUES} numbers, truths or texts", _is_list)
_ORDERABLE: Final = (f"a finite number or a text of at most {MAX_TEXT} characters", _is_orderable)

_VALUES: Final[Mapping[Operator, tuple[str, Callable[[Any], bool]]]] = {
    "in": _A_LIST,
    "not_in": _A_LIST,
    "lt": _ORDERABLE,
    "le": _ORDERABLE,
    "gt": _ORDERABLE,
    "ge": _ORDERABLE,
    "starts_with": (f"a text of at most {MAX_TEXT} characters", _is_text),
    "exists": ("true or false", _is_claim),
}
"""What each operator compares with, in words and as a test; the others take any scalar."""
