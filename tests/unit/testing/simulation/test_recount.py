from __future__ import annotations

from loopwright.core.decision import Decision
from loopwright.testing.simulation.recount import Lessons


def taught(lessons: Lessons, offset: int, id: str, value: float, *, is_latest: bool = True) -> None:
    lessons.receive(offset, Decision(id, "t", "e", "a", 0.5, 1, 1), value, is_latest=is_latest)


def test_the_first_reward_of_a_decision_counts_or_the_latest() -> None:
    first, latest = Lessons(), Lessons()
    for offset, value in ((1, 1.0), (2, 0.0)):
        taught(first, offset, "d", value, is_latest=False)
        taught(latest, offset, "d", value)
    assert (first.counts(), latest.counts()) == ({"a": (1, 1.0)}, {"a": (1, 0.0)})


def test_a_rollback_brings_back_what_was_held_and_seals_what_it_passed_over() -> None:
    lessons = Lessons()
    taught(lessons, 1, "kept", 1.0)
    taught(lessons, 2, "lost", 1.0)
    lessons.roll_back(3, 1)
    assert lessons.counts() == {"a": (1, 1.0)}
    # Neither can be revised any more; a decision that had taught nothing can still teach.
    taught(lessons, 4, "kept", 0.0)
    taught(lessons, 5, "lost", 0.0)
    taught(lessons, 6, "new", 0.0)
    assert lessons.counts() == {"a": (2, 1.0)}
    lessons.roll_back(7, 2)
    assert lessons.counts() == {"a": (2, 2.0)}
