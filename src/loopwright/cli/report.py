"""`loopwright report`: the quality report of a tenant, from a data directory or from a server."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter

from loopwright.core.errors import DirectoryLocked, Invalid, NotFound

from .offline import warehouse_of, zone_in
from .options import HERE, Server
from .show import FAILED, console, percent, say, sparkline, table

if TYPE_CHECKING:
    from rich.console import Console

    from loopwright.insights.metrics import MetricLine
    from loopwright.insights.report import QualityReport
    from loopwright.insights.service import Insights
    from loopwright.stats.intervals import Interval
    from loopwright.trust.view import Trust

Format = Literal["table", "json", "html", "csv"]

TIMEOUT_S: Final = 60.0
_ENDINGS: Final[dict[str, Format]] = {
    ".txt": "table",
    ".json": "json",
    ".html": "html",
    ".htm": "html",
    ".csv": "csv",
}
_SHOWN: Final = 8
_MARKS: Final = {"met": "✓ met", "missed": "✗ missed", "unclear": "? unclear"}
_LEVELS: Final = {"alarm": "✗", "warning": "!", "good": "✓", "note": "i"}


@Parameter(name="*")
@dataclass(frozen=True)
class Asked:
    """Scope of the report; the fields are the query parameters of the server's report."""

    days: Annotated[int | None, Parameter(help="The last so many days; 30 by default.")] = None
    since: Annotated[str | None, Parameter(help="Start: a date or an ISO 8601 time.")] = None
    until: Annotated[str | None, Parameter(help="End, itself not included; now by default.")] = None
    tz: Annotated[
        str | None,
        Parameter(
            help="Time zone whose midnights days begin at, as Europe/Berlin; the tenant's by default."
        ),
    ] = None
    task: Annotated[str | None, Parameter(help="Only this task.")] = None
    trust: Annotated[
        bool, Parameter(help="Show what the figures are by trust beside what was said.")
    ] = True

    def params(self) -> dict[str, str]:
        """Return what was given, as a query."""
        given = asdict(self) | {"trust": "on" if self.trust else "off"}
        return {name: str(value) for name, value in given.items() if value is not None}


