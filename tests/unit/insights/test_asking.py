"""The questions of one report, put to a real warehouse."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.warehouse.world import NOW, UP, World, call, feedback

from loopwright.core.clock import DAY_MS
from loopwright.core.feedback import Outcome
from loopwright.insights.asking import Asking, material
from loopwright.insights.sections import SECTIONS
from loopwright.insights.segments import SegmentTally
from loopwright.warehouse.period import period


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_only_what_the_sections_need_is_asked(world: World) -> None:
    world.say(call("i1"), feedback("f1", UP))
    of = period(NOW + DAY_MS, days=7)
    joins = material(world.warehouse(), "acme", of, wanted=["joins"])
    every = material(world.warehouse(), "acme", of, wanted=SECTIONS)

    assert joins.joins is not None
    assert (joins.tallies, joins.segments, joins.texts, joins.shares) == (None, None, None, None)
    assert not joins.has_metrics
    assert every.failed == {}
    assert every.has_metrics
    assert None not in (every.tallies, every.segments, every.texts, every.joins, every.shares)


def test_a_mean_that_overflows_is_not_known(world: World) -> None:
    world.say(*(feedback(f"f{k}", Outcome("x", 1.7e308)) for k in range(3)))
    ask = Asking(world.warehouse(), "acme", period(NOW + DAY_MS, days=7))
    (found,) = ask.typed("by_category", SegmentTally)

    assert (found.outcomes, found.outcome_value) == (3, None)


def test_days_are_those_of_the_zone_and_begin_at_its_midnight(world: World) -> None:
    of = period(NOW, since="2026-03-29", until="2026-03-31", tz="Europe/Berlin")
    hours = range(of.from_ms, of.to_ms, DAY_MS // 24)
    world.say(*(feedback(f"f{at}", UP, at_ms=at, person=f"p{at}") for at in hours))
    found = Asking(world.warehouse(), "acme", of).days()

    first, second = (day for day in found if day.metric == "satisfaction")
    assert (first.day_ms, first.n, second.n) == (of.from_ms, 23, 24)
    assert second.day_ms - first.day_ms == 23 * DAY_MS // 24
