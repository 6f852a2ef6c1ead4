"""Connections to a PostgreSQL server, lent one at a time, and its errors in our words.

This is not psycopg's pool, on purpose. That one connects in threads of its own and doubles the pause after each
failure, so after an outage of a minute it may stay away for a minute more. Here the caller that needs a connection
makes it: the first call after a restart succeeds, and there are no threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final, TypeVar

import msgspec
import psycopg
from psycopg import errors, pq
from psycopg.adapt import Dumper, Loader
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.numeric import Int8BinaryDumper, NumericBinaryLoader

from loopwright.core.errors import (
    Broken,
    Conflict,
    DatabaseUnavailable,
    DiskFull,
    LoopError,
    Overloaded,
    SettingsInvalid,
)

from .portable import original, storable

WAIT_S: Final = 10
"""How long a call waits for a connection, and a transaction for the one before it."""

_KEPT: Final = 4
_DEFAULTS: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    # A server that is gone without a word shows within seconds, not after the kernel's quarter of an hour.
    "keepalives_idle": 15,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
_STOPPED: Final = ("57P01", "57P02", "57P03")
_REFUSED: Final = ("password", "authentication", "pg_hba", "does not exist", "not permitted")

Link = psycopg.Connection[tuple[Any, ...]]
T = TypeVar("T")


class Server(msgspec.Struct, frozen=True):
    """Where to connect and how; `place` names it without the password."""

    place: str
    schema: str
    options: dict[str, Any]

    @classmethod
    def of(cls, url: str, schema: str) -> Server:
        """Read a connection string; raises `SettingsInvalid`."""
        try:
            given = conninfo_to_dict(url)
        except psycopg.Error:
            # libpq quotes the part that it does not understand, which may be the password.
            raise SettingsInvalid(
                "the address of the PostgreSQL database cannot be read; expected "
                "postgresql://user:password@host:5432/database, with %-escapes in the password"
            ) from None
        host, port = given.get("host") or given.get("hostaddr"), given.get("port") or 5432
        where = f"PostgreSQL at {host or 'the local socket'}, port {port}"
        # Names of applications are cut after 63 bytes, with a notice each time.
        named: dict[str, Any] = {"application_name": f"loopwright {schema}"[:63]}
        return cls(where, schema, {**_DEFAULTS, **named, **given, "client_encoding": "utf8"})

    def connect(self) -> Link:
        """Open a connection whose statements outside a transaction can only read."""
        try:
            # Autocommit: otherwise each read opens a transaction, and its snapshot would keep VACUUM from
            # removing rows.
            link = psycopg.connect(autocommit=True, **self.options)
        except psycopg.OperationalError as error:
            raise self._unreached(str(error)) from error
        try:
            self._prepare(link)
        except BaseException:
            link.close()
            raise
        return link

    def _prepare(self, link: Link) -> None:
        encoding = link.info.parameter_status("server_encoding")
        if encoding != "UTF8":
            raise Broken(
                f"{self.place}: the database has encoding {encoding}; UTF8 is needed: "
                "CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0",
                found=encoding,
                expected="UTF8",
            )
        # Of one width whatever their value: otherwise each statement is prepared once per mix of widths.
        link.adapters.register_dumper(int, Int8BinaryDumper)
        link.adapters.register_dumper(bool, Int8BinaryDumper)  # as SQLite stores it
        link.adapters.register_loader("numeric", _Number)
        link.adapters.register_dumper(str, _TextOut)
        link.adapters.register_loader("text", _TextIn)
        link.execute(
            f"SET search_path TO \"{self.schema}\"; SET lock_timeout TO '{WAIT_S}s'; "
            "SET default_transaction_read_only TO on; "
            # The lock of a transaction whose process is gone without a word is free after a minute.
            "SET tcp_keepalives_idle TO 30; SET tcp_keepalives_interval TO 10; "
            "SET tcp_keepalives_count TO 3; "
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') = 'off'".encode()
        )

    def _unreached(self, found: str) -> LoopError:
        reason = " ".join(found.split())
        if any(word in reason for word in _REFUSED):
            return SettingsInvalid(
                f"{self.place} refuses the connection ({reason}); check user, password and database in the address"
            )
        return DatabaseUnavailable(
            f"{self.place} cannot be reached ({reason}); check that the server runs and that the address is right"
        )


class _TextOut(Dumper):
    """Of no declared type, so that the server takes it for what the statement needs there."""

    def dump(self, obj: str) -> bytes:
        return storable(obj).encode()


class _TextIn(Loader):
    format = pq.Format.BINARY

    def load(self, data: Any) -> str:
        return original(bytes(data).decode())


class _Number(NumericBinaryLoader):
    """Sums of BIGINT are NUMERIC: an int again where they are whole, a float otherwise."""

    def load(self, data: Any) -> Any:
        found = super().load(data)
        return int(found) if found == found.to_integral_value() else float(found)


class Links:
    """Connections, made when they are needed, at most `most` at once; the newest idle one goes first."""

    def __init__(self, server: Server, *, most: int) -> None:
        self._server = server
        self._most = most
        # Bounded, so that giving back twice is an error and not one connection more.
        self._room = threading.BoundedSemaphore(most)
        self._idle: list[Link] = []
        self._closed = threading.Event()

    @contextmanager
    def borrow(self, first: Callable[[Link], T]) -> Iterator[tuple[Link, T]]:
        """Lend a connection on which `first` has run, with what it returned.

        `first` runs again, on a new connection, when the server had dropped an idle one: it must change nothing.
        """
        if self._closed.is_set():
            raise Broken(f"{self._server.place}: the database {self._server.schema} is closed")
        if not self._room.acquire(timeout=WAIT_S):
            raise Overloaded(
                f"all {self._most} connections to {self._server.schema} are busy; retry",
                retry_after_s=1,
            )
        try:
            link, result = self._reached(first)
            try:
                yield link, result
            finally:
                self._give_back(link)
        finally:
            self._room.release()

    def close(self) -> None:
        """Close idle connections now, and lent ones when they come back."""
        self._closed.set()
        self._forget_idle()

    def _reached(self, first: Callable[[Link], T]) -> tuple[Link, T]:
        with suppress(IndexError):
            link = self._idle.pop()
            try:
                return self._tried(link, first)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if not is_lost(link, error):
                    raise
                self._forget_idle()  # most likely the server restarted, so they are dead too
        return self._tried(self._server.connect(), first)

    def _tried(self, link: Link, first: Callable[[Link], T]) -> tuple[Link, T]:
        try:
            return link, first(link)
        except BaseException as error:
            if is_lost(link, error):
                link.close()
            elif not link.closed and link.info.transaction_status is pq.TransactionStatus.INERROR:
                link.execute(b"ROLLBACK")
            self._give_back(link)
            raise

    def _give_back(self, link: Link) -> None:
        if link.closed:
            return
        # A connection that comes back within a transaction would hand its locks to the next borrower.
        is_idle = link.info.transaction_status is pq.TransactionStatus.IDLE
        if self._closed.is_set() or not is_idle or len(self._idle) >= _KEPT:
            link.close()
        else:
            self._idle.append(link)
            if self._closed.is_set():  # by another thread, just now
                self._forget_idle()

    def _forget_idle(self) -> None:
        with suppress(IndexError):
            while True:
                self._idle.pop().close()


def is_lost(link: Link, error: BaseException) -> bool:
    """Return whether an error means that the connection is gone."""
    state = getattr(error, "sqlstate", None) or ""
    return link.closed or state in _STOPPED or state.startswith("08")


@contextmanager
def translated(server: Server) -> Iterator[None]:
    """Turn what psycopg raises into errors that say what to do. Misuse passes through: it is our bug."""
    try:
        yield
    except psycopg.Error as error:
        ours = _translate(error, server)
        if ours is None:
            raise
        raise ours from error


def _translate(error: psycopg.Error, server: Server) -> LoopError | None:
    # Only the first line: the details of an error show the values of a row.
    said = error.diag.message_primary or " ".join(str(error).split())
    at = f"{server.place}, schema {server.schema}"
    match error:
        case errors.IntegrityError():
            return Conflict(f"{server.schema}: {said}")
        case errors.DiskFull():
            return DiskFull(
                f"{at}: the disk refused a write ({said}); nothing unwritten was acknowledged: "
                "free some space there, then repeat the request"
            )
        case errors.LockNotAvailable() | errors.DeadlockDetected() | errors.SerializationFailure():
            return Overloaded(
                f"{at}: another transaction holds the tables ({said}); retry", retry_after_s=1
            )
        case errors.QueryCanceled():
            return Overloaded(
                f"{at}: the server stopped a statement ({said}); retry", retry_after_s=1
            )
        case errors.InsufficientPrivilege():
            return Broken(
                f"{at}: {said}; let the user create and use this schema, or make its owner the user"
            )
        case errors.DataCorrupted() | errors.IndexCorrupted():
            return Broken(f"{at} is damaged: {said}; stop the server and restore a backup")
        case errors.ReadOnlySqlTransaction() if "recovery" in said:
            return DatabaseUnavailable(
                f"{at}: this server is a standby; add target_session_attrs=read-write to the address"
            )
    state = error.sqlstate or ""
    if state.startswith(("53", "58", "XX")):
        return Broken(f"{at}: the server is in trouble ({said}); look at its log")
    if isinstance(error, psycopg.OperationalError):
        return DatabaseUnavailable(
            f"{at}: the server ended the connection ({said}); the transaction is not stored: retry"
        )
    return None
