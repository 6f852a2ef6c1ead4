from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.app.installation import FILE, bind
from loopwright.backends.memory import memory_database
from loopwright.core.errors import SettingsInvalid


def test_a_directory_finds_its_own_tables_again(tmp_path: Path) -> None:
    database = memory_database()
    bind(tmp_path, database)
    own = (tmp_path / FILE).read_text().strip()
    bind(tmp_path, database)
    assert (tmp_path / FILE).read_text().strip() == own
    assert (tmp_path / FILE).stat().st_mode & 0o777 == 0o600
    assert database.query("SELECT id FROM installation") == [(own,)]


def test_the_tables_of_another_directory_are_refused(tmp_path: Path) -> None:
    database = memory_database()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    bind(tmp_path / "a", database)
    with pytest.raises(SettingsInvalid, match="another data directory"):
        bind(tmp_path / "b", database)
    assert len(database.query("SELECT id FROM installation")) == 1


def test_a_crash_before_the_tables_know_it_is_made_good(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("one\n")
    database = memory_database()
    bind(tmp_path, database)
    assert database.query("SELECT id FROM installation") == [("one",)]
