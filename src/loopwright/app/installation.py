"""One data directory, one database: which of the two belong together, when tables are kept on a server.

The event log and the warehouse lie in the directory, the tables that they refer to on the server. A directory that is
given the tables of another would learn from one log with the offsets of another.
"""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Final

from loopwright.core.errors import SettingsInvalid
from loopwright.core.ports import Database
from loopwright.core.schema import apply_schema

from .keyring import write_private

FILE: Final = "installation"
_SCHEMA: Final = (("CREATE TABLE installation (id TEXT PRIMARY KEY)",),)


def bind(folder: Path, database: Database) -> None:
    """Tie a data directory to its tables, the first time; raises `SettingsInvalid` for those of another directory."""
    path = folder / FILE
    # The file first: a crash before the row leaves a directory that claims the tables at its next start.
    if not path.exists():
        write_private(path, f"{secrets.token_hex(16)}\n".encode())
    own = path.read_text("utf-8").strip()
    apply_schema(database, "installation", _SCHEMA)
    with database.transaction() as session:
        rows = session.query("SELECT id FROM installation")
        if not rows:
            session.execute("INSERT INTO installation VALUES (?)", (own,))
            return
    if rows[0][0] != own:
        raise SettingsInvalid(
            f"the database holds the tables of another data directory than {folder}; give each directory a database of "
            f"its own, or restore the file {FILE!r} of the directory that these tables belong to"
        )
