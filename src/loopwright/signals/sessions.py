"""Implicit signals of whole sessions: a consumer of the event log that writes what it concludes back into it.

Calls and actions are folded into sessions, per tenant and session id. When a session is over, what it shows
about each of its answers (abandonment, refinement, retry, follow-up, time to the first action, time in view)
is appended as `Reported` facts, flagged `derived`. Where an experiment wants it, what the decision behind an
answer will probably earn, by these signals and those that the product sent, is appended as an `Expected` fact.

Everything is decided by the log alone, never by when it is read. A session is over when its tenant's event
time has passed its last action by the timeout and the allowed lateness, or when that long has passed on the
log's own clock since anything of it arrived; where nobody writes, a `Ticked` fact makes that clock go on. So
reading in other portions, or all over again, gives the same facts under the same keys, and the log keeps each
once; of expectations, which depend on the surrogate of the day, it keeps the first. State, offset and facts on
their way out are stored in one transaction.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from hashlib import blake2b
from typing import Any, Final, NamedTuple, Protocol

import msgspec
from msgspec.structs import replace

from loopwright.core.clock import Clock
from loopwright.core.decision import Decision
from loopwright.core.errors import Overloaded
from loopwright.core.events import (
    Decided,
    Erased,
    Expected,
    Fact,
    Interacted,
    Received,
    Reported,
    Ticked,
)
from loopwright.core.feedback import (
    CONSENT_SCOPES,
    ConsentScope,
    Correction,
    Note,
    Outcome,
    Signal,
    Target,
)
from loopwright.core.interaction import Interaction
from loopwright.core.ports import Committed, Database
from loopwright.core.ports import Session as Transaction
from loopwright.core.schema import apply_schema
from loopwright.eventlog import Consumers, Reader, Writer
from loopwright.feedback.stages import key_of, reference

from . import signals
from .signals import Act, Action, Open, Session, SignalValue

CONSUMER: Final = "sessions"

DERIVED: Final = "derived"
"""The flag of facts that were made here; facts that carry it are never read here."""

TIMEOUT_MS: Final = 1_800_000
LATENESS_MS: Final = 300_000
CHUNK: Final = 2_000
MOST_CHUNKS: Final = 25
MOST_ACTIONS: Final = 1_000
"""Actions, and answers, kept of one open session id; a program, not a person, does more."""

MOST_SIGNALS: Final = 100
"""Names of signals kept of one answer, as the product sent them."""

MOST_WORDS: Final = 500
"""Words of a query that are compared with the next one's."""

NAMES: Final[dict[str, str]] = {
    "abandonment": "abandonment",
    "refinement": "refinement",
    "retry": "retry",
    "follow_up": "follow_up",
    "first_action": "first_action_scaled",
    "dwell": "dwell_scaled",
}
"""What is derived, and the signal's name in the fact: products say `dwell` and `first_action` in milliseconds."""

_ACTS: Final[dict[str, Act]] = {
    "shown": "shown",
    "copy": "copy",
    "retry": "retry",
    "dwell": "dwell",
    "export": "export",
    "dashboard": "dashboard",
    "escalate": "escalate",
    "accept": "accept",
    "edit": "edit",
    "leave": "leave",
    "abandonment": "leave",
}
_DURATIONS: Final = {name: NAMES[name] for name in ("dwell", "first_action")}
"""Signals that products send in milliseconds, and the name of the same on the log scale."""

_LONGEST_MS: Final = 2**53
_COMMIT_S: Final = 30.0

_SCHEMA: Final = (
    (
        "CREATE TABLE open_sessions (tenant_id TEXT NOT NULL, session_id TEXT NOT NULL, "
        "ended_ms BIGINT NOT NULL, arrived_ms BIGINT NOT NULL, body BYTEA NOT NULL, "
        "PRIMARY KEY (tenant_id, session_id))",
        "CREATE INDEX open_sessions_ended ON open_sessions (tenant_id, ended_ms)",
        "CREATE INDEX open_sessions_arrived ON open_sessions (arrived_ms)",
        "CREATE TABLE session_times (tenant_id TEXT PRIMARY KEY, latest_ms BIGINT NOT NULL)",
        "CREATE TABLE session_facts (fact_key BYTEA PRIMARY KEY, body BYTEA NOT NULL)",
    ),
)
_LOG: Final = ""
"""Stands for the log's own clock in `session_times`; no tenant has an empty id."""


