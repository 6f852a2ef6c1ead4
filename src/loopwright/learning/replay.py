"""Learning the whole log anew: the proof that a state is what its facts say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice, takewhile

from loopwright.core.events import ExperimentChanged
from loopwright.core.experiment import Experiment
from loopwright.eventlog import Reader

from .control import Control, controlled
from .course import Course, Located
from .group import Key
from .memory import Remembered
from .trainer import Trainer

_STRETCH = 4096


class EmptyShelf:
    """A shelf for a learner that starts from nothing and keeps its memory in memory."""

    def get(self, decision_ids: Sequence[str]) -> list[tuple[str, Remembered]]:
        """Return nothing."""
        return []

    def waiting(
        self, before_ms: int, *, after: tuple[int, str], limit: int
    ) -> list[tuple[str, Remembered]]:
        """Return nothing."""
        return []

    def next_due_ms(self, from_ms: int) -> int | None:
        """Return None: nothing waits."""
        return None

    def spent(self, keys: Sequence[bytes]) -> list[tuple[bytes, int]]:
        """Return nothing."""
        return []


def replay(reader: Reader, *, through: Mapping[Key, int] | int | None = None) -> dict[Key, bytes]:
    """Return what each experiment learns from the log alone, as `Learner.dump` returns it.

    The log says which experiments there are, and where one that is paused or has ended stopped reading. `through`
    ends the reading at an offset: for all, or for each experiment at an offset of its own, wherever it was paused.
    """
    last = through if isinstance(through, int) else None
    controls, births = _lives(reader, last)
    found: dict[Key, bytes] = {}
    for key, born in births.items():
        end = through.get(key) if isinstance(through, Mapping) else controls[key].goal
        ends = [offset for offset in (end, last) if offset is not None]
        trainer = _relearned(reader, key, born, min(ends, default=None))
        found[key] = trainer.dump() + trainer.tally.dump()
    return found


def _lives(
    reader: Reader, last: int | None
) -> tuple[dict[Key, Control], dict[Key, tuple[int, Experiment]]]:
    """Return each experiment's control, and where and as what the ones that ever ran began to learn."""
    controls: dict[Key, Control] = {}
    births: dict[Key, tuple[int, Experiment]] = {}
    for offset, fact in reader.replay():
        # An adoption holds for what came before it, so it is looked for beyond the end.
        if type(fact) is ExperimentChanged and (last is None or offset <= last or fact.adopted):
            key = (fact.tenant_id, fact.experiment.id)
            control = controls[key] = controlled(controls.get(key), fact, offset)
            if control.born is not None:
                births.setdefault(key, (control.born, fact.experiment))
    return controls, births


def _relearned(reader: Reader, key: Key, born: tuple[int, Experiment], end: int | None) -> Trainer:
    """Return a trainer that has read the log from where its experiment began through `end`."""
    begin, experiment = born
    trainer = Trainer(experiment, EmptyShelf())

    def join(offset: int, fact: ExperimentChanged) -> None:
        if offset == begin:
            course.join(trainer)

    course = Course(0, 0, control=join)
    # Adopted: the fact that says so comes long after the first that it learns from.
    if begin == 0:
        course.join(trainer)
    facts = takewhile(_no_later_than(end), reader.replay())
    while stretch := list(islice(facts, _STRETCH)):
        course.read(stretch)
    return trainer


def _no_later_than(end: int | None) -> Callable[[Located], bool]:
    return lambda located: end is None or located[0] <= end
