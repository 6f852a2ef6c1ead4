"""The SQL engine inside the process: DuckDB, kept small and offline, and how rows get into it.

Rows travel as JSON lines, which an encoder in C writes without their NULLs and the engine reads without the
interpreter's lock: for rows of this width that is about twice as fast as arrays of Python objects.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from .manifest import File, WarehouseCorrupt, digest, sync_folder
from .tables import TABLES, Table

if TYPE_CHECKING:
    import duckdb

MEMORY: Final = "2GB"
THREADS: Final = 2

line: Final = msgspec.json.Encoder().encode
"""Returns a row as one JSON line."""

USUAL: Final = {
    "consent_store": "TRUE",
    "consent_analyze": "TRUE",
    "consent_train": "TRUE",
    "consent_share": "TRUE",
}
"""What most rows say in columns that are never NULL: lines leave it out, as they leave out NULLs."""

# A digest that every engine can compute and that never changes; 63 bits leave one clash in 10^5 of ten
# million keys. The letter keeps references of different kinds apart.
_KEYS: Final = {
    "decision_key": "'d' || tenant_id || chr(31) || decision_id",
    "span_key": "'p' || tenant_id || chr(31) || trace_id || chr(31) || span_id",
    "trace_key": "'t' || tenant_id || chr(31) || trace_id",
    "message_key": "'m' || tenant_id || chr(31) || session_id || chr(31) || message_id",
    "output_key": "'o' || tenant_id || chr(31) || {output}",
}


def connect(
    folder: Path, *, memory: str = MEMORY, threads: int = THREADS, keeps_order: bool = False
) -> duckdb.DuckDBPyConnection:
    """Return a new engine that spills into `folder` and fetches nothing from anywhere."""
    import duckdb  # heavy, and only reports need it

    connection = duckdb.connect(
        config={
            "memory_limit": memory,
            "threads": threads,
            "temp_directory": str(folder / "spill"),
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
    return connection


def member(place: int) -> str:
    """Return the name in the lines of the column at `place`; the columns' own are half of what is written."""
    return f"c{place}"


@contextmanager
def staged(folder: Path, table: Table, lines: Sequence[bytes]) -> Iterator[str]:
    """Hold JSON lines in a private file of `folder`, and yield the SELECT that reads them, keys computed."""
    descriptor, name = tempfile.mkstemp(prefix=".staged-", dir=folder)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(b"\n".join(lines))
        # An upper bound: the engine sets aside several times as much for each thread.
        yield _rows_sql(table, name, longest=65_536 + 2 * max(map(len, lines)))
    finally:
        Path(name).unlink(missing_ok=True)


def write_parquet(
    connection: duckdb.DuckDBPyConnection,
    select: str,
    *,
    folder: Path,
    name: str,
    table: Table,
    settled: int = 0,
    until: str = "",
) -> File | None:
    """Store the rows of `select`, in its order, as the file `name`; None, writing nothing, when there are none."""
    path = folder / name
    made = not path.parent.exists()
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    connection.execute(
        f"COPY ({select}) TO {quoted(str(partial))} "
        "(FORMAT parquet, COMPRESSION zstd, COMPRESSION_LEVEL 1, ROW_GROUP_SIZE 8192)"
    )
    at = table.event_time
    may_report = "consent_store AND consent_analyze" if "consent_analyze" in table.names else "TRUE"
    found = connection.execute(
        f"SELECT count(*), min(log_offset), max(log_offset), min({at}), max({at}), "  # noqa: S608
        f"count(CASE WHEN {may_report} THEN NULL ELSE 1 END) "
        f"FROM read_parquet({quoted(str(partial))})"
    ).fetchone()
    if found is None or found[0] == 0:
        partial.unlink()
        return None
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)
    sync_folder(path.parent)
    if made:
        sync_folder(path.parent.parent)
        sync_folder(folder)
    return File(
        name=name,
        table=table.name,
        day=path.parent.name,
        rows=found[0],
        size=path.stat().st_size,
        sha256=digest(path),
        first=found[1],
        last=found[2],
        from_ms=found[3],
        to_ms=found[4],
        settled=settled,
        until=until,
        withheld=found[5],
    )


def files_sql(folder: Path, files: Sequence[File], *, columns: str = "*") -> str:
    """Return the SELECT that reads `files`, of which there is at least one."""
    names = ", ".join(quoted(str(folder / file.name)) for file in files)
    return f"SELECT {columns} FROM read_parquet([{names}], hive_partitioning = false)"  # noqa: S608


def columns_sql(table: Table) -> str:
    """Return the columns of `table` for a SELECT, keys computed from the others."""
    return ", ".join(_key(table, name) if name in _KEYS else name for name in table.names)


def create_sql(table: Table, name: str) -> str:
    """Return the statement that makes an empty table of the shape of `table`."""
    columns = ", ".join(f"{column.name} {column.type}" for column in table.columns)
    return f"CREATE OR REPLACE TABLE {name} ({columns})"


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Turn what the engine says of a damaged file into an error that says what to do."""
    import duckdb

    try:
        yield
    except (
        duckdb.IOException,
        duckdb.InvalidInputException,
        duckdb.SerializationException,
    ) as error:
        raise WarehouseCorrupt(
            f"{what}: the engine cannot read a file: {error}; delete the warehouse's folder, and it is rebuilt "
            "from the log"
        ) from error


def quoted(text: str) -> str:
    """Return `text` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _key(table: Table, name: str) -> str:
    output = "interaction_id" if table.name == TABLES["interactions"].name else "output_id"
    text = _KEYS[name].format(output=output)
    # Shifting the whole digest takes a third of the time of asking the engine for one half of it.
    return f"CAST(md5_number({text}) >> 65 AS BIGINT) AS {name}"


def _told(place: int, name: str) -> str:
    usual = USUAL.get(name)
    return (
        f"{member(place)} AS {name}"
        if usual is None
        else f"coalesce({member(place)}, {usual}) AS {name}"
    )


def _rows_sql(table: Table, path: str, *, longest: int) -> str:
    plain = [column for column in table.columns if column.name not in _KEYS]
    spec = ", ".join(f"{member(k)}: '{column.type}'" for k, column in enumerate(plain))
    named = ", ".join(_told(k, column.name) for k, column in enumerate(plain))
    return (
        f"SELECT {columns_sql(table)} FROM (SELECT {named} FROM read_json({quoted(path)}, "  # noqa: S608
        f"format = 'newline_delimited', columns = {{{spec}}}, maximum_object_size = {longest})) AS said"
    )
