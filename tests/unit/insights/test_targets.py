from __future__ import annotations

import pytest
from msgspec import structs

from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.insights.targets import CATALOGUE, catalogue, declare, judge, metric
from loopwright.stats.intervals import Interval, wilson


def between(low: float, high: float) -> Interval:
    return Interval(estimate=(low + high) / 2, low=low, high=high, n=100)


def test_the_catalogue_has_the_agreed_targets():
    assert {(m.name, m.direction, m.target) for m in CATALOGUE} == {
        ("satisfaction", "above", 0.85),
        ("sql_accuracy", "above", 0.90),
        ("correction", "below", 0.10),
        ("refinement", "below", 0.20),
        ("abandonment", "below", 0.15),
    }


@pytest.mark.parametrize(
    ("name", "low", "high", "verdict"),
    [
        ("satisfaction", 0.86, 0.90, "met"),
        ("satisfaction", 0.80, 0.90, "unclear"),
        ("satisfaction", 0.80, 0.84, "missed"),
        ("satisfaction", 0.85, 0.85, "missed"),
        ("correction", 0.05, 0.09, "met"),
        ("correction", 0.05, 0.11, "unclear"),
        ("correction", 0.11, 0.20, "missed"),
        ("correction", 0.10, 0.10, "missed"),
    ],
)
def test_the_verdict_follows_from_the_whole_interval(name, low, high, verdict):
    assert judge(metric(name), between(low, high)).verdict == verdict


def test_a_verdict_says_what_was_found_and_what_was_wanted():
    reason = judge(metric("satisfaction"), wilson(80, 100)).reason
    assert reason == "satisfaction is 80.0% (71.1% to 86.7%); target above 85%; more data will tell"


def test_an_empty_period_is_unclear_and_says_why():
    found = judge(metric("refinement"), None)
    assert (found.verdict, found.reason) == ("unclear", "no data in this period")


def test_an_unknown_metric_is_named_with_those_there_are():
    with pytest.raises(NotFound, match="'happiness'; the catalogue has satisfaction"):
        metric("happiness")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "No'; DROP"}, "lower-case"),
        ({"name": "x", "target": 1.0}, "between 0 and 1"),
        ({"name": "x", "target": float("nan")}, "between 0 and 1"),
        ({"name": "x", "reads": ("people",)}, "reads people; expected"),
        ({"name": "x", "reads": ()}, "reads nothing; expected"),
    ],
)
def test_a_declaration_that_cannot_be_is_refused(changes, said):
    with pytest.raises(Invalid, match=said):
        declare(structs.replace(CATALOGUE[0], **changes))


def test_a_name_has_one_definition():
    assert declare(CATALOGUE[0]) is CATALOGUE[0]
    with pytest.raises(Conflict, match="another definition"):
        declare(structs.replace(CATALOGUE[0], target=0.5))
    assert catalogue()[: len(CATALOGUE)] == CATALOGUE
