"""Whether feedback is bad enough to retrain. Pure: it judges figures and does nothing about them."""

from __future__ import annotations

from typing import Final

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """From where on a trigger fires; exactly at a limit it does not."""

    least_records: int = 10
    least_rating: float = 3.0
    most_thumbs_down: float = 0.40


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """The figures of a period."""

    records: int
    average_rating: float | None
    """Of 1 to 5 stars; None without any."""
    thumbs_down_rate: float | None
    """Among thumbs; None without any."""


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Whether a trigger fires, and why."""

    is_fired: bool
    reason: str


DEFAULT: Final = Limits()


def judge(seen: Seen, limits: Limits = DEFAULT) -> Verdict:
    """Return whether these figures ask for a retraining. The sentences are exact: programs read them."""
    # First: the rates of a few records swing from one to the next.
    if seen.records < limits.least_records:
        return Verdict(is_fired=False, reason=f"insufficient_data (n={seen.records})")
    rating, down = seen.average_rating, seen.thumbs_down_rate
    if rating is not None and rating < limits.least_rating:
        # Rating before thumbs: the reason names the first limit that is crossed, and programs compare it.
        reason = f"avg_rating={rating:.2f} < threshold={limits.least_rating}"
        return Verdict(is_fired=True, reason=reason)
    if down is not None and down > limits.most_thumbs_down:
        reason = f"thumbs_down_rate={down:.1%} > threshold={limits.most_thumbs_down:.0%}"
        return Verdict(is_fired=True, reason=reason)
    return Verdict(is_fired=False, reason="metrics_healthy")