class About(msgspec.Struct, frozen=True, array_like=True):
    """What is known of one answer besides what was done with it."""

    target: Target
    person: str | None = None
    task: str | None = None
    consent: tuple[ConsentScope, ...] = CONSENT_SCOPES
    decision: Decision | None = None
    """The decision behind it, when its token or its row was in the session."""
    values: dict[str, float] = {}
    """The signals that the product sent of it; the latest of each name counts, of durations the longest."""

    def joined(self, other: About) -> About:
        """Return both together, `other` being the later.

        The first to name something wins, and only what both consent to is left.
        """
        names = Target.__struct_fields__
        parts = {name: getattr(self.target, name) or getattr(other.target, name) for name in names}
        return About(
            Target(**parts),
            self.person or other.person,
            self.task or other.task,
            tuple(scope for scope in self.consent if scope in other.consent),
            self.decision or other.decision,
            _latest(self.values, other.values),
        )


class Held(msgspec.Struct, array_like=True):
    """One session id: its sessions that are open, and what their answers are."""

    sessions: tuple[Session, ...] = ()
    arrived_ms: int = 0
    answers: dict[str, About] = {}
    aliases: dict[str, str] = {}
    """Other references to an answer, and the one it goes by."""
    said: set[tuple[str, str]] = set()
    """Answers, and the kinds of signal that the product itself reported of them."""


class Happened(NamedTuple):
    """What one fact says about a session."""

    tenant_id: str
    session_id: str
    actions: list[Action]
    about: tuple[str, About] | None = None
    aliases: tuple[str, ...] = ()
    said: str | None = None


class Shaping(Protocol):
    """What the consumer needs to know of experiments whose reward is shaped."""

    def metric(self, decision: Decision) -> str | None:
        """Return the metric that is to be expected of a decision; None when its reward is not shaped."""
        ...

    def expect(
        self, decision: Decision, signals: Mapping[str, float], *, person: str | None
    ) -> tuple[float, str] | None:
        """Return what the signals let expect of that metric, and the version of the surrogate that says so.

        None when there is no surrogate, or the person does not allow to train.
        """
        ...


