from __future__ import annotations

import threading
from contextlib import closing
from pathlib import Path

import pytest

from loopwright.backends.duckdb import DuckDB, Parquet, parquet_rows
from loopwright.backends.files import SCRATCH
from loopwright.core.errors import DiskFull, Invalid, PartCorrupt, Unavailable

TYPES = {"number": "BIGINT"}
FULL = Path("/dev/full")


def test_engines_over_one_folder_leave_each_others_scratch_files_alone(tmp_path: Path) -> None:
    with closing(DuckDB(tmp_path)) as one, one.load(TYPES, [b'{"number": 1}']) as rows:
        for _ in range(3):
            DuckDB(tmp_path).close()
        assert one.query(rows) == [(1,)]
    assert [path.name for path in (tmp_path / SCRATCH).iterdir()] == ["lock"]


def test_threads_may_open_and_close_engines_at_once(tmp_path: Path) -> None:
    wrong: list[object] = []

    def work() -> None:
        for _ in range(5):
            with (
                closing(DuckDB(tmp_path)) as engine,
                engine.load(TYPES, [b'{"number": 1}']) as rows,
            ):
                found = engine.query(rows)
                if found != [(1,)]:
                    wrong.append(found)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_part_that_is_no_parquet_is_corrupt(tmp_path: Path) -> None:
    (tmp_path / "part.parquet").write_bytes(b"x" * 1000)
    with closing(DuckDB(tmp_path)) as engine, pytest.raises(PartCorrupt):
        engine.query(engine.read(["part.parquet"], ["number"]))
    with pytest.raises(PartCorrupt):
        Parquet().decode(b"x" * 1000, ("number",), after=0)


@pytest.mark.skipif(not FULL.exists(), reason="needs a device that is always full")
def test_a_full_disk_is_said_to_be_full(tmp_path: Path) -> None:
    with closing(DuckDB(tmp_path)) as engine, pytest.raises(DiskFull, match="free some space"):
        engine.query(f"COPY (SELECT range AS n FROM range(100000)) TO '{FULL}' (FORMAT csv)")  # noqa: S608 - a constant


def test_a_folder_that_is_a_file_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "warehouse").write_bytes(b"")
    with pytest.raises(Unavailable, match="check the disk"):
        DuckDB(tmp_path / "warehouse")


def test_the_rows_of_any_parquet_file_are_read_and_other_files_refused(tmp_path: Path) -> None:
    path = tmp_path / "some.parquet"
    path.write_bytes(Parquet().encode({"n": "BIGINT", "name": "VARCHAR"}, [(1, "a"), (2, None)]))
    assert list(parquet_rows(path)) == [{"n": 1, "name": "a"}, {"n": 2, "name": None}]
    path.write_bytes(b"no")
    with pytest.raises(Invalid, match="cannot be read as Parquet"):
        list(parquet_rows(path))
