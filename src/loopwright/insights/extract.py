"""Exporting a table page by page, for pandas, Polars, DuckDB and spreadsheets.

A page is a run of rows in the order of the log, and its cursor is the `log_offset` of its last row. So a reader that
was cut off anywhere, within a page too, resumes after the last row that it has: no row is lost and none comes twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.ports import Columnar
from loopwright.warehouse import Answer, Query, Warehouse
from loopwright.warehouse.period import DEFAULT_ZONE, instant
from loopwright.warehouse.queries import Parameter
from loopwright.warehouse.tables import DECISIONS, FEEDBACK, INTERACTIONS, STEPS, Column, Table

from .exports import ExportScope, csv_lines, json_lines

PageFormat = Literal["jsonl", "csv", "parquet"]
ExportTable = Literal["decisions", "feedback", "interactions", "steps"]

EXPORTABLE: Final[dict[ExportTable, Table]] = {
    "decisions": DECISIONS,
    "feedback": FEEDBACK,
    "interactions": INTERACTIONS,
    "steps": STEPS,
}
"""The tables that can be exported."""

FORMATS: Final[tuple[PageFormat, ...]] = ("jsonl", "csv", "parquet")

PAGE: Final = 10_000
MOST: Final = 50_000
"""Most rows of one page: as Parquet it is encoded as a whole."""

_AT_ONCE: Final = 5_000
"""Rows held as objects at a time."""

_OF_EXPERIMENT: Final[dict[ExportTable, str]] = {
    "decisions": "experiment_id = $experiment",
    "feedback": "(experiment_id = $experiment OR decision_key IN "
    "(SELECT decision_key FROM choices WHERE experiment_id = $experiment))",
    "interactions": "decision_key IN "
    "(SELECT decision_key FROM choices WHERE experiment_id = $experiment)",
}
_ARRAYS: Final = {"vector": "DOUBLE[]"}
"""Columns that are JSON text in the warehouse and get a type of their own in a typed file."""

_AFTER: Final = Parameter("after", "BIGINT", "log_offset of the last row before.", 0)
_THROUGH: Final = Parameter("through", "BIGINT", "log_offset of the last row of the page.")
_LIMIT: Final = Parameter("limit", "BIGINT", "Most rows.")
_EXPERIMENT: Final = Parameter("experiment", "VARCHAR", "The experiment.")
_BOUNDS: Final = (
    Column("n", "BIGINT", "Rows of the page."),
    Column("last", "BIGINT", "log_offset of the last."),
)
_line: Final = msgspec.json.Encoder().encode


class Extract(msgspec.Struct, frozen=True, kw_only=True):
    """What is exported: a table of one tenant, all of it or a period, an experiment, a scope of consent."""

    table: ExportTable
    tenant_id: str
    from_ms: int | None = None
    to_ms: int | None = None
    experiment_id: str | None = None
    scope: ExportScope = "share"
    """`share`: rows whose person agreed that they leave the organisation; `analyze`: to their analysis."""


class ExtractPage(msgspec.Struct, frozen=True, kw_only=True):
    """One page: its rows, written as they are iterated over, and where the next one begins."""

    content: Iterator[bytes]
    rows: int
    cursor: int | None
    """What asks for the next page; None after the last."""
    offset: int
    """Log offset through which the export is true now: cursors grow towards it."""


def extract(
    table: str,
    tenant_id: str,
    *,
    since: str | None = None,
    until: str | None = None,
    tz: str | None = None,
    experiment_id: str | None = None,
    consent: str = "share",
) -> Extract:
    """Return what is asked for in words; raises `Invalid` for words that name nothing.

    `since` and `until` take a date, an ISO 8601 time or milliseconds; without them the export is of all time.
    """
    name = next((name for name in EXPORTABLE if name == table), None)
    if name is None:
        raise _not_among("table", table, tuple(EXPORTABLE))
    if experiment_id is not None and name not in _OF_EXPERIMENT:
        raise Invalid(
            f"{name} belong to no experiment; export them without experiment_id, "
            "or one of decisions, feedback and interactions with it"
        )
    if consent not in ("share", "analyze"):
        raise _not_among("consent", consent, ("share", "analyze"))
    zone = tz or DEFAULT_ZONE
    return Extract(
        table=name,
        tenant_id=tenant_id,
        from_ms=None if since is None else instant("since", since, tz=zone),
        to_ms=None if until is None else instant("until", until, tz=zone),
        experiment_id=experiment_id,
        scope="share" if consent == "share" else "analyze",
    )


def page_format(text: str) -> PageFormat:
    """Return the format of a page that `text` names; raises `Invalid`."""
    for name in FORMATS:
        if name == text:
            return name
    raise Invalid(
        f"format is '{text[:40]}'; expected one of {', '.join(FORMATS)}",
        found=text[:40],
        expected=list(FORMATS),
    )


class Exporter:
    """Pages of the warehouse's tables. Any number of threads may ask."""

    def __init__(self, warehouse: Warehouse, columnar: Columnar) -> None:
        self._warehouse = warehouse
        self._columnar = columnar

    def page(
        self, wanted: Extract, *, format: PageFormat = "jsonl", after: int = 0, limit: int = PAGE
    ) -> ExtractPage:
        """Return the page of at most `limit` rows whose `log_offset` is greater than `after`.

        JSON lines and CSV of following pages are one file when put one behind the other: only the first page, the
        one after 0, has the header. Each Parquet page is a file of its own. Raises `Invalid` for a limit beyond
        `MOST` and a period that ends before it begins.
        """
        if not 1 <= limit <= MOST:
            raise Invalid(f"limit is {limit}; expected 1 to {MOST}", found=limit)
        # The end is fixed before the rows are read: headers go out first, and facts that arrive meanwhile must
        # not change the page.
        bounds = self._ask(wanted, _bounds_query(wanted), after=after, limit=limit)
        ((n, last),) = bounds.rows
        # `max` over no rows is NULL.
        rows = self._rows(wanted, after=after, through=last or after)
        write = {"jsonl": self._json, "csv": self._csv, "parquet": self._parquet}[format]
        return ExtractPage(
            content=write(wanted, rows, after == 0),
            rows=n,
            # A full page may be the last: the next one is then empty and ends the export.
            cursor=last if n == limit else None,
            offset=bounds.offset,
        )

    def _rows(self, wanted: Extract, *, after: int, through: int) -> Iterator[list[dict[str, Any]]]:
        """Yield the rows of a page, a part of it at a time, so that its size does not set the memory."""
        query = _rows_query(wanted)
        while after < through:
            rows = self._ask(wanted, query, after=after, through=through, limit=_AT_ONCE).dicts()
            if rows:
                yield rows
            if len(rows) < _AT_ONCE:
                return
            after = rows[-1]["log_offset"]

    def _ask(self, wanted: Extract, query: Query, **params: Any) -> Answer:
        if wanted.experiment_id is not None:
            params["experiment"] = wanted.experiment_id
        return self._warehouse.query(
            query,
            tenant_id=wanted.tenant_id,
            from_ms=wanted.from_ms,
            to_ms=wanted.to_ms,
            **params,
        )

    def _json(
        self, wanted: Extract, rows: Iterator[list[dict[str, Any]]], is_first: bool
    ) -> Iterator[bytes]:
        return map(json_lines, rows)

    def _csv(
        self, wanted: Extract, rows: Iterator[list[dict[str, Any]]], is_first: bool
    ) -> Iterator[bytes]:
        columns = [column.name for column in exported_columns(wanted.table)]
        if is_first:
            yield csv_lines((), is_first=True, columns=columns)
        for part in rows:
            yield csv_lines(part, columns=columns)

    def _parquet(
        self, wanted: Extract, rows: Iterator[list[dict[str, Any]]], is_first: bool
    ) -> Iterator[bytes]:
        types = {c.name: _ARRAYS.get(c.name, c.type) for c in exported_columns(wanted.table)}
        # One file for all rows: Parquet ends with its index, so a page cannot be sent in parts.
        lines = (_line(_typed(row)) for part in rows for row in part)
        yield self._columnar.encode_lines(types, lines)


