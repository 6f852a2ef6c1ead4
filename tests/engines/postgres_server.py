"""A real PostgreSQL server for tests: in a folder of its own, on a free port, crashed and restarted at will."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from urllib.parse import quote

import psycopg
from bench.footprint import free_port

USER = "loopwright"
PASSWORD = "s3cret/@:?#%"  # every character that a URL would take for something else
MISSING = "PostgreSQL is not installed; on Debian: apt install postgresql"


def programs() -> Path | None:
    """Return the folder of `initdb` and `postgres`, the newest version first."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_version, reverse=True)
    on_path = shutil.which("initdb")
    return found[0].parent if found else Path(on_path).parent if on_path else None


def _version(initdb: Path) -> float:
    try:
        return float(initdb.parent.parent.name)
    except ValueError:
        return 0.0  # one on the path, as /usr/local/bin/initdb


class PostgresServer:
    """One server. Commits are not synced: no test here cuts the power."""

    def __init__(self, bin: Path, folder: Path) -> None:
        self._bin, self._folder, self.port = bin, folder, free_port()
        # PostgreSQL refuses to run as root; Debian's package brings a user of that name.
        self._user = "postgres" if os.geteuid() == 0 else None
        self._process: subprocess.Popen[bytes] | None = None
        self._numbers = count(1)
        self._init()

    def url(
        self, *, password: str = PASSWORD, port: int | None = None, database: str = "postgres"
    ) -> str:
        secret = quote(password, safe="")
        return f"postgresql://{USER}:{secret}@127.0.0.1:{port or self.port}/{database}"

    def schema(self) -> str:
        """Return a name that no schema has yet."""
        return f"test_{next(self._numbers)}"

    def start(self) -> None:
        options = (
            "fsync=off",
            f"port={self.port}",
            "listen_addresses=127.0.0.1",
            "max_connections=100",
        )
        given = [part for option in options for part in ("-c", option)]
        log = (self._folder / "server.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [self._bin / "postgres", "-D", self._folder / "data", "-k", self._folder, *given],
                stdout=log,
                stderr=log,
                user=self._user,
                group=self._user,
            )
        until = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url()).close()
                return
            except psycopg.OperationalError:
                said = (self._folder / "server.log").read_text(errors="replace")[-2000:]
                assert self._process.poll() is None, said
                assert time.monotonic() < until, said
                time.sleep(0.02)

    def crash(self) -> None:
        """Kill the server and its children at once: what was not committed is gone."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        self._end(signal.SIGINT)

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(timeout=30)
            self._process = None

    def _init(self) -> None:
        password = self._folder / "password"
        password.write_text(PASSWORD)
        if self._user:
            for path in (self._folder, password):
                shutil.chown(path, self._user, self._user)
        # Sorted by a language, as most servers are: the engine has to sort by bytes all the same.
        locale = (
            ("--locale-provider=icu", "--icu-locale=en-US")
            if _version(self._bin / "x") >= 15
            else ()
        )
        made = subprocess.run(
            [self._bin / "initdb", "-D", self._folder / "data", "-U", USER, "-A", "scram-sha-256",
             "--pwfile", password, "-E", "UTF8", "--locale=C.UTF-8", "--no-sync", *locale],
            capture_output=True, user=self._user, group=self._user, cwd="/",
        )  # fmt: skip
        assert made.returncode == 0, made.stderr.decode()


@contextmanager
def running() -> Iterator[PostgresServer]:
    """Start a server in a new folder; stop it and delete the folder at the end."""
    bin = programs()
    assert bin is not None, MISSING
    # Not below pytest's folder: that is closed to the server's user, and too long for a socket's path.
    folder = Path(tempfile.mkdtemp(prefix="loopwright-pg-"))
    try:
        server = PostgresServer(bin, folder)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder)
