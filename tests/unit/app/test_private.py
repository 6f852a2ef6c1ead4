from __future__ import annotations

import stat
from pathlib import Path

from loopwright.app.private import keep_private, loose
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services


def modes(folder: Path) -> dict[str, int]:
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()}


def test_everything_in_a_folder_that_others_may_enter_is_its_owners_alone(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Services(load_settings(data_dir=tmp_path, raw_copies=True)).close()
    assert {name: mode for name, mode in modes(tmp_path).items() if mode & 0o077} == {}
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_files_that_an_older_version_left_open_are_closed_at_the_next_start(tmp_path: Path) -> None:
    Services(load_settings(data_dir=tmp_path)).close()
    for path in tmp_path.glob("*.db"):
        path.chmod(0o644)
    (tmp_path / "segments").chmod(0o755)
    assert {path.name for path, _ in loose(tmp_path)} >= {"log.db", "catalog.db", "segments"}
    Services(load_settings(data_dir=tmp_path)).close()
    assert list(loose(tmp_path)) == []


def test_files_of_other_programs_keep_their_mode(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "notes.txt").chmod(0o644)
    keep_private(tmp_path)
    assert modes(tmp_path) == {"notes.txt": 0o644}
