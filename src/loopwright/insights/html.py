"""The quality report as one HTML file that needs nothing else: no script, no font, no picture from anywhere.

It opens from a mail or a folder, prints, follows the reader's light or dark theme, and says in words what each
plot shows. The templates escape every value that they are given.
"""

from __future__ import annotations

import re
from functools import lru_cache, partial
from typing import Any, Final

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from loopwright.stats.intervals import LEVEL

from . import figures
from .metrics import MetricLine
from .plots import CoursePlot, DotPlot, bar_width, course_plot, dot_plot
from .report import QualityReport
from .segments import Breakdown, SegmentLine
from .targets import metric

_MARKS: Final = {"met": "✓", "missed": "✗", "unclear": "?"}
_LEVEL_MARKS: Final = {"alarm": "✗", "warning": "!", "good": "✓", "note": "i"}
_UNSEEN: Final = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Characters that no reader sees. The direction marks among them can reverse the text around them, so that a
complaint or a version's name shows as something else ("Trojan Source", CVE-2021-42574); lone surrogates have no
UTF-8 encoding."""


def html(report: QualityReport) -> str:
    """Return the report as a self-contained HTML page."""
    calendar = report.period.calendar
    day = partial(figures.date, calendar)
    return (
        _environment()
        .get_template("report.html")
        .render(
            report=report,
            date=day,
            minute=partial(figures.minute, calendar),
            second=partial(figures.second, calendar),
            course_plot=lambda line: _course(line, day),
        )
    )


@lru_cache(maxsize=1)
def _environment() -> Environment:
    """Return the templates, compiled once per process."""
    made = Environment(
        loader=PackageLoader("loopwright.insights"),
        autoescape=True,
        # A misspelt name in a template raises here; by default it would print nothing.
        undefined=StrictUndefined,
        # Runs on each printed value before it is escaped, so no template can forget it.
        finalize=_seen,
        keep_trailing_newline=True,
    )
    for spell in (
        figures.whole, figures.percent, figures.rate, figures.short, figures.points, figures.named,
        figures.spaced, figures.age,
    ):  # fmt: skip
        made.filters[spell.__name__] = spell
    made.globals.update(
        marks=_MARKS,
        level_marks=_LEVEL_MARKS,
        level=f"{LEVEL * 100:g} %",
        span=figures.span,
        count=figures.count,
        bar_width=bar_width,
        said_breakdowns=_said_breakdowns,
        axis_start=_axis_start,
        dot_plot=_dot,
    )
    return made


def _seen(value: Any) -> Any:
    """Return a text with U+FFFD in place of each character that no reader sees."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return _UNSEEN.sub("\ufffd", value)
    return value


def _course(line: MetricLine, date: Any) -> CoursePlot:
    assert line.course is not None
    return course_plot(line, line.course, date=date)


def _said_breakdowns(report: QualityReport) -> list[Breakdown]:
    """Return the dimensions that have at least one value; a table without one tells nothing."""
    return [
        found
        for found in report.breakdowns or ()
        if any(segment.segment is not None for segment in found.segments)
    ]


def _axis_start(found: Breakdown) -> float:
    """Return where the axis of a breakdown begins: a round share below all its intervals and the target."""
    least = min((s.positive_rate.low for s in found.segments if s.positive_rate), default=0.0)
    return int(min(least, metric("satisfaction").target - 0.05) * 10) / 10


def _dot(segment: SegmentLine, low: float) -> DotPlot:
    assert segment.positive_rate is not None
    said = f"{figures.named(segment.segment)}: {figures.rate(segment.positive_rate)}"
    return dot_plot(said, segment.positive_rate, target=metric("satisfaction").target, low=low)
