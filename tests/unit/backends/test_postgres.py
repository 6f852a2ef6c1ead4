"""What needs no server; the rest is in `tests/engines/test_postgres.py`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from loopwright.backends.postgres import PostgresDatabase
from loopwright.core.errors import SettingsInvalid


@pytest.mark.parametrize("name", ["", "Catalog", "a-b", 'a"; DROP', "pg_x", "x" * 64, "a\n"])
def test_a_name_that_cannot_be_a_schema_is_refused(name: str) -> None:
    with pytest.raises(SettingsInvalid, match="cannot name a schema"):
        PostgresDatabase("postgresql://localhost", schema=name)


def test_without_the_driver_the_error_says_how_to_get_it() -> None:
    program = "import sys; sys.modules['psycopg'] = None; import loopwright.backends.postgres"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "SettingsInvalid: PostgreSQL needs the package psycopg" in ran.stderr
    assert "pip install 'loopwright[postgres]'" in ran.stderr
