"""Exports of an embedded loop as Arrow."""

from __future__ import annotations

from datetime import date
from typing import Any

from loopwright.client import arrow
from loopwright.client.arguments import moment
from loopwright.insights.extract import Exporter, extract

from .arguments import Part


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
