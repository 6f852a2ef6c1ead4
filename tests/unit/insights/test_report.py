from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from loopwright.core.clock import DAY_MS
from loopwright.insights.census import Census
from loopwright.insights.joins import JoinTally
from loopwright.insights.metrics import RatedFact
from loopwright.insights.report import Material, QualityReport, quality_report
from loopwright.insights.tallies import UnitTally
from loopwright.insights.versions import VersionValues
from loopwright.warehouse.period import Period

NOW = 20_000 * DAY_MS
MONTH = Period(from_ms=NOW - 30 * DAY_MS, to_ms=NOW)
SOME = Census(facts=100, calls=100, first_ms=MONTH.from_ms, last_ms=NOW - 1)


def report(now: Census = SOME, ever: Census = SOME, **material: Any) -> QualityReport:
    weights = material.pop("weights", None)
    return quality_report(
        "acme",
        MONTH,
        material=Material(now=now, ever=ever, offset=7, watermark=5, **material),
        now_ms=NOW,
        weights=weights,
    )


def two_versions(good: float, bad: float, *, people: int = 600) -> VersionValues:
    """Version b joins with a fifth of the people after a third of the time."""
    rng = np.random.default_rng(3)
    versions, units, times, values = [], [], [], []
    for k in range(3 * people):
        is_b = k > people and k % 5 == 0
        versions.append("b" if is_b else "a")
        units.append(f"u{k}")
        times.append(MONTH.from_ms + k * 1000)
        values.append(float(rng.random() < (bad if is_b else good)))
    return VersionValues(versions, units, times, values)


def test_the_headline_names_the_regressed_version_and_what_to_do() -> None:
    found = report(versions={"prompt_version": two_versions(0.9, 0.6)})

    assert found.findings[0].kind == "regression"
    assert "Prompt version 'b'" in found.headline
    assert "Go back to 'a'" in found.headline


def test_a_missed_target_is_an_alarm() -> None:
    tallies = [UnitTally("satisfaction", 1, 1, 100), UnitTally("satisfaction", 0, 1, 100)]
    found = report(tallies=tallies)

    assert found.missed == ("satisfaction",)
    assert found.headline.startswith("Satisfaction is 50.0%, below its target of 85%.")


def test_met_targets_are_good_news() -> None:
    found = report(
        tallies=[UnitTally("satisfaction", 1, 1, 980), UnitTally("satisfaction", 0, 1, 20)]
    )

    assert found.missed == ()
    assert found.findings[0].level == "good"
    assert "On target: satisfaction." in found.headline


def test_early_numbers_are_called_too_early() -> None:
    found = report(tallies=[UnitTally("satisfaction", 1, 1, 9), UnitTally("satisfaction", 0, 1, 1)])

    assert "too early to say whether satisfaction meets its target" in found.headline


@pytest.mark.parametrize(
    ("now", "ever", "reason", "said"),
    [
        (Census(), Census(), "no feedback at all", "No feedback has ever arrived"),
        (
            Census(),
            Census(facts=3, first_ms=NOW - 90 * DAY_MS, last_ms=NOW - 80 * DAY_MS),
            "none in this period",
            "from 2024-07-06 to 2024-07-16",
        ),
        (Census(facts=5, withheld=5), Census(facts=5, withheld=5), "consent", "5 because consent"),
        (
            Census(facts=5, withheld=1, quarantined=4),
            Census(facts=9),
            "quarantine",
            "4 are in quarantine",
        ),
    ],
)
def test_an_empty_report_says_why_it_is_empty(
    now: Census, ever: Census, reason: str, said: str
) -> None:
    found = report(now=now, ever=ever, tallies=[])

    assert found.empty is not None
    assert found.empty.reason == reason
    assert said in found.empty.sentence
    assert found.headline.startswith(found.empty.sentence)
    assert all(line.value is None for line in found.metrics or ())


def test_a_section_that_was_not_asked_for_is_null() -> None:
    found = report(tallies=[], has_metrics=False, segments={})

    assert found.metrics is None
    assert found.breakdowns == ()
    assert (found.versions, found.failures, found.joins, found.drift) == (None,) * 4


def test_the_headline_names_the_task_whose_outcomes_do_not_join() -> None:
    tallies = [JoinTally(task="chat", outcomes=100, joined=40, facts=200, waiting=60)]

    assert "Only 40% of the outcomes of task 'chat' join" in report(joins=tallies).headline


def test_a_shift_of_what_comes_in_is_a_warning_and_unsaid_dimensions_are_left_out() -> None:
    shares: dict[str, Any] = {
        "device_type": ({"web": 900, "voice": 100}, {"web": 400, "voice": 600}),
        "locale": ({None: 1000}, {None: 1000}),
    }
    found = report(shares=shares, numbers={"cost": ([1.0] * 500, [1.0] * 500)})

    assert found.drift is not None
    assert [item.of for item in found.drift.items] == ["device_type", "cost"]
    assert found.drift.items[0].verdict == "large"
    assert found.drift.items[0].moved[0].name in ("web", "voice")
    assert "device_type is unlike the period before" in found.headline


def test_a_fall_in_the_stream_of_ratings_is_dated() -> None:
    times = tuple(range(NOW, NOW + 1000))
    found = report(shares={}, ratings=(times, (1.0,) * 500 + (0.0,) * 500))

    assert found.drift is not None
    assert NOW + 500 <= found.drift.rating_changes_ms[0] < NOW + 560


def test_trust_changes_the_weighted_number_and_not_the_raw_one() -> None:
    rated = [RatedFact(f"e{k}", f"u{k}", float(k % 2)) for k in range(200)]
    tallies = [UnitTally("satisfaction", 1, 1, 100), UnitTally("satisfaction", 0, 1, 100)]
    weights = {f"e{k}": 0.1 for k in range(0, 200, 2)}
    found = report(tallies=tallies, rated=rated, weights=weights)

    assert found.is_weighted
    assert found.metrics is not None
    line = found.metrics[0]
    assert line.value == 0.5
    assert line.weighted is not None
    assert line.weighted.estimate == pytest.approx(100 / 110)


def test_a_report_survives_json() -> None:
    found = report(
        tallies=[UnitTally("satisfaction", 1, 1, 5)],
        versions={"prompt_version": two_versions(0.9, 0.6)},
        joins=[JoinTally(task="sql", outcomes=2, joined=1)],
    )

    assert msgspec.json.decode(msgspec.json.encode(found), type=QualityReport) == found
