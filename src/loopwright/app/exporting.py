"""Exports of an embedded loop as Arrow."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from loopwright.client import arrow
from loopwright.client.arguments import moment, text
from loopwright.insights.extract import Exporter, extract, page_format

from .arguments import Part, checked


class Exporting(Part):
    """One tenant's tables of an open loop."""

    def to_arrow(
        self,
        table: str,
        *,
        since: date | int | str | None = None,
        until: date | int | str | None = None,
        tz: str | None = None,
        experiment_id: str | None = None,
        consent: str = "share",
    ) -> Any:
        """Return a `pyarrow.RecordBatchReader` of decisions, feedback, interactions or steps, read page by page.

        `since` and `until` are dates, times or milliseconds; `consent` is `share` (what may leave the organisation)
        or `analyze`. Raises `ArrowMissing` without the extra `arrow`.
        """
        begin = None if since is None else moment("since", since)
        end = None if until is None else moment("until", until)
        # Checked before the first page, so that a wrong argument is raised here and not by the reader.
        wanted = extract(
            table,
            self._tenant_id,
            since=begin,
            until=end,
            tz=tz or self._services.truth.catalog.zones.of(self._tenant_id),
            experiment_id=experiment_id,
            consent=consent,
        )

        # A decision waits up to 0.2 s for company before it is written; this process expects to find its own.
        self._services.truth.writer.flush()

        def page(after: int) -> bytes:
            # Asked anew for each page: the reader may outlive the loop.
            kept = self._services
            exporter = Exporter(kept.reports.warehouse, kept.truth.columnar)
            return b"".join(exporter.page(wanted, format="parquet", after=after).content)

        return arrow.stream(page)


class Exports(Part):
    """Export tables page by page."""

    def page(
        self,
        table: str,
        *,
        format: str = "parquet",
        since: date | int | str | None = None,
        until: date | int | str | None = None,
        tz: str | None = None,
        experiment_id: str | None = None,
        consent: str = "share",
        cursor: int = 0,
        limit: int = 10_000,
    ) -> bytes:
        """Return a page of decisions, feedback, interactions or steps as a file in `format`: parquet, jsonl or csv.

        `cursor` is the `log_offset` of the last row of the page before; a page with fewer than `limit` rows is the
        last. `since` and `until` are dates, times or milliseconds; all time without them.
        """
        services = self._services
        wanted = extract(
            table,
            self._tenant_id,
            since=None if since is None else moment("since", since),
            until=None if until is None else moment("until", until),
            tz=tz or services.truth.catalog.zones.of(self._tenant_id),
            experiment_id=experiment_id,
            consent=consent,
        )
        kind = page_format(text("format", format))
        asked = checked(_Page, cursor=cursor, limit=limit)
        services.truth.writer.flush()
        page = Exporter(services.reports.warehouse, services.truth.columnar).page(
            wanted, format=kind, after=asked.cursor, limit=asked.limit
        )
        return b"".join(page.content)


class _Page(msgspec.Struct, frozen=True):
    cursor: Annotated[int, Meta(ge=0, lt=10**18)]
    limit: int
