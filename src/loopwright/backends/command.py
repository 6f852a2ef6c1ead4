"""Commands of the operator that a trigger starts: bounded in time and in what is kept of their output, killed whole."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from loopwright.core.errors import Invalid
from loopwright.core.trigger import Sent

TIMEOUT_S: Final = 3600.0
KEPT_BYTES: Final = 2000
"""How much of the end of a failed command's output goes into its record."""
OUTPUT_BYTES: Final = 50_000_000
"""A command that writes more is stopped: what it writes waits on the disk until it ends."""
LOOK_S: Final = 0.1
GRACE_S: Final = 5.0
"""Between the request to end and the kill."""


class Commands:
    """The commands that triggers may start, by name. One at a time runs in a caller's thread."""

    def __init__(
        self,
        commands: Mapping[str, Sequence[str]],
        *,
        stopping: Callable[[], bool] = lambda: False,
        timeout_s: float = TIMEOUT_S,
        output_bytes: int = OUTPUT_BYTES,
    ) -> None:
        self._commands = {name: tuple(words) for name, words in commands.items()}
        self._stopping = stopping
        self._timeout_s = timeout_s
        self._output_bytes = output_bytes

    def check(self, name: str) -> None:
        """Raise `Invalid` for a name that the settings do not have."""
        if name not in self._commands:
            known = ", ".join(sorted(self._commands)) or "none"
            raise Invalid(
                f"there is no command {name!r} in the setting trigger_commands; it has {known}"
            )

    def run(self, name: str, *, told: bytes) -> Sent | None:
        """Run a command with `told` on its standard input; return None when the shutdown ended it."""
        try:
            self.check(name)
        except Invalid as error:
            return Sent(outcome="failed", said=error.message)
        # Files and not pipes: a child that is left behind holds a pipe open, and a full pipe stops a command.
        with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as output:
            given.write(told)
            given.seek(0)
            try:
                process = subprocess.Popen(  # noqa: S603 - the operator's own words, and no shell
                    self._commands[name],
                    stdin=given,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    # A group of its own, so that children can be ended with it.
                    start_new_session=True,
                )
            except OSError as error:
                return Sent(outcome="failed", said=f"{name} was not started: {error}")
            try:
                said = self._wait(process, output.fileno())
            finally:
                _end(process)
            if said is None:
                return None
            if said == "" and process.returncode == 0:
                return Sent(outcome="done", said=f"{name} ended with 0")
            return Sent(
                outcome="failed", said=_failure(name, said, process.returncode, output.fileno())
            )

    def _wait(self, process: subprocess.Popen[bytes], output: int) -> str | None:
        """Return once it has ended: empty by itself, a reason when it has to be ended, None for the shutdown."""
        until = time.monotonic() + self._timeout_s
        while process.poll() is None:
            if self._stopping():
                return None
            if time.monotonic() > until:
                return f"did not end within {self._timeout_s:g} s and was stopped"
            if os.fstat(output).st_size > self._output_bytes:
                return f"wrote more than {self._output_bytes} bytes and was stopped"
            try:
                process.wait(LOOK_S)
            except subprocess.TimeoutExpired:
                continue
        return ""


def _end(process: subprocess.Popen[bytes]) -> None:
    """End what is left of the group: the command, and children that it left behind."""
    for sign in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, sign)
        except (ProcessLookupError, PermissionError):
            break
        try:
            process.wait(GRACE_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait()


def _failure(name: str, said: str, code: int, output: int) -> str:
    size = os.fstat(output).st_size
    tail = (
        os.pread(output, KEPT_BYTES, max(size - KEPT_BYTES, 0)).decode("utf-8", "replace").strip()
    )
    what = f"{name} {said or f'ended with {code}'}"
    return f"{what}; its output ends: {tail}" if tail else what
