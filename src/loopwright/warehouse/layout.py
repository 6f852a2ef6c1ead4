"""How rows of a table reach the engine, and their layout in its files."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import msgspec

from loopwright.core.ports import QueryEngine

from .manifest import File
from .tables import TABLES, Table

line: Final = msgspec.json.Encoder().encode
"""Returns a row as one JSON line."""

USUAL: Final = {
    "consent_store": "TRUE",
    "consent_analyze": "TRUE",
    "consent_train": "TRUE",
    "consent_share": "TRUE",
}
"""The usual values of columns that are never NULL. Lines omit them, as they omit NULLs."""

# 63 bits leave one clash in 10^5 of ten million keys. The letter keeps references of different kinds apart.
# chr(31), the unit separator, keeps the parts apart: 'ab' and 'c' must not give the key of 'a' and 'bc'.
_KEYS: Final = {
    "decision_key": "'d' || tenant_id || chr(31) || decision_id",
    "span_key": "'p' || tenant_id || chr(31) || trace_id || chr(31) || span_id",
    "trace_key": "'t' || tenant_id || chr(31) || trace_id",
    "message_key": "'m' || tenant_id || chr(31) || session_id || chr(31) || message_id",
    "output_key": "'o' || tenant_id || chr(31) || {output}",
}


def member(place: int) -> str:
    """Return the short name that the column at `place` has in the lines; full names were half of the bytes."""
    return f"c{place}"


@contextmanager
def loaded(engine: QueryEngine, table: Table, lines: Sequence[bytes]) -> Iterator[str]:
    """Hold rows as JSON lines in the engine, and yield the SELECT that reads them, keys computed."""
    plain = [column for column in table.columns if column.name not in _KEYS]
    types = {member(place): column.type for place, column in enumerate(plain)}
    named = ", ".join(_named(place, column.name) for place, column in enumerate(plain))
    with engine.load(types, lines) as rows:
        yield f"SELECT {columns_sql(table)} FROM (SELECT {named} FROM ({rows}) AS lines) AS said"  # noqa: S608


def write_file(
    engine: QueryEngine, select: str, *, name: str, table: Table, settled: int = 0, until: str = ""
) -> File | None:
    """Store the rows of `select`, in its order, as the file `name`; None, writing nothing, when there are none."""
    stored = engine.write(select, name)
    if stored is None:
        return None
    at = table.event_time
    # A file without a withheld row is read later without a condition on each row, which is nearly every file.
    may_report = "consent_store AND consent_analyze" if "consent_analyze" in table.names else "TRUE"
    # Asked of the written file: asking the SELECT again would run its sort a second time.
    found = engine.query(
        f"SELECT min(log_offset), max(log_offset), min({at}), max({at}), "  # noqa: S608
        f"count(CASE WHEN {may_report} THEN NULL ELSE 1 END) "
        f"FROM ({engine.read([name], table.names)}) AS written"
    )
    first, last, from_ms, to_ms, withheld = found[0]
    return File(
        name=name,
        rows=stored.rows,
        size=stored.size,
        digest=stored.digest,
        first=first,
        last=last,
        table=table.name,
        # Names are table/day/offsets.
        day=name.split("/")[-2],
        from_ms=from_ms,
        to_ms=to_ms,
        settled=settled,
        until=until,
        withheld=withheld,
    )


def files_sql(engine: QueryEngine, files: Sequence[File], columns: Sequence[str]) -> str:
    """Return the SELECT that reads `files`, at least one."""
    return engine.read([file.name for file in files], columns)


def columns_sql(table: Table) -> str:
    """Return the columns of `table` for a SELECT, keys computed from the others."""
    return ", ".join(_key(table, name) if name in _KEYS else name for name in table.names)


def create_sql(table: Table, name: str) -> str:
    """Return the statement that makes an empty table of the shape of `table`."""
    columns = ", ".join(f"{column.name} {column.type}" for column in table.columns)
    return f"CREATE OR REPLACE TABLE {name} ({columns})"


def people_sql(name: str, changes: str) -> str:
    """Return the statement that makes a table of each person's latest consent in `changes`; erasure is final."""
    return (
        f"CREATE OR REPLACE TABLE {name} AS SELECT tenant_id, person, log_offset, is_erased, "  # noqa: S608
        "consent_store, consent_analyze, consent_train, consent_share FROM ("
        "SELECT *, row_number() OVER (PARTITION BY tenant_id, person ORDER BY log_offset DESC) AS place, "
        # Over all changes and not only the latest: a consent given after an erasure must not bring the old rows
        # back.
        "max(CASE WHEN is_erasure THEN 1 ELSE 0 END) OVER (PARTITION BY tenant_id, person) AS is_erased "
        f"FROM {changes}) AS ordered WHERE place = 1"
    )


def allowed_sql(source: str, names: Sequence[str], *, people: str) -> str:
    """Return `source` without the rows of erased people, each consent replaced by the person's latest."""
    columns = ", ".join(
        f"coalesce(p.{name}, f.{name}) AS {name}" if name.startswith("consent_") else f"f.{name}"
        for name in names
    )
    return (
        f"SELECT {columns} FROM ({source}) AS f LEFT JOIN {people} AS p "  # noqa: S608 - our own names
        # A left join: people who never changed their mind have no row in `people`, and their facts' own consent
        # holds.
        "ON f.tenant_id = p.tenant_id AND f.person = p.person WHERE coalesce(p.is_erased, 0) = 0"
    )


def agreed_sql(
    source: str, read: Sequence[str], names: Sequence[str], *, is_allowed: bool, people: str | None
) -> str:
    """Return `names` of the rows of `source` (`read`) that their people let into reports, or do not.

    `people` is the table of those whose consent changed; None when nobody's did.
    """
    if people is not None:
        source = allowed_sql(source, read, people=people)
    agreed = "consent_store AND consent_analyze"
    kept = agreed if is_allowed else f"NOT ({agreed})"
    return f"SELECT {', '.join(names)} FROM ({source}) AS allowed WHERE {kept}"  # noqa: S608 - our own names


def quoted(text: str) -> str:
    """Return `text` as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _key(table: Table, name: str) -> str:
    output = "interaction_id" if table.name == TABLES["interactions"].name else "output_id"
    return f"digest63({_KEYS[name].format(output=output)}) AS {name}"


def _named(place: int, name: str) -> str:
    usual = USUAL.get(name)
    return (
        f"{member(place)} AS {name}"
        if usual is None
        else f"coalesce({member(place)}, {usual}) AS {name}"
    )


def agreed_sql(
    source: str, read: Sequence[str], names: Sequence[str], *, is_allowed: bool, people: str | None
) -> str:
    """Return the SELECT of `names` from `source` with columns `read`: the rows that consent lets into reports, or,
    without `is_allowed`, those that it keeps out. `people` is the table of their consent, None when it is empty.
    """
    if people is not None:
        source = allowed_sql(source, read, people=people)
    agreed = "consent_store AND consent_analyze"
    kept = agreed if is_allowed else f"NOT ({agreed})"
    return f"SELECT {', '.join(names)} FROM ({source}) AS allowed WHERE {kept}"  # noqa: S608 - our own names
