from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.learning.test_store import KEY, checkpoint, waiting

from loopwright.backends.memory import memory_database
from loopwright.learning.memory import PAGE, Memory, Remembered, Spent, add_exactly
from loopwright.learning.replay import EmptyShelf
from loopwright.learning.store import Store

VALUES = st.floats(-(2.0**20), 2.0**20)


def test_memory_pages_through_many_overdue_decisions():
    store = Store(memory_database())
    rows = {f"{i:05}": waiting(i // 3) for i in range(PAGE + 100)}
    store.save(checkpoint(remembered={KEY: rows}))
    memory = Memory(store.shelf(KEY))
    memory.put("new", waiting(1))
    memory.put("00000", waiting(10**9))
    seen = []
    for id, known in memory.overdue(10**6):
        seen.append(id)
        memory.put(id, waiting(None))
        assert known.due_ms is not None
    assert len(seen) == len(set(seen)) == PAGE + 100
    assert "00000" not in seen
    assert list(memory.overdue(10**6)) == []
    assert memory.next_due_ms == 10**9


@given(st.lists(VALUES, min_size=1, max_size=60))
def test_exact_parts_sum_like_all_values_at_once(values):
    parts: tuple[float, ...] = ()
    for value in values:
        parts = add_exactly(parts, value)
    assert math.fsum(parts) == math.fsum(values)


def known(**fields: object) -> Remembered:
    return Remembered(1, 0.5, None, 7, **fields)  # type: ignore[arg-type]  # fields of many types


def test_a_decision_that_taught_waits_no_longer_and_one_that_only_expects_does() -> None:
    silent = known(due_ms=100)
    assert (silent.is_silent, known().is_silent) == (True, False)
    expecting = silent.expecting(0.3, offset=4)
    assert (expecting.due_ms, expecting.is_silent, expecting.is_expected) == (100, False, True)
    taught = expecting.taught(1.0, offset=5, seen=(1.0,))
    assert (taught.due_ms, taught.reward, taught.is_expected, taught.has_spent) == (
        None,
        1.0,
        False,
        True,
    )
    assert not silent.taught(1.0, offset=5).has_spent


def test_what_was_put_since_answers_before_the_shelf_and_a_dropped_one_stays_gone() -> None:
    store = Store(memory_database())
    store.save(checkpoint(remembered={KEY: {"a": known(offset=1), "b": known(offset=1)}}))
    memory = Memory(store.shelf(KEY))
    memory.put("a", known(offset=2))
    memory.drop("b")
    memory.fetch(["a", "b", "c"])
    assert [memory.get(id) for id in "abc"] == [known(offset=2), None, None]
    assert memory.changes() == {"a": known(offset=2), "b": None}


def test_a_decision_answered_before_its_window_ended_is_not_overdue() -> None:
    memory = Memory(EmptyShelf())
    memory.put("a", waiting(100))
    memory.put("b", waiting(100))
    memory.put("a", waiting(None))
    memory.put("b", waiting(500))
    assert list(memory.overdue(101)) == []
    assert [id for id, _ in memory.overdue(501)] == ["b"]


def test_a_windows_last_millisecond_is_not_overdue() -> None:
    memory = Memory(EmptyShelf())
    memory.put("a", waiting(100))
    assert list(memory.overdue(100)) == []
    assert [id for id, _ in memory.overdue(101)] == ["a"]


def test_the_silent_ones_are_those_of_the_shelf_and_of_memory_each_once() -> None:
    store = Store(memory_database())
    kept = {f"{i:05}": waiting(i) for i in range(PAGE + 3)}
    store.save(checkpoint(remembered={KEY: kept}))
    memory = Memory(store.shelf(KEY))
    memory.put("00000", waiting(None).taught(1.0, offset=2))
    memory.put("new", waiting(5))
    assert sum(map(len, memory.silent())) == PAGE + 3


def test_allowances_are_counted_from_the_shelf_on_and_end_with_their_day() -> None:
    store = Store(memory_database())
    store.save(checkpoint(spent={KEY: (20, {b"ann": 3})}))
    spent = Spent(store.shelf(KEY))
    spent.day = 20
    spent.fetch([b"ann", b"bob"])
    spent.add(b"ann", day=20)
    assert (spent.count(b"ann"), spent.count(b"bob")) == (4, 0)
    spent.fetch([b"ann"])
    assert spent.count(b"ann") == 4
    spent.fetch([])
    spent.add(b"ann", day=21)
    assert (spent.day, spent.changes()) == (21, {b"ann": 1})
