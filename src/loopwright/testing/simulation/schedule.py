"""Schedules: a seed makes one, a text holds one, and a failing one shrinks to the operations that it takes."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from loopwright.app.settings import load_settings

from .invariants import INVARIANTS, Invariant
from .kernel import Deadlock, Kernel
from .machine import Machine
from .operations import EXPERIMENTS, OPERATIONS, REPORTING, Operation
from .substitution import Substitution
from .world import _CRASHED, KEYS_FILE, Book, Violated, World, clean

REPORTING_SHARE: Final = 0.01
"""Share of schedules that use the engine of reports."""
# 0 runs each thread to its wait, as an idle machine does; 0.3 switches all the time. Races hide at either end.
_RESTLESSNESS: Final[tuple[float, ...]] = (0.0, 0.02, 0.1, 0.3)
_SHM: Final = Path("/dev/shm")  # noqa: S108 - memory, and a folder of our own in it

SMALL: Final = {
    "PROJECT_AFTER": 12,
    "Sealer.__init__.segment_rows": 8,
}
"""Constants that a short schedule would never reach, set to what it does reach."""


@dataclass(frozen=True)
class Step:
    """One operation of a schedule; what it draws comes from its own seed, so that others may be left out."""

    operation: str
    seed: int
    overlaps: bool = False
    """Whether the next one begins before it has ended."""

    def __str__(self) -> str:
        return f"{self.operation}#{self.seed}{'&' if self.overlaps else ''}"


@dataclass(frozen=True)
class Schedule:
    """A program of operations and the seed of everything else: interleavings, losses, ids."""

    seed: int
    steps: tuple[Step, ...]
    restlessness: float = 0.1

    def __str__(self) -> str:
        return f"seed={self.seed} restlessness={self.restlessness} " + " ".join(
            map(str, self.steps)
        )

    @classmethod
    def read(cls, text: str) -> Self:
        """Return the schedule that `str` gave."""
        seed, restlessness, *steps = text.split()
        return cls(
            int(seed.removeprefix("seed=")),
            tuple(_step(step) for step in steps),
            float(restlessness.removeprefix("restlessness=")),
        )


@dataclass(frozen=True)
class Failure:
    """What a schedule found."""

    schedule: Schedule
    shortest: Schedule
    violation: Violated

    def __str__(self) -> str:
        return (
            f"{self.violation}\n  seed {self.schedule.seed}, {len(self.schedule.steps)} operations; the shortest that "
            f"fails has {len(self.shortest.steps)}:\n"
            f'  loopwright.testing.simulation.replay("{self.shortest}")'
        )


class Simulation:
    """A context in which schedules run. `operations` and `invariants` are added to those of Loopwright.

    Use it in a `with` block: in it, the modules of Loopwright use simulated threads, time and engines on the threads of
    the simulation, and the real ones on any other thread.
    """

    def __init__(
        self,
        *,
        operations: Sequence[Operation] = (),
        invariants: Sequence[Invariant] = (),
        own_only: bool = False,
        length: tuple[int, int] = (8, 30),
    ) -> None:
        self._operations = (*(() if own_only else OPERATIONS), *operations)
        self._added, self._is_own_only = tuple(operations), own_only
        self._by_name = {op.name: op for op in (*OPERATIONS, *REPORTING, *operations)}
        self._invariants = (*INVARIANTS, *invariants)
        self._length = length
        self._begun: Machine | None = None
        self._substitution = Substitution(SMALL)
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(
            # In memory where there is such a folder: thousands of schedules each clean it.
            prefix="loopwright-simulation-",
            dir=_SHM if _SHM.is_dir() else None,
        )
        self._settings = load_settings(data_dir=Path(self._folder.name), raw_copies=True)
        self._substitution.__enter__()
        self._begun = self._template()
        self._keys = (self._settings.data_dir / KEYS_FILE).read_bytes()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._substitution.__exit__(kind, error, trace)
        assert self._folder is not None
        self._folder.cleanup()

    def schedule(self, seed: int) -> Schedule:
        """Return the schedule that a seed makes."""
        rng = random.Random(seed)
        operations, overlap, restlessness = self._operations, 0.25, _RESTLESSNESS
        if not self._is_own_only and rng.random() < REPORTING_SHARE:
            # A report collides with a projection for a few points only, so both come often and at once.
            operations, overlap, restlessness = (*REPORTING, *self._added), 0.7, (0.1, 0.3, 0.5)
        weights = [operation.weight for operation in operations]
        chosen = rng.choices(operations, weights, k=rng.randint(*self._length))
        steps = tuple(
            Step(op.name, rng.getrandbits(24), op.by == "client" and rng.random() < overlap)
            for op in chosen
        )
        return Schedule(seed, steps, rng.choice(restlessness))

    def run(self, schedule: Schedule, *, trace: list[str] | None = None) -> Violated | None:
        """Run one schedule; return what it violates, or None. `trace` receives every point that is passed."""
        rng = random.Random(schedule.seed)
        # A generator of its own, so that interleavings do not change when a step draws more numbers.
        kernel = Kernel(random.Random(rng.getrandbits(64)), restlessness=schedule.restlessness)
        kernel.trace = trace
        machine = kernel.machine = Machine(self._begun)
        clean(self._settings.data_dir, self._keys)
        world = World(kernel, machine, self._settings, rng, _book())
        found: list[Violated] = []

        def control() -> None:
            try:
                self._go(world, schedule)
            except Violated as error:
                found.append(error)
            except Deadlock as error:
                found.append(Violated("threads go on", expected="no deadlock", found=str(error)))
            finally:
                kernel.at_point = None
                kernel.reap()
                machine.disconnect()

        kernel.run(control)
        return found[0] if found else None

    def explore(self, seeds: Sequence[int] | range) -> Iterator[Failure | None]:
        """Run the schedule of each seed; yield what it finds, shrunk, or None."""
        for seed in seeds:
            schedule = self.schedule(seed)
            violation = self.run(schedule)
            if violation is None:
                yield None
                continue
            shortest, violation = self.shrink(schedule, violation)
            yield Failure(schedule, shortest, violation)

    def shrink(self, schedule: Schedule, violation: Violated) -> tuple[Schedule, Violated]:
        """Leave operations out, as long as the same invariant fails; return the shortest and its violation."""
        # Large parts first, as in delta debugging (Zeller and Hildebrandt 2002).
        best, size = schedule, max(len(schedule.steps) // 2, 1)
        while size:
            start = 0
            while start < len(best.steps):
                fewer = replace(best, steps=best.steps[:start] + best.steps[start + size :])
                found = self.run(fewer)
                # The same invariant: a shorter schedule that fails otherwise has found something else.
                if found is not None and found.invariant == violation.invariant:
                    best, violation = fewer, found
                else:
                    start += size
            size //= 2
        return best, violation

    # How one goes

    def _go(self, world: World, schedule: Schedule) -> None:
        world.start()
        for step in schedule.steps:
            operation = self._by_name[step.operation]
            rng = random.Random(step.seed)
            # Seeded anew at each step: leaving one out keeps the interleaving of the others, so schedules
            # shrink.
            world.kernel.rng.seed(step.seed)
            apply = partial(operation.apply, world, rng)
            if operation.by == "client":
                world.clients.run(operation.name, apply, overlaps=step.overlaps)
            else:
                apply()
            if world.is_crashed():
                self._restarted(world)
        self._at_rest(world)
        self._resumed(world)
        world.stop()
        world.start()
        self._at_rest(world)

    def _restarted(self, world: World) -> None:
        world.restart_after_crash()
        self._at_rest(world)

    def _at_rest(self, world: World) -> None:
        """Come to rest and check every invariant, through as many crashes as are still on their way."""
        while not (world.settle() and self._checked(world)):
            world.restart_after_crash()

    def _checked(self, world: World) -> bool:
        for invariant in self._invariants:
            try:
                if world.call(partial(invariant.check, world)) is _CRASHED:
                    return False
            except Violated:
                raise
            except Exception as error:
                found = f"{type(error).__name__}: {error}"
                raise Violated(invariant.name, expected="an answer", found=found) from error
        return True

    def _resumed(self, world: World) -> None:
        """Resume what is paused, so that all that was acknowledged has to be learned."""
        world.machine.repair()
        while world.call(partial(_resume, world)) is _CRASHED:
            world.restart_after_crash()
        self._at_rest(world)

    def _template(self) -> Machine:
        """Start once, make the experiments, and keep the machine for every schedule to begin with a copy of."""
        kernel = Kernel(random.Random(0), restlessness=0.0)
        machine = kernel.machine = Machine()
        world = World(kernel, machine, self._settings, random.Random(0))

        def control() -> None:
            try:
                world.start()
                world.call(partial(_make_experiments, world))
                world.stop()
            finally:
                kernel.reap()

        kernel.run(control)
        return machine


def explore(seeds: range, **added: Any) -> list[Failure]:
    """Run the schedules of `seeds` and return what they find; `added` is what `Simulation` takes."""
    with Simulation(**added) as simulation:
        return [failure for failure in simulation.explore(seeds) if failure is not None]


def replay(text: str, **added: Any) -> Violated | None:
    """Run the schedule that a failure printed; return what it violates, or None."""
    with Simulation(**added) as simulation:
        return simulation.run(Schedule.read(text))


def _make_experiments(world: World) -> None:
    for experiment_id, reward in EXPERIMENTS.items():
        world.loop.experiments.create(
            experiment_id, arms=["a", "b"], policy="epsilon_greedy", reward=reward
        )


def _resume(world: World) -> None:
    for experiment in world.parts.experiments():
        if experiment.state == "paused":
            world.book.states[experiment.id] = {"paused", "running"}
            world.loop.experiments.resume(experiment.id)
            world.book.states[experiment.id] = {"running"}


def _book() -> Book:
    book = Book()
    book.states = {experiment_id: {"running"} for experiment_id in EXPERIMENTS}
    return book


def _step(text: str) -> Step:
    operation, _, seed = text.partition("#")
    return Step(operation, int(seed.removesuffix("&")), seed.endswith("&"))
