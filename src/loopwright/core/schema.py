"""Tables that grow by numbered scripts, in any engine.

Each slice names its tables as a whole and lists its scripts, oldest first. A script is never edited once
released: a change is one more script at the end.
"""

from __future__ import annotations

from collections.abc import Sequence

from .errors import Broken
from .ports import Database


def apply_schema(database: Database, name: str, scripts: Sequence[Sequence[str]]) -> int:
    """Bring the tables of `name` up to the last of `scripts`; return how many scripts ran.

    All in one transaction. Raises `Broken` when the database was made by a newer program.
    """
    # Version and tables change together: DDL is transactional in SQLite and in PostgreSQL, so a crash leaves the
    # earlier version whole. Transactions take turns, so of two processes that start at once one finds all done.
    with database.transaction() as session:
        session.execute(
            "CREATE TABLE IF NOT EXISTS schema_versions "
            "(name TEXT PRIMARY KEY, version INTEGER NOT NULL)"
        )
        rows = session.query("SELECT version FROM schema_versions WHERE name = ?", (name,))
        found = int(rows[0][0]) if rows else 0
        # Old code on newer tables might write rows that break rules it does not know.
        if found > len(scripts):
            raise Broken(
                f"the tables of {name!r} have version {found}; this program knows up to {len(scripts)}: "
                "upgrade Loopwright",
                found=found,
                expected=len(scripts),
            )
        for script in scripts[found:]:
            for statement in script:
                session.execute(statement)
        session.execute(
            "INSERT INTO schema_versions VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET version = excluded.version",
            (name, len(scripts)),
        )
    return len(scripts) - found
