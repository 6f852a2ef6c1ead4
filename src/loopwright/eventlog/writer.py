"""The one thread that writes the event log.

Each commit takes the facts that arrived during the last one, so batches grow with the load and nothing waits for a
timer. Two kinds of facts come in. Submitted ones (feedback) are
acknowledged after the fsync of their commit and refused when the queue is full. Offered ones (decisions) are
never waited for: they ride along with the next commit and are shed, and counted, when they come too fast.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from time import perf_counter
from typing import Final, TypeVar

from loopwright.core import upcast
from loopwright.core.clock import Clock
from loopwright.core.errors import Broken, LoopError, OutcomeUnknown, Overloaded
from loopwright.core.events import Fact
from loopwright.core.ports import Committed, EventLog, KeyTaken

from .fates import Group
from .groups import UNENCODABLE, Done, Submission, flaw_of

GATHER_S: Final = 0.2
"""How long offered decisions may wait for company. They do not wake the writer: that would cost `select`
two thread switches each. A commit, and the learner's reading of it, costs 1 to 2 ms whatever its size: waiting
200 ms rather than 50 leaves 4 % more of a busy processor to selects. Feedback wakes the writer, and
decisions ride along."""

_T = TypeVar("_T")

_logger = logging.getLogger(__name__)


class Writer:
    """Appends facts to the log in group commits, from one thread that it starts.

    At most `capacity` submitted and `shed_capacity` offered facts wait; a commit takes about `max_batch`.
    Its figures are plain attributes that any thread may read at any time.
    """

    def __init__(
        self,
        log: EventLog,
        clock: Clock,
        *,
        capacity: int = 50_000,
        shed_capacity: int = 50_000,
        max_batch: int = 2_000,
    ) -> None:
        self._log = log
        self._now_ms = clock.now_ms
        self._capacity = capacity
        self._shed_capacity = shed_capacity
        self._max_batch = max_batch
        self._submitted: deque[Submission] = deque()
        self._offered: deque[Fact] = deque()
        self._subscribers: list[Callable[[int], None]] = []
        self._lock = threading.Lock()
        self._settling = threading.Condition(self._lock)
        self._wake = threading.Event()
        # Two flags, because the two kinds wake differently: any submission ends a sleep, an offer only a sleep
        # without a timeout.
        self._is_asleep = self._is_dormant = self._is_closing = False
        # Counters and not queue lengths: `flush` waits for what came before it while more keeps coming in.
        self._submissions_in = self._submissions_out = 0
        self._offers_taken = self._offers_out = 0
        self._underway_since_ms: int | None = None
        self._head = 0
        self.queued = 0
        """Submitted facts not yet settled."""
        self.shed = 0
        """Offered facts dropped, because they came too fast or could not be stored."""
        self.written = 0
        """Facts stored."""
        self.commits = 0
        """Group commits tried."""
        self.commit_seconds = 0.0
        """Duration of the latest one."""
        self.commit_seconds_total = 0.0
        """Duration of all of them together."""
        self.drain_rate = 0.0
        """Facts settled per second of work, smoothed over recent commits."""
        self.failure: LoopError | None = None
        """Why the latest commit failed; None when it succeeded."""
        self._thread = threading.Thread(target=self._run, name="loopwright-writer", daemon=True)
        self._thread.start()

    def submit(self, facts: Sequence[Fact], keys: Sequence[bytes | None], done: Done) -> None:
        """Queue `facts` to be stored; `done` is called with the outcome after the commit, or with the error.

        `keys` has one key per fact, or None where repetition is allowed. A fact whose key is already in the
        log, or earlier in the queue, is a duplicate or a conflict: reported, not stored. See `Mark`. Raises `Overloaded`, taking
        nothing, when the queue is full; its `retry_after_s` says when it should have drained.
        """
        n = len(facts)
        if len(keys) != n:
            raise ValueError(
                f"{n} facts came with {len(keys)} keys; give one key, or None, per fact"
            )
        submission = Submission(facts, keys, done, self._now_ms())
        with self._lock:
            # A submission beyond the capacity passes alone: it could never pass otherwise.
            if self._is_closing or (self.queued and self.queued + n > self._capacity):
                raise _overloaded(
                    self.queued,
                    self._capacity,
                    retry_after_s=self.retry_after_s,
                    is_closing=self._is_closing,
                )
            self.queued += n
            self._submissions_in += 1
            self._submitted.append(submission)
        # Waking costs a thread switch. A writer that is committing looks at the queue by itself afterwards.
        if self._is_asleep:
            self._wake.set()

    def append(
        self, facts: Sequence[Fact], keys: Sequence[bytes | None], *, timeout_s: float
    ) -> Committed:
        """Store `facts` like `submit`, wait for their commit and return its result.

        Raises `Overloaded`, taking nothing, when the queue is full; `OutcomeUnknown` when the commit is not
        confirmed within `timeout_s`; and the error of a commit that failed.
        """
        outcomes: list[Committed | LoopError] = []
        settled = threading.Event()

        def done(outcome: Committed | LoopError) -> None:
            outcomes.append(outcome)
            settled.set()

        self.submit(facts, keys, done)
        # A submission cannot be withdrawn: its commit may be at the disk already. So this is not a failure, and
        # the keys make it safe to send the facts again.
        if not settled.wait(timeout_s):
            raise OutcomeUnknown(
                f"the commit was not confirmed within {timeout_s:g} s, so it is unknown whether the facts are "
                "stored; send them again under the same keys",
                retry_after_s=timeout_s,
            )
        outcome = outcomes[0]
        if isinstance(outcome, LoopError):
            raise outcome
        return outcome

    def offer(self, fact: Fact) -> bool:
        """Hand over a fact that may be lost under pressure; False when it was shed. Never waits."""
        # No lock: appending to a deque is atomic, and a select must not wait for the writer. A few threads at
        # once may exceed the capacity by as many facts.
        if len(self._offered) >= self._shed_capacity or self._is_closing:
            self._count_shed(1)
            return False
        self._offered.append(fact)
        if self._is_dormant:
            self._wake.set()
        return True

    def subscribe(self, callback: Callable[[int], None]) -> None:
        """Call `callback(head)` on the writer's thread after each commit and its `done` callbacks."""
        self._subscribers.append(callback)

    @property
    def is_alive(self) -> bool:
        """Whether the thread that writes runs; it does from the making of the writer to `close`."""
        return self._thread.is_alive()

    @property
    def offered(self) -> int:
        """How many offered facts wait."""
        return len(self._offered)

    @property
    def oldest_age_ms(self) -> int:
        """How long the oldest submission without an answer has waited; 0 when there is none."""
        since_ms = self._underway_since_ms
        if since_ms is None:
            try:
                # Not a check and then a look: the writer may take the last submission in between.
                since_ms = self._submitted[0].at_ms
            except IndexError:
                return 0
        return max(self._now_ms() - since_ms, 0)

    @property
    def retry_after_s(self) -> float:
        """When the present queue should have drained, from 0.05 to 60 seconds."""
        # Before the first commit there is no rate to go by; one second is a guess.
        expected_s = self.queued / self.drain_rate if self.drain_rate else 1.0
        return min(max(expected_s, 0.05), 60.0)

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until every fact that came before this call is settled; False when `timeout_s` passes first."""
        with self._settling:
            submissions = self._submissions_in
            # `_take` moves offers from the queue into the counter under this same lock, so each is counted
            # once.
            offers = self._offers_taken + len(self._offered)
            self._wake.set()
            return self._settling.wait_for(
                lambda: self._submissions_out >= submissions and self._offers_out >= offers,
                timeout_s,
            )

    def close(self) -> None:
        """Take nothing more, store what waits, and end the thread."""
        with self._lock:
            self._is_closing = True
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while True:
            self._rest()
            # `_rest` has cleared the event before this: a producer that queues after the take sets it again for
            # the next round.
            submissions, offers = self._take()
            if submissions or offers:
                self._settle(submissions, offers)
            elif self._is_closing:
                return

    def _rest(self) -> None:
        """Sleep until a submission comes, or offers have gathered.

        The flags go up before the queues are looked at, and producers look at the flags after they queued:
        so one of the two always sees the other.
        """
        self._is_asleep = True
        if not self._offered:
            self._is_dormant = True
            if not (self._offered or self._submitted or self._is_closing):
                self._wake.wait()
                self._wake.clear()
            self._is_dormant = False
        # Only offers wait by now. A submission cuts this short, since `_is_asleep` is still set.
        if not (self._submitted or self._is_closing or len(self._offered) >= self._max_batch):
            self._wake.wait(GATHER_S)
        self._wake.clear()
        self._is_asleep = False

    def _take(self) -> tuple[list[Submission], list[Fact]]:
        """Take about `max_batch` facts, a half of them for each kind when both are plenty."""
        submissions: list[Submission] = []
        room = self._max_batch
        # Without a share of their own, decisions would be shed for as long as feedback keeps every batch full.
        kept_for_offers = min(len(self._offered), room // 2)
        while self._submitted and room > kept_for_offers:
            submission = self._submitted[0]
            # Before the pop: otherwise `oldest_age_ms` could see neither a queue nor a commit under way and say
            # 0.
            self._underway_since_ms = self._underway_since_ms or submission.at_ms
            # A submission is never split: all its facts are stored in one commit or none is.
            submissions.append(self._submitted.popleft())
            room -= len(submission.facts)
        with self._lock:
            n = min(len(self._offered), max(room, kept_for_offers))
            self._offers_taken += n
            return submissions, [self._offered.popleft() for _ in range(n)]

    def _settle(self, submissions: list[Submission], offers: list[Fact]) -> None:
        """Commit one group and call each `done` and subscriber."""
        n = sum(len(submission.facts) for submission in submissions)
        written = self.written
        started = perf_counter()
        outcomes = self._try_commit(submissions, offers)
        self._measure(perf_counter() - started, n + len(offers))
        with self._lock:
            self.queued -= n
            self._underway_since_ms = None
        for submission, outcome in zip(submissions, outcomes, strict=True):
            _call(submission.done, outcome)
        if self.written > written:
            for subscriber in self._subscribers:
                _call(subscriber, self._head)
        with self._settling:
            # Last, so that `flush` returns after the callbacks and subscribers of its facts have run.
            self._submissions_out += len(submissions)
            self._offers_out += len(offers)
            self._settling.notify_all()

    def _try_commit(
        self, submissions: list[Submission], offers: list[Fact]
    ) -> Sequence[Committed | LoopError]:
        try:
            outcomes = self._commit(submissions, offers)
        except LoopError as error:
            self.failure = error
        except Exception as error:
            # The thread must outlive a bug, because every submission waits for it; each gets the error.
            _logger.exception("the event log's writer failed")
            self.failure = Broken(f"the event log failed: {type(error).__name__}: {error}")
        else:
            self.failure = None
            return outcomes
        self._count_shed(len(offers))
        return [self.failure] * len(submissions)

    def _commit(
        self, submissions: list[Submission], offers: list[Fact]
    ) -> Sequence[Committed | LoopError]:
        try:
            return self._store(submissions, offers)
        except UNENCODABLE:
            # One fact that cannot be written must not take the rest of its group with it.
            flaws = [flaw_of(submission.facts) for submission in submissions]
            sound = [s for s, flaw in zip(submissions, flaws, strict=True) if flaw is None]
            sound_offers = [fact for fact in offers if flaw_of([fact]) is None]
            if len(sound) == len(submissions) and len(sound_offers) == len(offers):
                raise
            stored = iter(self._store(sound, sound_offers))
            self._count_shed(len(offers) - len(sound_offers))
            return [flaw or next(stored) for flaw in flaws]

    def _store(self, submissions: list[Submission], offers: list[Fact]) -> list[Committed]:
        """Append one batch, leaving out facts whose key is taken."""
        taken: dict[bytes, bytes | None] = {}
        while True:
            # Repetitions are rare, so nothing asks the log beforehand: it refuses the whole batch and names the
            # keys it has, and a batch without them follows.
            group = Group(taken)
            for submission in submissions:
                group.add(submission.facts, submission.keys)
            facts = group.facts
            facts += offers
            if not facts:
                return group.outcomes(0)
            body = upcast.encode(facts)
            keys, revised = group.keys()
            n, version = len(facts), upcast.SCHEMA_VERSION
            try:
                if revised:
                    first = self._log.append(
                        body, count=n, version=version, keys=keys, revised=revised
                    )
                else:
                    first = self._log.append(body, count=n, version=version, keys=keys)
            except KeyTaken as error:
                if error.said.items() <= taken.items():
                    raise Broken("the log refuses keys that it says it does not have") from error
                taken |= error.said
                continue
            self._head = first + len(facts) - 1
            self.written += len(facts)
            return group.outcomes(first)

    def _measure(self, seconds: float, n: int) -> None:
        self.commits += 1
        self.commit_seconds = seconds
        self.commit_seconds_total += seconds
        rate = n / max(seconds, 1e-6)
        # The first commit counts whole: an average that starts at 0 would make `retry_after_s` too long for a
        # dozen commits.
        self.drain_rate += (rate - self.drain_rate) * (0.2 if self.drain_rate else 1.0)

    def _count_shed(self, n: int) -> None:
        with self._lock:
            self.shed += n


def _overloaded(
    queued: int, capacity: int, *, retry_after_s: float, is_closing: bool
) -> Overloaded:
    retry_after_s = round(retry_after_s, 3)
    if is_closing:
        return Overloaded("the event log is closing; send it again", retry_after_s=retry_after_s)
    return Overloaded(
        f"{queued} facts wait to be stored, of at most {capacity}; "
        f"send it again in {retry_after_s} s",
        retry_after_s=retry_after_s,
        queued=queued,
    )


def _call(callback: Callable[[_T], None], argument: _T) -> None:
    """Call a callback and log its error, which does not undo the commit."""
    try:
        callback(argument)
    except Exception:
        _logger.exception("a callback of the event log's writer failed")
