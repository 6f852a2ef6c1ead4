"""From raw facts to a reward, by one pure function.

The learner, the warehouse and evaluation all call `derive`, so they can never disagree about what a decision
earned. Facts are kept raw; a reward is only ever computed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from .errors import Invalid, RewardInvalid

BOUND: Final = float(2**20)
"""Largest magnitude of a reward: beyond it, sums of squares stop being exact (see `policies.exact`)."""

MAX_WINDOW_S: Final = 10 * 365 * 86_400.0
"""Longest attribution window: ten years."""

RewardType = Literal["binary", "bounded", "continuous"]


class RewardSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an experiment turns feedback into a number.

    `low` and `high` bound a `bounded` reward (and may bound a `continuous` one). `out_of_range` says what a
    value beyond them becomes: refused, clipped to the bound (counted), or rescaled, which maps the declared
    range onto [0, 1] and clips there. Without feedback inside `window_s`, a decision earns `default`. `shaping`
    names the task whose surrogate says what a decision will probably earn, which counts until the outcome is known.
    """

    metric: Annotated[str, Meta(min_length=1, max_length=128)] = "reward"
    type: RewardType = "binary"
    low: float | None = None
    high: float | None = None
    out_of_range: Literal["reject", "clip", "rescale"] = "reject"
    window_s: Annotated[float, Meta(gt=0, le=MAX_WINDOW_S)] | None = None
    default: float | None = None
    duplicates: Literal["first", "latest", "add"] = "first"
    shaping: Annotated[str, Meta(min_length=1, max_length=128)] | None = None

    # The constraints of `Meta` hold on decoding only, so specs built in Python are checked here again.
    def __post_init__(self) -> None:
        low, high = self.range
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(
                f"reward range [{low}, {high}] is not a range; give a finite low below high"
            )
        if max(abs(low), abs(high)) > BOUND:
            raise ValueError(
                f"reward range [{low}, {high}] exceeds ±{BOUND:.0f}; rescale the reward"
            )
        if self.type == "binary" and (low, high) != (0.0, 1.0):
            raise ValueError("a binary reward is 0 or 1; declare type 'bounded' for another range")
        if self.window_s is not None and not 0 < self.window_s <= MAX_WINDOW_S:
            raise ValueError(
                f"window_s is {self.window_s}; give seconds above 0 and up to {MAX_WINDOW_S:.0f}"
            )
        if self.default is not None and self.window_s is None:
            raise ValueError("a default reward needs window_s, the time after which it applies")
        # A window without a default would leave its decisions open for ever.
        if self.window_s is not None and self.default is None:
            raise ValueError("window_s needs default, the reward of a decision without feedback")
        if self.default is not None and not low <= self.default <= high:
            raise ValueError(f"default reward {self.default} lies outside [{low}, {high}]")
        if self.shaping is not None:
            self._check_shaping()

    def _check_shaping(self) -> None:
        if self.shaping == "":
            raise ValueError("shaping is empty; name the task whose surrogate is to be used")
        # Binary policies count successes and failures; a share of a success is neither.
        if self.type == "binary":
            raise ValueError(
                "a binary reward cannot be shaped: an expectation lies between 0 and 1; declare the "
                "reward 'bounded'"
            )
        if self.duplicates != "latest":
            raise ValueError(
                f"shaping needs duplicates 'latest', not '{self.duplicates}': the true outcome has to "
                "replace the expectation"
            )

    @property
    def range(self) -> tuple[float, float]:
        """The declared range; ±2²⁰ for a continuous reward without one."""
        if self.type == "continuous":
            return (
                -BOUND if self.low is None else self.low,
                BOUND if self.high is None else self.high,
            )
        return 0.0 if self.low is None else self.low, 1.0 if self.high is None else self.high

    @property
    def scaled_range(self) -> tuple[float, float]:
        """The range of what `normalise` returns."""
        return (0.0, 1.0) if self.out_of_range == "rescale" else self.range


class Observed(msgspec.Struct, frozen=True):
    """A value of the spec's metric, and when it arrived."""

    value: float
    at_ms: int


class Reward(msgspec.Struct, frozen=True):
    """What a decision earned, and whether that came from feedback, from the window closing, or is only expected."""

    value: float
    by_default: bool = False
    is_expected: bool = False


def normalise(spec: RewardSpec, value: float) -> tuple[float, bool]:
    """Return the value that learning sees and whether it had to be clipped.

    Raises `RewardInvalid` when the value is not finite, not 0 or 1 for a binary reward, or out of range while
    the spec says `reject`.
    """
    # Unlike isfinite, takes integers that no float can hold.
    if not -math.inf < value < math.inf:
        raise RewardInvalid(f"reward is {value}; it must be a finite number")
    low, high = spec.range
    if spec.type == "binary":
        if value not in (0.0, 1.0):
            raise RewardInvalid(
                f"reward is {value}; this experiment's reward is binary: send 0 or 1, "
                "or declare the reward 'bounded'",
                expected="0 or 1",
            )
        return float(value), False
    clipped = not low <= value <= high
    if clipped and spec.out_of_range == "reject":
        raise RewardInvalid(
            f"reward is {value}; this experiment accepts {low} to {high}", expected=[low, high]
        )
    value = min(max(value, low), high)
    if spec.out_of_range == "rescale":
        value = (value - low) / (high - low)
    return value, clipped


def derive(
    spec: RewardSpec,
    *,
    decided_at_ms: int,
    facts: Sequence[Observed],
    now_ms: int,
    expected: Sequence[Observed] = (),
) -> Reward | None:
    """Return what a decision has earned by `now_ms`, or None while that is still open.

    `facts` are the distinct observations of `spec.metric` in log order, `expected` what a surrogate said of it.
    Those after the attribution window do not count. An expectation never outlives the window, nor an observation.
    """
    # By the time of arrival, as the log has it: a replay closes the window at the same fact.
    closes_at_ms = None if spec.window_s is None else decided_at_ms + round(spec.window_s * 1000)
    counted = [f.value for f in facts if closes_at_ms is None or f.at_ms <= closes_at_ms]
    if counted:
        match spec.duplicates:
            case "first":
                raw = counted[0]
            case "latest":
                raw = counted[-1]
            case "add":
                # Rounded once, at the end: plain addition would give another sum for another order.
                raw = math.fsum(counted)
        return Reward(settle(spec, raw))
    # Feedback at the very end still counts, so the default applies only after it.
    if closes_at_ms is not None and now_ms > closes_at_ms:
        assert spec.default is not None
        return Reward(settle(spec, spec.default), by_default=True)
    # Last: neither an outcome nor a closed window may be overruled by a prediction.
    if expected and spec.shaping is not None:
        return Reward(settle(spec, expected[-1].value), is_expected=True)
    return None


def settle(spec: RewardSpec, raw: float) -> float:
    """Return the reward for a value that intake accepted: a sum of accepted values may leave the range.

    `derive` for one decision whose value is known. Raises `RewardInvalid` for what intake would have refused.
    """
    # Clipped first: `reject` must not refuse here what intake has acknowledged already.
    low, high = spec.range
    return normalise(spec, min(max(raw, low), high))[0]


def check(spec: RewardSpec) -> None:
    """Raise `Invalid` when `spec` contradicts itself. For specs built in Python, where msgspec does not."""
    try:
        spec.__post_init__()
    except ValueError as error:
        raise Invalid(str(error)) from error