class Sessions:
    """Folds the log into sessions and appends what follows from them. Call `run` now and then, from one thread.

    Without `shaping` nothing is expected of any decision.
    The figures are plain attributes, fit to be read by any thread.
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
        self._database = database
        self._consumers = consumers
        self._now_ms = clock.now_ms
        self._timeout_ms = timeout_ms
        self._lateness_ms = lateness_ms
        self.closed = 0
        """Sessions that ended since the start."""
        self.appended = 0
        """Facts that were derived and stored since the start."""
        self.late = 0
        """Actions that came after their session had been closed, since the start."""
        self.overfull = 0
        """Actions left out of sessions that had too many, since the start."""
        apply_schema(database, "sessions", _SCHEMA)
        consumers.register(CONSUMER)

    def run(
        self,
        *,
        chunk: int = CHUNK,
        most_chunks: int = MOST_CHUNKS,
        stopping: Callable[[], bool] = lambda: False,
    ) -> int:
        """Read what is new, at most so many chunks of facts; return how many facts were read.

        What could not be appended stays stored and is appended by a later call.
        """
        total = 0
        for _ in range(most_chunks):
            if stopping() or not self._send():
                break
            facts = self._reader.facts(self._consumers.position(CONSUMER), limit=chunk)
            closed = self._take(facts, limit=chunk)
            total += len(facts)
            if not facts and not closed:
                self._tick()
                break
        self._send()
        return total

    def _take(self, facts: list[tuple[int, Fact]], *, limit: int) -> int:
        """Fold facts, and close what is over; return how many sessions were closed."""
        with self._database.transaction() as transaction:
            folding = _Folding(transaction, self._timeout_ms, self._lateness_ms, self._shaping)
            for _, fact in facts:
                folding.take(fact)
            folding.store()
            folding.sweep(limit)
            now_ms = self._now_ms()
            for tenant_id, held, session in folding.closed:
                made = derived(tenant_id, held, session, at_ms=now_ms, shaping=self._shaping)
                _put_out(transaction, made)
            if facts:
                self._consumers.advance(transaction, CONSUMER, facts[-1][0])
        self.closed += len(folding.closed)
        self.late += folding.late
        self.overfull += folding.overfull
        return len(folding.closed)

    def _send(self) -> bool:
        """Append the facts that are on their way out; False when the log does not take them now."""
        while rows := self._database.query(
            "SELECT fact_key, body FROM session_facts ORDER BY fact_key LIMIT ?", (CHUNK,)
        ):
            keys = [bytes(key) for key, _ in rows]
            committed = self._append([_decode_fact(body) for _, body in rows], keys)
            if committed is None:
                return False
            with self._database.transaction() as transaction:
                transaction.executemany(
                    "DELETE FROM session_facts WHERE fact_key = ?", [(key,) for key in keys]
                )
            self.appended += committed.duplicates.count(False)
        return True

    def _append(self, facts: list[Reported | Expected], keys: list[bytes]) -> Committed | None:
        try:
            return self._writer.append(facts, keys, timeout_s=_COMMIT_S)
        except Overloaded:  # or not confirmed in time: the keys make a repetition harmless
            return None

    def _tick(self) -> None:
        """Write down that time has passed the end of a session, when no other fact says so."""
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
        self._transaction = transaction
        self._shaping = shaping
        self._timeout_ms = timeout_ms
        self._lateness_ms = lateness_ms
        self._held: dict[tuple[str, str], Held] = {}
        rows = transaction.query("SELECT tenant_id, latest_ms FROM session_times")
        self._latest: dict[str, int] = {tenant: int(ms) for tenant, ms in rows}
        self._stored = dict(self._latest)
        self.closed: list[tuple[str, Held, Session]] = []
        self.late = self.overfull = 0

    def take(self, fact: Fact) -> None:
        """Fold one fact."""
        self._latest[_LOG] = max(self._latest.get(_LOG, -1), fact.at_ms)
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
        held.arrived_ms = self._latest[_LOG]
        self._note(held, happened)
        for action in happened.actions:
            if any(action in session.actions for session in held.sessions):
                continue
            if sum(len(session.actions) for session in held.sessions) >= MOST_ACTIONS:
                self.overfull += 1
                continue
            self._fold(tenant_id, session_id, held, [action])

    def store(self) -> None:
        """Write what has changed into the tables."""
        rows, gone = [], []
        for key, held in self._held.items():
            if held.sessions:
                ended_ms = min(session.ended_ms for session in held.sessions)
                rows.append((*key, ended_ms, held.arrived_ms, _encode(held)))
            else:
                gone.append(key)
        self._transaction.executemany(
            "INSERT INTO open_sessions VALUES (?, ?, ?, ?, ?) ON CONFLICT (tenant_id, session_id) "
            "DO UPDATE SET ended_ms = excluded.ended_ms, arrived_ms = excluded.arrived_ms, "
            "body = excluded.body",
            rows,
        )
        self._transaction.executemany(
            "DELETE FROM open_sessions WHERE tenant_id = ? AND session_id = ?", gone
        )
        self._transaction.executemany(
            "INSERT INTO session_times VALUES (?, ?) ON CONFLICT (tenant_id) "
            "DO UPDATE SET latest_ms = excluded.latest_ms",
            [item for item in self._latest.items() if self._stored.get(item[0]) != item[1]],
        )
        self._stored = dict(self._latest)
        self._held.clear()

    def sweep(self, limit: int) -> None:
        """Close at most `limit` stored session ids that are over."""
        grace_ms = self._timeout_ms + self._lateness_ms
        log_ms = self._latest.get(_LOG, -1)
        found = self._transaction.query(
            "SELECT tenant_id, session_id, body FROM open_sessions WHERE arrived_ms < ? "
            "ORDER BY arrived_ms LIMIT ?",
            (log_ms - grace_ms, limit),
        )
        for tenant_id, latest_ms in self._latest.items():
            found += self._transaction.query(
                "SELECT tenant_id, session_id, body FROM open_sessions "
                "WHERE tenant_id = ? AND ended_ms < ? ORDER BY ended_ms LIMIT ?",
                (tenant_id, latest_ms - grace_ms, max(limit - len(found), 0)),
            )
        for tenant_id, session_id, body in found:
            if (tenant_id, session_id) not in self._held:
                held = self._held[tenant_id, session_id] = _decode(body)
                self._close_idle(tenant_id, held)
                self._fold(tenant_id, session_id, held, [])
        self.store()

    def _open(self, tenant_id: str, session_id: str) -> Held:
        """Return what is held of a session id, after closing what is over by now."""
        held = self._load(tenant_id, session_id)
        self._close_idle(tenant_id, held)
        self._fold(tenant_id, session_id, held, [])
        return held

    def _load(self, tenant_id: str, session_id: str) -> Held:
        held = self._held.get((tenant_id, session_id))
        if held is None:
            rows = self._transaction.query(
                "SELECT body FROM open_sessions WHERE tenant_id = ? AND session_id = ?",
                (tenant_id, session_id),
            )
            held = _decode(rows[0][0]) if rows else Held()
            self._held[tenant_id, session_id] = held
        return held

    def _close_idle(self, tenant_id: str, held: Held) -> None:
        """Close everything of a session id of which nothing has arrived for so long."""
        if held.arrived_ms + self._timeout_ms + self._lateness_ms < self._latest[_LOG]:
            self._shut(tenant_id, held, held.sessions)
            held.sessions = ()

    def _fold(self, tenant_id: str, session_id: str, held: Held, actions: list[Action], /) -> None:
        state = Open({session_id: held.sessions}, self._latest.get(tenant_id, -1))
        folded = signals.fold(
            state, actions, timeout_ms=self._timeout_ms, lateness_ms=self._lateness_ms
        )
        self._latest[tenant_id] = folded.open.latest_ms
        self.late += len(folded.late)
        self._shut(tenant_id, held, folded.closed)
        held.sessions = folded.open.sessions.get(session_id, ())

    def _shut(self, tenant_id: str, held: Held, closed: Sequence[Session]) -> None:
        if not closed:
            return
        # What is held goes on changing; what is said of closed sessions does not.
        known = replace(
            held,
            answers=dict(held.answers),
            aliases=dict(held.aliases),
            said=set(held.said),
        )
        self.closed += [(tenant_id, known, session) for session in closed]

    def _note(self, held: Held, happened: Happened) -> None:
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
        """Note in an open session that what is to be expected of an answer is known already."""
        found = _earned(fact)
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
        """Forget the open sessions of a person."""
        self.store()
        rows = self._transaction.query(
            "SELECT session_id, body FROM open_sessions WHERE tenant_id = ?", (fact.tenant_id,)
        )
        gone = [
            (fact.tenant_id, session_id)
            for session_id, body in rows
            if any(about.person == fact.person for about in _decode(body).answers.values())
        ]
        self._transaction.executemany(
            "DELETE FROM open_sessions WHERE tenant_id = ? AND session_id = ?", gone
        )


def read(fact: Fact) -> Happened | None:
    """Return what a fact says about a session; None when it says nothing, or was derived here."""
    if isinstance(fact, Reported):
        return _reported(fact)
    if isinstance(fact, Interacted):
        return _interacted(fact)
    if isinstance(fact, Decided):
        return _decided(fact)
    return None


def _reported(fact: Reported) -> Happened | None:
    note, target, feedback = fact.note, fact.target, fact.feedback
    session_id = target.session_id or note.session_id
    if session_id is None or DERIVED in note.flags or note.quarantined is not None:
        return None
    duration_ms = 0
    said = None
    values: dict[str, float] = {}
    if isinstance(feedback, Correction):
        act: Act | None = "edit"
    elif isinstance(feedback, Signal):
        act, said = _ACTS.get(feedback.name), feedback.name
        take_in(values, feedback.name, feedback.value)
        if act == "dwell":
            if not 0 <= feedback.value <= _LONGEST_MS:
                return None
            duration_ms = round(feedback.value)
    else:
        return None
    name = _name(target)
    # A sender's clock that is ahead would end everyone else's sessions.
    at_ms = min(note.occurred_at_ms, fact.at_ms)
    actions = [Action(session_id, name, act, at_ms, duration_ms=duration_ms)] if act else []
    decision = target.decision
    about = About(
        replace(
            target,
            decision=None,
            decision_id=target.decision_id if decision is None else decision.id,
            session_id=session_id,
        ),
        note.person,
        note.task,
        note.consent,
        decision,
        values,
    )
    return Happened(
        fact.tenant_id,
        session_id,
        actions,
        about=(name, about) if name else None,
        said=said,
    )


def _interacted(fact: Interacted) -> Happened | None:
    call = fact.interaction
    if call.session_id is None:
        return None
    target = Target(
        decision_id=call.decision_id,
        trace_id=call.trace_id,
        span_id=call.span_id,
        session_id=call.session_id,
        message_id=call.message_id,
        output_id=call.id,
    )
    name = f"output {call.id}" if call.decision_id is None else f"decision {call.decision_id}"
    asked_ms = min(call.started_at_ms, fact.at_ms)
    took_ms = call.client_latency_ms or call.server_latency_ms or 0
    shown_ms = min(asked_ms + round(took_ms), fact.at_ms)
    actions = [
        Action(call.session_id, name, "query", asked_ms, text=_words(fact.tenant_id, call)),
        Action(call.session_id, name, "shown", shown_ms),
    ]
    about = About(target, call.person, call.task or None, call.consent)
    return Happened(
        fact.tenant_id,
        call.session_id,
        actions,
        about=(name, about),
        aliases=tuple(_other_names(call)),
    )


def _decided(fact: Decided) -> Happened | None:
    decision = fact.decision
    session_id = decision.session_id
    if session_id is None or decision.mode == "shadow":
        return None
    name = f"decision {decision.id}"
    action = Action(session_id, name, "shown", decision.decided_at_ms)
    about = About(Target(decision_id=decision.id, session_id=session_id), decision=decision)
    return Happened(decision.tenant_id, session_id, [action], about=(name, about))


def _earned(fact: Fact) -> tuple[Decision, str, str] | None:
    """Return the decision that a fact says the outcome of, the metric, and the session, if all are known."""
    if isinstance(fact, Received):
        decision, session_id = fact.decision, fact.decision.session_id
        metric = fact.feedback.metric
    elif isinstance(fact, Reported) and isinstance(fact.feedback, Outcome):
        note, about = fact.note, fact.target.decision
        if about is None or note.quarantined is not None or "train" not in note.consent:
            return None
        decision, metric = about, fact.feedback.metric
        session_id = fact.target.session_id or note.session_id or decision.session_id
    else:
        return None
    return None if session_id is None else (decision, metric, session_id)


def take_in(values: dict[str, float], name: str, value: float) -> None:
    """Put a signal as the product sent it among what a surrogate reads of the same answer.

    The latest value of a name counts; durations go on a log scale, and the longest counts.
    """
    scaled = _DURATIONS.get(name)
    if scaled is None:
        values[name] = value
    elif value >= 0:
        found = signals.log_scaled(round(min(value, float(_LONGEST_MS))))
        values[scaled] = max(found, values.get(scaled, 0.0))


def _latest(values: dict[str, float], later: dict[str, float]) -> dict[str, float]:
    """Return the signals of both, the first names where there are too many."""
    if not later:
        return values
    both = {**values, **later}
    for name in _DURATIONS.values():
        if name in values and name in later:
            both[name] = max(values[name], later[name])
    return dict(itertools.islice(both.items(), MOST_SIGNALS))


def _name(target: Target) -> str:
    """Return what an answer goes by; empty when only the session is known."""
    kind, first, second = reference(target)
    if kind == "session":
        return ""
    return f"{kind} {first}" if second is None else f"{kind} {first} {second}"


def _other_names(call: Interaction) -> Iterator[str]:
    if call.decision_id is not None:
        yield f"output {call.id}"
    if call.trace_id is not None:
        yield f"trace {call.trace_id}"
        if call.span_id is not None:
            yield f"trace {call.trace_id} {call.span_id}"
    if call.message_id is not None:
        yield f"message {call.session_id} {call.message_id}"


def _words(tenant_id: str, call: Interaction) -> str:
    """Return a query as digests of its words: likeness needs to know which are equal, and nothing more."""
    words = call.query.casefold().split()[:MOST_WORDS] if call.query else []
    salt = blake2b(tenant_id.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    if not words:
        words = [f"input {call.input_hash or call.id}"]
    return " ".join(
        blake2b(word.encode("utf-8", "surrogatepass"), digest_size=6, salt=salt).hexdigest()
        for word in words
    )


def derived(
    tenant_id: str, held: Held, session: Session, *, at_ms: int, shaping: Shaping | None = None
) -> list[tuple[bytes, Reported | Expected]]:
    """Return the facts that follow from a session that is over, each with its key in the log.

    A kind that the product itself reported of an answer is left alone. The ids are digests of tenant, session
    and answer, so the same session gives the same facts however often it is closed.
    """
    resolved = _resolved(held, session)
    retried = [action.decision_id for action in resolved.actions if action.act == "retry"]
    said = {(held.aliases.get(name, name), kind) for name, kind in held.said}
    answers = _answers(held)
    made: list[tuple[bytes, Reported | Expected]] = []
    for name, values in signals.derive(resolved, over=True).items():
        about = answers.get(name)
        if about is None:
            continue
        shown: dict[str, float] = {}
        for value in values:
            is_said = (name, value.kind) in said and value.kind not in ("dwell", "first_action")
            if value.kind == "retry":
                is_said = value.value <= retried.count(name)
            if value.kind in NAMES and not is_said:
                made.append(_fact(tenant_id, session, name, value, about=about, at_ms=at_ms))
                shown[NAMES[value.kind]] = value.value
        if shaping is not None and about.decision is not None:
            metric = shaping.metric(about.decision)
            if metric is not None and (name, metric) not in said:
                about = replace(about, values={**about.values, **shown})
                made += _expected(session, name, shaping, about=about, metric=metric, at_ms=at_ms)
    return made


def _answers(held: Held) -> dict[str, About]:
    """Return what is known of each answer, under the one name it goes by."""
    answers: dict[str, About] = {}
    for reference_, about in held.answers.items():
        name = held.aliases.get(reference_, reference_)
        answers[name] = answers[name].joined(about) if name in answers else about
    return answers


def _expected(
    session: Session, name: str, shaping: Shaping, /, *, about: About, metric: str, at_ms: int
) -> list[tuple[bytes, Reported | Expected]]:
    """Return the fact that says what an answer's decision will probably earn, if there is anything to say."""
    decision = about.decision
    if decision is None or "train" not in about.consent:
        return []
    found = shaping.expect(decision, about.values, person=about.person)
    if found is None:
        return []
    value, version = found
    event_id = _identity(decision.tenant_id, session, name, kind="expected")
    fact = Expected(event_id, at_ms, decision, Outcome(metric, value), version)
    return [(key_of(decision.tenant_id, event_id, session.started_ms), fact)]


