"""Exports as Arrow: pages of Parquet read one after the other, so that a table of any size takes little memory.

Pandas, Polars and DuckDB take what comes out as it is, by the Arrow PyCapsule interface (`__arrow_c_stream__`).
pyarrow reads the pages; it is loaded at the first export and comes with the extra `arrow`, because a product that
only selects and sends feedback should not carry it.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final

from loopwright.core.errors import SettingsInvalid

PAGE: Final = 10_000


class ArrowMissing(SettingsInvalid):
    """An export as Arrow needs pyarrow."""

    code = "arrow_missing"


def stream(page: Callable[[int], bytes], *, limit: int = PAGE) -> Any:
    """Return a `pyarrow.RecordBatchReader` over pages of `limit` rows; each is asked for when the reader gets there.

    `page` returns the Parquet file of the rows whose `log_offset` is greater than its argument. The first is asked
    for at once, so that what is wrong is raised here. Raises `ArrowMissing` without pyarrow.
    """
    pyarrow, parquet = _modules()
    first = parquet.read_table(io.BytesIO(page(0)))

    def batches() -> Iterator[Any]:
        table = first
        while True:
            yield from table.to_batches()
            # A page with fewer rows than asked for is the last: no request is spent to find that out.
            if table.num_rows < limit:
                return
            table = parquet.read_table(io.BytesIO(page(_last(table))))

    # The first page's schema holds for all: the server types its columns by the table, not by the rows.
    return pyarrow.RecordBatchReader.from_batches(first.schema, batches())


async def gathered(page: Callable[[int], Awaitable[bytes]], *, limit: int = PAGE) -> Any:
    """Return a `pyarrow.Table` of all pages: what `stream` yields, held in memory, because Arrow's readers block."""
    pyarrow, parquet = _modules()
    tables = [parquet.read_table(io.BytesIO(await page(0)))]
    while tables[-1].num_rows == limit:
        tables.append(parquet.read_table(io.BytesIO(await page(_last(tables[-1])))))
    return pyarrow.concat_tables(tables)


def _last(table: Any) -> int:
    return int(table["log_offset"][-1].as_py())


def _modules() -> tuple[Any, Any]:
    try:
        return importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError as error:
        raise ArrowMissing(
            f"to_arrow needs the extra arrow ({error}); run: pip install 'loopwright[arrow]', or export to a file: "
            "loopwright export TABLE --out TABLE.parquet"
        ) from error
