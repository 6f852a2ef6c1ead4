"""One simulated machine, the process on it, and what its clients know.

The controller is the one task that never crashes: it starts, ends and restarts the process, runs operations as client
threads of it, and checks invariants. What clients were told is kept in `Book`, outside the process.
"""

from __future__ import annotations

import base64
import random
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

from loopwright.app.keyring import write_private
from loopwright.app.settings import Settings
from loopwright.core.errors import LoopError

from .kernel import Crash, Kernel, Task
from .machine import Machine
from .parts import Parts

T = TypeVar("T")

_BEGAN_MS: Final = 1_750_000_000_000
_STARTS_AT_MOST: Final = 6
KEYS_FILE: Final = "keys.json"
_PATIENCE: Final = 15
"""Naps of 5 s after which a loop whose engines work has to have learned everything."""


class Violated(Exception):
    """An invariant does not hold. `invariant` names it."""

    def __init__(self, invariant: str, *, expected: object, found: object) -> None:
        super().__init__(f"{invariant}: expected {expected}, found {found}")
        self.invariant = invariant


class SimulatedClock:
    """The wall clock: simulated time, and the jumps that were made."""

    def __init__(self, kernel: Kernel) -> None:
        self._kernel = kernel
        self._jumped_ms = 0

    def now_ms(self) -> int:
        """Return milliseconds since the Unix epoch."""
        return _BEGAN_MS + int(self._kernel.now_s * 1000) + self._jumped_ms

    def jump(self, *, seconds: float) -> None:
        """Set the wall clock forward or back; no timeout notices it."""
        self._jumped_ms += round(seconds * 1000)


@dataclass
class Sent:
    """One piece of feedback as its client knows it."""

    event_id: str
    experiment_id: str
    decision_id: str
    arm_id: str
    reward: float
    request_id: str
    is_acknowledged: bool = False
    """Whether the answer came, and did not call it a duplicate."""


@dataclass
class Book:
    """What the clients of the loop know. Operations of your own keep what they need in `notes`."""

    selections: list[Any] = field(default_factory=list)
    sent: dict[str, Sent] = field(default_factory=dict)
    reported: dict[str, str] = field(default_factory=dict)
    """Typed feedback that was acknowledged, by event id, with its user id."""
    revoked: list[str] = field(default_factory=list)
    """Secrets of keys whose revocation was acknowledged."""
    keys: dict[str, str] = field(default_factory=dict)
    """Secrets of keys in use, by their id."""
    states: dict[str, set[str]] = field(default_factory=dict)
    """States that an experiment may be in, by its id: one, or more while a change is not answered."""
    retired: set[int] = field(default_factory=set)
    """Signing keys whose retirement was acknowledged, by id."""
    retiring: set[int] = field(default_factory=set)
    """Signing keys whose retirement was asked for, whatever came of it."""
    snapshots: list[tuple[str, int]] = field(default_factory=list)
    """Snapshots that were acknowledged: the experiment, and the version."""
    moving: dict[str, list[dict[str, bool]]] = field(default_factory=dict)
    """Changes of an experiment's state that are not answered yet, and whether another came meanwhile."""
    consents: dict[str, tuple[str, ...] | None] = field(default_factory=dict)
    """What each user allows, by an acknowledged change; None while a change is not answered, and after two at once."""
    consenting: dict[str, int] = field(default_factory=dict)
    """Number of the latest change of each user's consent that was asked for."""
    untaught: set[str] = field(default_factory=set)
    """Event ids of outcomes sent while their user's consent did not allow to learn."""
    erasures: set[str] = field(default_factory=set)
    """User ids whose erasure was asked for, whatever came of it."""
    erased: dict[str, str] = field(default_factory=dict)
    """Pseudonyms whose erasure was acknowledged, with their user id."""
    notes: dict[str, Any] = field(default_factory=dict)


