from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from loopwright.backends import resolve
from loopwright.core.errors import SettingsInvalid
from loopwright.core.ports import START


def test_a_url_names_the_file_that_it_is_made_of(tmp_path: Path) -> None:
    odd = tmp_path / "a b#c%41?d"
    odd.mkdir()
    assert resolve.path_of(resolve.sqlite_url(odd / "log.db")) == odd / "log.db"
    assert resolve.path_of(resolve.file_url(odd)) == odd
    with closing(resolve.event_log(resolve.sqlite_url(odd / "log.db"))) as log:
        assert log.append(b"a", count=1, version=1, keys=[]) == 1
    assert (odd / "log.db").is_file()


def test_each_database_of_a_folder_is_a_file(tmp_path: Path) -> None:
    url = resolve.sqlite_url(tmp_path)
    assert resolve.is_absent(url, "people")
    with closing(resolve.database(url, "people", is_private=True)) as database:
        assert database.query("SELECT 1") == [(1,)]
    assert not resolve.is_absent(url, "people")
    assert (tmp_path / "people.db").stat().st_mode & 0o077 == 0
    assert resolve.damage(url, "people") == ""


def test_memory_ends_with_its_opener() -> None:
    with closing(resolve.event_log("memory:")) as log:
        assert log.read(START, limit=1) == []
    assert resolve.blob_store("memory:", "segments").put("a", b"") is True
    with closing(resolve.database("memory:", "state")) as database:
        assert database.query("SELECT 1") == [(1,)]
    with closing(resolve.snapshot_store("memory:")) as store:
        assert store.get(("acme", "x")) is None
    assert resolve.verified("memory:") is None


@pytest.mark.parametrize(
    ("opened", "known"),
    [
        (lambda url: resolve.event_log(url), "sqlite:///FILE"),
        (lambda url: resolve.database(url, "state"), "postgresql://"),
        (lambda url: resolve.blob_store(url, "segments"), "file:///FOLDER"),
        (lambda url: resolve.snapshot_store(url), "memory:"),
        (lambda url: resolve.query_engine(url, "warehouse"), "file:///FOLDER"),
    ],
)
@pytest.mark.parametrize("url", ["mysql://ann:secret@host/db", "loopwright-data"])
def test_an_unknown_scheme_is_refused_with_the_known_ones_and_without_the_password(
    opened: Callable[[str], object], known: str, url: str
) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        opened(url)
    assert known in caught.value.message
    assert "secret" not in caught.value.message
