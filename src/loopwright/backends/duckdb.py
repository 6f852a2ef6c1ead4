"""DuckDB as query engine: SQL in this process over Parquet files in a folder. The only module that imports it.

Rows travel as JSON lines, which an encoder in C writes without their NULLs and the engine reads without the
interpreter's lock: for rows of the warehouse's width that is about twice as fast as arrays of Python objects.
"""

from __future__ import annotations

import errno
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from loopwright.core.errors import DiskFull, Invalid, LoopError, PartCorrupt, Unavailable
from loopwright.core.ports import Stored

from .files import Scratch, fsync_directory, make_folders, refusal, translated

if TYPE_CHECKING:
    import duckdb

MEMORY: Final = "2GB"
THREADS: Final = 2

_CHUNK: Final = 1024
_DIGEST63: Final = "CREATE MACRO digest63(text) AS CAST(md5_number(text) >> 65 AS BIGINT)"
"""Shifting the whole digest takes a third of the time of asking the engine for one half of it."""


class DuckDB:
    """A query engine over the Parquet files under `root`, with tables in memory that spill into a scratch folder.

    `memory` is the most it holds before it spills. With `keeps_order` rows are written in the order in which they are
    read, which an ORDER BY does not need.
    """

    def __init__(
        self,
        root: str | Path,
        *,
        memory: str = MEMORY,
        threads: int = THREADS,
        keeps_order: bool = False,
    ) -> None:
        self._root = Path(root)
        self._threads = self._most = threads
        self._written = 0
        with translated(self._root):
            self._root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._scratch = Scratch(self._root)
        try:
            with _translated("open"):
                self._connection = self._connect(memory, keeps_order)
        except BaseException:
            self._scratch.close()
            raise

    def _connect(self, memory: str, keeps_order: bool) -> duckdb.DuckDBPyConnection:
        import duckdb  # heavy, and only reports need it

        connection = duckdb.connect(
            config={
                "memory_limit": memory,
                "threads": self._threads,
                "temp_directory": str(self._scratch.folder / "spill"),
                # The engine would fetch them over the network, and a query must not depend on that.
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "preserve_insertion_order": keeps_order,
            }
        )
        # On a terminal it would draw over whatever the program prints.
        connection.execute("SET enable_progress_bar = false")
        # It takes a third of the planning of a breakdown, and counting different people by it is no faster.
        connection.execute("SET disabled_optimizers = 'distinct_aggregate_rewrite'")
        # Files never change under their name, so what is known of them stays true.
        connection.execute("SET parquet_metadata_cache = true")
        connection.execute(_DIGEST63)
        return connection

    @contextmanager
    def load(self, columns: Mapping[str, str], lines: Sequence[bytes]) -> Iterator[str]:
        """Hold JSON lines in a scratch file, and yield the SELECT that reads them in their order."""
        with translated(self._scratch.folder):
            descriptor, name = tempfile.mkstemp(prefix="rows-", dir=self._scratch.folder)
        try:
            with translated(Path(name)), os.fdopen(descriptor, "wb") as file:
                file.write(b"\n".join(lines))
            yield _json_rows(name, columns, longest=max(map(len, lines), default=0))
        finally:
            Path(name).unlink(missing_ok=True)

    def query(
        self, sql: str, params: Any = (), *, threads: int | None = None
    ) -> list[tuple[Any, ...]]:
        """Run one statement, with at most `threads` threads; return its rows."""
        with _translated("query"):
            wanted = min(threads or self._most, self._most)
            if wanted != self._threads:
                self._connection.execute(f"SET threads = {wanted}")
                self._threads = wanted
            return self._connection.execute(sql, params or None).fetchall()

    def write(self, sql: str, name: str) -> Stored | None:
        """Store the rows of a SELECT as the file `name`, durably; None, storing nothing, when there are none."""
        # A new name each time: the engine keeps what it knows of files by their names.
        self._written += 1
        path, partial = self._root / name, self._scratch.folder / f"part-{self._written}.parquet"
        with _translated(name), translated(path):
            copied = self._connection.execute(
                f"COPY ({sql}) TO {_quoted(str(partial))} "
                "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 8192)"
            ).fetchone()
            rows = 0 if copied is None else copied[0]
            if rows == 0:
                partial.unlink()
                return None
            stored = Stored(rows=rows, size=partial.stat().st_size, digest=_digest(partial))
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            make_folders(path.parent)
            # The bytes are synced before the name exists, and the name after it: no crash leaves a name without
            # its bytes.
            partial.replace(path)
            fsync_directory(path.parent)
        return stored

    def read(self, names: Sequence[str], columns: Sequence[str]) -> str:
        """Return the SELECT of `columns` of the files `names`."""
        paths = ", ".join(_quoted(str(self._root / name)) for name in names)
        return (
            f"SELECT {', '.join(columns)} FROM read_parquet([{paths}], hive_partitioning = false)"  # noqa: S608
        )

    def digest(self, name: str) -> str | None:
        """Read the whole file and return its SHA-256, hexadecimal; None when it is missing."""
        path = self._root / name
        with translated(path):
            return _digest(path) if path.exists() else None

    def close(self) -> None:
        """Release the engine, its tables and its scratch files."""
        self._connection.close()
        self._scratch.close()


