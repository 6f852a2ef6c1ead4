"""Implicit signals of whole sessions: a consumer of the event log that appends what it derives to the same log.

Calls and actions are folded into sessions, per tenant and session id. When a session is over, the signals of
each of its answers (abandonment, refinement, retry, follow-up, time to the first action, time in view) are
appended as `Reported` facts, flagged `derived`. Where an experiment shapes its reward, the expected reward of
the decision behind an answer is appended as an `Expected` fact.

Everything depends on the log alone, never on when it is read. A session is over when its tenant's event time
has passed its last action by the timeout and the allowed lateness, or when nothing of it has arrived for that
long on the log's own clock; where nothing else is written, a `Ticked` fact advances that clock. So reading in
other portions, or again from the beginning, gives the same facts under the same keys, and the log keeps each
once. Expectations depend on the surrogate of the day, and the log keeps the first. State, offset and outbox
are stored in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from msgspec.structs import replace

from loopwright.core.clock import MINUTE_MS, Clock
from loopwright.core.decision import Decision
from loopwright.core.events import Erased, Fact, Ticked
from loopwright.core.ports import Database
from loopwright.core.ports import Session as Transaction
from loopwright.core.schema import apply_schema
from loopwright.eventlog import Consumers, Reader, Writer

from .derived import Shaping, derived_facts
from .facts import Happened, earned, read
from .fold import Action, Open, Session, fold
from .outbox import Outbox
from .store import LOG, SCHEMA, Held, Store

CONSUMER: Final = "sessions"

TIMEOUT_MS: Final = 30 * MINUTE_MS
LATENESS_MS: Final = 5 * MINUTE_MS
CHUNK: Final = 2_000
MOST_CHUNKS: Final = 25
MOST_ACTIONS: Final = 1_000
"""Actions, and answers, kept of one open session id; only a program does more."""


class Sessions:
    """Folds the log into sessions and appends the facts that follow. Call `run` periodically, from one thread.

    Without `shaping` no reward is expected of any decision. Any thread may read the counters.
    """

    def __init__(
        self,
        reader: Reader,
        writer: Writer,
        *,
        database: Database,
        consumers: Consumers,
        clock: Clock,
        shaping: Shaping | None = None,
        timeout_ms: int = TIMEOUT_MS,
        lateness_ms: int = LATENESS_MS,
    ) -> None:
        self._shaping = shaping
        self._reader = reader
        self._writer = writer
        self._outbox = Outbox(database, writer)
        self._database = database
        self._consumers = consumers
        self._now_ms = clock.now_ms
        self._timeout_ms = timeout_ms
        self._lateness_ms = lateness_ms
        self.closed = 0
        """Sessions that ended since the start."""
        self.late = 0
        """Actions that came after their session was closed, since the start."""
        self.overfull = 0
        """Actions left out of sessions that had too many, since the start."""
        apply_schema(database, "sessions", SCHEMA)
        consumers.register(CONSUMER)

    @property
    def appended(self) -> int:
        """Facts that were derived and stored since the start."""
        return self._outbox.appended

    def run(
        self,
        *,
        chunk: int = CHUNK,
        most_chunks: int = MOST_CHUNKS,
        stopping: Callable[[], bool] = lambda: False,
    ) -> int:
        """Read new facts, at most `most_chunks` chunks of them; return how many were read.

        Derived facts that the log does not take now stay in the outbox for a later call.
        """
        total = 0
        for _ in range(most_chunks):
            if stopping() or not self._outbox.send():
                break
            facts = self._reader.facts(self._consumers.position(CONSUMER), limit=chunk)
            closed = self._take(facts, limit=chunk)
            total += len(facts)
            # Where facts still come, their own times move the log's clock.
            if not facts and not closed:
                self._tick()
                break
        self._outbox.send()
        return total

    def forget(self, tenant_id: str, marks: Sequence[bytes]) -> None:
        """Delete open sessions and waiting facts of a tenant that hold one of `marks`: their person is erased."""
        with self._database.transaction() as transaction:
            Store(transaction).forget(tenant_id, marks)

    def _take(self, facts: list[tuple[int, Fact]], *, limit: int) -> int:
        """Fold facts, and close what is over; return how many sessions were closed."""
        with self._database.transaction() as transaction:
            folding = _Folding(transaction, self._timeout_ms, self._lateness_ms, self._shaping)
            for _, fact in facts:
                folding.take(fact)
            # Before the sweep, which reads the tables.
            folding.store()
            folding.sweep(limit)
            now_ms = self._now_ms()
            for tenant_id, held, session in folding.closed:
                made = derived_facts(tenant_id, held, session, at_ms=now_ms, shaping=self._shaping)
                self._outbox.put(transaction, made)
            if facts:
                # In the transaction of the tables, so after a crash no fact is folded twice or left out.
                self._consumers.advance(transaction, CONSUMER, facts[-1][0])
        self.closed += len(folding.closed)
        self.late += folding.late
        self.overfull += folding.overfull
        return len(folding.closed)

    def _tick(self) -> None:
        """Append the time when it has passed the end of a session and no other fact says so."""
        rows = self._database.query("SELECT min(arrived_ms) FROM open_sessions")
        if rows[0][0] is None:
            return
        now_ms = self._now_ms()
        if now_ms > int(rows[0][0]) + self._timeout_ms + self._lateness_ms:
            self._writer.offer(Ticked(now_ms))


class _Folding:
    """One portion of the log on its way into the tables."""

    def __init__(
        self,
        transaction: Transaction,
        timeout_ms: int,
        lateness_ms: int,
        shaping: Shaping | None,
        /,
    ) -> None:
        self._store = Store(transaction)
        self._shaping = shaping
        self._timeout_ms = timeout_ms
        self._lateness_ms = lateness_ms
        self._held: dict[tuple[str, str], Held] = {}
        self._latest = self._store.times()
        self._stored = dict(self._latest)
        self.closed: list[tuple[str, Held, Session]] = []
        self.late = self.overfull = 0

    def take(self, fact: Fact) -> None:
        """Fold one fact."""
        self._latest[LOG] = max(self._latest.get(LOG, -1), fact.at_ms)
        if isinstance(fact, Erased):
            self._erase(fact)
            return
        happened = read(fact)
        if happened is None:
            self._settle(fact)
            return
        tenant_id, session_id = happened.tenant_id, happened.session_id
        held = self._open(tenant_id, session_id)
        # The log's clock, not the fact's: it never runs backwards, even where the server's did.
        held.arrived_ms = self._latest[LOG]
        self._note(held, happened)
        for action in happened.actions:
            # The same action can come in two facts; a session holds it once.
            if any(action in session.actions for session in held.sessions):
                continue
            if sum(len(session.actions) for session in held.sessions) >= MOST_ACTIONS:
                self.overfull += 1
                continue
            self._fold(tenant_id, session_id, held, [action])

    def store(self) -> None:
        """Write what has changed into the tables."""
        changed = [item for item in self._latest.items() if self._stored.get(item[0]) != item[1]]
        self._store.save(self._held, changed)
        self._stored = dict(self._latest)
        self._held.clear()

    def sweep(self, limit: int) -> None:
        """Close at most `limit` stored session ids that are over."""
        grace_ms = self._timeout_ms + self._lateness_ms
        for key, held in self._store.over(self._latest, grace_ms=grace_ms, limit=limit).items():
            self._held[key] = held
            self._close_idle(key[0], held)
            self._fold(*key, held, [])
        self.store()

    def _open(self, tenant_id: str, session_id: str) -> Held:
        """Return what is held of a session id, after closing what is over by now."""
        held = self._load(tenant_id, session_id)
        # First by the log's clock, then by event time: the same order as in `sweep`, or the result would depend on chunks.
        self._close_idle(tenant_id, held)
        self._fold(tenant_id, session_id, held, [])
        return held

    def _load(self, tenant_id: str, session_id: str) -> Held:
        held = self._held.get((tenant_id, session_id))
        if held is None:
            held = self._held[tenant_id, session_id] = self._store.load(tenant_id, session_id)
        return held

    def _close_idle(self, tenant_id: str, held: Held) -> None:
        """Close all sessions of a session id when nothing of it has arrived for the timeout and the lateness."""
        if held.arrived_ms + self._timeout_ms + self._lateness_ms < self._latest[LOG]:
            self._shut(tenant_id, held, held.sessions)
            held.sessions = ()

    def _fold(self, tenant_id: str, session_id: str, held: Held, actions: list[Action], /) -> None:
        state = Open({session_id: held.sessions}, self._latest.get(tenant_id, -1))
        folded = fold(state, actions, timeout_ms=self._timeout_ms, lateness_ms=self._lateness_ms)
        self._latest[tenant_id] = folded.open.latest_ms
        self.late += len(folded.late)
        self._shut(tenant_id, held, folded.closed)
        held.sessions = folded.open.sessions.get(session_id, ())

    def _shut(self, tenant_id: str, held: Held, closed: Sequence[Session]) -> None:
        if not closed:
            return
        # `held` goes on changing while the session that just closed must not.
        known = replace(
            held,
            answers=dict(held.answers),
            aliases=dict(held.aliases),
            said=set(held.said),
        )
        self.closed += [(tenant_id, known, session) for session in closed]

    def _note(self, held: Held, happened: Happened) -> None:
        # A session id that is used again starts anew; the old answers belong to sessions that are over.
        if not held.sessions:
            held.answers, held.aliases, held.said = {}, {}, set()
        if happened.about is None:
            return
        name, about = happened.about
        if about.decision is not None and self._expected_of(about.decision) is None:
            about = replace(about, decision=None)
        before = held.answers.get(name)
        if before is None and len(held.answers) >= MOST_ACTIONS:
            return
        held.answers[name] = about if before is None else before.joined(about)
        held.aliases |= dict.fromkeys(happened.aliases, name)
        if happened.said is not None and len(held.said) < MOST_ACTIONS:
            held.said.add((name, happened.said))

    def _settle(self, fact: Fact) -> None:
        """Note in an open session that the outcome of an answer is known, so that none is expected of it."""
        found = earned(fact)
        if found is None:
            return
        decision, metric, session_id = found
        if self._expected_of(decision) == metric:
            held = self._open(decision.tenant_id, session_id)
            if held.sessions and len(held.said) < MOST_ACTIONS:
                held.said.add((f"decision {decision.id}", metric))

    def _expected_of(self, decision: Decision) -> str | None:
        return None if self._shaping is None else self._shaping.metric(decision)

    def _erase(self, fact: Erased) -> None:
        """Delete the open sessions of a person."""
        # What is only in memory would survive.
        self.store()
        self._store.erase(fact.tenant_id, fact.person)
