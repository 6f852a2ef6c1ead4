"""Where in the log each experiment stands: along with the others, paused, or behind.

One course reads the newest facts for the experiments that keep up. One that is paused stands apart at the offset
of the fact that paused it. When a later fact resumes it, it is behind: it reads on from its own place, stretch by
stretch, until it can join the others. Facts of its life are read twice then: at once by the main course, which
decides what serves and how far the experiment may read, and again by its own course in their place among the facts
that it learns from. No experiment waits for another.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

import msgspec

from loopwright.core.errors import LogCorrupt
from loopwright.core.events import ExperimentChanged, Fact
from loopwright.core.experiment import Experiment
from loopwright.eventlog import Reader

from .control import Control, controlled
from .course import Course
from .group import Key
from .publisher import Publisher
from .store import Saved, Store
from .trainer import Trainer

_logger = logging.getLogger(__name__)

Position = tuple[int, int]
"""An offset, and the event time there."""


class Places:
    """The experiments of a learner, each at its place in the log.

    `keep` is called with a trainer before it is rolled back, `follow` with each control fact that is read. Making
    one loads the last checkpoint and publishes what serves. An engine that refuses in the middle of a stretch leaves
    half of it learned; `is_half_read` is true from then on, until `load` has gone back to the checkpoint.
    """

    def __init__(
        self,
        reader: Reader,
        store: Store,
        publisher: Publisher,
        *,
        keep: Callable[[Trainer], object],
        follow: Callable[[Fact], None],
    ) -> None:
        self._reader = reader
        self._store = store
        self._publisher = publisher
        self._keep = keep
        self._follow = follow
        self.is_half_read = False
        """Whether an engine refused in the middle of a stretch."""
        self.unknown = 0
        """Stretches with facts of an experiment that the log never told of."""
        self.load()

    def load(self) -> None:
        """Take over the last checkpoint in place of what is in memory, and publish what serves.

        Raises what an engine raises, and has changed nothing then.
        """
        committed = self._store.position()
        controls = self._store.controls()
        ahead = self._looked_ahead(committed[0])
        dormant: dict[Key, tuple[Saved, Position]] = {}
        loaded: list[tuple[Trainer, Position | None]] = []
        for key, saved in self._store.states().items():
            position = saved.apart or committed
            if saved.experiment is None or key not in controls:
                dormant[key] = (msgspec.structs.replace(saved, apart=position), position)
            else:
                trainer = Trainer(
                    saved.experiment, self._store.shelf(key), saved, event_ms=position[1]
                )
                loaded.append((trainer, saved.apart))
        # No engine is asked from here on.
        self.committed: Position = committed
        """Where the last checkpoint is."""
        self.main = self._course(
            *committed, control=self._changed, passed=self._passed, follow=self._follow
        )
        self.apart: dict[Key, Course] = {}
        self.controls: dict[Key, Control] = controls
        self.halted: dict[Key, str] = {}
        """Why an experiment cannot learn."""
        self.dormant = dormant
        """States from before the log held control facts; the fact that adopts an experiment wakes its state."""
        self.news: set[Key] = set()
        """Experiments with control facts since the last checkpoint."""
        self._births: dict[Key, tuple[Experiment, Position]] = {}
        self._ahead = ahead
        for trainer, apart in loaded:
            if apart is None:
                self.main.join(trainer)
            else:
                self._set_apart(trainer, apart)
            self._place(trainer.key)
        self.is_half_read = False

    def trainer(self, key: Key) -> Trainer | None:
        """Return an experiment's trainer; None when it has never run."""
        return self.apart.get(key, self.main).trainers.get(key)

    def trainers(self) -> Iterator[Trainer]:
        """Yield every trainer."""
        for course in (self.main, *self.apart.values()):
            yield from course.trainers.values()

    def positions(self) -> dict[Key, int]:
        """Return the offset that each experiment has read through."""
        along = dict.fromkeys(self.main.trainers, self.main.offset)
        return {**along, **{key: course.offset for key, course in self.apart.items()}}

    @property
    def is_behind(self) -> bool:
        """Whether an experiment has facts to catch up on."""
        return any(map(self._catches_up, list(self.apart)))

    def read(self, limit: int) -> tuple[int, set[Key]]:
        """Read one stretch of the log and one for each experiment that is behind.

        Returns how many facts were read, and the experiments whose state changed. Raises what an engine raises.
        """
        facts = self._reader.facts(self.main.offset, limit=limit)
        changed = self._learn(self.main, facts)
        read = len(facts)
        for key in [key for key in self.apart if self._catches_up(key)]:
            course = self.apart[key]
            goal = self.controls[key].goal
            end = self.main.offset if goal is None else min(goal, self.main.offset)
            facts = self._reader.facts(course.offset, limit=limit, through=end)
            changed |= self._learn(course, facts)
            read += len(facts)
            self.main.touched.add(key)
            if goal is None and course.offset == self.main.offset and key not in self.halted:
                del self.apart[key]
                self.main.join(course.leave(key))
        return read, changed

    def _learn(self, course: Course, facts: Sequence[tuple[int, Fact]]) -> set[Key]:
        try:
            return course.read(facts)
        except BaseException:
            # Which of the facts were learned, and which control facts acted on, nobody can tell any more.
            self.is_half_read = True
            raise

    def serves(self, key: Key) -> bool:
        """Whether an experiment is to be published: it runs, by the newest fact that is known."""
        return key not in self.halted and self._newest(key).state == "running"

    # Control facts

    def _changed(self, offset: int, fact: ExperimentChanged) -> None:
        """Act on a control fact that the main course has come to."""
        experiment = fact.experiment
        key = (experiment.tenant_id, experiment.id)
        known = self.controls.get(key)
        control = self.controls[key] = controlled(known, fact, offset)
        self.news.add(key)
        if control.born is None:
            return
        if self.trainer(key) is None:
            self._bear(key, control, fact)
        if control.goal is not None and key in self.main.trainers:
            self._set_apart(self.main.leave(key), (offset, self.main.event_ms))
        self.main.touched.add(key)
        self.halted.pop(key, None)
        self._place(key)

    def _bear(self, key: Key, control: Control, fact: ExperimentChanged) -> None:
        """Give an experiment that runs for the first time, or was adopted, a trainer at its place."""
        shelf = self._store.shelf(key)
        here = (self.main.offset, self.main.event_ms)
        if not fact.adopted:
            self._births[key] = (control.experiment, here)
            self.main.join(Trainer(control.experiment, shelf))
            return
        saved, position = self.dormant.pop(key, (None, (0, 0)))
        self._births[key] = (control.experiment, position)
        trainer = Trainer(control.experiment, shelf, saved, event_ms=position[1])
        self._set_apart(trainer, position)

    def _place(self, key: Key) -> None:
        """Publish an experiment that runs, and withdraw any other."""
        trainer = self.trainer(key)
        if trainer is None:
            return
        trainer.current = self._newest(key)
        if trainer.current.state == "running":
            self._publisher.publish(trainer)
        else:
            self._publisher.withdraw(trainer)

    def _newest(self, key: Key) -> Experiment:
        ahead = self._ahead.get(key)
        if ahead is not None and ahead[0] > self.main.offset:
            return ahead[1]
        return self.controls[key].experiment

    def _looked_ahead(self, through: int) -> dict[Key, tuple[int, Experiment]]:
        """Return the newest control facts beyond the checkpoint.

        Without them an experiment that was paused just before a crash would serve until the log is read to there.
        """
        found: dict[Key, tuple[int, Experiment]] = {}
        # A log that cannot be read stops the learner when it comes to that place, and readiness then says why. To stop
        # the start instead would leave nobody to ask.
        with suppress(LogCorrupt):
            for offset, fact in self._reader.replay(through):
                if type(fact) is ExperimentChanged:
                    found[fact.tenant_id, fact.experiment.id] = (offset, fact.experiment)
        return found

    # Placing

    def _catches_up(self, key: Key) -> bool:
        goal = self.controls[key].goal
        return key not in self.halted and (goal is None or self.apart[key].offset < goal)

    def _set_apart(self, trainer: Trainer, position: Position) -> None:
        course = self._course(*position)
        course.join(trainer)
        self.apart[trainer.key] = course

    def _course(
        self,
        offset: int,
        event_ms: int,
        *,
        control: Callable[[int, ExperimentChanged], None] | None = None,
        passed: Callable[[Key], None] | None = None,
        follow: Callable[[Fact], None] | None = None,
    ) -> Course:
        return Course(
            offset,
            event_ms,
            peek=self._reader.at,
            expel=self._halt,
            before_rollback=self._keep,
            control=control,
            passed=passed,
            follow=follow,
        )

    def _passed(self, key: Key) -> None:
        self.unknown += key not in self.controls and key not in self.dormant

    def _halt(self, trainer: Trainer, error: Exception) -> None:
        """Hold back an experiment that cannot learn, as the last checkpoint knows it."""
        key = trainer.key
        _logger.error(
            "an experiment cannot learn",
            extra={"tenant_id": key[0], "experiment_id": key[1]},
            exc_info=error,
        )
        self.halted[key] = (
            f"learning stopped after offset {trainer.version}: {type(error).__name__}: {error}; its facts "
            "are kept and learned when the experiment is changed or the server restarts"
        )
        saved = self._store.states().get(key)
        experiment, position = self._births.get(key, (trainer.experiment, self.committed))
        if saved is not None and saved.experiment is not None:
            experiment, position = saved.experiment, saved.apart or self.committed
        again = Trainer(experiment, self._store.shelf(key), saved, event_ms=position[1])
        again.current = trainer.current
        self._set_apart(again, position)


def saved_states(
    places: Places, keys: Iterable[Key]
) -> tuple[dict[Key, Saved], dict[Key, Position]]:
    """Return what a checkpoint keeps of the experiments `keys`, and the places of those that stand apart."""
    apart = {key: (course.offset, course.event_ms) for key, course in places.apart.items()}
    states = {
        key: trainer.saved(apart.get(key))
        for key in keys
        if (trainer := places.trainer(key)) is not None
    }
    return states, apart
