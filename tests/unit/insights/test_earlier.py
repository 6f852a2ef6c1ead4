from __future__ import annotations

from tests.unit.insights.test_report import report

from loopwright.insights.earlier import insights_answer, quality_answer
from loopwright.insights.tallies import UnitTally


def rated(up: int, down: int) -> list[UnitTally]:
    return [UnitTally("satisfaction", 1, 1, up), UnitTally("satisfaction", 0, 1, down)]


def test_a_report_keeps_all_its_members_beside_those_of_earlier_systems() -> None:
    found = report(tallies=rated(100, 100))
    for answer in (insights_answer(found), quality_answer(found)):
        assert {name: getattr(answer, name) for name in found.__struct_fields__} == {
            name: getattr(found, name) for name in found.__struct_fields__
        }


def test_a_target_that_is_missed_is_false_and_one_that_cannot_be_told_is_null() -> None:
    missed = quality_answer(report(tallies=rated(100, 100))).satisfaction_score
    met = quality_answer(report(tallies=rated(2000, 10))).satisfaction_score
    unclear = quality_answer(report(tallies=rated(2, 0))).satisfaction_score
    assert missed is not None
    assert met is not None
    assert unclear is not None
    assert (missed.value, missed.is_met, missed.direction) == (0.5, False, "above")
    assert (met.is_met, unclear.is_met) == (True, None)


def test_a_metric_without_data_has_a_target_and_no_value() -> None:
    figure = quality_answer(report(tallies=rated(5, 5))).correction_rate
    assert figure is not None
    assert (figure.value, figure.is_met, figure.direction) == (None, None, "below")


def test_without_the_section_of_metrics_its_members_are_null() -> None:
    plain = report()
    answer = quality_answer(plain)
    assert plain.metrics is None
    assert answer.satisfaction_score is None
    summary = insights_answer(plain)
    assert (summary.overall_satisfaction, summary.improvement_trend) == (None, None)
    assert (summary.top_failure_patterns, summary.most_corrected_queries) == ((), ())


def test_the_main_findings_are_those_of_their_sections() -> None:
    answer = insights_answer(report(tallies=rated(30, 10)))
    assert answer.overall_satisfaction == 0.75
    assert answer.accuracy_rate is None
