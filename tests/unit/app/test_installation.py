from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.app.installation import FILE, bind
from loopwright.backends.memory import memory_database
from loopwright.core.errors import SettingsInvalid


def test_a_directory_finds_its_own_tables_again(tmp_path: Path) -> None:
    database = memory_database()
    bind(tmp_path, database, new_id="one")
    bind(tmp_path, database, new_id="two")
    assert (tmp_path / FILE).read_text().strip() == "one"
    assert database.query("SELECT id FROM installation") == [("one",)]


def test_the_tables_of_another_directory_are_refused(tmp_path: Path) -> None:
    database = memory_database()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    bind(tmp_path / "a", database, new_id="one")
    with pytest.raises(SettingsInvalid, match="another data directory"):
        bind(tmp_path / "b", database, new_id="two")
    assert database.query("SELECT id FROM installation") == [("one",)]


def test_a_crash_before_the_tables_know_it_is_made_good(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("one\n")
    database = memory_database()
    bind(tmp_path, database, new_id="two")
    assert database.query("SELECT id FROM installation") == [("one",)]
