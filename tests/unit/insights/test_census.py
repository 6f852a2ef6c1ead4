from __future__ import annotations

from loopwright.insights.census import Census, emptiness
from loopwright.warehouse.period import Calendar

SOME = Census(facts=100, calls=100)


def test_one_fact_that_counts_is_not_empty() -> None:
    assert emptiness(Census(facts=3, withheld=1, quarantined=1), SOME) is None


def test_days_are_those_of_the_readers_zone_and_impossible_times_are_told() -> None:
    ever = Census(facts=3, first_ms=1_782_860_400_000, last_ms=2**61)
    found = emptiness(Census(), ever, calendar=Calendar("Europe/Berlin"))

    assert found is not None
    assert "from 2026-07-01 to a day beyond the calendar" in found.sentence
