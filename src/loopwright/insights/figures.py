"""How numbers, times and missing values are spelled for people."""

from __future__ import annotations

from loopwright.core.errors import Invalid
from loopwright.stats.intervals import Interval
from loopwright.warehouse.period import Calendar

from .metrics import MetricLine


def date(calendar: Calendar, at_ms: int | None) -> str:
    """Return the day of a moment, as 2026-01-31."""
    return "an unknown day" if at_ms is None else _local(calendar, at_ms, "%Y-%m-%d")


def minute(calendar: Calendar, at_ms: int) -> str:
    """Return a moment to the minute."""
    return _local(calendar, at_ms, "%Y-%m-%d %H:%M")


def second(calendar: Calendar, at_ms: int) -> str:
    """Return a moment to the second."""
    return _local(calendar, at_ms, "%Y-%m-%d %H:%M:%S")


def whole(number: float) -> str:
    """Return a number without decimals, in groups of three digits."""
    return f"{number:,.0f}"


def percent(share: float, decimals: int = 1) -> str:
    """Return a share as a percentage."""
    return f"{share:.{decimals}%}"


def span(low: float | None, high: float | None) -> str:
    """Return the ends of an interval, in percent."""
    return f"{(low or 0.0) * 100:.1f} to {(high or 0.0) * 100:.1f} %"


def rate(found: Interval) -> str:
    """Return a rate with its interval."""
    return f"{found.estimate:.1%} ({span(found.low, found.high)})"


def short(found: Interval) -> str:
    """Return a rate with its interval in whole percent."""
    return f"{found.estimate:.1%} ({found.low * 100:.0f} to {found.high * 100:.0f})"


def points(found: Interval) -> str:
    """Return a difference of rates with its interval, in percentage points."""
    return f"{found.estimate * 100:+.1f} ({found.low * 100:+.1f} to {found.high * 100:+.1f})"


def count(line: MetricLine) -> str:
    """Return how many events stand behind a metric, and how many independent ones they are worth."""
    # Nobody repeats, so the number of people adds nothing.
    if line.effective_n >= line.n:
        return f"n = {line.n:,}"
    return f"n = {line.n:,} from {line.people:,} people, worth {line.effective_n:,.0f} independent ones"


def named(segment: str | None) -> str:
    """Return the value of a dimension, or that it was not said."""
    return "(not said)" if segment in (None, "") else str(segment)


def spaced(name: str) -> str:
    """Return a name of ours as words."""
    return name.replace("_", " ")


def age(seconds: float) -> str:
    """Return a duration in its largest unit."""
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def _local(calendar: Calendar, at_ms: int, format: str) -> str:
    try:
        return calendar.local(at_ms).strftime(format)
    except Invalid:
        # A sender may claim any whole number as the time; no calendar reaches beyond the year 9999.
        return "a day beyond the calendar"
