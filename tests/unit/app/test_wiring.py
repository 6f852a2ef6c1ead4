"""The roles of one loop, put together and taken down."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.core.errors import DirectoryLocked, LogCorrupt, SettingsInvalid


def test_a_directory_is_held_until_it_is_closed(services: Services) -> None:
    with pytest.raises(DirectoryLocked):
        Services(services.settings)
    services.close()
    Services(services.settings).close()


def test_closing_twice_is_closing_once(services: Services) -> None:
    services.close()
    services.close()


def test_a_start_that_fails_lets_the_directory_go(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    Services(settings).close()
    ring = (tmp_path / "keys.json").read_bytes()
    (tmp_path / "keys.json").write_text("{}")
    with pytest.raises(SettingsInvalid, match="signing keys"):
        Services(settings)
    (tmp_path / "keys.json").write_bytes(ring)
    Services(settings).close()


def test_a_damaged_log_is_refused_by_name(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path)
    Services(settings).close()
    (tmp_path / "log.db").write_bytes(b"no database" * 500)
    with pytest.raises(LogCorrupt, match="log"):
        Services(settings)


def test_every_file_is_its_owners_alone(services: Services) -> None:
    open_to_others = [
        path.name
        for path in services.settings.data_dir.iterdir()
        if path.is_file() and path.stat().st_mode & 0o077
    ]
    assert open_to_others == []


def test_a_loop_that_shuts_down_is_unready(services: Services) -> None:
    assert services.health().status == "ready"
    services.close()
    assert services.health().status == "unready"
    assert services.health().reason == "shutting down"


def test_every_task_has_a_name_of_its_own_and_learning_is_vital(services: Services) -> None:
    tasks = {task.name: task.is_vital for task in services.supervisor.tasks}
    assert tasks["learner"]
    assert tasks["log-writer"]
    assert not tasks["raw-sweep"]
