"""Processes that begin as copies of one that has imported Loopwright: most of a start of a server is importing.

The command line, the server and its end are the real ones. A few tests start `python -m loopwright.cli` itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Final, TextIO

FORKED: Final = multiprocessing.get_context("forkserver")
FORKED.set_forkserver_preload(
    [
        "duckdb",
        "loopwright.app.embedded",
        "loopwright.app.given",
        "loopwright.app.http",
        "loopwright.app.server",
        "loopwright.cli.serve",
    ]
)


class Forked:
    """A command of Loopwright on a process of its own; `stderr` is read like that of a `subprocess.Popen`."""

    def __init__(self, argv: Sequence[str]) -> None:
        heard, said = FORKED.Pipe(duplex=False)
        self._process = FORKED.Process(
            target=_run, args=(list(argv), said, dict(os.environ), os.getcwd())
        )
        self._process.start()
        # Only the child may hold the writing end: its death then ends the stream.
        said.close()
        self.stderr: TextIO = os.fdopen(os.dup(heard.fileno()), encoding="utf-8")
        heard.close()

    @property
    def pid(self) -> int:
        pid = self._process.pid
        assert pid is not None
        return pid

    def poll(self) -> int | None:
        """Return the exit code; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code."""
        self._process.join(timeout)
        code = self._process.exitcode
        assert code is not None, f"the process did not end within {timeout} s"
        return code

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def send_signal(self, number: int) -> None:
        os.kill(self.pid, number)


def _run(argv: list[str], said: Connection, environment: Mapping[str, str], folder: str) -> None:
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    os.dup2(said.fileno(), 2)
    said.close()
    # Imported here too, so that the parent need not.
    from loopwright.cli import run

    sys.argv = ["loopwright", *argv]
    sys.exit(run(argv))