def report(
    tenant: Annotated[
        str | None, Parameter(help="Tenant; the key's own, or the default one, when not given.")
    ] = None,
    /,
    *,
    asked: Asked = Asked(),
    format: Annotated[
        Format | None, Parameter(help="What to write; by default what --out ends in, or a table.")
    ] = None,
    out: Annotated[
        Path | None,
        Parameter(help="File to write to instead of the terminal: .txt, .json, .html or .csv."),
    ] = None,
    check: Annotated[
        bool, Parameter(negative=(), help="Exit with 1 when a metric misses its target.")
    ] = False,
    url: Annotated[
        str | None,
        Parameter(
            env_var="LOOPWRIGHT__URL",
            help="Address of a server. Without it the data directory is read, or asked of the server on this "
            "machine that holds it.",
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        Parameter(
            env_var="LOOPWRIGHT__API_KEY", show_default=False, help="API key for the server."
        ),
    ] = None,
    data: Annotated[
        Path, Parameter(env_var="LOOPWRIGHT__DATA_DIR", help="Data directory.")
    ] = HERE.data,
    json: Annotated[
        bool, Parameter(name="--json", negative=(), help="The same as --format json.")
    ] = False,
) -> int:
    """Report on quality: metrics against targets, trends, versions, failure patterns, drift."""
    wanted = "json" if json else format or _format_of(out)
    server = Server(url, api_key, data)
    found = _fetched(server, tenant, asked) if url else _read(server, tenant, asked)
    if wanted == "table" and out is None:
        _show(found)
    else:
        _write(_rendered(found, wanted), out)
    if out is not None:
        say(f"written to {out}")
    return FAILED if check and found.missed else 0


def _format_of(out: Path | None) -> Format:
    """Return the format that a file's name asks for; raises `Invalid` when it asks for none of ours."""
    if out is None:
        return "table"
    wanted = _ENDINGS.get(out.suffix.lower())
    if wanted is None:
        raise Invalid(
            f"the ending of {out.name} says no format; use {', '.join(_ENDINGS)}, or say --format"
        )
    return wanted


def _rendered(found: QualityReport, wanted: Format) -> str:
    if wanted == "html":
        from loopwright.insights.html import html

        return html(found)
    return {"json": _json, "csv": _csv, "table": _drawn}[wanted](found)


def _csv(found: QualityReport) -> str:
    """Return the metrics, one a row, shares from 0 to 1."""
    from loopwright.insights.exports import inert

    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(("metric", "verdict", "value", "low", "high", "direction", "target", "n"))
    for line in found.metrics or ():
        rows.writerow(
            (
                inert(line.name),
                line.verdict,
                line.value,
                line.low,
                line.high,
                line.direction,
                line.target,
                line.n,
            )
        )
    return text.getvalue()


def _read(server: Server, tenant: str | None, asked: Asked) -> QualityReport:
    """Read the data directory itself, or ask the server that holds it."""
    from loopwright.catalog import DEFAULT_TENANT
    from loopwright.insights.trusted import trusted_report
    from loopwright.warehouse.period import period

    try:
        with _insights(server.data) as (insights, weighing):
            name = tenant or DEFAULT_TENANT
            of = period(
                insights.now_ms(),
                days=asked.days,
                since=asked.since,
                until=asked.until,
                tz=asked.tz or zone_in(server.data, name),
            )
            if asked.trust:
                return trusted_report(insights, weighing, name, of, task=asked.task)
            return insights.report(name, of, task=asked.task)
    except DirectoryLocked:
        return _fetched(server, tenant, asked)


@contextmanager
def _insights(data: Path) -> Iterator[tuple[Insights, Trust]]:
    """Open what answers questions about a directory that no server holds."""
    from loopwright.app.settings import addresses, load_settings
    from loopwright.backends import resolve
    from loopwright.core.clock import SystemClock
    from loopwright.insights.service import Insights
    from loopwright.people.people import People
    from loopwright.trust.clearances import Clearances
    from loopwright.trust.view import Trust

    with ExitStack() as opened:
        warehouse = opened.enter_context(warehouse_of(data))
        at = addresses(load_settings(data_dir=data))
        people = resolve.database(at.database, "people", is_private=True)
        opened.callback(people.close)
        catalog = resolve.database(at.database, "catalog")
        opened.callback(catalog.close)
        weighing = Trust(
            warehouse, people=People(people, clock=SystemClock()), clearances=Clearances(catalog)
        )
        yield Insights(warehouse, clock=SystemClock()), weighing


def _fetched(server: Server, tenant: str | None, asked: Asked) -> QualityReport:
    """Ask a server."""
    from urllib.parse import quote

    import msgspec

    from loopwright.catalog import DEFAULT_TENANT
    from loopwright.insights.report import QualityReport

    path = f"/api/v1/feedback/quality/{quote(tenant or DEFAULT_TENANT, safe='')}"
    try:
        content = server.ask("GET", path, timeout_s=TIMEOUT_S, params=asked.params())
    except NotFound as error:
        if tenant is None:
            raise NotFound("name the tenant: the key is not of the default one") from error
        raise
    return msgspec.json.decode(content, type=QualityReport)


def _json(found: QualityReport) -> str:
    import msgspec

    return msgspec.json.encode(found).decode() + "\n"


def _write(content: str, out: Path | None) -> None:
    if out is None:
        sys.stdout.write(content)
    else:
        out.write_text(content, "utf-8")


def _drawn(found: QualityReport) -> str:
    """Return the tables as text."""
    screen = console()
    with screen.capture() as captured:
        _show(found, screen)
    return captured.get()


def _show(found: QualityReport, screen: Console | None = None) -> None:
    screen = screen or console()
    screen.print(found.headline, style="bold")
    for finding in found.findings[1:]:
        screen.print(f"{_LEVELS[finding.level]} {finding.sentence} {finding.action}")
    if found.empty is not None:
        return
    metrics = table("metric", "verdict", "course", "value", "95 %", "target", "n", left=3)
    for line in found.metrics or ():
        metrics.add_row(
            line.name,
            _MARKS[line.verdict],
            _spark(line),
            percent(line.value),
            _range(line.low, line.high),
            f"{'>' if line.direction == 'above' else '<'} {line.target:.0%}",
            f"{line.n:,}",
        )
    screen.print(metrics)
    if found.versions:
        versions = table("what", "version", "beside", "verdict", "difference", "people", left=4)
        for change in found.versions:
            versions.add_row(
                change.dimension,
                change.version,
                change.baseline,
                change.verdict,
                _points(change.difference),
                f"{change.people:,} / {change.baseline_people:,}",
            )
        screen.print(versions)
    if found.failures is not None and found.failures.patterns:
        patterns = table("failure pattern", "example", "sure (z)", "bad / good", left=2)
        for pattern in found.failures.patterns[:_SHOWN]:
            patterns.add_row(
                pattern.phrase,
                pattern.examples[0] if pattern.examples else "",
                f"{pattern.z:.1f}",
                f"{pattern.negative:.0f} / {pattern.positive:.0f}",
            )
        screen.print(patterns)
    if found.corrected:
        corrected = table("most corrected query", "people", "corrected", "asked")
        for query in found.corrected[:_SHOWN]:
            corrected.add_row(
                query.query, f"{query.correctors:,}", f"{query.corrected:,}", f"{query.asked:,}"
            )
        screen.print(corrected)
    if found.joins is not None and found.joins.outcomes:
        rate = found.joins.rate
        screen.print(
            f"{percent(None if rate is None else rate.estimate)} of {found.joins.outcomes:,} outcomes join to a model "
            f"version; {found.joins.waiting:,} facts wait for what they refer to."
        )


def _spark(line: MetricLine) -> str:
    if line.course is None:
        return ""
    values = [point.value for point in line.course.points]
    return sparkline(values, low=min(values), high=max(values))


def _range(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low * 100:.1f} to {high * 100:.1f}"


def _points(difference: Interval | None) -> str:
    if difference is None:
        return "-"
    return f"{difference.estimate * 100:+.1f} ({difference.low * 100:+.1f} to {difference.high * 100:+.1f})"