class Clients:
    """The operations that run in the process on threads of their own, and what they were answered."""

    def __init__(self, kernel: Kernel, is_undisturbed: Callable[[], bool]) -> None:
        self._kernel, self._is_undisturbed = kernel, is_undisturbed
        self._running: list[Task] = []

    def run(self, name: str, apply: Callable[[], object], *, overlaps: bool = False) -> bool:
        """Run an operation as a client; False when the process crashed meanwhile."""
        task = self._kernel.spawn(f"client {name}", apply)
        self._running.append(task)
        if overlaps:
            return True
        self._kernel.wait(lambda: task.is_done or self._kernel.is_crashed)
        self.hear()
        return not self._kernel.is_crashed

    def finish(self) -> bool:
        """Wait for the clients that still run; False when the process crashed meanwhile."""
        self._kernel.wait(
            lambda: self._kernel.is_crashed or all(task.is_done for task in self._running)
        )
        self.hear()
        return not self._kernel.is_crashed

    def forget(self) -> None:
        """Expect no more answers: the process that owed them has ended."""
        self._running.clear()

    def hear(self) -> None:
        """Take the answers of those that have ended; raise `Violated` for one that is no proper answer."""
        for task in [task for task in self._running if task.is_done]:
            self._running.remove(task)
            if task.error is None:
                continue
            self._kernel.ended.remove(task)
            error = task.error
            if isinstance(error, Violated):
                raise error
            if isinstance(error, LoopError):
                # A refusal of 4xx is an answer, and so is a 5xx after an engine refused; a 5xx on sound engines
                # is a fault.
                if error.status < 500 or not self._is_undisturbed():
                    continue
                found = f"{error.status} {error.code}: {error.message}"
            else:
                found = f"{type(error).__name__}: {error}"
            raise Violated(
                "clients are answered", expected=f"an answer to {task.name}", found=found
            ) from error


