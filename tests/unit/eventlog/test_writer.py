from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.backends.memory import MemoryEventLog
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core.clock import SystemClock
from loopwright.core.errors import DiskFull, Invalid, LoopError, OutcomeUnknown, Overloaded
from loopwright.core.events import Decided, Fact, Received, Ticked
from loopwright.core.ports import Committed, EventLog, Offset
from loopwright.eventlog import Reader, Writer
from loopwright.testing import ManualClock

TIMEOUT_S = 10.0


class GatedLog(MemoryEventLog):
    """A log whose appends wait at a gate, so that a test decides what shares a commit."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.arrived = threading.Semaphore(0)
        self.batches: list[int] = []

    def append(self, body: bytes, **told: Any) -> Offset:
        self.arrived.release()
        assert self.gate.wait(TIMEOUT_S)
        first = super().append(body, **told)
        self.batches.append(told["count"])
        return first


class Outcomes:
    """Collects what `done` is told; `next()` waits for one."""

    def __init__(self) -> None:
        self.all: list[Committed | LoopError] = []
        self._came = threading.Semaphore(0)

    def __call__(self, outcome: Committed | LoopError) -> None:
        self.all.append(outcome)
        self._came.release()

    def next(self) -> Committed | LoopError:
        assert self._came.acquire(timeout=TIMEOUT_S)
        return self.all[-1]


@pytest.fixture
def gated() -> Iterator[tuple[GatedLog, Writer, ManualClock]]:
    log, clock = GatedLog(), ManualClock()
    with closing(Writer(log, clock, capacity=10, shed_capacity=4)) as writer:
        yield log, writer, clock
        log.gate.set()


def stored(log: EventLog) -> list[Fact]:
    return [fact for _, fact in Reader(log).replay()]


def test_a_submission_hears_its_offsets_once_it_is_stored(
    received: Callable[..., Received], tmp_path: Path
) -> None:
    facts = [received(n) for n in range(5)]
    outcomes = Outcomes()
    with (
        closing(SqliteEventLog(tmp_path / "log.db")) as log,
        closing(Writer(log, SystemClock())) as writer,
    ):
        writer.submit(facts[:2], [b"a", b"b"], outcomes)
        assert outcomes.next() == Committed(1, [False, False])
        assert log.head() == 2
        writer.submit(facts[2:], [b"c", None, b"d"], outcomes)
        assert outcomes.next() == Committed(3, [False, False, False])
        assert stored(log) == facts
        assert (writer.written, writer.queued, writer.failure) == (5, 0, None)


def test_a_repeated_fact_is_reported_and_stored_once(received: Callable[..., Received]) -> None:
    log, outcomes = MemoryEventLog(), Outcomes()
    first, repeat, other = received(1), received(1, 0.0), received(2)
    with closing(Writer(log, SystemClock())) as writer:
        writer.submit([first], [b"a"], outcomes)
        outcomes.next()
        writer.submit([repeat], [b"a"], outcomes)
        assert outcomes.next() == Committed(None, [True])
        writer.submit([repeat, other, other], [b"a", b"b", b"b"], outcomes)
        assert outcomes.next() == Committed(2, [True, False, True])
    assert stored(log) == [first, other]


def test_facts_without_a_key_may_repeat(received: Callable[..., Received]) -> None:
    log, outcomes = MemoryEventLog(), Outcomes()
    with closing(Writer(log, SystemClock())) as writer:
        writer.submit([received(1)] * 3, [None] * 3, outcomes)
        assert outcomes.next() == Committed(1, [False] * 3)
    assert log.head() == 3


def test_nothing_is_acknowledged_before_it_is_stored(
    gated: tuple[GatedLog, Writer, ManualClock], received: Callable[..., Received]
) -> None:
    log, writer, clock = gated
    outcomes = Outcomes()
    writer.submit([received(1)], [b"a"], outcomes)
    assert log.arrived.acquire(timeout=TIMEOUT_S)
    clock.advance(seconds=2)
    assert (outcomes.all, writer.queued, writer.oldest_age_ms) == ([], 1, 2_000)
    assert writer.flush(timeout_s=0.0) is False
    log.gate.set()
    assert outcomes.next() == Committed(1, [False])
    assert writer.flush(TIMEOUT_S) is True
    assert (writer.queued, writer.oldest_age_ms) == (0, 0)


def test_what_arrives_during_a_commit_shares_the_next_one(
    gated: tuple[GatedLog, Writer, ManualClock],
    received: Callable[..., Received],
    decided: Callable[..., Decided],
) -> None:
    log, writer, _ = gated
    outcomes = Outcomes()
    writer.submit([received(0)], [b"0"], outcomes)
    assert log.arrived.acquire(timeout=TIMEOUT_S)
    for n in range(1, 6):
        writer.submit([received(n)], [b"%d" % n], outcomes)
    writer.submit([received(9)], [b"3"], outcomes)
    assert writer.offer(decided(10)) is True
    log.gate.set()
    assert writer.flush(TIMEOUT_S)
    assert log.batches == [1, 6]
    assert outcomes.all == [
        *(Committed(n, [False]) for n in range(1, 7)),
        Committed(None, [True]),
    ]
    assert stored(log)[-1] == decided(10)


def test_a_full_queue_refuses_and_says_when_to_come_back(
    gated: tuple[GatedLog, Writer, ManualClock], received: Callable[..., Received]
) -> None:
    log, writer, _ = gated
    outcomes = Outcomes()
    writer.submit([received(n) for n in range(8)], [None] * 8, outcomes)
    with pytest.raises(Overloaded, match="8 facts wait") as refused:
        writer.submit([received(n) for n in range(3)], [None] * 3, outcomes)
    assert refused.value.detail["retry_after_s"] > 0
    writer.submit([received(8), received(9)], [None] * 2, outcomes)
    log.gate.set()
    assert writer.flush(TIMEOUT_S)
    assert (log.head(), len(outcomes.all)) == (10, 2)


def test_a_submission_beyond_the_capacity_passes_alone(
    gated: tuple[GatedLog, Writer, ManualClock], received: Callable[..., Received]
) -> None:
    log, writer, _ = gated
    log.gate.set()
    outcomes = Outcomes()
    writer.submit([received(n) for n in range(25)], [None] * 25, outcomes)
    assert outcomes.next() == Committed(1, [False] * 25)


def test_decisions_that_come_too_fast_are_shed_and_counted(
    gated: tuple[GatedLog, Writer, ManualClock],
    received: Callable[..., Received],
    decided: Callable[..., Decided],
) -> None:
    log, writer, _ = gated
    writer.submit([received(0)], [None], Outcomes())
    assert log.arrived.acquire(timeout=TIMEOUT_S)
    assert [writer.offer(decided(n)) for n in range(1, 7)] == [True] * 4 + [False] * 2
    assert (writer.shed, writer.offered) == (2, 4)
    log.gate.set()
    assert writer.flush(TIMEOUT_S)
    assert stored(log)[1:] == [decided(n) for n in range(1, 5)]
    assert (writer.shed, writer.offered) == (2, 0)


def test_a_decision_is_stored_though_no_feedback_comes(decided: Callable[..., Decided]) -> None:
    log = MemoryEventLog()
    came = threading.Event()
    with closing(Writer(log, SystemClock())) as writer:
        writer.subscribe(lambda head: came.set())
        writer.offer(decided(1))
        assert came.wait(TIMEOUT_S)
        assert stored(log) == [decided(1)]


def test_a_full_disk_fails_whoever_waits_and_passes(
    received: Callable[..., Received], decided: Callable[..., Decided], tmp_path: Path
) -> None:
    outcomes = Outcomes()
    with (
        closing(SqliteEventLog(tmp_path / "log.db", max_bytes=150_000)) as log,
        closing(Writer(log, SystemClock())) as writer,
    ):
        large = [received(n) for n in range(2_000)]
        keys = [b"%024d" % n for n in range(2_000)]
        writer.submit(large[:100], keys[:100], outcomes)
        assert outcomes.next() == Committed(1, [False] * 100)
        writer.submit(large, keys, outcomes)
        refusal = outcomes.next()
        assert isinstance(refusal, DiskFull)
        assert (writer.failure, log.head()) == (refusal, 100)
        shed = writer.shed
        writer.submit(large[100:110], keys[100:110], outcomes)
        assert outcomes.next() == Committed(101, [False] * 10)
        assert (writer.failure, log.head()) == (None, 110)
        for n in range(1_500):
            writer.offer(decided(n))
        writer.submit(large, keys, outcomes)
        assert isinstance(outcomes.next(), DiskFull)
        assert writer.flush(TIMEOUT_S)
        assert log.head() - 110 + writer.shed - shed == 1_500


def test_subscribers_hear_of_a_commit_after_those_who_submitted(
    received: Callable[..., Received],
) -> None:
    told: list[object] = []
    with closing(Writer(MemoryEventLog(), SystemClock())) as writer:
        writer.subscribe(told.append)
        writer.submit([received(1), received(2)], [b"a", None], told.append)
        writer.flush(TIMEOUT_S)
        writer.submit([received(1)], [b"a"], told.append)
        writer.flush(TIMEOUT_S)
    assert told == [Committed(1, [False, False]), 2, Committed(None, [True])]


def test_a_callback_that_fails_is_logged_and_stops_nothing(
    received: Callable[..., Received], caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: object) -> None:
        raise RuntimeError("the event loop is closed")

    outcomes = Outcomes()
    with closing(Writer(MemoryEventLog(), SystemClock())) as writer:
        writer.subscribe(fail)
        writer.submit([received(1)], [None], fail)
        writer.submit([received(2)], [None], outcomes)
        assert outcomes.next() == Committed(2, [False])
    assert "callback" in caplog.text
    assert "the event loop is closed" in caplog.text


def test_a_fact_that_cannot_be_written_fails_alone(
    gated: tuple[GatedLog, Writer, ManualClock],
    received: Callable[..., Received],
    decided: Callable[..., Decided],
) -> None:
    log, writer, _ = gated
    outcomes, bad_outcomes = Outcomes(), Outcomes()
    writer.submit([received(0)], [None], outcomes)
    assert log.arrived.acquire(timeout=TIMEOUT_S)
    poison = msgspec.structs.replace(decided(1).decision, metadata={"set": 2**70})
    writer.submit([Decided(poison)], [None], bad_outcomes)
    writer.submit([received(2)], [b"a"], outcomes)
    writer.offer(Decided(poison))
    writer.offer(decided(3))
    log.gate.set()
    assert writer.flush(TIMEOUT_S)
    assert stored(log) == [received(0), received(2), decided(3)]
    assert outcomes.all[-1] == Committed(2, [False])
    assert isinstance(bad_outcomes.all[0], Invalid)
    assert (writer.shed, writer.failure) == (1, None)


def test_a_bug_in_the_log_is_reported_and_does_not_end_the_writer(
    received: Callable[..., Received], caplog: pytest.LogCaptureFixture
) -> None:
    class Buggy(MemoryEventLog):
        is_broken = True

        def append(self, body: bytes, **told: Any) -> Offset:
            if self.is_broken:
                raise ZeroDivisionError("bug")
            return super().append(body, **told)

    log, outcomes = Buggy(), Outcomes()
    with closing(Writer(log, SystemClock())) as writer:
        writer.submit([received(1)], [None], outcomes)
        failed = outcomes.next()
        assert isinstance(failed, LoopError)
        assert (failed.code, str(failed)) == (
            "broken",
            "the event log failed: ZeroDivisionError: bug",
        )
        log.is_broken = False
        writer.submit([received(1)], [None], outcomes)
        assert outcomes.next() == Committed(1, [False])
    assert "ZeroDivisionError" in caplog.text


def test_closing_stores_what_waits_and_takes_nothing_more(
    gated: tuple[GatedLog, Writer, ManualClock],
    received: Callable[..., Received],
    decided: Callable[..., Decided],
) -> None:
    log, writer, _ = gated
    outcomes = Outcomes()
    writer.submit([received(0)], [None], outcomes)
    assert log.arrived.acquire(timeout=TIMEOUT_S)
    writer.submit([received(1)], [None], outcomes)
    writer.offer(decided(2))
    closer = threading.Thread(target=writer.close)
    closer.start()
    log.gate.set()
    closer.join(TIMEOUT_S)
    assert stored(log) == [received(0), received(1), decided(2)]
    assert len(outcomes.all) == 2
    with pytest.raises(Overloaded, match="closing"):
        writer.submit([received(3)], [None], outcomes)
    assert writer.offer(decided(4)) is False


def test_keys_and_facts_must_pair_up(
    gated: tuple[GatedLog, Writer, ManualClock], received: Callable[..., Received]
) -> None:
    _, writer, _ = gated
    with pytest.raises(ValueError, match="2 facts came with 1 keys"):
        writer.submit([received(1), received(2)], [b"a"], Outcomes())


def test_nothing_is_lost_between_many_threads(tmp_path: Path) -> None:
    outcomes = Outcomes()
    with (
        closing(SqliteEventLog(tmp_path / "log.db")) as log,
        closing(Writer(log, SystemClock(), max_batch=50)) as writer,
    ):

        def work(thread: int) -> None:
            for n in range(200):
                number = thread * 1000 + n
                writer.submit([Ticked(number)], [b"%d" % number], outcomes)
                while not writer.offer(Ticked(-number - 1)):
                    pass

        threads = [threading.Thread(target=work, args=(t,)) for t in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert writer.flush(TIMEOUT_S)
        numbers = [fact.at_ms for fact in stored(log)]
    expected = {t * 1000 + n for t in range(4) for n in range(200)}
    assert sorted(numbers) == sorted(expected | {-n - 1 for n in expected})
    assert len(outcomes.all) == 800


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 12) | st.none(), max_size=6), max_size=8), st.integers(1, 9)
)
def test_the_log_holds_the_first_fact_of_each_key_whatever_the_grouping(
    submissions: list[list[int | None]], max_batch: int
) -> None:
    log, outcomes = MemoryEventLog(), Outcomes()
    expected: list[Fact] = []
    seen: set[int | None] = set()
    answers: list[list[bool]] = []
    with closing(Writer(log, SystemClock(), max_batch=max_batch)) as writer:
        for number, keys in enumerate(submissions):
            facts = [Ticked(number * 100 + i) for i in range(len(keys))]
            writer.submit(facts, [None if k is None else b"%d" % k for k in keys], outcomes)
            flags = []
            for fact, key in zip(facts, keys, strict=True):
                flags.append(key is not None and key in seen)
                seen.add(key)
                if not flags[-1]:
                    expected.append(fact)
            answers.append(flags)
    assert stored(log) == expected
    assert [o.duplicates for o in outcomes.all if isinstance(o, Committed)] == answers
    offsets = [o.first_offset for o in outcomes.all if isinstance(o, Committed) and o.first_offset]
    assert [expected[offset - 1] for offset in offsets] == [
        Ticked(number * 100 + flags.index(False))
        for number, flags in enumerate(answers)
        if False in flags
    ]


def test_append_returns_what_became_of_each_fact_once_it_is_stored(
    received: Callable[..., Received],
) -> None:
    log = MemoryEventLog()
    with closing(Writer(log, SystemClock())) as writer:
        first = writer.append([received(1)], [b"k" * 24], timeout_s=TIMEOUT_S)
        again = writer.append([received(1), received(2)], [b"k" * 24, None], timeout_s=TIMEOUT_S)
    assert first == Committed(1, [False])
    assert again == Committed(2, [True, False])


def test_append_raises_what_the_log_refused_with(received: Callable[..., Received]) -> None:
    class FullLog(MemoryEventLog):
        def append(self, body: bytes, **told: Any) -> Offset:
            raise DiskFull("the disk is full")

    with (
        closing(Writer(FullLog(), SystemClock())) as writer,
        pytest.raises(DiskFull, match="the disk is full"),
    ):
        writer.append([received(1)], [None], timeout_s=TIMEOUT_S)


def test_a_commit_that_is_not_confirmed_in_time_has_an_unknown_outcome(
    gated: tuple[GatedLog, Writer, ManualClock], received: Callable[..., Received]
) -> None:
    log, writer, _ = gated
    with pytest.raises(OutcomeUnknown, match="unknown whether the facts are stored") as caught:
        writer.append([received(1)], [b"k" * 24], timeout_s=0.01)
    assert (caught.value.status, caught.value.code) == (503, "outcome_unknown")
    log.gate.set()
    again = writer.append([received(1)], [b"k" * 24], timeout_s=TIMEOUT_S)
    assert again.duplicates == [True], "the first one was stored after all"
