"""Tables with all their rows, over HTTP, page by page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from litestar import Controller, get
from litestar.di import NamedDependency, Provide
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, QueryParameter, SkipValidation
from litestar.response import Stream

from loopwright.catalog.routes import Catalogued
from loopwright.core.errors import Invalid
from loopwright.core.ports import Columnar
from loopwright.warehouse import Warehouse
from loopwright.web import TENANT, Acting, needs, problems

from .extract import MOST, PAGE, Exporter, PageFormat, extract, page_format

Stored = NamedDependency[SkipValidation[Warehouse]]
Encoding = NamedDependency[SkipValidation[Columnar]]

# Parquet's type is registered with IANA; JSON lines have no registered one, and tools know this.
_TYPES: Final[dict[PageFormat, str]] = {
    "jsonl": "application/x-ndjson",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
}


@dataclass(frozen=True)
class Bounds:
    """Which rows of a table, as the query says it."""

    since: str | None
    until: str | None
    tz: str | None
    experiment_id: str | None
    consent: str


def asked_bounds(
    since: Annotated[
        str | None,
        QueryParameter(
            description="Start: a date, an ISO 8601 time, or milliseconds; all time when not given."
        ),
    ] = None,
    until: Annotated[str | None, QueryParameter(description="End, itself not included.")] = None,
    tz: Annotated[
        str | None,
        QueryParameter(
            description="Time zone of since and until (IANA); the tenant's when not given."
        ),
    ] = None,
    experiment_id: Annotated[
        str | None,
        QueryParameter(
            description="Only decisions of this experiment, or what is about them; all when not given."
        ),
    ] = None,
    consent: Annotated[
        str,
        QueryParameter(
            description="share: only what may leave the organisation; analyze: all that may be analysed."
        ),
    ] = "share",
) -> Bounds:
    """Return the bounds of a request, unread: a key without the scope must not learn what is wrong with them."""
    return Bounds(since, until, tz, experiment_id, consent)


Bounded = NamedDependency[SkipValidation[Bounds]]


class ExportController(Controller):
    """Tables with all their rows, for analysis elsewhere."""

    path = "/api/v1/export"
    tags: Sequence[str] = ("insights",)
    dependencies = {**TENANT, "asked": Provide(asked_bounds, sync_to_thread=False)}

    @get(
        "/{table:str}",
        summary="Export a table",
        responses={
            200: ResponseSpec(
                str,
                generate_examples=False,
                media_type="application/x-ndjson",
                description="A page of rows, in the order of the log. `x-next-cursor` asks for the next page and is "
                "absent after the last; `x-log-offset` is where the log ends, which cursors grow towards.",
            ),
            **problems(404, 422),
        },
        sync_to_thread=True,
        **needs("read"),
    )
    def table(
        self,
        table: FromPath[str],
        warehouse: Stored,
        columnar: Encoding,
        tenant: Acting,
        asked: Bounded,
        catalog: Catalogued,
        format: Annotated[str, QueryParameter(description="jsonl, csv or parquet.")] = "jsonl",
        cursor: Annotated[
            str,
            QueryParameter(
                description="Rows after this one: an x-next-cursor, or the log_offset of the last row you have."
            ),
        ] = "0",
        limit: Annotated[
            str, QueryParameter(description=f"Most rows of the page, up to {MOST}.")
        ] = str(PAGE),
    ) -> Stream:
        """Return a page of decisions, feedback, interactions or steps, with all their columns."""
        wanted = extract(
            table,
            tenant,
            since=asked.since,
            until=asked.until,
            tz=asked.tz or catalog.zones.of(tenant),
            experiment_id=asked.experiment_id,
            consent=asked.consent,
        )
        kind = page_format(format)
        # This runs on a thread (`sync_to_thread`): the event loop goes on serving selects during the query.
        page = Exporter(warehouse, columnar).page(
            wanted, format=kind, after=_whole("cursor", cursor), limit=_whole("limit", limit)
        )
        # In headers, because the body is the file itself. Table and format are names from our lists, so the
        # quotes of the file name cannot be broken.
        headers = {
            "x-log-offset": str(page.offset),
            "content-disposition": f'attachment; filename="{table}.{kind}"',
        }
        if page.cursor is not None:
            headers["x-next-cursor"] = str(page.cursor)
        return Stream(page.content, media_type=_TYPES[kind], headers=headers)


def _whole(name: str, text: str) -> int:
    # `isdigit` alone takes "²", which `int` refuses; 18 digits always fit a BIGINT.
    if not (text.isascii() and text.isdigit() and len(text) <= 18):
        raise Invalid(f"{name} is '{text[:40]}'; expected a whole number", found=text[:40])
    return int(text)
