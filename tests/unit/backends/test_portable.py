from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.backends.portable import for_postgres, original, storable


@pytest.mark.parametrize(
    ("portable", "expected"),
    [
        ("SELECT a FROM t WHERE b = ? AND c IN (?,?)", "SELECT a FROM t WHERE b = %s AND c IN (%s,%s)"),
        ("SELECT '?' || ?", "SELECT '?' || %s"),
        ("SELECT 'it''s ?', ?", "SELECT 'it''s ?', %s"),
        ('SELECT "a?" FROM t WHERE b = ?', 'SELECT "a?" FROM t WHERE b = %s'),
        ("SELECT 1 -- why?\nWHERE ? = 1", "SELECT 1 -- why?\nWHERE %s = 1"),
        ("SELECT /* ? */ ?", "SELECT /* ? */ %s"),
        ("SELECT a % 2 WHERE b LIKE '%x' AND c = ?", "SELECT a %% 2 WHERE b LIKE '%%x' AND c = %s"),
        ("SELECT '100%s'", "SELECT '100%%s'"),
    ],
)  # fmt: skip
def test_parameters_are_marked_as_the_driver_wants(portable: str, expected: str) -> None:
    assert for_postgres(portable).decode() == expected


@pytest.mark.parametrize(
    ("portable", "expected"),
    [
        ("CREATE TABLE t (a TEXT NOT NULL)", 'CREATE TABLE t (a TEXT COLLATE "C" NOT NULL)'),
        ("CREATE TABLE IF NOT EXISTS t (a INTEGER)", "CREATE TABLE IF NOT EXISTS t (a BIGINT)"),
        ("\n  CREATE TABLE t (a REAL, b BLOB)", "\n  CREATE TABLE t (a DOUBLE PRECISION, b BYTEA)"),
        ("CREATE TABLE t (a BIGINT, b BYTEA)", "CREATE TABLE t (a BIGINT, b BYTEA)"),
        ("CREATE TABLE t (text TEXT, \"REAL\" REAL)", 'CREATE TABLE t (text TEXT COLLATE "C", "REAL" DOUBLE PRECISION)'),
        ("ALTER TABLE t ADD COLUMN a TEXT DEFAULT 'TEXT'", "ALTER TABLE t ADD COLUMN a TEXT COLLATE \"C\" DEFAULT 'TEXT'"),
        ("SELECT CAST(a AS TEXT) FROM t", "SELECT CAST(a AS TEXT) FROM t"),
    ],
)  # fmt: skip
def test_declared_types_are_those_of_postgres(portable: str, expected: str) -> None:
    assert for_postgres(portable).decode() == expected


LOW = st.text(st.sampled_from("\0\1\2\3a"))


@given(LOW)
def test_a_text_without_nul_stands_for_every_text(text: str) -> None:
    assert "\0" not in storable(text)
    assert original(storable(text)) == text


@given(LOW, LOW)
def test_texts_keep_their_order_without_nul(one: str, other: str) -> None:
    assert (one < other) == (storable(one) < storable(other))
