"""The quality report as one HTML file that needs nothing else: no script, no font, no picture from anywhere.

It opens from a mail or a folder, prints, follows the reader's light or dark theme, and says in words what each
plot shows. Everything that came from outside is escaped.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from typing import Final

from loopwright.stats.intervals import Interval
from loopwright.trust.summary import Burst, TrustSummary

from .joins import JoinHealth
from .metrics import Breakdown, Course, MetricLine, SegmentLine
from .report import QualityReport
from .shifts import Drifts
from .targets import metric

TITLES: Final = {
    "satisfaction": "Satisfaction",
    "sql_accuracy": "SQL accuracy",
    "correction": "Corrections",
    "refinement": "Refinements",
    "abandonment": "Abandonment",
}

_PLOT_WIDTH: Final = 420
_PLOT_HEIGHT: Final = 150
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 10, 10, 20
_MARKS: Final = {"met": "✓", "missed": "✗", "unclear": "?"}
_LEVEL_MARKS: Final = {"alarm": "✗", "warning": "!", "good": "✓", "note": "i"}


def html(report: QualityReport) -> str:
    """Return the report as a self-contained HTML page."""
    name = escape(report.tenant_id + ("" if report.task is None else f", {report.task}"))
    body = "".join(
        (
            f"<header><h1>Quality report: {name}</h1><p class=sub>{_span(report)}</p></header>",
            _headline(report),
            _metrics(report),
            _trust(report.trust),
            _versions(report),
            _breakdowns(report),
            _failures(report),
            _corrected(report),
            _joins(report.joins),
            _drift(report.drift),
            _footer(report),
        )
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Quality report: {name}</title><style>{_STYLE}</style></head>"
        f"<body><main>{body}</main></body></html>\n"
    )


def _span(report: QualityReport) -> str:
    census = report.census
    parts = [
        f"{_minute(report.period.from_ms)} to {_minute(report.period.to_ms)} UTC",
        f"{census.counted:,} facts, {census.calls:,} calls",
        f"made {_minute(report.generated_at_ms)} UTC",
    ]
    return escape(" · ".join(parts))


def _headline(report: QualityReport) -> str:
    level = report.findings[0].level if report.findings else "note"
    made = f'<section class="lead {level}"><p>{escape(report.headline)}</p></section>'
    rest = report.findings[1:]
    if not rest:
        return made
    items = "".join(
        f"<li class={finding.level}><b aria-hidden=true>{_LEVEL_MARKS[finding.level]}</b> "
        f"{escape(finding.sentence)} <i>{escape(finding.action)}</i></li>"
        for finding in rest
    )
    return f"{made}<ul class=findings>{items}</ul>"


def _metrics(report: QualityReport) -> str:
    if report.metrics is None:
        return ""
    cards = "".join(_card(line, is_weighted=report.is_weighted) for line in report.metrics)
    return f"<section><h2>Metrics against targets</h2><div class=cards>{cards}</div></section>"


def _card(line: MetricLine, *, is_weighted: bool) -> str:
    title = TITLES.get(line.name, line.name)
    badge = f'<span class="badge {line.verdict}">{_MARKS[line.verdict]} {line.verdict}</span>'
    head = f"<h3>{escape(title)} {badge}</h3><p class=what>{escape(line.sentence)}</p>"
    target = f"target {line.direction} {line.target:.0%}"
    if line.value is None:
        return f"<article>{head}<p class=big>no data</p><p class=sub>{target}</p></article>"
    known = f"{_range(line.low, line.high)} · {target} · {_count(line.n, line.effective_n, line.people)}"
    shift = ""
    if line.change is not None and line.previous is not None:
        shift = f"<p class=sub>{_signed(line.change)} points since the period before ({line.previous:.1%})</p>"
    trust = ""
    if is_weighted and line.weighted is not None:
        trust = f"<p class=sub>by trust: {_rate(line.weighted)}</p>"
    plot = "" if line.course is None else _course(line, line.course)
    return f"<article>{head}<p class=big>{line.value:.1%}</p><p class=sub>{known}</p>{shift}{trust}{plot}</article>"


def _course(line: MetricLine, course: Course) -> str:
    points = course.points
    values = [p.low for p in points] + [p.high for p in points] + [line.target]
    low, high = max(min(values) - 0.02, 0.0), min(max(values) + 0.02, 1.0)
    width, height = _PLOT_WIDTH - _LEFT - _RIGHT, _PLOT_HEIGHT - _TOP - _BOTTOM
    start, end = points[0].start_ms, points[-1].start_ms

    def x(at_ms: float) -> float:
        return _LEFT + (width / 2 if start == end else (at_ms - start) / (end - start) * width)

    def y(value: float) -> float:
        return _TOP + (high - value) / (high - low or 1) * height

    band = " ".join(
        [f"{x(p.start_ms):.1f},{y(p.high):.1f}" for p in points]
        + [f"{x(p.start_ms):.1f},{y(p.low):.1f}" for p in reversed(points)]
    )
    path = " ".join(f"{x(p.start_ms):.1f},{y(p.value):.1f}" for p in points)
    # A lone point has no line, so it is drawn as a dot with its interval.
    lone = points[0]
    drawn = (
        f"<line class=band x1={x(start):.1f} x2={x(start):.1f} y1={y(lone.low):.1f} y2={y(lone.high):.1f} />"
        f"<circle class=dot cx={x(start):.1f} cy={y(lone.value):.1f} r=4 />"
        if len(points) == 1
        else f'<polygon class=band points="{band}"/><polyline class=line points="{path}"/>'
    )
    turns = "".join(
        f"<line class=turn x1={x(turn.at_ms):.1f} x2={x(turn.at_ms):.1f} y1={_TOP} y2={_TOP + height} />"
        for turn in course.turns
    )
    ticks = "".join(
        f'<text x={_LEFT - 4} y={y(value) + 4:.1f} text-anchor="end">{value:.0%}</text>'
        f"<line class=grid x1={_LEFT} x2={_PLOT_WIDTH - _RIGHT} y1={y(value):.1f} y2={y(value):.1f} />"
        for value in _ticks(low, high)
    )
    target = y(line.target)
    dates = f"<text x={_LEFT} y={_PLOT_HEIGHT - 4}>{_date(start)}</text>" + (
        ""
        if start == end
        else f'<text x={_PLOT_WIDTH - _RIGHT} y={_PLOT_HEIGHT - 4} text-anchor="end">{_date(end)}</text>'
    )
    said = _course_in_words(line, course)
    return (
        f'<svg viewBox="0 0 {_PLOT_WIDTH} {_PLOT_HEIGHT}" role="img" aria-label="{escape(said)}">'
        f"{ticks}{drawn}{turns}"
        f"<line class=target x1={_LEFT} x2={_PLOT_WIDTH - _RIGHT} y1={target:.1f} y2={target:.1f} />"
        f"{dates}</svg><p class=what>{escape(said)}</p>"
    )


def _course_in_words(line: MetricLine, course: Course) -> str:
    said = f"By {course.every}: {course.direction}"
    if course.per_week is not None and course.direction != "steady":
        said += f", {course.per_week.estimate * 100:+.1f} points a week"
    for turn in course.turns:
        said += f"; changed on {_date(turn.at_ms)} from {turn.before:.1%} to {turn.after:.1%}"
    return said + "."


def _trust(trust: TrustSummary | None) -> str:
    if trust is None or not trust.facts:
        return ""
    said = (
        f"Trust view {trust.version} counts {trust.counted:,} of {trust.facts:,} facts. "
        f"Held back as bursts: {trust.quarantined:,}; released: {trust.released:,}; "
        f"beyond a limit: {trust.capped:,}; of people wrong more often than chance: {trust.adversarial:,}."
    )
    if not trust.bursts:
        return _section("What counts by trust", said, "<p class=sub>Nothing came in a burst.</p>")
    heads = ("burst, UTC", "of", "facts", "praise", "people", "new accounts", "state")
    older = f"<p class=sub>{trust.more_bursts:,} older ones are not listed.</p>"
    made = _table(heads, map(_burst, trust.bursts), left=2, wide=True)
    return _section("What counts by trust", said, made + (older if trust.more_bursts else ""))


def _burst(burst: Burst) -> Sequence[str]:
    arm = " / ".join(name for name in (burst.experiment_id, burst.arm_id) if name)
    return (
        f"<span class=w>{_second(burst.first_ms)}</span> <span class=w>to {_second(burst.last_ms)}</span>",
        f"<span class=w>{escape(burst.kind)}s</span> {escape(arm)}",
        f"{burst.facts:,}",
        "-" if burst.praise is None else f"{burst.praise:,}",
        f"{burst.people:,}",
        f"{burst.new_accounts:,}",
        f"<div class=state>{_state(burst)}</div>",
    )


def _state(burst: Burst) -> str:
    held = f'<span class="badge unclear">! {burst.held:,} held back</span> ' if burst.held else ""
    if burst.release is None:
        return held
    release = burst.release
    note = f" <q>{escape(release.note)}</q>" if release.note else ""
    by = f"{_minute(release.released_at_ms)} by {escape(release.released_by)}"
    return f'{held}<span class="badge met">✓ released</span>{note}<div class=sub>{by}</div>'


def _versions(report: QualityReport) -> str:
    if not report.versions:
        return ""
    rows = [
        (
            escape(change.dimension.replace("_", " ")),
            escape(change.version),
            escape(change.baseline),
            f'<span class="badge {change.verdict.split()[0]}">{escape(change.verdict)}</span>',
            "-" if change.difference is None else _points(change.difference),
            f"{change.people:,} / {change.baseline_people:,}",
            "-" if change.detected_at_ms is None else _date(change.detected_at_ms),
            "-"
            if change.average_before is None
            else f"{change.average_before:.1%} → {change.average_since:.1%}",
        )
        for change in report.versions
    ]
    heads = (
        "what",
        "version",
        "beside",
        "verdict",
        "difference, points",
        "people",
        "certain since",
        "average before → since",
    )
    return _section(
        "Versions compared",
        "Person by person, over the same time; the verdict holds however often one looks.",
        _table(heads, rows, left=4),
    )


def _breakdowns(report: QualityReport) -> str:
    if report.breakdowns is None:
        return ""
    shown = [
        found for found in report.breakdowns if any(s.segment is not None for s in found.segments)
    ]
    if not shown:
        return ""
    blocks = "".join(_breakdown(found) for found in shown)
    return f"<section><h2>Satisfaction by segment</h2><div class=pairs>{blocks}</div></section>"


def _breakdown(found: Breakdown) -> str:
    target = metric("satisfaction").target
    least = min((s.positive_rate.low for s in found.segments if s.positive_rate), default=0.0)
    low = int(min(least, target - 0.05) * 10) / 10
    rows = [
        (
            escape(_named(segment.segment)),
            _interval_dot(segment, target, low=low),
            "-" if segment.positive_rate is None else _short(segment.positive_rate),
            f"{segment.ratings:,}",
            "-" if segment.average_stars is None else f"{segment.average_stars:.2f}",
            f"{segment.thumbs_up:,} / {segment.thumbs_down:,}",
        )
        for segment in found.segments
        if segment.segment is not None or segment.ratings
    ]
    heads = ("", f"{low:.0%} … 100%", "positive", "ratings", "stars", "up / down")
    more = f"<p class=sub>{found.left_out} more not shown</p>" if found.left_out else ""
    title = escape(found.dimension.replace("_", " "))
    return f"<div class=block><h3>By {title}</h3>{_table(heads, rows, left=2)}{more}</div>"


def _interval_dot(segment: SegmentLine, target: float, *, low: float) -> str:
    """Draw a rate as a dot with its interval on an axis from `low` to 1, which bars could not start at."""
    rate = segment.positive_rate
    if rate is None:
        return ""
    width, height = 170, 18

    def x(value: float) -> float:
        return 6 + (max(value, low) - low) / (1 - low) * (width - 12)

    said = f"{_named(segment.segment)}: {_rate(rate)}"
    ends = "".join(
        f"<line class=whisker x1={x(end):.1f} x2={x(end):.1f} y1=5 y2=13 />"
        for end in (rate.low, rate.high)
    )
    return (
        f'<svg class=bar viewBox="0 0 {width} {height}" role="img" aria-label="{escape(said)}">'
        f"<line class=grid x1={x(low):.1f} x2={x(1):.1f} y1=9 y2=9 />"
        f"<line class=target x1={x(target):.1f} x2={x(target):.1f} y1=0 y2={height} />"
        f"<line class=whisker x1={x(rate.low):.1f} x2={x(rate.high):.1f} y1=9 y2=9 />{ends}"
        f"<circle class=dot cx={x(rate.estimate):.1f} cy=9 r=4 /></svg>"
    )


def _failures(report: QualityReport) -> str:
    found = report.failures
    if found is None:
        return ""
    said = (
        f"From {found.negative:,} negative and {found.positive:,} positive texts. "
        "A longer bar is a phrase that marks complaints more surely."
    )
    if not found.patterns and not found.groups:
        return _section("Top failure patterns", said, "<p class=sub>No phrase stands out.</p>")
    most = max((pattern.z for pattern in found.patterns), default=1.0)
    rows = [
        (
            escape(pattern.phrase),
            _plain_bar(pattern.z / most, f"{pattern.phrase}: z {pattern.z:.1f}"),
            f"{pattern.negative:,.0f} / {pattern.positive:,.0f}",
            f"<q>{escape(pattern.examples[0])}</q>" if pattern.examples else "",
        )
        for pattern in found.patterns
    ]
    made = _table(("phrase", "how sure", "bad / good", "example"), rows, left=2, wide=True)
    if found.groups:
        groups = [
            (f"{group.texts:,}", escape(", ".join(group.words)), f"<q>{escape(group.example)}</q>")
            for group in found.groups
        ]
        made += "<h3>Alike complaints</h3>" + _table(
            ("texts", "words", "most typical"), groups, left=3
        )
    return _section("Top failure patterns", said, made)


def _plain_bar(share: float, said: str) -> str:
    return (
        f'<svg class=bar viewBox="0 0 170 18" role="img" aria-label="{escape(said)}">'
        f"<rect class=bad x=2 y=4 width={max(share, 0.02) * 166:.1f} height=10 rx=2 /></svg>"
    )


def _corrected(report: QualityReport) -> str:
    if not report.corrected:
        return ""
    rows = [
        (
            f"<q>{escape(found.query)}</q>",
            f"{found.correctors:,}",
            f"{found.corrected:,} of {found.asked:,}",
            _rate(found.rate),
        )
        for found in report.corrected
    ]
    return _section(
        "Most corrected queries",
        "Queries that differ only in case, numbers and quoted values are counted together.",
        _table(("query", "people", "corrected", "rate"), rows),
    )


def _joins(joins: JoinHealth | None) -> str:
    if joins is None or not joins.tasks:
        return ""
    rows = [
        (
            escape(_named(task.task)),
            "-" if task.rate is None else _rate(task.rate),
            f"{task.joined:,} of {task.outcomes:,}",
            f"{task.waiting:,} of {task.facts:,}",
            "-" if task.oldest_waiting_s is None else _age(task.oldest_waiting_s),
            '<span class="badge missed">✗ alarm</span>' if task.has_alarm else "",
        )
        for task in joins.tasks
    ]
    return _section(
        "Join health",
        f"Outcomes that join to a model version; the alarm is raised below {joins.least_rate:.0%}.",
        _table(("task", "join rate", "outcomes joined", "facts waiting", "oldest", ""), rows),
    )


def _drift(drift: Drifts | None) -> str:
    if drift is None or not drift.items:
        return ""
    rows = [
        (
            escape(item.of.replace("_", " ")),
            f"{item.psi:.3f}",
            f"{item.noise:.3f}",
            f'<span class="badge {item.verdict.split()[0]}">{escape(item.verdict)}</span>',
            escape(", ".join(f"{b.name} {b.before:.0%} → {b.now:.0%}" for b in item.moved)),
        )
        for item in drift.items
    ]
    seen = drift.rating_changes_ms
    said = "Against the period before, by PSI; only what is above its noise is drift. " + (
        f"The stream of ratings changed around {', '.join(_date(at) for at in seen)} (ADWIN)."
        if seen
        else "The stream of ratings shows no change (ADWIN)."
    )
    return _section(
        "Drift", said, _table(("what", "PSI", "noise", "verdict", "moved most"), rows, wide=True)
    )


def _footer(report: QualityReport) -> str:
    left = ""
    if report.census.quarantined or report.census.withheld:
        left = (
            f"Left out: {report.census.quarantined:,} facts in quarantine, "
            f"{report.census.withheld:,} without consent to analysis. "
        )
    return (
        f"<footer><p>{escape(left)}Definitions: taxonomy version {report.taxonomy}. Intervals hold the truth in 95 % "
        "of cases; where people repeat, they are taken over people. A target is met or missed only when the whole "
        f"interval lies on one side of it. True through log offset {report.offset:,}.</p></footer>"
    )


def _section(title: str, said: str, content: str) -> str:
    return f"<section><h2>{escape(title)}</h2><p class=sub>{escape(said)}</p>{content}</section>"


def _table(
    heads: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1, wide: bool = False
) -> str:
    """Return a table; `left` columns are text, and with `wide` the last one too. Cells are HTML already."""

    def kind(position: int) -> str:
        return "" if position < left or (wide and position == len(heads) - 1) else " class=n"

    head = "".join(f"<th{kind(k)}>{escape(text)}</th>" for k, text in enumerate(heads))
    body = "".join(
        "<tr>" + "".join(f"<td{kind(k)}>{cell}</td>" for k, cell in enumerate(row)) + "</tr>"
        for row in rows
    )
    return f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"


def _ticks(low: float, high: float) -> list[float]:
    """Return round values within [low, high], three to six of them."""
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.25, 0.5):
        first = -(-low // step)
        found = [round((first + k) * step, 4) for k in range(int((high - first * step) / step) + 1)]
        if len(found) <= 5:
            return found
    return [low, high]


def _count(n: int, effective_n: float, people: int) -> str:
    if effective_n >= n:
        return f"n = {n:,}"
    return f"n = {n:,} from {people:,} people, worth {effective_n:,.0f} independent ones"


def _rate(found: Interval) -> str:
    return f"{found.estimate:.1%} ({_range(found.low, found.high)})"


def _short(found: Interval) -> str:
    return f"{found.estimate:.1%} ({found.low * 100:.0f} to {found.high * 100:.0f})"


def _range(low: float | None, high: float | None) -> str:
    return f"{(low or 0.0) * 100:.1f} to {(high or 0.0) * 100:.1f} %"


def _signed(found: Interval) -> str:
    return f"{found.estimate * 100:+.1f} ({found.low * 100:+.1f} to {found.high * 100:+.1f})"


def _points(found: Interval) -> str:
    return escape(_signed(found))


def _named(segment: str | None) -> str:
    return "(not said)" if segment in (None, "") else str(segment)


def _age(seconds: float) -> str:
    for size, name in ((86_400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds:.0f} s"


def _date(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def _second(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _minute(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M")


_STYLE: Final = """
:root{color-scheme:light dark;--bg:#fff;--ink:#1b1f24;--soft:#59636e;--edge:#d5dae0;--card:#f7f8fa;
--line:#0969a8;--band:#0969a833;--good:#136f3a;--bad:#b3261e;--warn:#8a5a00;--note:#3d4852}
@media (prefers-color-scheme:dark){:root{--bg:#12161b;--ink:#e8ebee;--soft:#a0a9b4;--edge:#343c46;--card:#1a2027;
--line:#6bb6f0;--band:#6bb6f033;--good:#5fd08b;--bad:#ff8a80;--warn:#f0bd5c;--note:#b5bec8}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--ink);font:15px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main{max-width:1180px;margin:0 auto;padding:28px 20px 48px}
h1{font-size:1.6rem;margin:0}h2{font-size:1.2rem;margin:36px 0 10px}h3{font-size:1rem;margin:0 0 6px}
.block h3,section>h3{margin-top:14px}
.sub,.what,footer{color:var(--soft);font-size:.87rem;margin:3px 0}
.lead{border-left:5px solid var(--note);background:var(--card);padding:12px 18px;margin:18px 0 8px;font-size:1.15rem}
.lead p{margin:0}.lead.alarm{border-color:var(--bad)}.lead.warning{border-color:var(--warn)}.lead.good{border-color:var(--good)}
.findings{list-style:none;padding:0;margin:0}.findings li{padding:3px 0 3px 23px}.findings b{display:inline-block;width:18px}
.findings i{color:var(--soft);font-style:normal}
.findings .alarm b{color:var(--bad)}.findings .warning b{color:var(--warn)}.findings .good b{color:var(--good)}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(330px,1fr));gap:14px}
.pairs{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,520px),1fr));gap:10px 32px}.block{min-width:0}
.block td:first-child{min-width:80px}.block td{padding-right:8px}.block td,.block th{font-size:.84rem}
article{background:var(--card);border:1px solid var(--edge);border-radius:8px;padding:14px 16px}
.big{font-size:2rem;font-weight:650;margin:4px 0 0;font-variant-numeric:tabular-nums}
.badge{font-size:.78rem;font-weight:600;border:1px solid currentColor;border-radius:99px;padding:1px 8px;white-space:nowrap;color:var(--soft)}
.badge.met,.badge.improved,.badge.stable{color:var(--good)}.badge.missed,.badge.regressed,.badge.large{color:var(--bad)}
.badge.unclear,.badge.slight{color:var(--warn)}
svg{width:100%;height:auto;display:block;margin-top:8px}svg text{fill:var(--soft);font-size:11px}
.grid{stroke:var(--edge);stroke-width:1}polygon.band{fill:var(--band)}line.band{stroke:var(--band);stroke-width:8}
.line{fill:none;stroke:var(--line);stroke-width:2;stroke-linejoin:round}.dot{fill:var(--line)}
.target{stroke:var(--good);stroke-width:1.5;stroke-dasharray:5 4}.turn{stroke:var(--warn);stroke-width:1.5;stroke-dasharray:2 3}
svg.bar{width:130px;height:18px;margin:0}.whisker{stroke:var(--ink);stroke-width:1.4}.bad{fill:var(--bad);opacity:.65}
.scroll{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.88rem}
q{color:var(--soft)}th{color:var(--soft);font-weight:600;text-align:left;border-bottom:1px solid var(--edge);padding:4px 10px 4px 0;white-space:nowrap}
td{border-bottom:1px solid var(--edge);padding:4px 10px 4px 0;vertical-align:middle;overflow-wrap:anywhere}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}
.w{white-space:nowrap}.state{min-width:190px}q{quotes:none}footer{margin-top:40px;border-top:1px solid var(--edge);padding-top:10px}
@media (max-width:600px){.cards,.pairs{grid-template-columns:1fr}}
@media print{:root{color-scheme:light;--bg:#fff;--ink:#000;--soft:#444;--edge:#bbb;--card:#fff;--line:#0969a8;--band:#0969a833;
--good:#136f3a;--bad:#b3261e;--warn:#8a5a00;--note:#3d4852}main{max-width:none;padding:0}
article,.block,tr,.lead{break-inside:avoid}h2{break-after:avoid}*{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
"""
