"""Learning the whole log anew: the proof that a state is what its facts say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice, takewhile

from loopwright.core.experiment import Experiment
from loopwright.eventlog import Reader

from .course import Course, Located
from .joiner import Key
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


def replay(
    reader: Reader,
    experiments: Iterable[Experiment],
    *,
    through: Mapping[Key, int] | int | None = None,
) -> dict[Key, bytes]:
    """Return what each experiment learns from the log alone, as `Learner.dump` returns it.

    `through` ends the reading at an offset: for all, or for each experiment; without one the log is read to
    its end. Experiments of any state are learned; one that was paused is given the offset it has read to.
    """
    found: dict[Key, bytes] = {}
    for experiment in experiments:
        trainer = Trainer(experiment, EmptyShelf())
        end = through.get(trainer.key) if isinstance(through, Mapping) else through
        course = Course(0, 0)
        course.join(trainer)
        facts = takewhile(_no_later_than(end), reader.replay())
        while stretch := list(islice(facts, _STRETCH)):
            course.read(stretch)
        found[trainer.key] = trainer.dump() + trainer.tally.dump()
    return found


def _no_later_than(end: int | None) -> Callable[[Located], bool]:
    return lambda located: end is None or located[0] <= end