def _resolved(held: Held, session: Session) -> Session:
    """Return the session with every answer under one name; what names none belongs to the latest one."""
    actions, latest = [], ""
    for action in session.actions:
        name = held.aliases.get(action.decision_id, action.decision_id) or latest
        if action.act in ("query", "shown"):
            latest = name
        actions.append(replace(action, decision_id=name))
    return Session(session.session_id, tuple(sorted(actions, key=signals._order)))


def _fact(
    tenant_id: str,
    session: Session,
    name: str,
    signal: SignalValue,
    /,
    *,
    about: About,
    at_ms: int,
) -> tuple[bytes, Reported]:
    kind = NAMES[signal.kind]
    event_id = _identity(tenant_id, session, name, kind=kind)
    note = Note(
        occurred_at_ms=signal.at_ms,
        source="system",
        person=about.person,
        session_id=session.session_id,
        task=about.task,
        consent=about.consent,
        flags=(DERIVED,),
    )
    fact = Reported(event_id, at_ms, tenant_id, about.target, Signal(kind, signal.value), note)
    return key_of(tenant_id, event_id, session.started_ms), fact


def _identity(tenant_id: str, session: Session, name: str, /, *, kind: str) -> str:
    said = "\0".join((tenant_id, session.session_id, str(session.started_ms), name, kind))
    digest = blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16, person=b"session")
    return digest.hexdigest()


def _put_out(transaction: Transaction, facts: list[tuple[bytes, Reported | Expected]]) -> None:
    transaction.executemany(
        "INSERT INTO session_facts VALUES (?, ?) ON CONFLICT (fact_key) DO NOTHING",
        [(key, _encode(fact)) for key, fact in facts],
    )


_encode: Final[Callable[[Any], bytes]] = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Held).decode
_decode_fact: Final = msgspec.msgpack.Decoder(Reported | Expected).decode
