"""Answers with the members that clients of earlier systems read, beside ours."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from msgspec.structs import asdict

from loopwright.stats.patterns import CorrectedQuery

from .failures import Pattern
from .metrics import MetricLine
from .report import QualityReport


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """A metric and its target."""

    value: float | None
    """Null without data."""
    target: float
    direction: str
    """Whether the target is to be `above` or `below`."""
    is_met: bool | None
    """Null while it cannot be told."""


class InsightsAnswer(QualityReport, frozen=True, kw_only=True):
    """A report with its five main findings at the top; they are null or empty where their section was not asked for."""

    overall_satisfaction: float | None
    accuracy_rate: float | None
    top_failure_patterns: tuple[Pattern, ...]
    improvement_trend: str | None
    """Of satisfaction: improving, worsening, steady, too few; null without data."""
    most_corrected_queries: tuple[CorrectedQuery, ...]


class QualityAnswer(QualityReport, frozen=True, kw_only=True):
    """A report with the five metrics at the top; null where the section of metrics could not be made."""

    satisfaction_score: Figure | None
    sql_accuracy: Figure | None
    correction_rate: Figure | None
    refinement_rate: Figure | None
    abandonment_rate: Figure | None


def insights_answer(report: QualityReport) -> InsightsAnswer:
    """Return a report with its main findings at the top."""
    lines = _lines(report)
    satisfaction, accuracy = lines.get("satisfaction"), lines.get("sql_accuracy")
    course = None if satisfaction is None else satisfaction.course
    return InsightsAnswer(
        # `asdict` copies the fields alone: nested structs are shared, not converted.
        **asdict(report),
        overall_satisfaction=None if satisfaction is None else satisfaction.value,
        accuracy_rate=None if accuracy is None else accuracy.value,
        top_failure_patterns=() if report.failures is None else report.failures.patterns,
        improvement_trend=None if course is None else course.direction,
        most_corrected_queries=report.corrected or (),
    )


def quality_answer(report: QualityReport) -> QualityAnswer:
    """Return a report with the five metrics at the top."""
    lines = _lines(report)
    return QualityAnswer(
        **asdict(report),
        satisfaction_score=_figure(lines, "satisfaction"),
        sql_accuracy=_figure(lines, "sql_accuracy"),
        correction_rate=_figure(lines, "correction"),
        refinement_rate=_figure(lines, "refinement"),
        abandonment_rate=_figure(lines, "abandonment"),
    )


def _lines(report: QualityReport) -> dict[str, MetricLine]:
    return {line.name: line for line in report.metrics or ()}


def _figure(lines: Mapping[str, MetricLine], name: str) -> Figure | None:
    line = lines.get(name)
    if line is None:
        return None
    # Null and not false: clients of earlier systems would show an unclear target as a missed one.
    is_met = None if line.verdict == "unclear" else line.verdict == "met"
    return Figure(value=line.value, target=line.target, direction=line.direction, is_met=is_met)
