"""What a PostgreSQL server is like, found out without changing it: for `loopwright doctor`."""

from __future__ import annotations

from contextlib import closing
from typing import Final

import msgspec

from loopwright.core.errors import SettingsInvalid

try:
    import psycopg  # noqa: F401 - for its absence
except ModuleNotFoundError as error:
    raise SettingsInvalid(
        "PostgreSQL needs the package psycopg; install it with: pip install 'loopwright[postgres]'"
    ) from error

from .postgres_link import Server, translated

LEAST_VERSION: Final = 14
"""Oldest major version that the tests of the port were written for; older ones get no fixes any more."""


class Examined(msgspec.Struct, frozen=True, kw_only=True):
    """A server as it was found."""

    place: str
    """Host and port, without the password."""
    version: str
    major: int
    encoding: str
    is_synced: bool
    """Whether the server has commits on its disk before it answers (`fsync`, `full_page_writes`)."""
    may_create: bool
    """Whether the user may make schemas in the database."""
    ahead_ms: float
    """How far the server's clock is ahead of `now_ms`."""
    schemas: dict[str, bool]
    """Our schemas that are there, and whether the user may write in each."""


def examine(url: str, *, now_ms: int) -> Examined:
    """Connect and return what the server is like. Raises `SettingsInvalid` or `DatabaseUnavailable` as a server does."""
    server = Server.of(url, "public")
    with translated(server), closing(server.connect()) as link:
        major, version, encoding, fsync, pages, may_create, clock_ms = link.execute(
            "SELECT current_setting('server_version_num')::int / 10000, current_setting('server_version'), "
            "current_setting('server_encoding'), current_setting('fsync'), current_setting('full_page_writes'), "
            "has_database_privilege(current_database(), 'CREATE'), "
            "(extract(epoch FROM clock_timestamp()) * 1000)::float8"
        ).fetchone() or (0, "", "", "", "", False, 0.0)
        schemas = link.execute(
            "SELECT nspname, has_schema_privilege(oid, 'USAGE') AND has_schema_privilege(oid, 'CREATE') "
            "FROM pg_namespace WHERE left(nspname, 11) = 'loopwright_' ORDER BY nspname"
        ).fetchall()
    return Examined(
        place=server.place,
        version=version,
        major=major,
        encoding=encoding,
        is_synced=fsync == "on" and pages == "on",
        may_create=bool(may_create),
        ahead_ms=clock_ms - now_ms,
        schemas={name: bool(may_write) for name, may_write in schemas},
    )
