from __future__ import annotations

from pathlib import Path

from loopwright.warehouse import QUERIES, TABLES
from loopwright.warehouse.queries import Parameter, Query
from loopwright.warehouse.tables import Column, Table

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "queries.md"


def test_every_query_and_table_is_described_with_all_its_columns() -> None:
    sections = {
        part.partition("\n")[0]: part for part in PAGE.read_text(encoding="utf-8").split("\n### ")
    }
    described: list[Query | Table] = [*QUERIES.values(), *TABLES.values()]
    for found in described:
        for column in found.columns:
            row = f"| `{column.name}` | {column.type} | {column.sentence} |"
            assert row in sections[found.name], (found.name, column.name)


def test_query_columns_and_parameters_have_sentences_and_no_name_occurs_twice() -> None:
    for query in QUERIES.values():
        names = [column.name for column in query.columns]
        assert len(names) == len(set(names)), query.name
        said: list[Column | Parameter] = [*query.columns, *query.parameters]
        assert all(part.sentence.endswith((".", "…")) for part in said), query.name
