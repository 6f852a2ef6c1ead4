from __future__ import annotations

from loopwright.insights import figures
from loopwright.stats.intervals import Interval
from loopwright.warehouse.period import Calendar

FOUND = Interval(estimate=0.5, low=0.25, high=0.755, n=10)


def test_times_are_spelled_by_the_wall_clock_of_the_zone() -> None:
    berlin = Calendar("Europe/Berlin")

    assert figures.date(berlin, 1_774_828_800_000) == "2026-03-30"
    assert figures.minute(berlin, 1_774_828_800_000) == "2026-03-30 02:00"
    assert figures.second(Calendar(), 1_774_828_801_000) == "2026-03-30 00:00:01"


def test_times_that_no_calendar_has_are_told() -> None:
    assert figures.date(Calendar(), None) == "an unknown day"
    assert figures.date(Calendar(), 2**61) == "a day beyond the calendar"


def test_numbers_are_spelled_for_people() -> None:
    assert figures.whole(1234567.4) == "1,234,567"
    assert (figures.percent(0.5), figures.percent(0.5, 0)) == ("50.0%", "50%")
    assert figures.rate(FOUND) == "50.0% (25.0 to 75.5 %)"
    assert figures.short(FOUND) == "50.0% (25 to 76)"
    assert figures.points(FOUND) == "+50.0 (+25.0 to +75.5)"
    assert [figures.age(s) for s in (5, 90, 7200, 86_400)] == ["5 s", "1.5 min", "2.0 h", "1.0 d"]
    assert figures.named("") == figures.named(None) == "(not said)"
