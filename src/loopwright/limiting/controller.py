"""The controller of a refill rate: a guard that follows overload, and ratings that trim it within bounds.

Pure: time and everything seen come in as a `Window`, so the same windows give the same rates in a replay. Ratings cannot
find a capacity; in simulation they bound harm and never raised goodput over the guard alone. So the guard owns the
rate (additive-increase, multiplicative-decrease, as in Chiu and Jain 1989), and ratings move it by a tenth at most.
"""

from __future__ import annotations

import math
from typing import Final, Literal

import msgspec

from loopwright.core.errors import Invalid

from .ratings import Rating, is_suspicious, reward

Rule = Literal["trim", "literal"]

HISTORY: Final = 30
"""Windows whose number of ratings is remembered, to notice a flood of them."""


class Settings(msgspec.Struct, frozen=True):
    """Bounds and gains; the defaults are those that were simulated, with a smaller authority of the ratings.

    `prior`, `least` and `most` are tokens per second; `most` is the rate that the operator has tested. `trim` is the
    share by which ratings may move the rate, `down` and `up` the largest share per window. `probe` lets the guard look
    for more capacity. With the rule `literal` the rate is `r + alpha (reward - baseline)` instead, once per window and within the same bounds.
    """

    prior: float
    least: float
    most: float
    window_s: float = 10.0
    rule: Rule = "trim"
    guarded: bool = True
    probe: bool = True
    backoff: float = 0.85
    step: float = 1.01
    overloaded_above: float = 0.2
    binding_above: float = 0.8
    trim: float = 0.10
    down: float = 0.05
    up: float = 0.02
    dead_band: float = 0.05
    streak: int = 2
    leak: float = 0.98
    fast: float = 0.3
    slow: float = 0.01
    slow_step: float = 0.1
    shrink: float = 10.0
    alpha: float = 0.05
    stale_after_s: float = 900.0
    expires_after_s: float = 60.0

    def __post_init__(self) -> None:
        if not 0 < self.least <= self.prior <= self.most < math.inf:
            raise Invalid(
                f"the rates are least {self.least}, prior {self.prior}, most {self.most}; "
                "give 0 < least <= prior <= most"
            )
        shares = ("backoff", "leak", "fast", "slow", "overloaded_above", "binding_above")
        if not all(0 < getattr(self, name) <= 1 for name in shares):
            raise Invalid(f"{', '.join(shares)} are shares above 0, at most 1")
        if not all(0 <= getattr(self, name) < 1 for name in ("trim", "down", "up", "dead_band")):
            raise Invalid("trim, down, up and dead_band are shares from 0 to below 1")
        if not 1 <= self.step <= 2 or not 0 <= self.alpha < math.inf or self.streak < 1:
            raise Invalid("step is from 1 to 2, alpha is 0 or more, streak is at least 1")
        if not (self.window_s > 0 and self.shrink >= 0 and self.slow_step >= 0):
            raise Invalid("window_s is above 0; shrink and slow_step are 0 or more")


class Window(msgspec.Struct, frozen=True):
    """What one control window saw.

    `overloaded` is the share of the window in overload by the signal that the operator declared (latency above its
    objective, errors, queue, 429 from upstream), or None without a fresh signal: then nothing probes. `utilisation` is
    the share of the rate that was used.
    """

    ended_s: float
    utilisation: float = 0.0
    overloaded: float | None = None
    ratings: tuple[Rating, ...] = ()


class Control(msgspec.Struct, frozen=True):
    """The state between two windows; it is a value, so a checkpoint is this and a replay is a fold.

    `guard` and `rate` are tokens per second, `trim` is the logarithm of the ratings' part.
    """

    guard: float
    rate: float
    ended_s: float = -math.inf
    version: int = 0
    trim: float = 0.0
    fast: float | None = None
    slow: float | None = None
    streak: int = 0
    counts: tuple[int, ...] = ()
    rated_s: float | None = None
    suspicious: bool = False
    why: str = "prior"


def begin(settings: Settings) -> Control:
    """Return the state before the first window: the operator's prior."""
    return Control(guard=settings.prior, rate=settings.prior)


