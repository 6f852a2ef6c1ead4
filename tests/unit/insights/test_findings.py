from __future__ import annotations

import pytest

from loopwright.core.clock import DAY_MS
from loopwright.insights.failures import Failures, Group, Pattern
from loopwright.insights.findings import Finding, Parts, findings, headline
from loopwright.insights.metrics import MetricLine, metric_lines
from loopwright.insights.tallies import UnitTally
from loopwright.insights.targets import CATALOGUE
from loopwright.stats.intervals import wilson
from loopwright.stats.patterns import CorrectedQuery
from loopwright.warehouse.period import Calendar, Period

MONTH = Period(from_ms=19_970 * DAY_MS, to_ms=20_000 * DAY_MS)
PATTERN = Pattern(phrase="date format", z=5, log_odds=1, negative=9, positive=0, examples=())
GROUP = Group(texts=9, weight=9, words=("date",), example="wrong date")
QUERY = CorrectedQuery(query="q", asked=9, corrected=5, correctors=5, rate=wilson(5, 9))


def texts(*patterns: Pattern, groups: tuple[Group, ...] = ()) -> Failures:
    return Failures(negative=9, positive=9, patterns=patterns, groups=groups)


def missed() -> tuple[MetricLine, ...]:
    """Every metric of the catalogue, each missing its target."""
    tallies = [
        UnitTally(of.name, hit, 1, 100 if hit == (of.direction == "below") else 1)
        for of in CATALOGUE
        for hit in (0, 1)
    ]
    return metric_lines("acme", MONTH, tallies=tallies)


@pytest.mark.parametrize(
    ("failures", "corrected", "pointed"),
    [
        (None, None, set()),
        (texts(), (), set()),
        (texts(PATTERN), (), {"failures"}),
        (texts(groups=(GROUP,)), (QUERY,), {"failures", "corrected"}),
    ],
)
def test_an_action_points_only_at_sections_with_something_to_show(
    failures: Failures | None, corrected: tuple[CorrectedQuery, ...] | None, pointed: set[str]
) -> None:
    parts = Parts(lines=missed(), failures=failures, corrected=corrected)
    found = [f for f in findings(parts, Calendar()) if f.kind == "missed"]

    assert len(found) == len(CATALOGUE)
    assert {f.section for f in found} - {None} == pointed
    assert all(f.section is not None for f in found if "below" in f.action or "“" in f.action)


def test_a_section_that_failed_is_told_with_the_reason() -> None:
    (found,) = findings(Parts(failed={"drift": "value is 4."}), Calendar())

    assert (found.level, found.kind) == ("warning", "left out")
    assert found.sentence == "The section 'drift' is left out: value is 4."


def test_the_headline_counts_what_else_is_urgent() -> None:
    def finding(level: str) -> Finding:
        return Finding(level=level, kind="x", sentence="It broke.", action="Mend it.")  # type: ignore[arg-type]

    assert headline(()) == "There is nothing to report."
    assert headline([finding("alarm")]) == "It broke. Mend it."
    urgent = [finding("alarm"), finding("warning"), finding("good")]
    assert headline(urgent) == "It broke. Mend it. 1 more below."
