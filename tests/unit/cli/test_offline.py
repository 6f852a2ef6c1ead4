from __future__ import annotations

from pathlib import Path

import pytest

import loopwright.app.embedded as embedded
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.cli.offline import unserved, warehouse_of
from loopwright.cli.options import Server
from loopwright.core.errors import DirectoryLocked, SettingsInvalid


def head(data: Path) -> int:
    log = SqliteEventLog(data / "log.db")
    try:
        return log.head()
    finally:
        log.close()


def test_reading_the_warehouse_leaves_the_log_as_it_is_and_lets_go_of_the_directory(
    data: Path,
) -> None:
    before = head(data)
    for _ in range(2):
        with warehouse_of(data) as warehouse:
            answer = warehouse.query(
                "export_rows", tenant_id="default", from_ms=0, to_ms=2**53, after=0, limit=10
            )
            assert [row["metric"] for row in answer.dicts()] == ["reward"]
    assert head(data) == before


def test_a_folder_without_a_log_is_no_data_directory_and_stays_empty(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="not a data directory"), warehouse_of(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_a_directory_that_is_served_is_not_opened_a_second_time(data: Path) -> None:
    with embedded.open_loop(data):
        with pytest.raises(DirectoryLocked), warehouse_of(data):
            pass
        with unserved(Server(data=data)) as services:
            assert services is None


def test_services_are_for_a_directory_without_a_server_and_without_an_address(
    data: Path, tmp_path: Path
) -> None:
    with unserved(Server("http://localhost:1", data=data)) as services:
        assert services is None
    with unserved(Server(data=tmp_path / "nothing")) as services:
        assert services is None
    with unserved(Server(data=data)) as services:
        assert services is not None
        assert [e.id for e in services.truth.experiments()] == ["greeting"]
    embedded.open_loop(data).close()
