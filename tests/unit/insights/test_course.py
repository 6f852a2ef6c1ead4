from __future__ import annotations

from itertools import pairwise

import pytest

from loopwright.core.clock import DAY_MS
from loopwright.insights.course import course_of
from loopwright.insights.tallies import DayTally
from loopwright.insights.targets import metric
from loopwright.warehouse.period import Period, period

NOW = 20_000 * DAY_MS
MONTH = Period(from_ms=NOW - 30 * DAY_MS, to_ms=NOW)
BERLIN = "Europe/Berlin"
HOUR_MS = 3_600_000


def days(name: str, rates: list[float], n: int = 200) -> list[DayTally]:
    return [
        DayTally(name, MONTH.from_ms + k * DAY_MS, round(rate * n), n)
        for k, rate in enumerate(rates)
    ]


def test_a_fall_is_found_on_its_day_and_told_with_the_means_of_both_sides() -> None:
    found = course_of(
        metric("satisfaction"),
        MONTH,
        days("satisfaction", [0.9] * 18 + [0.7] * 12),
        tenant_id="acme",
    )

    assert found is not None
    assert found.every == "day"
    assert [turn.at_ms for turn in found.turns] == [MONTH.from_ms + 18 * DAY_MS]
    assert found.turns[0].before == pytest.approx(0.9)
    assert found.turns[0].after == pytest.approx(0.7)
    assert found.direction == "worsening"


def test_weekends_that_always_differ_are_no_change() -> None:
    rates = [0.7 if k % 7 in (5, 6) else 0.9 for k in range(30)]
    found = course_of(metric("satisfaction"), MONTH, days("satisfaction", rates), tenant_id="acme")

    assert found is not None
    assert found.turns == ()
    assert found.direction == "steady"


def test_falling_corrections_are_an_improvement() -> None:
    rates = [0.3 - 0.005 * k for k in range(30)]
    found = course_of(metric("correction"), MONTH, days("correction", rates), tenant_id="acme")

    assert found is not None
    assert found.direction == "improving"
    assert found.per_week is not None
    assert found.per_week.estimate == pytest.approx(-0.035, abs=0.001)


def test_a_long_period_is_told_by_week() -> None:
    year = Period(from_ms=NOW - 364 * DAY_MS, to_ms=NOW)
    tallies = [DayTally("satisfaction", year.from_ms + k * DAY_MS, 8, 10) for k in range(364)]
    found = course_of(metric("satisfaction"), year, tallies, tenant_id="acme")

    assert found is not None
    assert found.every == "week"
    assert [point.n for point in found.points] == [70] * 52


def test_days_of_23_and_25_hours_are_days_and_weeks_stay_whole() -> None:
    year = period(NOW, since="2026-01-01", until="2026-12-31", tz=BERLIN)
    calendar = year.calendar
    first = calendar.day(year.from_ms)
    tallies = [DayTally("satisfaction", calendar.start_ms(first + k), 8, 10) for k in range(364)]
    weeks = course_of(metric("satisfaction"), year, tallies, tenant_id="acme")

    assert weeks is not None
    assert [point.n for point in weeks.points] == [70] * 52

    short = period(NOW, since="2026-03-28", until="2026-03-31", tz=BERLIN)
    found = course_of(metric("satisfaction"), short, tallies[86:89], tenant_id="acme")

    assert found is not None
    starts = [point.start_ms for point in found.points]
    assert [b - a for a, b in pairwise(starts)] == [24 * HOUR_MS, 23 * HOUR_MS]
