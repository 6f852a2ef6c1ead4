"""Puts simulated threads, time and engines in the place of the real ones, in Loopwright's modules only.

The composition root names its engines, and each slice makes its own locks and threads. So the simulation runs the very
code that production runs, without a seam in it: wherever a module of `loopwright` names `threading`, a clock of `time`, a
thread pool or an engine, the name stands for the simulated one while a `Substitution` is entered. Threads that are not
part of a simulation get the real ones through the same names.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import sys
import threading
import time
import types
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Self

from loopwright.app import keyring
from loopwright.backends import files, sqlite, sqlite_log

from .kernel import active, simulated
from .machine import SIGNING_KEYS, SimulatedLock, blobs_of, database_of, log_of
from .threads import Executor, Threading

_OURS: Final = "loopwright.testing"
_SHARED: Final = ("Vocabulary", "RememberedRules", "remembered_sentiment")
"""What intake builds at each start and nothing changes: made once, as it takes a tenth of a short schedule."""


class Substitution:
    """Simulated names from `__enter__` to `__exit__`. `constants` are module constants to set, by name."""

    def __init__(self, constants: Mapping[str, Any] | None = None) -> None:
        self._constants = dict(constants or {})
        self._undo: list[tuple[Any, str, Any]] = []

    def __enter__(self) -> Self:
        stand_ins = self._stand_ins()
        engines = self._engines()
        for name, module in sorted(sys.modules.items()):
            # The simulation itself needs the real names.
            if not name.startswith("loopwright.") or name.startswith(_OURS):
                continue
            # Only there: a slice that names an engine by itself breaks the import contracts.
            names_engines = name.startswith(("loopwright.app", "loopwright.backends"))
            found = stand_ins | engines if names_engines else stand_ins
            self._substitute(module, found)
        # By its entry in `sys.modules`, because the engine is imported within functions, at each use.
        duckdb = sys.modules.get("duckdb") or __import__("duckdb")
        self._undo.append((sys.modules, "duckdb", duckdb))
        sys.modules["duckdb"] = _DuckDB(duckdb)
        return self

    def __exit__(self, *_: object) -> None:
        # In reverse, so that a name that was replaced twice ends as it began.
        for owner, name, value in reversed(self._undo):
            owner[name] = value
        self._undo.clear()

    def _substitute(self, module: types.ModuleType, found: Mapping[int, Any]) -> None:
        names = vars(module)
        for name, value in list(names.items()):
            if id(value) in found:
                self._put(names, name, found[id(value)])
            elif name in _SHARED and module.__name__.endswith(".pipeline"):
                self._put(names, name, _remembered(value))
            elif name in self._constants:
                self._put(names, name, self._constants[name])
            # Classes of the module itself: one that is imported would be visited twice.
            elif inspect.isclass(value) and value.__module__ == module.__name__:
                for function in vars(value).values():
                    self._substitute_defaults(function, found)

    def _substitute_defaults(self, function: Any, found: Mapping[int, Any]) -> None:
        # Default arguments are bound when a function is defined, so replacing the name does not reach them.
        defaults: dict[str, Any] = getattr(function, "__kwdefaults__", None) or {}
        for name, value in list(defaults.items()):
            if id(value) in found:
                self._put(defaults, name, found[id(value)])
            elif f"{function.__qualname__}.{name}" in self._constants:
                self._put(defaults, name, self._constants[f"{function.__qualname__}.{name}"])

    def _put(self, names: dict[str, Any], name: str, value: Any) -> None:
        self._undo.append((names, name, names[name]))
        names[name] = value

    def _stand_ins(self) -> dict[int, Any]:
        return {
            id(threading): Threading(),
            id(time): _Time(),
            id(time.perf_counter): _Time.perf_counter,
            id(time.monotonic): _Time.monotonic,
            id(asyncio): _Asyncio(),
            id(concurrent.futures.ThreadPoolExecutor): lambda *args, **kwargs: (
                concurrent.futures.ThreadPoolExecutor if active() is None else Executor
            )(*args, **kwargs),
        }

    def _engines(self) -> dict[int, Any]:
        def either(real: Callable[..., Any], made: Callable[..., Any]) -> Callable[..., Any]:
            def make(*args: Any, **kwargs: Any) -> Any:
                return (real if active() is None else made)(*args, **kwargs)

            return make

        return {
            id(real): either(real, made)
            for real, made in (
                (sqlite_log.SqliteEventLog, lambda *a, **k: log_of(simulated().machine, *a, **k)),
                (sqlite.SqliteDatabase, lambda *a, **k: database_of(simulated().machine, *a, **k)),
                (files.FolderBlobStore, lambda *a, **k: blobs_of(simulated().machine, *a, **k)),
                (files.DirectoryLock, SimulatedLock),
                (keyring.write_private, _write_private),
            )
        }


# Named here: while a substitution is entered, the module's own name stands for `_write_private`.
_really_write: Final = keyring.write_private


def _write_private(path: Path, content: bytes) -> None:
    """Replace a private file of a real folder, with a point before it and one after."""
    simulated().machine.call(SIGNING_KEYS, "write")
    _really_write(path, content)
    simulated().point(f"{SIGNING_KEYS} write")


def _remembered(make: Callable[..., Any]) -> Callable[..., Any]:
    made: dict[tuple[int, ...], Any] = {}

    def remember(*args: Any, **kwargs: Any) -> Any:
        # By identity, as the arguments need not be hashable.
        key = (*map(id, args), *map(id, kwargs.values()))
        if key not in made:
            made[key] = make(*args, **kwargs)
        return made[key]

    return remember


class _Time:
    """The module `time` with the clocks of the simulation."""

    @staticmethod
    def perf_counter() -> float:
        return time.perf_counter() if active() is None else simulated().now_s

    @staticmethod
    def monotonic() -> float:
        return time.monotonic() if active() is None else simulated().now_s

    @staticmethod
    def sleep(seconds: float) -> None:
        if active() is None:
            time.sleep(seconds)
        else:
            simulated().wait(lambda: False, seconds)

    def __getattr__(self, name: str) -> Any:
        return getattr(time, name)


class _Asyncio:
    """The module `asyncio` whose `to_thread` stays on the simulated thread."""

    @staticmethod
    async def to_thread(call: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        if active() is None:
            return await asyncio.to_thread(call, *args, **kwargs)
        return call(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)


class _DuckDB(types.ModuleType):
    """The module `duckdb` with a point at each statement: others run between writing a file and reading it."""

    def __init__(self, real: types.ModuleType) -> None:
        super().__init__("duckdb")
        self._real = real

    def connect(self, *args: Any, **kwargs: Any) -> Any:
        connection = self._real.connect(*args, **kwargs)
        if active() is None:
            return connection
        simulated().machine.connections.append(connection)
        return _Connection(connection)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class _Connection:
    def __init__(self, real: Any) -> None:
        self._real = real

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        if (kernel := active()) is not None:
            kernel.point("duckdb execute")
        return self._real.execute(*args, **kwargs)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._real.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)
