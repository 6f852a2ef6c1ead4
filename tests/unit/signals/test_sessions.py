from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core import upcast
from loopwright.core.clock import MINUTE_MS as MINUTE
from loopwright.core.decision import Decision
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
from loopwright.core.feedback import Correction, Note, Outcome, Signal, Target
from loopwright.core.interaction import Interaction
from loopwright.eventlog import Consumers, Reader, Writer
from loopwright.signals.derived import Shaping
from loopwright.signals.facts import MOST_SIGNALS
from loopwright.signals.sessions import CONSUMER, LATENESS_MS, MOST_ACTIONS, TIMEOUT_MS, Sessions
from loopwright.signals.store import Held
from loopwright.testing import ManualClock

START = 1_750_000_000_000
OVER = TIMEOUT_MS + LATENESS_MS + MINUTE


class Bench:
    """A log and a consumer over real files; the clock goes where the facts are."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(START)
        self.log = SqliteEventLog(folder / "log.db")
        self.writer = Writer(self.log, self.clock)
        self.reader = Reader(self.log)
        self.database = SqliteDatabase(folder / "state.db", synchronous="NORMAL")
        self.consumers = Consumers(self.database)
        self.sessions = self.consumer(self.database)

    def consumer(self, database: SqliteDatabase, shaping: Shaping | None = None) -> Sessions:
        return Sessions(
            self.reader,
            self.writer,
            database=database,
            consumers=Consumers(database),
            clock=self.clock,
            shaping=shaping,
        )

    def put(self, *facts: Fact) -> None:
        self.log.append(
            upcast.encode(list(facts)), count=len(facts), version=upcast.SCHEMA_VERSION, keys=[]
        )
        latest_ms = max(fact.at_ms for fact in facts)
        self.clock.advance(seconds=max(latest_ms - self.clock.now_ms(), 0) / 1000)

    def end(self) -> None:
        """Let so much time pass that every session is over, and have it noticed."""
        self.clock.advance(seconds=OVER / 1000)
        self.sessions.run()
        self.writer.flush()
        self.sessions.run()

    def facts(self) -> list[Fact]:
        self.writer.flush()
        return [fact for _, fact in self.reader.facts(0, limit=100_000)]

    def derived(self) -> list[Reported]:
        return [f for f in self.facts() if isinstance(f, Reported) and "derived" in f.note.flags]

    def kinds(self) -> dict[str, set[str]]:
        """Return the kinds derived of each output."""
        found: dict[str, set[str]] = {}
        for fact in self.derived():
            assert isinstance(fact.feedback, Signal)
            about = fact.target.output_id or fact.target.decision_id or ""
            found.setdefault(about, set()).add(fact.feedback.name)
        return found

    def close(self) -> None:
        self.writer.close()
        self.database.close()
        self.log.close()


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path)
    yield made
    made.close()


def call(id: str, at_ms: int, session: str = "s1", tenant: str = "acme", **more: Any) -> Interacted:
    started_ms = more.pop("started_at_ms", at_ms)
    interaction = Interaction(id=id, started_at_ms=started_ms, session_id=session, **more)
    return Interacted(f"call-{tenant}-{id}-{at_ms}", at_ms, tenant, interaction)


def act(
    name: str,
    at_ms: int,
    value: float = 1.0,
    session: str = "s1",
    tenant: str = "acme",
    **more: Any,
) -> Reported:
    note = {
        member: more.pop(member)
        for member in ("consent", "person", "quarantined", "flags", "occurred_at_ms")
        if member in more
    }
    return Reported(
        f"{name}-{at_ms}",
        at_ms,
        tenant,
        Target(session_id=session, **more),
        Signal(name, value),
        Note(**{"occurred_at_ms": at_ms, **note}),
    )


def decision(at_ms: int, **more: Any) -> Decision:
    return Decision("d" * 32, "acme", "greeting", "a", 0.5, 1, at_ms, **more)


def test_an_answer_that_nobody_used_is_abandoned_when_its_session_has_timed_out(
    bench: Bench,
) -> None:
    bench.put(call("o1", START, query="sales last year", task="sql", decision_id="d1", person="p"))
    bench.sessions.run()
    assert bench.derived() == []
    bench.end()
    (fact,) = bench.derived()
    assert fact.feedback == Signal("abandonment", 1.0)
    assert fact.target == Target(decision_id="d1", session_id="s1", output_id="o1")
    assert fact.note == Note(
        occurred_at_ms=START,
        source="system",
        person="p",
        session_id="s1",
        task="sql",
        flags=("derived",),
    )
    assert fact.note.shape == "native"


def test_asking_again_is_told_apart_by_how_alike_the_queries_are(bench: Bench) -> None:
    bench.put(
        call("o1", START, query="sales by region last year"),
        call("o2", START + MINUTE, query="Sales by region last year"),
        call("o3", START + 2 * MINUTE, query="sales by region this year"),
        call("o4", START + 3 * MINUTE, query="who runs marketing"),
    )
    bench.end()
    assert bench.kinds() == {
        "o1": {"retry"},
        "o2": {"refinement"},
        "o3": {"follow_up"},
        "o4": {"abandonment"},
    }
    likeness = next(f.feedback for f in bench.derived() if f.target.output_id == "o2")
    assert isinstance(likeness, Signal)
    assert likeness.value == pytest.approx(0.8)


def test_calls_without_a_text_are_alike_when_their_inputs_are(bench: Bench) -> None:
    bench.put(
        call("o1", START, input_hash="h1"),
        call("o2", START + MINUTE, input_hash="h1"),
        call("o3", START + 2 * MINUTE),
        call("o4", START + 3 * MINUTE),
    )
    bench.end()
    assert bench.kinds()["o1"] == {"retry"}
    assert bench.kinds()["o2"] == bench.kinds()["o3"] == {"follow_up"}


def test_durations_are_on_a_log_scale_under_names_of_their_own(bench: Bench) -> None:
    bench.put(
        call("o1", START, server_latency_ms=2_000.0),
        act("copy", START + 12_000, output_id="o1"),
        act("dwell", START + 20_000, 300_000, output_id="o1"),
    )
    bench.end()
    values = {f.feedback.name: f.feedback.value for f in bench.derived()}  # type: ignore[union-attr]
    assert values == {
        "dwell_scaled": 1.0,
        # ln(1 + 12 s) / ln(1 + 300 s): no fact can have been shown before it arrived, so from START.
        "first_action_scaled": pytest.approx(0.4494, abs=1e-4),
    }


def test_actions_find_their_answer_by_any_reference_or_as_the_latest_one(bench: Bench) -> None:
    ids = {"trace_id": "t", "span_id": "s", "message_id": "m"}
    bench.put(
        call("o1", START, query="a b c", decision_id="d1", **ids),
        act("copy", START + 1_000, message_id="m"),
        call("o2", START + 5 * MINUTE, query="x y z"),
        act("export", START + 6 * MINUTE),
    )
    bench.end()
    assert bench.kinds() == {"o1": {"first_action_scaled"}, "o2": {"first_action_scaled"}}
    assert {f.target.decision_id for f in bench.derived()} == {"d1", None}


def test_a_browser_that_knows_only_the_decision_is_enough(bench: Bench) -> None:
    told = Reported(
        "e1",
        START,
        "acme",
        Target(decision(START), session_id="s1"),
        Signal("shown"),
        Note(occurred_at_ms=START),
    )
    bench.put(Decided(decision(START, metadata={"session_id": "s1"})), told)
    bench.end()
    (fact,) = bench.derived()
    assert fact.feedback == Signal("abandonment")
    assert fact.target == Target(decision_id="d" * 32, session_id="s1")


def test_a_shadow_decision_was_never_shown(bench: Bench) -> None:
    bench.put(Decided(decision(START, mode="shadow", metadata={"session_id": "s1"})))
    bench.end()
    assert bench.derived() == []


def test_what_the_product_reported_itself_is_not_derived_again(bench: Bench) -> None:
    bench.put(
        call("o1", START, query="a b c d"),
        act("abandonment", START + 1_000, output_id="o1"),
        call("o2", START, session="s2"),
        act("retry", START + 1_000, session="s2", output_id="o2"),
    )
    bench.end()
    assert bench.kinds() == {"o2": {"first_action_scaled"}}


def test_a_correction_is_use_and_not_abandonment(bench: Bench) -> None:
    corrected = Reported(
        "c1",
        START + 9_000,
        "acme",
        Target(output_id="o1", session_id="s1"),
        Correction("a", "b"),
        Note(occurred_at_ms=START + 9_000),
    )
    bench.put(call("o1", START), corrected)
    bench.end()
    assert bench.kinds() == {"o1": {"first_action_scaled"}}


def test_its_own_facts_are_never_read_again(bench: Bench) -> None:
    bench.put(call("o1", START))
    bench.end()
    (before,) = bench.derived()
    head = bench.log.head()
    for _ in range(3):
        bench.end()
    assert bench.derived() == [before]
    assert bench.log.head() == head
    assert bench.consumers.position(CONSUMER) == head
    assert bench.database.query("SELECT * FROM open_sessions") == []
    assert bench.database.query("SELECT * FROM session_facts") == []


def test_time_is_written_down_where_nothing_else_moves_it(bench: Bench) -> None:
    bench.put(call("o1", START))
    bench.sessions.run()
    assert not any(isinstance(fact, Ticked) for fact in bench.facts())
    bench.end()
    assert [type(fact) for fact in bench.facts()] == [Interacted, Ticked, Reported]


def test_tenants_with_equal_session_ids_are_kept_apart(bench: Bench) -> None:
    bench.put(call("o1", START), call("o2", START + 1_000, tenant="other"))
    bench.end()
    assert [(f.tenant_id, f.target.output_id) for f in bench.derived()] in (
        [("acme", "o1"), ("other", "o2")],
        [("other", "o2"), ("acme", "o1")],
    )


def busy_log() -> list[Fact]:
    """Some sessions, out of order, with gaps, of two tenants."""
    facts: list[Fact] = []
    for k in range(42):
        at_ms = START + k * 4 * MINUTE
        session, tenant = f"s{k % 7}", "acme" if k % 3 else "other"
        more: dict[str, Any] = {"session": session, "tenant": tenant}
        early_ms = at_ms - k % 4 * MINUTE
        facts.append(
            call(f"o{k}", at_ms, query=f"w{k % 5} sales by region", started_at_ms=early_ms, **more)
        )
        if k % 2:
            facts.append(act("copy", at_ms, occurred_at_ms=early_ms, output_id=f"o{k}", **more))
        if k % 5 == 0:
            facts.append(act("dwell", at_ms, 1_000 * k, output_id=f"o{k}", **more))
    facts.append(Ticked(START + 400 * MINUTE))
    return facts


def told(bench: Bench) -> list[tuple[str, Any, Any, Any]]:
    return sorted((f.event_id, f.target, f.feedback, f.note) for f in bench.derived())


@pytest.fixture
def whole(tmp_path: Path) -> list[Any]:
    (tmp_path / "whole").mkdir()
    bench = Bench(tmp_path / "whole")
    bench.put(*busy_log())
    bench.sessions.run()
    found = told(bench)
    bench.close()
    assert len(found) > 30
    return found


@pytest.mark.parametrize("chunk", [1, 7, 50])
def test_reading_in_other_portions_gives_the_same_facts(
    bench: Bench, whole: list[Any], chunk: int
) -> None:
    for fact in busy_log():
        bench.put(fact)
    bench.sessions.run(chunk=chunk, most_chunks=1_000)
    assert told(bench) == whole


def test_a_restart_at_any_place_changes_nothing(bench: Bench, whole: list[Any]) -> None:
    for fact in busy_log():
        bench.put(fact)
    while bench.consumers.position(CONSUMER) < bench.log.head():
        bench.consumer(bench.database).run(chunk=5, most_chunks=1)
    assert told(bench) == whole


def test_a_replay_from_the_beginning_appends_nothing_twice(bench: Bench, whole: list[Any]) -> None:
    bench.put(*busy_log())
    bench.sessions.run()
    head = bench.log.head()
    anew = SqliteDatabase(bench.folder / "anew.db", synchronous="NORMAL")
    again = bench.consumer(anew)
    again.run(chunk=11, most_chunks=1_000)
    anew.close()
    assert again.closed == bench.sessions.closed
    assert again.appended == 0
    assert bench.log.head() == head
    assert told(bench) == whole


def test_a_crash_after_the_append_and_before_it_is_noted_appends_nothing_twice(
    bench: Bench,
) -> None:
    bench.put(call("o1", START), Ticked(START + OVER))
    bench.sessions.run(most_chunks=1)
    with bench.database.transaction() as transaction:
        rows = transaction.query("SELECT * FROM session_facts")
    assert rows == []
    (before,) = bench.derived()
    with bench.database.transaction() as transaction:
        transaction.execute("UPDATE consumers SET position = 0")
    bench.sessions.run()
    assert bench.derived() == [before]


def test_facts_that_the_log_does_not_take_wait_until_it_does(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(call("o1", START), Ticked(START + OVER))
    bench.writer.close()
    bench.sessions.run()
    assert bench.derived() == []
    assert len(bench.database.query("SELECT * FROM session_facts")) == 1
    bench.writer = Writer(bench.log, bench.clock)
    bench.consumer(bench.database).run()
    assert bench.kinds() == {"o1": {"abandonment"}}
    assert bench.database.query("SELECT * FROM session_facts") == []
    bench.close()


def test_an_action_that_comes_after_its_session_was_closed_is_counted(bench: Bench) -> None:
    bench.put(
        call("o1", START),
        call("o2", START + 2 * OVER, session="s2"),
        act("copy", START + 2 * OVER, output_id="o1", occurred_at_ms=START + 1_000),
    )
    bench.end()
    assert bench.sessions.late == 1
    assert bench.kinds() == {"o1": {"abandonment"}, "o2": {"abandonment"}}


def test_a_clock_that_is_ahead_ends_nobodys_session(bench: Bench) -> None:
    bench.put(
        call("o1", START),
        act("copy", START + 1_000, session="s2", occurred_at_ms=START + 10 * OVER, output_id="x"),
        act("copy", START + 2_000, output_id="o1"),
    )
    bench.end()
    assert bench.sessions.late == 0
    assert bench.kinds() == {"o1": {"first_action_scaled"}}


def test_an_erased_persons_open_session_is_forgotten(bench: Bench) -> None:
    bench.put(
        call("o1", START, person="p", query="private words"),
        call("o2", START, session="s2", person="q"),
    )
    bench.sessions.run()
    (body,) = bench.database.query("SELECT body FROM open_sessions WHERE session_id = 's1'")[0]
    assert b"private" not in body
    bench.put(Erased("e1", START + 1_000, "acme", "p"))
    bench.end()
    assert bench.kinds() == {"o2": {"abandonment"}}


def test_only_what_every_part_consents_to_is_consented_to(bench: Bench) -> None:
    bench.put(
        call("o1", START, consent=("store", "analyze", "train")),
        act("dwell", START + 1_000, 1_000, output_id="o1", consent=("store", "train")),
    )
    bench.end()
    assert {fact.note.consent for fact in bench.derived()} == {("store", "train")}


@pytest.mark.parametrize(
    "fact",
    [
        act("copy", START, quarantined="shape"),
        act("copy", START, flags=("derived",)),
        act("dwell", START, -5.0),
        act("dwell", START, float("inf")),
        act("unheard_of", START),
    ],
)
def test_facts_that_say_nothing_of_a_session_open_none(bench: Bench, fact: Reported) -> None:
    bench.put(fact)
    bench.sessions.run()
    assert bench.database.query("SELECT * FROM open_sessions") == []


def test_a_session_of_too_many_actions_keeps_the_first_and_counts_the_rest(bench: Bench) -> None:
    facts = [act("copy", START + k, output_id="o1") for k in range(MOST_ACTIONS + 20)]
    bench.put(call("o1", START), *facts)
    bench.sessions.run()
    assert bench.sessions.overfull == 22


def test_a_session_of_too_many_answers_stays_small(bench: Bench) -> None:
    facts = [act("seen", START + k, output_id=f"o{k}") for k in range(MOST_ACTIONS + 20)]
    bench.put(call("o", START), *facts)
    bench.sessions.run()
    ((body,),) = bench.database.query("SELECT body FROM open_sessions")
    held = msgspec.msgpack.decode(body, type=Held)
    assert len(held.answers) == len(held.said) + 1 == MOST_ACTIONS


def test_a_round_reads_no_more_than_it_was_told_to(bench: Bench) -> None:
    bench.put(*busy_log())
    assert bench.sessions.run(chunk=10, most_chunks=2) == 20
    assert bench.sessions.run(stopping=lambda: True) == 0


class Supposing:
    """Expects one metric of every decision of `greeting`: 0.9 less a tenth for each signal."""

    def __init__(self, version: str = "v1", metric: str | None = "resolved") -> None:
        self.version, self.wanted = version, metric
        self.asked: list[tuple[dict[str, float], str | None]] = []

    def metric(self, decision: Decision) -> str | None:
        return self.wanted if decision.experiment_id == "greeting" else None

    def expect(
        self, decision: Decision, signals: Mapping[str, float], *, person: str | None
    ) -> tuple[float, str] | None:
        self.asked.append((dict(signals), person))
        return 0.9 - len(signals) / 10, self.version


def shaped(bench: Bench, shaping: Supposing) -> list[Expected]:
    """Let every session end, and return what is expected of decisions."""
    bench.sessions = bench.consumer(bench.database, shaping)
    bench.end()
    return [fact for fact in bench.facts() if isinstance(fact, Expected)]


def test_what_a_decision_will_probably_earn_is_said_when_its_session_is_over(bench: Bench) -> None:
    made = decision(START, metadata={"session_id": "s1"}, vector=b"12345678")
    bench.put(
        Decided(made),
        call("o1", START + 1_000, decision_id=made.id, message_id="m", person="p"),
        act("copy", START + 2_000, message_id="m"),
        act("dwell", START + 3_000, 300_000, output_id="o1"),
        act("dwell", START + 4_000, 1_000, decision=made),
        act("colour", START + 5_000, 7.0, decision_id=made.id),
        act("silent", START + 6_000, 3.0),
    )
    shaping = Supposing()
    (fact,) = shaped(bench, shaping)
    assert fact.decision == made
    assert fact.surrogate == "v1"
    assert isinstance(fact.feedback, Outcome)
    assert fact.feedback.metric == "resolved"
    assert fact.feedback.value == pytest.approx(0.5)
    assert fact.at_ms == bench.clock.now_ms()
    ((signals, person),) = shaping.asked
    assert signals == {
        "copy": 1.0,
        "dwell_scaled": 1.0,
        "colour": 7.0,
        "first_action_scaled": pytest.approx(0.1925, abs=1e-4),
    }
    assert person == "p"


def test_nothing_is_expected_of_what_is_known_unshaped_or_may_not_train(bench: Bench) -> None:
    of = [
        Decision(f"{k:032x}", "acme", "other" if k == 4 else "greeting", "a", 0.5, 1, START + k)
        for k in range(6)
    ]
    inside = {k: {"session_id": f"s{k}"} for k in range(6)}
    made = [msgspec.structs.replace(one, metadata=inside[k]) for k, one in enumerate(of)]
    quarantined = Note(occurred_at_ms=START, quarantined="burst")
    note = Note(occurred_at_ms=START)
    outcome = Outcome("resolved", 1.0)
    bench.put(
        *[Decided(one) for one in made],
        Received("r0", START + 10, made[0], outcome),
        Reported("r1", START + 10, "acme", Target(made[1], session_id="s1"), outcome, note),
        Reported("r2", START + 10, "acme", Target(made[2], session_id="s2"), outcome, quarantined),
        act("copy", START + 10, session="s3", decision=made[3], consent=("store", "analyze")),
        Received("r5", START + 10, made[5], Outcome("other", 1.0)),
    )
    found = shaped(bench, Supposing())
    assert sorted(fact.decision.id for fact in found) == [made[2].id, made[5].id]
    assert len(bench.database.query("SELECT * FROM session_facts")) == 0


def test_only_decisions_of_shaped_experiments_are_kept_in_a_session(bench: Bench) -> None:
    for k, experiment_id in enumerate(("greeting", "other")):
        one = Decision(f"{k:032x}", "acme", experiment_id, "a", 0.5, 1, START)
        bench.put(Decided(msgspec.structs.replace(one, metadata={"session_id": f"s{k}"})))
    bench.sessions = bench.consumer(bench.database, Supposing())
    bench.sessions.run()
    rows = bench.database.query("SELECT session_id, body FROM open_sessions ORDER BY session_id")
    held = [msgspec.msgpack.decode(body, type=Held) for _, body in rows]
    assert [any(about.decision for about in one.answers.values()) for one in held] == [True, False]


def test_an_expectation_is_said_once_whichever_surrogate_is_the_current_one(bench: Bench) -> None:
    made = decision(START, metadata={"session_id": "s1"})
    bench.put(Decided(made), act("copy", START + 1_000, decision=made))
    (before,) = shaped(bench, Supposing("v1"))
    with bench.database.transaction() as transaction:
        transaction.execute("UPDATE consumers SET position = 0")
    assert shaped(bench, Supposing("v2")) == [before]


def test_expectations_that_the_log_does_not_take_wait_until_it_does(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    bench.put(Decided(decision(START, metadata={"session_id": "s1"})), Ticked(START + OVER))
    bench.writer.close()
    assert shaped(bench, Supposing()) == []
    bench.writer = Writer(bench.log, bench.clock)
    bench.consumer(bench.database).run()
    found = [fact for fact in bench.facts() if isinstance(fact, Expected)]
    assert [fact.surrogate for fact in found] == ["v1"]
    bench.close()


def test_a_second_session_about_a_decision_says_anew_what_to_expect(bench: Bench) -> None:
    made = decision(START, metadata={"session_id": "s1"})
    bench.put(
        Decided(made),
        act("copy", START + 1_000, decision=made),
        act("copy", START + 3 * OVER, decision=made),
        act("export", START + 3 * OVER + 1, decision=made),
    )
    found = shaped(bench, Supposing())
    assert len({fact.event_id for fact in found}) == 2
    assert all(fact.decision == made for fact in found)


def test_consent_is_asked_of_every_part_of_an_answer_whatever_it_goes_by(bench: Bench) -> None:
    bench.put(
        call("o1", START, decision_id="d" * 32),
        act("dwell", START + 1_000, 1_000, output_id="o1", consent=("store", "analyze")),
    )
    bench.end()
    assert {fact.note.consent for fact in bench.derived()} == {("store", "analyze")}


def test_no_more_signals_of_an_answer_are_kept_than_a_surrogate_could_mean(bench: Bench) -> None:
    made = decision(START, metadata={"session_id": "s1"})
    facts = [act(f"n{k}", START + k, decision=made) for k in range(MOST_SIGNALS + 20)]
    bench.put(Decided(made), *facts)
    shaping = Supposing()
    shaped(bench, shaping)
    ((signals, _),) = shaping.asked
    assert len(signals) == MOST_SIGNALS + 1  # and that nobody used it


def shaped_log() -> list[Fact]:
    """Decisions in sessions that overlap, some with an outcome while their session is open, some after."""
    facts: list[Fact] = []
    for k in range(40):
        at_ms, session = START + k * 20 * MINUTE, f"s{k % 5}"
        made = Decision(
            *(f"{k:032x}", "acme", "greeting", "a", 0.5, 1, at_ms),
            metadata={"session_id": session},
        )
        facts.append(Decided(made))
        if k % 3:
            facts.append(act("copy", at_ms + k, session=session, decision=made))
        if k % 4 < 2:
            outcome_ms = at_ms + (MINUTE if k % 4 else 3 * OVER)
            facts.append(Received(f"r{k}", outcome_ms, made, Outcome("resolved", 1.0)))
    return [*sorted(facts, key=lambda fact: fact.at_ms), Ticked(START + 2_000 * MINUTE)]


@pytest.mark.parametrize("chunk", [1, 9, 1_000])
def test_what_is_expected_does_not_depend_on_the_portions(bench: Bench, chunk: int) -> None:
    for fact in shaped_log():
        bench.put(fact)
    bench.sessions = bench.consumer(bench.database, Supposing())
    bench.sessions.run(chunk=chunk, most_chunks=1_000)
    found = [fact for fact in bench.facts() if isinstance(fact, Expected)]
    told = {int(fact.decision.id, 16): round(fact.feedback.value, 6) for fact in found}
    assert told == {k: 0.8 if k % 3 == 0 else 0.7 for k in range(40) if k % 4 != 1}
