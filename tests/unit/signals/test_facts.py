from __future__ import annotations

import msgspec
import pytest

from loopwright.core.decision import Decision
from loopwright.core.events import Changed, Decided, Interacted, Reported, Ticked
from loopwright.core.feedback import Note, Outcome, Rating, Signal, Target
from loopwright.core.interaction import Interaction
from loopwright.signals.facts import DERIVED, MOST_SIGNALS, About, earned, read, take_in
from loopwright.signals.fold import Action

START = 1_750_000_000_000
DECISION = Decision("d" * 32, "acme", "greeting", "a", 0.5, 1, START, metadata={"session_id": "s"})


def call(**more: object) -> Interacted:
    spec = {"id": "o", "started_at_ms": START, "session_id": "s", **more}
    return Interacted("i", START + 9, "acme", Interaction(**spec))  # type: ignore[arg-type]


def signal(name: str, value: float = 1.0, **note: object) -> Reported:
    spec = {"occurred_at_ms": START, "session_id": "s", **note}
    target = Target(output_id="o")
    return Reported("e", START, "acme", target, Signal(name, value), Note(**spec))  # type: ignore[arg-type]


def test_a_call_is_a_query_and_an_answer_shown_later() -> None:
    found = read(call(query="sales by region", server_latency_ms=5.0, trace_id="t"))
    assert found is not None
    assert [(a.act, a.at_ms, a.decision_id) for a in found.actions] == [
        ("query", START, "output o"),
        ("shown", START + 5, "output o"),
    ]
    assert found.aliases == ("trace t",)


def test_the_words_of_a_query_are_kept_as_digests_that_only_their_tenant_shares() -> None:
    ours, again = (read(call(query=text)) for text in ("Sales sales", "sales"))
    theirs = read(msgspec.structs.replace(call(query="sales"), tenant_id="other"))
    assert ours is not None
    assert again is not None
    assert theirs is not None
    first, second = ours.actions[0].text.split()
    assert first == second == again.actions[0].text != theirs.actions[0].text
    assert "sales" not in first


@pytest.mark.parametrize(
    ("name", "act"), [("copy", "copy"), ("abandonment", "leave"), ("dwell", "dwell")]
)
def test_a_signal_is_an_action_of_the_session(name: str, act: str) -> None:
    found = read(signal(name, 3.0))
    assert found is not None
    duration_ms = 3 if act == "dwell" else 0
    assert found.actions == [Action("s", "output o", act, START, duration_ms=duration_ms)]  # type: ignore[arg-type]
    assert found.said == name


@pytest.mark.parametrize(
    "fact",
    [
        signal("copy", flags=(DERIVED,)),
        signal("copy", quarantined="burst"),
        signal("copy", session_id=None),
        signal("dwell", -1.0),
        Reported(
            "e",
            START,
            "acme",
            Target(output_id="o"),
            Rating(1.0, "thumbs"),
            Note(occurred_at_ms=START),
        ),
        call(session_id=None),
        Decided(msgspec.structs.replace(DECISION, mode="shadow")),
        Ticked(START),
        Changed(START, "acme", "key", "experiment/x", "start"),
    ],
)
def test_other_facts_say_nothing_of_a_session(fact: object) -> None:
    assert read(fact) is None  # type: ignore[arg-type]


def test_an_action_never_lies_after_the_arrival_of_its_fact() -> None:
    found = read(signal("copy", occurred_at_ms=START + 1_000))
    assert found is not None
    assert found.actions[0].at_ms == START


def test_an_outcome_that_may_train_settles_its_decision() -> None:
    target = Target(decision=DECISION)
    fact = Reported(
        "e", START, "acme", target, Outcome("resolved", 1.0), Note(occurred_at_ms=START)
    )
    assert earned(fact) == (DECISION, "resolved", "s")
    private = msgspec.structs.replace(fact.note, consent=("store",))
    assert earned(msgspec.structs.replace(fact, note=private)) is None


def test_of_durations_the_longest_counts_and_of_other_signals_the_latest() -> None:
    values: dict[str, float] = {}
    for name, value in [("copy", 2.0), ("dwell", 300_000), ("dwell", 1), ("copy", 1.0)]:
        take_in(values, name, value)
    assert values == {"copy": 1.0, "dwell_scaled": 1.0}


def test_two_accounts_of_one_answer_keep_the_first_name_and_the_common_consent() -> None:
    first = About(Target(output_id="o"), "p", consent=("store", "train"), values={"a": 1.0})
    second = About(Target(trace_id="t"), "q", "sql", ("train",), values={"a": 2.0, "b": 3.0})
    joined = first.joined(second)
    assert joined.target == Target(output_id="o", trace_id="t")
    assert (joined.person, joined.task, joined.consent) == ("p", "sql", ("train",))
    assert joined.values == {"a": 2.0, "b": 3.0}


def test_an_answer_keeps_a_bounded_number_of_signals() -> None:
    many = {f"n{k}": 1.0 for k in range(MOST_SIGNALS)}
    joined = About(Target(), values=many).joined(About(Target(), values={"late": 1.0}))
    assert joined.values == many
