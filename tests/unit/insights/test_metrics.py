from __future__ import annotations

import numpy as np
import pytest

from loopwright.core.clock import DAY_MS
from loopwright.core.errors import Invalid
from loopwright.insights.metrics import (
    RatedFact,
    design_effect,
    estimate,
    metric_lines,
    weighted_rate_of,
)
from loopwright.insights.tallies import UnitTally
from loopwright.stats.intervals import wilson
from loopwright.warehouse.period import Period, seeded

NOW = 20_000 * DAY_MS
MONTH = Period(from_ms=NOW - 30 * DAY_MS, to_ms=NOW)


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_people_who_speak_once_make_a_wilson_interval() -> None:
    found = estimate([UnitTally("m", 1, 1, 90), UnitTally("m", 0, 1, 10)], rng=rng())

    assert found is not None
    assert found.interval == wilson(90, 100)
    assert (found.method, found.n, found.effective_n, found.people) == ("wilson", 100, 100, 100)
    assert design_effect(found) == 1


def test_people_who_repeat_widen_the_interval_and_shrink_the_effective_number() -> None:
    found = estimate([UnitTally("m", 20, 20, 50), UnitTally("m", 0, 20, 50)], rng=rng())

    assert found is not None
    assert found.method == "bootstrap by person"
    assert (found.n, found.people) == (2000, 100)
    once = wilson(1000, 2000)
    assert found.interval.high - found.interval.low > 3 * (once.high - once.low)
    # Everybody always says the same, so a person is worth one observation.
    assert found.effective_n == pytest.approx(100, rel=0.15)
    assert design_effect(found) == pytest.approx(20, rel=0.15)


def test_many_people_give_the_interval_of_the_bootstrap_without_drawing() -> None:
    tallies = [UnitTally("m", hits, 10, 30) for hits in range(11)]
    drawn = estimate(tallies, rng=rng())
    many = estimate([UnitTally("m", hits, 10, 300) for hits in range(11)], rng=rng())

    assert drawn is not None
    assert many is not None
    assert (drawn.method, many.method) == ("bootstrap by person", "linearised by person")
    # Ten times the people, so an interval narrower by the root of ten.
    ratio = (drawn.interval.high - drawn.interval.low) / (many.interval.high - many.interval.low)
    assert ratio == pytest.approx(10**0.5, rel=0.1)


def test_a_handful_of_people_count_once_each_however_often_they_speak() -> None:
    found = estimate([UnitTally("m", 500, 1000, 3)], rng=rng())

    assert found is not None
    assert found.method == "wilson by person"
    assert found.interval == wilson(1.5, 3)


def test_a_metric_without_data_has_no_value_and_an_unclear_verdict() -> None:
    lines = metric_lines("acme", MONTH, tallies=[UnitTally("correction", 0, 0, 4)])

    assert len(lines) == 5
    assert all(line.value is None and line.verdict == "unclear" and line.n == 0 for line in lines)


def test_an_impossible_tally_is_refused() -> None:
    with pytest.raises(Invalid, match="more hits"):
        estimate([UnitTally("m", 2, 1, 1)], rng=rng())


def test_verdicts_are_met_missed_and_unclear_by_the_whole_interval() -> None:
    tallies = [
        UnitTally("satisfaction", 1, 1, 950),
        UnitTally("satisfaction", 0, 1, 50),
        UnitTally("correction", 1, 1, 300),
        UnitTally("correction", 0, 1, 700),
        UnitTally("refinement", 1, 1, 18),
        UnitTally("refinement", 0, 1, 82),
    ]
    found = {line.name: line for line in metric_lines("acme", MONTH, tallies=tallies)}

    assert found["satisfaction"].verdict == "met"
    assert found["correction"].verdict == "missed"
    assert found["refinement"].verdict == "unclear"
    assert found["correction"].value == 0.3


def test_the_change_since_the_period_before_comes_with_its_interval() -> None:
    now = [UnitTally("satisfaction", 1, 1, 90), UnitTally("satisfaction", 0, 1, 10)]
    before = [UnitTally("satisfaction", 1, 1, 50), UnitTally("satisfaction", 0, 1, 50)]
    line = metric_lines("acme", MONTH, tallies=now, before=before)[0]

    assert line.previous == 0.5
    assert line.change is not None
    assert line.change.estimate == pytest.approx(0.4)
    assert 0 < line.change.low < 0.4 < line.change.high


def test_the_same_report_has_the_same_intervals_and_another_tenant_its_own_randomness() -> None:
    tallies = [UnitTally("satisfaction", k % 7, 7, 5) for k in range(20)]

    assert metric_lines("acme", MONTH, tallies=tallies) == metric_lines(
        "acme", MONTH, tallies=tallies
    )
    first, other = seeded("acme", MONTH, "x"), seeded("other", MONTH, "x")
    assert first.random() != other.random()


def test_votes_count_by_their_trust() -> None:
    facts = [RatedFact(f"e{k}", f"u{k}", 1.0 if k < 50 else 0.0) for k in range(100)]
    found = weighted_rate_of(
        facts, {f"e{k}": 0.0 for k in range(50, 100)}, positive_from=0.75, rng=rng()
    )

    assert found is not None
    assert found.estimate == 1.0
    assert weighted_rate_of(facts[:1], {}, positive_from=0.75, rng=rng()) is None