def exported_columns(table: ExportTable) -> tuple[Column, ...]:
    """Return the columns of an export: all but the digests that only joins need."""
    return tuple(c for c in EXPORTABLE[table].columns if not c.name.endswith("_key"))


def _typed(row: Mapping[str, Any]) -> dict[str, Any]:
    return {
        # Passed on undecoded: the encoder of columns parses JSON anyway.
        name: msgspec.Raw(value.encode()) if name in _ARRAYS else value
        for name, value in row.items()
        if value is not None
    }


def _bounds_query(wanted: Extract) -> Query:
    """Return the query for how many rows the page has and which is its last: it reads one column of the table."""
    return _query(
        wanted,
        f"SELECT count(*) AS n, max(log_offset) AS last FROM (SELECT log_offset FROM {wanted.table} "  # noqa: S608
        f"WHERE log_offset > $after AND {_condition(wanted)} ORDER BY log_offset LIMIT $limit) AS page",
        _BOUNDS,
        (_AFTER, _LIMIT),
    )


def _rows_query(wanted: Extract) -> Query:
    # With both ends given, the engine passes over row groups outside the page instead of sorting all that follow.
    columns = exported_columns(wanted.table)
    return _query(
        wanted,
        f"SELECT {', '.join(c.name for c in columns)} FROM {wanted.table} "  # noqa: S608 - our own columns
        f"WHERE log_offset > $after AND log_offset <= $through AND {_condition(wanted)} "
        "ORDER BY log_offset LIMIT $limit",
        columns,
        (_AFTER, _THROUGH, _LIMIT),
    )


def _query(
    wanted: Extract, sql: str, columns: tuple[Column, ...], parameters: tuple[Parameter, ...]
) -> Query:
    is_of_one = wanted.experiment_id is not None
    return Query(
        name=f"export_{wanted.table}",
        sentence="A page of an export.",
        reads=(wanted.table, "choices") if is_of_one else (wanted.table,),
        is_bulk=True,
        sql=sql,
        columns=columns,
        parameters=(*parameters, _EXPERIMENT) if is_of_one else parameters,
    )


def _condition(wanted: Extract) -> str:
    # Not every table has the column; where it is missing, there is nothing to filter by.
    has_consent = "consent_share" in EXPORTABLE[wanted.table].names
    terms = ["consent_share"] if wanted.scope == "share" and has_consent else []
    if wanted.experiment_id is not None:
        terms.append(_OF_EXPERIMENT[wanted.table])
    return " AND ".join(terms) or "TRUE"


def _not_among(name: str, found: str, known: tuple[str, ...]) -> Invalid:
    return Invalid(
        f"{name} is '{found[:40]}'; expected one of {', '.join(known)}",
        found=found[:40],
        expected=list(known),
    )
