from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.warehouse.world import NOW, call, consented, erased, feedback

from loopwright.backends.duckdb import DuckDB
from loopwright.core.events import Fact
from loopwright.core.feedback import Target
from loopwright.warehouse import layout
from loopwright.warehouse.project import project
from loopwright.warehouse.tables import CONSENTS, FEEDBACK, INTERACTIONS, TABLES


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[DuckDB]:
    made = DuckDB(tmp_path)
    yield made
    made.close()


def asked(engine: DuckDB, table: str, columns: str, *facts: Any) -> list[tuple[Any, ...]]:
    """Return `columns` of the rows that `facts` make in a table, as the engine holds them."""
    lines = [layout.line(row) for row in project(enumerate(facts, 1))[table]]
    with layout.loaded(engine, TABLES[table], lines) as select:
        return engine.query(f"SELECT {columns} FROM ({select}) AS found ORDER BY log_offset")  # noqa: S608


def test_what_a_line_leaves_out_is_null_or_the_usual_value(engine: DuckDB) -> None:
    columns = "event_id, message, consent_store, consent_train"
    said = asked(
        engine, "feedback", columns, feedback("f1"), feedback("f2", consent=("store", "analyze"))
    )
    assert said == [("f1", None, True, True), ("f2", None, True, False)]


def test_a_key_is_the_same_in_both_tables_and_another_for_another_tenant(engine: DuckDB) -> None:
    target = Target(trace_id="t1", span_id="s1", output_id="i1")
    (said,) = asked(
        engine, "feedback", "span_key, trace_key, output_key", feedback("f1", target=target)
    )
    columns = "span_key, trace_key, output_key"
    calls = [call("i1", trace_id="t1", span_id="s1", tenant_id=t) for t in ("acme", "other")]
    mine, theirs = asked(engine, "interactions", columns, *calls)
    assert said == mine
    assert set(mine).isdisjoint(theirs)
    assert all(0 <= key < 2**63 for key in (*mine, *theirs))


def test_the_parts_of_a_key_do_not_run_into_each_other(engine: DuckDB) -> None:
    calls = [
        call("i1", session_id="ab", message_id="c"),
        call("i2", session_id="a", message_id="bc"),
    ]
    (first,), (second,) = asked(engine, "interactions", "message_key", *calls)
    assert first != second


def test_a_reference_that_is_missing_has_no_key(engine: DuckDB) -> None:
    found = asked(engine, "interactions", "span_key, decision_key", call("i1", trace_id="t1"))
    assert found == [(None, None)]


def test_a_file_says_what_it_holds(engine: DuckDB) -> None:
    facts = [feedback("f1", at_ms=NOW + 5), feedback("f2", consent=("store",), at_ms=NOW + 9)]
    lines = [layout.line(row) for row in project([(7, facts[0]), (9, facts[1])])["feedback"]]
    with layout.loaded(engine, FEEDBACK, lines) as select:
        file = layout.write_file(
            engine, select, name="feedback/2024-10-04/x.parquet", table=FEEDBACK
        )
    assert file is not None
    assert (file.rows, file.first, file.last, file.day) == (2, 7, 9, "2024-10-04")
    assert (file.from_ms, file.to_ms, file.withheld) == (NOW + 5, NOW + 9, 1)
    sql = layout.files_sql(engine, [file], ("event_id",))
    assert sorted(engine.query(sql)) == [("f1",), ("f2",)]


def test_no_rows_make_no_file(engine: DuckDB, tmp_path: Path) -> None:
    with layout.loaded(engine, FEEDBACK, []) as select:
        made = layout.write_file(
            engine, select, name="feedback/2024-10-04/x.parquet", table=FEEDBACK
        )
    assert made is None
    assert list(tmp_path.rglob("*.parquet")) == []


def test_of_a_persons_words_the_last_holds_and_an_erasure_outlasts_them(engine: DuckDB) -> None:
    facts: list[Fact] = [consented("p1", "store"), consented("p1", "store", "train"), erased("p2")]
    facts.append(consented("p2", "store", "analyze", "train", "share"))
    lines = [layout.line(row) for row in project(enumerate(facts, 1))["consents"]]
    engine.query(layout.create_sql(CONSENTS, "changes"))
    with layout.loaded(engine, CONSENTS, lines) as select:
        engine.query(f"INSERT INTO changes {select}")
    engine.query(layout.people_sql("people", "changes"))
    found = engine.query(
        "SELECT person, is_erased, consent_analyze, consent_train FROM people ORDER BY person"
    )
    assert found == [("p1", 0, False, True), ("p2", 1, True, True)]


@pytest.mark.parametrize("text", ["", "o'brien", "''", "a\\'b", 'x"y', "line\nbreak"])
def test_a_quoted_text_reads_back_as_itself(engine: DuckDB, text: str) -> None:
    assert engine.query(f"SELECT {layout.quoted(text)}") == [(text,)]


def test_an_empty_table_has_the_columns_in_their_order(engine: DuckDB) -> None:
    engine.query(layout.create_sql(INTERACTIONS, "mine"))
    described = [(row[0], row[1]) for row in engine.query("DESCRIBE mine")]
    assert described == [(column.name, column.type) for column in INTERACTIONS.columns]
