"""PostgreSQL as database: tables and transactions on a server that several processes share.

A `PostgresDatabase` is one schema of one PostgreSQL database, as a `SqliteDatabase` is one file. Needs the extra
`postgres`, so only the code that chooses engines imports this module.

**Transactions take turns.** Each begins by taking an advisory lock of its schema, as SQLite takes its write lock with
`BEGIN IMMEDIATE`: what a slice reads in a transaction cannot change before it writes, in whichever process. The other
ways need more than the port can give. `SERIALIZABLE` makes one of two transactions fail at its commit, and the body
of a `with` block cannot be run again from outside; `SELECT … FOR UPDATE` does not lock rows that are not there yet, and
SQLite does not know it. The price is one writer per schema. Reads outside a transaction never wait.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, Final

from loopwright.core.errors import Broken, CommitUnclear, Overloaded, SettingsInvalid

from .portable import for_postgres

try:
    import psycopg
    from psycopg import pq
except ModuleNotFoundError as error:
    raise SettingsInvalid(
        "PostgreSQL needs the package psycopg; install it with: pip install 'loopwright[postgres]'"
    ) from error

from .postgres_link import WAIT_S, Link, Links, Server, is_lost, translated

_NAME: Final = re.compile(r"(?!pg_)[a-z_][a-z0-9_]{0,62}")
_COMMIT_STATES: Final = (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)

_logger = logging.getLogger(__name__)


class PostgresDatabase:
    """Tables and transactions in one schema, made when it is missing; any thread may call.

    A commit survives a crash of the server, unless the server itself runs with `fsync = off`, which is logged. With
    `is_private`, a schema that another role may use is refused. A violated constraint raises `Conflict`; a server
    that is away, `DatabaseUnavailable`; a connection lost in a commit, `CommitUnclear`. The next call connects anew.
    """

    def __init__(
        self, url: str, *, schema: str, is_private: bool = False, most_connections: int = 8
    ) -> None:
        """Connect and make the schema. `url` is a URL or connection string of libpq; its password is never repeated."""
        if not _NAME.fullmatch(schema):
            raise SettingsInvalid(
                f"{schema!r} cannot name a schema: use at most 63 of a-z, 0-9 and _, not 'pg_' at the start"
            )
        self._schema = schema
        self._server = Server.of(url, schema)
        self._links = Links(self._server, most=most_connections)
        # Threads take turns here first: those that wait for the server's lock would each hold a connection.
        self._turn = threading.Lock()
        self._own = threading.local()
        self._is_to_rewrite = False
        # Not `hash`, which differs from process to process: all of them must take the same lock.
        key = int.from_bytes(blake2b(schema.encode(), digest_size=8).digest(), "big", signed=True)
        # Not REPEATABLE READ, whatever the server's default: its snapshot would be older than the lock.
        self._begin = (
            f"BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({key})"
        ).encode()
        try:
            self._prepare(is_private=is_private)
        except BaseException:
            self.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[PostgresSession]:
        """Open a transaction: committed at the end of the block, rolled back by an exception.

        A statement that failed ends it: unlike SQLite, PostgreSQL runs no further statement. Raises `Overloaded` after
        waiting 10 seconds for another transaction of the schema, in this process or then in another.
        """
        if self._open_link() is not None:
            raise RuntimeError("a transaction of this thread is already open; pass its session on")
        with (
            self._in_turn(),
            translated(self._server),
            self._links.borrow(lambda link: link.execute(self._begin)) as (link, _),
        ):
            self._own.link = link
            try:
                yield PostgresSession(link)
                _commit(link, self._server)
            except BaseException:
                _roll_back(link)
                raise
            finally:
                self._own.link = None

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query outside any transaction; the server refuses one that writes.

        Called within a transaction of the same thread, it sees what that has written so far, as with SQLite.
        """
        own = self._open_link()
        with translated(self._server):
            if own is not None:
                return PostgresSession(own).query(sql, params)
            # It only reads, so it may run a second time when the first connection turns out to be dead.
            with self._links.borrow(lambda link: PostgresSession(link).query(sql, params)) as found:
                return found[1]

    def rewrite(self) -> bool:
        """Write every table of the schema anew, so that its files hold no row that was deleted.

        Return False, leaving it for the next `scrub`, when a table is in use for longer than a moment or when a
        transaction somewhere in the server may still see deleted rows. PostgreSQL keeps more than the files: the
        write-ahead log until it is recycled, its archive, replicas that lag and base backups hold what was deleted
        for as long as the server's administrator keeps them, and the file system the blocks of the old files.
        """
        self._is_to_rewrite = True
        return self.scrub()

    def scrub(self) -> bool:
        """Give the space of deleted rows back to their tables; rewrite the tables when that is still to be done.

        The bytes stay in the file until new rows overwrite them; only `rewrite` removes them. Return False, leaving
        it for the next time, when a table is in use for longer than a moment.
        """
        full = self._is_to_rewrite
        with (
            translated(self._server),
            self._links.borrow(lambda link: link.execute("SET lock_timeout TO '100ms'")) as (
                link,
                _,
            ),
        ):
            try:
                vacuumed = [_vacuumed(link, self._schema, name, full) for name in self._tables()]
            finally:
                if not link.closed:
                    link.execute(f"SET lock_timeout TO '{WAIT_S}s'".encode())
        if full and all(vacuumed):
            self._is_to_rewrite = False
        return all(vacuumed)

    def close(self) -> None:
        """Release the engine."""
        self._links.close()

    @contextmanager
    def _in_turn(self) -> Iterator[None]:
        if not self._turn.acquire(timeout=WAIT_S):
            raise Overloaded(
                f"{self._schema}: another transaction has been open for {WAIT_S} seconds; retry",
                retry_after_s=1,
            )
        try:
            yield
        finally:
            self._turn.release()

    def _open_link(self) -> Link | None:
        found: Link | None = getattr(self._own, "link", None)
        return found

    def _tables(self) -> list[str]:
        rows = self.query(
            "SELECT tablename FROM pg_catalog.pg_tables WHERE schemaname = ? ORDER BY tablename",
            (self._schema,),
        )
        return [name for (name,) in rows]

    def _prepare(self, *, is_private: bool) -> None:
        with self.transaction() as session:
            found = session.query("SELECT 1 FROM pg_namespace WHERE nspname = ?", (self._schema,))
            if not found:  # IF NOT EXISTS would need the right to create even when it exists
                session.execute(f'CREATE SCHEMA "{self._schema}"')
            others = session.query(
                "SELECT DISTINCT grantee::regrole::text FROM pg_namespace, aclexplode(nspacl) "
                "WHERE nspname = ? AND grantee <> nspowner",
                (self._schema,),
            )
        if is_private and others:
            roles = ", ".join("PUBLIC" if name == "-" else name for (name,) in others)
            raise Broken(
                f"schema {self._schema} holds personal data and is open to {roles}; only its owner may use it: "
                f"REVOKE ALL ON SCHEMA {self._schema} FROM {roles}"
            )
        if self.query("SELECT current_setting('fsync')") != [("on",)]:
            _logger.warning(
                "PostgreSQL runs with fsync = off: a power cut can destroy the database",
                extra={"server": self._server.place},
            )


