from __future__ import annotations

from contextlib import closing

import pytest

from loopwright.backends.memory import memory_database
from loopwright.core.errors import Broken, Conflict
from loopwright.core.schema import apply_schema

FIRST = ("CREATE TABLE things (name TEXT)", "INSERT INTO things VALUES ('a')")
SECOND = ("ALTER TABLE things ADD COLUMN number BIGINT",)


def test_each_script_runs_once_and_in_order() -> None:
    with closing(memory_database()) as database:
        assert apply_schema(database, "things", [FIRST]) == 1
        assert apply_schema(database, "things", [FIRST]) == 0
        assert apply_schema(database, "things", [FIRST, SECOND]) == 1
        assert database.query("SELECT * FROM things") == [("a", None)]


def test_tables_of_different_slices_have_their_own_versions() -> None:
    with closing(memory_database()) as database:
        apply_schema(database, "things", [FIRST, SECOND])
        assert apply_schema(database, "others", [["CREATE TABLE others (name TEXT)"]]) == 1


def test_a_script_that_fails_leaves_everything_as_it_was() -> None:
    with closing(memory_database()) as database:
        broken = (
            "CREATE TABLE once (name TEXT PRIMARY KEY)",
            *["INSERT INTO once VALUES ('a')"] * 2,
        )
        with pytest.raises(Conflict):
            apply_schema(database, "things", [FIRST, broken])
        assert apply_schema(database, "things", [FIRST, SECOND]) == 2


def test_a_database_of_a_newer_program_is_refused() -> None:
    with closing(memory_database()) as database:
        apply_schema(database, "things", [FIRST, SECOND])
        with pytest.raises(Broken, match="have version 2; this program knows up to 1"):
            apply_schema(database, "things", [FIRST])