def advance(settings: Settings, control: Control, window: Window) -> Control:
    """Return the state after one window. A window that ended before the last one changes nothing.

    Guarantees: the rate lies within `least` and `most`, within the trim of the guard's, and ratings move it by at most
    `down` or `up` per window. A number that is not finite counts as not seen.
    """
    if not (math.isfinite(window.ended_s) and window.ended_s > control.ended_s):
        return control
    binding = math.isfinite(window.utilisation) and window.utilisation > settings.binding_above
    guard, why = _guard(settings, control, window, binding=binding)
    is_overloaded = why == "overload"
    rated = _rated(settings, control, window, frozen=is_overloaded)
    if settings.rule == "literal":
        trim, rate = 0.0, _literal(settings, rated, guard if is_overloaded else control.rate)
        guard = rate
    else:
        trim = _trim(settings, rated, binding=binding)
        rate = _clip(guard * math.exp(trim), settings.least, settings.most)
    return msgspec.structs.replace(
        rated,
        guard=guard,
        trim=trim,
        rate=rate,
        ended_s=window.ended_s,
        version=control.version + 1,
        why=why,
    )


def rate_at(settings: Settings, control: Control, now_s: float) -> float:
    """Return the rate to serve with: the prior once the state has expired, for a controller that has stopped may be wrong."""
    if now_s - control.ended_s > settings.expires_after_s:
        return settings.prior
    return control.rate


def is_stale(settings: Settings, control: Control, now_s: float) -> bool:
    """Say whether ratings have been missing for too long; the limits keep working without them."""
    return control.rated_s is None or now_s - control.rated_s > settings.stale_after_s


def _guard(
    settings: Settings, control: Control, window: Window, *, binding: bool
) -> tuple[float, str]:
    seen = window.overloaded
    if not settings.guarded or seen is None or not math.isfinite(seen):
        return control.guard, "hold"
    if seen > settings.overloaded_above:
        # From the lower of the two, or a trim below the guard would make the first cut no cut at all.
        lowered = settings.backoff * min(control.guard, control.rate)
        return _clip(lowered, settings.least, settings.most), "overload"
    if settings.probe and binding and control.guard < settings.most:
        return min(control.guard * settings.step, settings.most), "probe"
    return control.guard, "hold"


def _rated(settings: Settings, control: Control, window: Window, *, frozen: bool) -> Control:
    """Return the state with the averages of the reward moved, where the ratings may be believed."""
    count = len(window.ratings)
    suspicious = is_suspicious(window.ratings, control.counts)
    # A flood does not enter the history, or it would be the usual volume after half of it.
    counts = control.counts if suspicious else (*control.counts, count)[-HISTORY:]
    seen = None if suspicious else reward(window.ratings, control.slow, settings.shrink)
    moved = msgspec.structs.replace(control, counts=counts, suspicious=suspicious, streak=0)
    if seen is None:
        return moved
    slow = seen if control.slow is None else control.slow
    fast = slow if control.fast is None else control.fast
    fast += settings.fast * (seen - fast)
    if not frozen:
        # Every moving baseline drifts to what overload does to ratings, unless it stands still meanwhile.
        slow += settings.slow * _clip(seen - slow, -settings.slow_step, settings.slow_step)
    error = fast - slow
    sign = 0 if abs(error) <= settings.dead_band else (1 if error > 0 else -1)
    streak = control.streak + sign if sign * control.streak > 0 else sign
    return msgspec.structs.replace(
        moved, fast=fast, slow=slow, streak=streak, rated_s=window.ended_s
    )


def _trim(settings: Settings, rated: Control, *, binding: bool) -> float:
    if settings.trim == 0:
        return 0.0
    wanted = 0.0
    if abs(rated.streak) >= settings.streak and rated.fast is not None and rated.slow is not None:
        wanted = rated.fast - rated.slow
        if wanted > 0 and not binding:
            wanted = 0.0
    # The leak is part of the step that is bounded: the bound holds for all that ratings ever did.
    step = settings.leak * rated.trim + wanted - rated.trim
    step = _clip(step, math.log1p(-settings.down), math.log1p(settings.up))
    return _clip(rated.trim + step, math.log1p(-settings.trim), math.log1p(settings.trim))


def _literal(settings: Settings, rated: Control, rate: float) -> float:
    if rated.fast is not None and rated.slow is not None and not rated.suspicious:
        step = settings.alpha * (rated.fast - rated.slow)
        rate += _clip(step, -settings.down * rate, settings.up * rate)
    return _clip(rate, settings.least, settings.most)


def _clip(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)