class Parquet:
    """Rows as Parquet, compressed by zstd."""

    def encode(self, columns: Mapping[str, str], rows: Sequence[tuple[Any, ...]]) -> bytes:
        """Return the file that holds `rows`; `columns` gives names and SQL types."""
        import duckdb
        import numpy as np

        arrays = {
            # A typed array reaches the engine without a Python object per value; text and bytes stay objects.
            name: np.array(values, dtype=np.int64 if kind in ("BIGINT", "INTEGER") else object)
            for (name, kind), values in zip(columns.items(), zip(*rows, strict=True), strict=True)
        }
        casts = ", ".join(f'CAST("{name}" AS {kind}) AS "{name}"' for name, kind in columns.items())
        with _translated("encode"), _private() as folder, duckdb.connect(config=_ALONE) as engine:
            path = folder / "rows.parquet"
            engine.register("given", arrays)
            engine.execute(
                f"COPY (SELECT {casts} FROM given) TO {_quoted(str(path))} (FORMAT parquet, COMPRESSION zstd)"  # noqa: S608
            )
            return path.read_bytes()

    def encode_lines(self, columns: Mapping[str, str], lines: Iterable[bytes]) -> bytes:
        """Return the file that holds rows given as JSON objects, NULL where a member is missing."""
        import duckdb

        longest = 0
        with _translated("encode"), _private() as folder, duckdb.connect(config=_ALONE) as engine:
            given, path = folder / "rows.jsonl", folder / "rows.parquet"
            with given.open("wb") as file:
                for line in lines:
                    longest = max(longest, len(line))
                    file.write(line + b"\n")
            rows = _json_rows(str(given), columns, longest=longest)
            engine.execute(
                f"COPY ({rows}) TO {_quoted(str(path))} (FORMAT parquet, COMPRESSION zstd)"
            )
            return path.read_bytes()

    def decode(
        self, content: bytes, columns: Sequence[str], *, after: int
    ) -> list[tuple[Any, ...]]:
        """Return `columns` of the rows whose first column is greater than `after`, in its order."""
        import duckdb

        names = ", ".join(f'"{name}"' for name in columns)
        with _translated("decode"), _private() as folder, duckdb.connect(config=_ALONE) as engine:
            path = folder / "rows.parquet"
            path.write_bytes(content)
            return engine.execute(
                f'SELECT {names} FROM read_parquet(?) WHERE "{columns[0]}" > ? ORDER BY "{columns[0]}"',  # noqa: S608
                [str(path), after],
            ).fetchall()


_ALONE: Final[dict[str, str | bool | int | float | list[str]]] = {"threads": 1}


def parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows of any Parquet file. Raises `Invalid` when it is none."""
    import duckdb

    with duckdb.connect() as connection:
        try:
            found = connection.execute("SELECT * FROM read_parquet(?)", [str(path)])
        except duckdb.Error as error:
            raise Invalid(f"{path} cannot be read as Parquet: {error}") from None
        names = [column[0] for column in found.description or []]
        while chunk := found.fetchmany(_CHUNK):
            for values in chunk:
                yield dict(zip(names, values, strict=True))


def join_parquet(parts: Sequence[Path], into: Path) -> None:
    """Write the rows of `parts`, files of the same columns, in their order as the one file `into`."""
    import duckdb

    names = ", ".join(_quoted(str(part)) for part in parts)
    with (
        _translated(str(into)),
        tempfile.TemporaryDirectory(dir=into.parent, prefix=".spill-") as spill,
        duckdb.connect(
            config={**_ALONE, "memory_limit": MEMORY, "temp_directory": spill}
        ) as engine,
    ):
        engine.execute("SET enable_progress_bar = false")
        engine.execute(
            f"COPY (SELECT * FROM read_parquet([{names}])) TO {_quoted(str(into))} "  # noqa: S608
            "(FORMAT parquet, COMPRESSION zstd)"
        )


def _json_rows(path: str, columns: Mapping[str, str], *, longest: int) -> str:
    """Return the SELECT of the JSON lines at `path`, none longer than `longest` bytes."""
    spec = ", ".join(f"{column}: '{kind}'" for column, kind in columns.items())
    # An upper bound: the engine sets aside several times as much for each thread.
    bound = 65_536 + 2 * longest
    return (
        f"SELECT * FROM read_json({_quoted(path)}, format = 'newline_delimited', "  # noqa: S608
        f"columns = {{{spec}}}, maximum_object_size = {bound})"
    )


@contextmanager
def _private() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder, translated(Path(folder)):
        yield Path(folder)


@contextmanager
def _translated(what: str) -> Iterator[None]:
    """Turn the engine's errors about disks and files into errors that say what to do. The others are our bugs."""
    import duckdb

    try:
        yield
    except duckdb.OutOfMemoryException as error:
        raise _out_of_room(what, str(error)) from error
    except (duckdb.FatalException, duckdb.InternalException) as error:
        raise Unavailable(f"{what}: the engine failed: {error}; restart Loopwright") from error
    except (
        duckdb.IOException,
        duckdb.InvalidInputException,
        duckdb.SerializationException,
    ) as error:
        raise _io(what, str(error)) from error
    except duckdb.Error as error:
        # Damage deep within a file comes as the base class itself; its subclasses are mistakes in our SQL.
        if type(error) is not duckdb.Error:
            raise
        raise _io(what, str(error)) from error


def _out_of_room(what: str, said: str) -> LoopError:
    """Return the error for a lack of memory or disk: the engine spills first, so either may be full."""
    if "temp_directory" in said or "disk" in said.lower():
        return DiskFull(f"{what}: the engine cannot spill to disk: {said}; free some space")
    return Unavailable(f"{what}: the engine is out of memory: {said}; ask for a shorter period")


def _io(what: str, said: str) -> LoopError:
    """Return the error for a refused read or write, whose cause the engine gives only as text."""
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EIO, errno.EACCES):
        if os.strerror(number) in said:
            return refusal(number, f"{what}: {said}")
    return PartCorrupt(f"{what}: the engine cannot read a file: {said}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