class PostgresSession:
    """One open transaction on a `PostgresDatabase`."""

    def __init__(self, link: Link) -> None:
        self._link = link

    def execute(self, sql: str, params: Sequence[Any] = ()) -> int:
        """Run one statement; return the number of rows it changed."""
        with self._link.cursor(binary=True) as cursor:
            cursor.execute(for_postgres(sql), params)
            # The row count of a SELECT says how many rows it returned, none of which it changed.
            is_query = (cursor.statusmessage or "").startswith("SELECT")
            return 0 if is_query else max(cursor.rowcount, 0)

    def executemany(self, sql: str, rows: Sequence[Sequence[Any]]) -> int:
        """Run one statement for each row; return the number of rows changed."""
        if not rows:
            return 0
        with self._link.cursor(binary=True) as cursor:
            cursor.executemany(for_postgres(sql), rows)
            return max(cursor.rowcount, 0)

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        with self._link.cursor(binary=True) as cursor:
            return cursor.execute(for_postgres(sql), params).fetchall()


def _commit(link: Link, server: Server) -> None:
    if link.info.transaction_status is pq.TransactionStatus.INERROR:
        # COMMIT would roll back and report success.
        raise RuntimeError(
            "a statement of this transaction failed and its error was caught, so nothing is stored; "
            "let the error end the transaction"
        )
    try:
        link.execute(b"COMMIT")
    except psycopg.OperationalError as error:
        if not is_lost(link, error):
            raise
        raise CommitUnclear(
            f"{server.place}: the connection was lost while a transaction was committing, so either all of it is "
            "stored or nothing; look, or repeat the request if repeating it is safe"
        ) from error


def _roll_back(link: Link) -> None:
    """Leave the connection without a transaction, or closed."""
    if link.closed:
        return
    try:
        if link.info.transaction_status not in _COMMIT_STATES:
            link.close()  # interrupted within a statement, or not in a transaction any more
        else:
            link.execute(b"ROLLBACK")
    except psycopg.Error:
        link.close()


def _vacuumed(link: Link, schema: str, table: str, full: bool) -> bool:
    """Vacuum one table; False when it is in use, or when some deleted rows had to stay."""
    kept: list[int] = []

    def hear(said: psycopg.errors.Diagnostic) -> None:
        if said.severity_nonlocalized == "WARNING":  # the table was skipped
            kept.append(1)
        # "3 dead row versions cannot be removed yet", in any language.
        if number := re.search(r"\d+", said.message_detail or ""):
            kept.append(int(number[0]))

    link.add_notice_handler(hear)
    try:
        # VERBOSE is the only way to hear how many deleted rows had to stay.
        options = "(FULL, VERBOSE)" if full else "(SKIP_LOCKED)"
        link.execute(f'VACUUM {options} "{schema}"."{table}"'.encode())
    except psycopg.errors.LockNotAvailable:
        return False
    finally:
        link.remove_notice_handler(hear)
    return not any(kept)