class World:
    """The process, its machine and its clients, for operations and invariants."""

    def __init__(
        self,
        kernel: Kernel,
        machine: Machine,
        settings: Settings,
        rng: random.Random,
        book: Book | None = None,
    ) -> None:
        self.kernel, self.machine, self.rng = kernel, machine, rng
        self.clock = SimulatedClock(kernel)
        self.book = book or Book()
        self.crashes = self.starts = 0
        self.reports = 0
        """Reports that clients have asked for: the engine of reports is only opened when there are any."""
        self._settings = settings
        self._parts: Parts | None = None
        self.clients = Clients(kernel, lambda: self.is_undisturbed)
        self._left: int | None = None
        self._ids = 0
        self._refused_before = 0
        kernel.at_point = self._count_down

    @property
    def parts(self) -> Parts:
        """The process."""
        if self._parts is None:
            raise Crash
        return self._parts

    @property
    def loop(self) -> Any:
        """The embedded interface of the process, of type `loopwright.Loop`."""
        return self.parts.loop

    @property
    def is_undisturbed(self) -> bool:
        """Whether no engine has refused a call since the process began."""
        return self.machine.refused == self._refused_before

    def new_id(self, prefix: str) -> str:
        """Return an id that no other operation of this schedule gets."""
        self._ids += 1
        return f"{prefix}{self._ids}"

    # What the controller does

    def start(self) -> None:
        """Start the process, again and again if it crashes while it starts."""
        for attempt in range(_STARTS_AT_MOST):
            # The last attempt is spared its crash: only a start that fails by itself is a violation.
            if attempt == _STARTS_AT_MOST - 1:
                self._left = None
            self.starts += 1
            self._refused_before = self.machine.refused
            if self._is_carried_out("it starts", self._start):
                return
            self._bury(power_is_lost=None if self.is_crashed() else False)
        raise Violated("it starts", expected="a start", found="none that ended")

    def stop(self) -> None:
        """Shut the process down in order, after its clients have ended."""
        self.clients.finish()
        if self._parts is None:
            return
        # Before the orderly end, in which threads end rightly.
        self.call(self.check_threads)
        if not self._is_carried_out("it stops", self._parts.close):
            self._bury(power_is_lost=None if self.is_crashed() else False)
        self.kernel.reap()
        self.kernel.ended.clear()
        self.machine.disconnect()
        self._parts = None

    def check_threads(self) -> None:
        """Every thread of the process is alive, or readiness or health names what has stopped."""
        ended = [task for task in self.kernel.ended if task.is_mortal]
        if ended and not self.parts.complaints():
            task = ended[0]
            raise Violated(
                "every thread alive or named",
                expected=f"{task.name} alive, or named by readiness",
                found=f"ended by {type(task.error).__name__}: {task.error}; ready",
            )

    def _is_carried_out(self, what: str, act: Callable[[], object]) -> bool:
        """Do what begins or ends the process; False when it crashed, or an engine refused: both are begun again."""
        try:
            return self.call(act) is not _CRASHED
        except Exception as error:
            if self.is_undisturbed:
                found = f"{type(error).__name__}: {error}"
                raise Violated(what, expected="no error", found=found) from error
            self.machine.repair()
            return False

    def call(self, function: Callable[[], T]) -> T | object:
        """Run `function` in the process and return its answer; `_CRASHED` when the process crashed meanwhile."""
        answer: list[T] = []
        task = self.kernel.spawn("call", lambda: answer.append(function()))
        self.kernel.wait(lambda: task.is_done or self.kernel.is_crashed)
        if self.kernel.is_crashed:
            return _CRASHED
        if task.error is not None:
            self.kernel.ended.remove(task)
            raise task.error
        return answer[0]

    def crash_after(self, points: int) -> None:
        """End the process at one of its next calls of an engine or a lock."""
        self._left = points

    def kill(self, *, power_is_lost: bool) -> None:
        """End the process now, take what was not synced if the power is lost, and start it again."""
        self._bury(power_is_lost=power_is_lost)
        self.start()

    def restart_after_crash(self) -> None:
        """Start the process again that has crashed."""
        self._bury()
        self.start()

    def is_crashed(self) -> bool:
        """Whether the process has ended by itself."""
        return self.kernel.is_crashed

    def settle(self) -> bool:
        """Let the learner and everything else reach the end of the log; False when the process crashed."""
        self.machine.repair()
        if not self.clients.finish():
            return False
        for attempt in range(2 * _PATIENCE):
            if attempt == _PATIENCE and self._complaint():
                # Readiness names the task that has stopped, and an operator who sees it restarts the process.
                self.stop()
                self.start()
            settled = self.call(self._is_settled)
            if settled is _CRASHED:
                return False
            if settled is True:
                return True
            # A task that failed is tried again after a rest.
            self.kernel.nap(5.0)
        found = self._complaint() or "no complaint"
        raise Violated("it learns", expected=f"caught up in {_PATIENCE * 10} s", found=found)

    def _is_settled(self) -> bool:
        try:
            # A change that the log refused is answered as refused and told by the outbox later: until then the learner
            # rightly goes by what was before.
            if not self.is_undisturbed and not self.parts.is_told():
                return False
            return bool(self.loop.wait_until_learned(60.0))
        except LoopError:
            return False

    def _complaint(self) -> str:
        answer = self.call(self.parts.complaints)
        return answer if isinstance(answer, str) else ""

    # What may happen at any time

    def _start(self) -> None:
        self._parts = None
        parts = Parts(self._settings, self.clock, random.Random(self.rng.getrandbits(64)))
        parts.start()
        self._parts = parts

    def _count_down(self, place: str) -> None:
        if self._left is None:
            return
        self._left -= 1
        if self._left < 0:
            self._left = None
            self.kernel.crash()

    def _bury(self, *, power_is_lost: bool | None = None) -> None:
        self._left = None
        self.kernel.reap()
        self.machine.disconnect()
        if self.kernel.is_stuck:
            raise Violated("it comes to an end", expected="an end", found=self.kernel.is_stuck)
        self.clients.hear()
        self.clients.forget()
        self.kernel.ended.clear()
        self._parts = None
        self.crashes += 1
        if power_is_lost is None:
            # A killed process keeps the operating system's cache, a loss of power does not: both have to be
            # survived.
            power_is_lost = self.rng.random() < 0.4
        if power_is_lost:
            self.machine.lose_power(self.rng)


def key_of(request_id: str) -> int:
    """Return the id of the key that made a token: its second byte."""
    return base64.urlsafe_b64decode(request_id[:4])[1]


class _Crashed:
    """The answer of a process that crashed."""


_CRASHED: Final = _Crashed()


def clean(folder: Path, keys: bytes) -> None:
    """Remove what a process left in its data folder, and put back the signing keys that every schedule starts with."""
    for path in folder.iterdir():
        # Made once with the template: another key could not sign in to the copied machine.
        if path.name != "admin.key":
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    write_private(folder / KEYS_FILE, keys)
