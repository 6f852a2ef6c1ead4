from __future__ import annotations

import asyncio
import io
import sys

import duckdb
import polars
import pyarrow
import pyarrow.parquet as parquet
import pytest

from loopwright.client import arrow
from loopwright.client.arrow import ArrowMissing

ROWS = pyarrow.table({"log_offset": range(1, 26), "name": [f"n{k}" for k in range(25)]})


class Pages:
    """Pages of `ROWS`, and the cursors that were asked for."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.asked: list[int] = []

    def __call__(self, after: int) -> bytes:
        self.asked.append(after)
        written = io.BytesIO()
        parquet.write_table(ROWS.slice(after, self.limit), written)
        return written.getvalue()

    async def later(self, after: int) -> bytes:
        return self(after)


@pytest.mark.parametrize("limit", [1, 5, 10, 25, 26])
def test_a_stream_holds_all_pages_in_order(limit: int) -> None:
    assert arrow.stream(Pages(limit), limit=limit).read_all() == ROWS
    assert asyncio.run(arrow.gathered(Pages(limit).later, limit=limit)) == ROWS


def test_a_page_is_asked_for_when_the_reader_gets_there() -> None:
    pages = Pages(10)
    reader = arrow.stream(pages, limit=10)
    assert pages.asked == [0]
    reader.read_next_batch()
    assert pages.asked == [0]
    reader.read_next_batch()
    assert pages.asked == [0, 10]


def test_polars_and_duckdb_take_a_stream_as_it_is() -> None:
    found = duckdb.from_arrow(arrow.stream(Pages(10), limit=10))
    assert found.aggregate("count(*), max(log_offset)").fetchall() == [(25, 25)]
    assert polars.DataFrame(arrow.stream(Pages(10), limit=10)).height == 25


def test_without_pyarrow_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    pages = Pages(10)
    with pytest.raises(ArrowMissing, match=r"pip install 'loopwright\[arrow\]'"):
        arrow.stream(pages)
    assert pages.asked == []
