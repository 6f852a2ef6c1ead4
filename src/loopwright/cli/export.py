"""`loopwright export`: a table with all its rows as a file, from a data directory or from a server."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, Final, Literal

from cyclopts import Parameter

from loopwright.core.errors import DirectoryLocked, Invalid

from .offline import warehouse_of, zone_in
from .options import HERE, Server
from .show import say

if TYPE_CHECKING:
    from loopwright.warehouse import Warehouse

Format = Literal["jsonl", "csv", "parquet"]
TableName = Literal["decisions", "feedback", "interactions", "steps"]

TIMEOUT_S: Final = 60.0
_ENDINGS: Final[dict[str, Format]] = {
    ".parquet": "parquet",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".csv": "csv",
}
_STDOUT: Final = Path("-")


@dataclass(frozen=True)
class _Page:
    """One page as it came, and where the next begins."""

    content: Iterator[bytes]
    cursor: int | None
    offset: int


@Parameter(name="*")
@dataclass(frozen=True)
class Scope:
    """Which rows to export."""

    since: Annotated[
        str | None, Parameter(help="Start: a date or an ISO 8601 time; all time by default.")
    ] = None
    until: Annotated[str | None, Parameter(help="End, itself not included; now by default.")] = None
    tz: Annotated[
        str | None, Parameter(help="Time zone of --since and --until; the tenant's by default.")
    ] = None
    tenant: Annotated[
        str | None, Parameter(help="Tenant; the key's own, or the default one, when not given.")
    ] = None
    experiment: Annotated[
        str | None,
        Parameter(help="Only decisions of this experiment, or what is about them."),
    ] = None
    consent: Annotated[
        Literal["share", "analyze"],
        Parameter(
            help="share: only what may leave the organisation; analyze: all that may be analysed."
        ),
    ] = "share"


@dataclass(frozen=True)
class _Asked:
    """What to export, in the words of the command line."""

    table: str
    scope: Scope
    format: Format
    limit: int


_Ask = Callable[[int], _Page]


def export(
    table: Annotated[TableName, Parameter(help="What to write.")],
    /,
    *,
    out: Annotated[
        Path,
        Parameter(
            allow_leading_hyphen=True,
            help="File to write: .parquet, .jsonl or .csv; - is standard output.",
        ),
    ] = _STDOUT,
    format: Annotated[
        Format | None,
        Parameter(help="What to write; by default what --out ends in, or JSON lines."),
    ] = None,
    scope: Scope = Scope(),
    cursor: Annotated[
        int, Parameter(help="Only rows after this log_offset: the last one of an earlier export.")
    ] = 0,
    page: Annotated[int, Parameter(help="Rows that are read at a time.")] = 10_000,
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
        bool, Parameter(name="--json", negative=(), help="The same as --format jsonl.")
    ] = False,
) -> int:
    """Write a table with all its rows, page by page: memory does not grow with it."""
    asked = _Asked(table, scope, "jsonl" if json else format or _format_of(out), page)
    server = Server(url, api_key, data)
    # Refused before anything is read: a terminal would take the bytes for control characters.
    if asked.format == "parquet" and out == _STDOUT and sys.stdout.isatty():
        raise Invalid("Parquet is no text for a terminal; name a file with --out, or use a pipe")
    with _source(server, asked) as ask:
        if out == _STDOUT:
            _write(ask, sys.stdout.buffer, asked.format, cursor)
            sys.stdout.buffer.flush()
            return 0
        _write_whole(ask, out, asked.format, cursor)
    say(f"written to {out}")
    return 0


def _write_whole(ask: _Ask, out: Path, format: Format, after: int, /) -> None:
    """Write a file that gets its name only when it is whole: a reader never takes a part for the table."""
    # Beside the target, because a rename is atomic within one file system only.
    partial = out.with_name(out.name + ".partial")
    try:
        with partial.open("wb") as file:
            _write(ask, file, format, after)
        partial.replace(out)
    finally:
        partial.unlink(missing_ok=True)


def _format_of(out: Path) -> Format:
    if out == _STDOUT:
        return "jsonl"
    wanted = _ENDINGS.get(out.suffix.lower())
    if wanted is None:
        raise Invalid(
            f"the ending of {out.name} says no format; use {', '.join(_ENDINGS)}, or say --format"
        )
    return wanted


@contextmanager
def _source(server: Server, asked: _Asked) -> Iterator[_Ask]:
    """Yield what reads pages: the directory itself, or the server that is named or holds it."""
    with ExitStack() as opened:
        warehouse: Warehouse | None = None
        if server.url is None:
            with suppress(DirectoryLocked):
                warehouse = opened.enter_context(warehouse_of(server.data))
        yield _served(server, asked) if warehouse is None else _read(warehouse, asked, server.data)


def _read(warehouse: Warehouse, asked: _Asked, data: Path) -> _Ask:
    from loopwright.backends import resolve
    from loopwright.catalog import DEFAULT_TENANT
    from loopwright.insights.extract import Exporter, extract

    wanted = extract(
        asked.table,
        asked.scope.tenant or DEFAULT_TENANT,
        since=asked.scope.since,
        until=asked.scope.until,
        tz=asked.scope.tz or zone_in(data, asked.scope.tenant or DEFAULT_TENANT),
        experiment_id=asked.scope.experiment,
        consent=asked.scope.consent,
    )
    exporter = Exporter(warehouse, resolve.columnar())

    def ask(after: int) -> _Page:
        found = exporter.page(wanted, format=asked.format, after=after, limit=asked.limit)
        return _Page(found.content, found.cursor, found.offset)

    return ask


def _served(server: Server, asked: _Asked) -> _Ask:
    given = {
        "tenant_id": asked.scope.tenant,
        "since": asked.scope.since,
        "until": asked.scope.until,
        "tz": asked.scope.tz,
        "experiment_id": asked.scope.experiment,
        "consent": asked.scope.consent,
        "format": asked.format,
        "limit": str(asked.limit),
    }
    params = {name: value for name, value in given.items() if value is not None}

    def ask(after: int) -> _Page:
        answer = server.answer(
            "GET",
            f"/api/v1/export/{asked.table}",
            timeout_s=TIMEOUT_S,
            params={**params, "cursor": str(after)},
        )
        following = answer.headers.get("x-next-cursor")
        return _Page(
            iter((answer.content,)),
            None if following is None else int(following),
            int(answer.headers["x-log-offset"]),
        )

    return ask


def _write(ask: _Ask, file: BinaryIO, format: Format, after: int) -> None:
    if format != "parquet":
        for part in _pages(ask, after):
            file.write(part)
        return
    from loopwright.backends.duckdb import join_parquet

    # Parquet ends with its index, so files cannot be appended to one another as lines can: pages are joined
    # at the end.
    with tempfile.TemporaryDirectory(prefix="loopwright-export-") as folder:
        pages = []
        for number, part in enumerate(_pages(ask, after)):
            pages.append(Path(folder) / f"{number:08}.parquet")
            pages[-1].write_bytes(part)
        whole = Path(folder) / "whole.parquet"
        if len(pages) == 1:
            whole = pages[0]
        else:
            join_parquet(pages, whole)
        with whole.open("rb") as written:
            while chunk := written.read(1 << 20):
                file.write(chunk)


def _pages(ask: _Ask, after: int) -> Iterator[bytes]:
    """Yield the content of every page; on a terminal a bar shows how far in the log they are."""
    with _progress() as progressed:
        while True:
            page = ask(after)
            yield from page.content
            progressed(page.offset if page.cursor is None else page.cursor, page.offset)
            if page.cursor is None:
                return
            after = page.cursor


@contextmanager
def _progress() -> Iterator[Callable[[int, int], Any]]:
    if not sys.stderr.isatty():
        yield lambda done, total: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("exporting", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
