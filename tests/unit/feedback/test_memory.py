from __future__ import annotations

from loopwright.feedback.memory import Memory


def test_the_latest_vote_of_a_person_decides_what_contradicts_it() -> None:
    memory = Memory()
    votes = [True, False, False, True]
    found = [memory.contradicts("acme", "p", about="o", is_up=vote) for vote in votes]
    assert found == [False, True, False, True]
    assert not memory.contradicts("other", "p", about="o", is_up=False)


def test_only_the_latest_sessions_are_remembered() -> None:
    memory = Memory(capacity=3)
    for n in range(5):
        memory.is_behind("acme", str(n), 5)
    assert memory.is_behind("acme", "4", 4)
    assert not memory.is_behind("acme", "0", 4), "the oldest was forgotten"


def test_a_session_that_goes_on_is_forgotten_last() -> None:
    memory = Memory(capacity=3)
    for n in range(3):
        memory.is_behind("acme", str(n), 5)
    memory.is_behind("acme", "0", 6)
    memory.is_behind("acme", "one more", 5)
    assert memory.is_behind("acme", "0", 5)
    assert not memory.is_behind("acme", "1", 4)
