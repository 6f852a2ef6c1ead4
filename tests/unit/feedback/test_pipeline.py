from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.feedback.world import SIGNER, World

from loopwright.core.errors import (
    BodyMalformed,
    Forbidden,
    Invalid,
    LoopError,
    RewardInvalid,
    TokenForeign,
    TokenForged,
)
from loopwright.core.events import Fact, Received, Reported, Stepped
from loopwright.core.feedback import Correction, Note, Outcome, Rating, Signal, Target, Who
from loopwright.core.ports import Committed
from loopwright.core.token import Signer
from loopwright.core.upcast import decode, encode
from loopwright.feedback import FeedbackRequest, Intake
from loopwright.feedback.answers import TypedAccepted, TypedBatch, answer
from loopwright.feedback.pipeline import REMEMBERED, _Memory
from loopwright.feedback.routing import CORRECTIONS, EVENTS, METRICS, RATINGS, key_of, topic_of
from loopwright.feedback.stages import reference
from loopwright.texts.classify import (
    CATEGORY_TERMS,
    SENTIMENT_TERMS,
    RuleClassifier,
    Scores,
    sentiment_rules,
    words_of,
)
from loopwright.texts.wordmemo import RememberedRules, Vocabulary, remembered_sentiment

THUMB = {"kind": "rating", "scale": "thumbs", "value": 1, "output_id": "o", "user_id": "u"}


def test_each_stage_counts_what_it_saw_changed_and_refused(world: World) -> None:
    prepared = world.take(
        THUMB, {**THUMB, "output_id": "p", "message": "mail a@example.com, it is wrong"}, {"x": 1}
    )
    world.commit(prepared, False, True)
    seen = {name: (c.seen, c.changed, c.refused) for name, c in world.pipeline.counters.items()}
    assert seen == {
        "validate": (3, 0, 1),
        "deduplicate": (2, 2, 0),
        "redact": (2, 1, 0),
        "enrich": (2, 2, 0),
        "classify": (2, 1, 0),
        "append": (2, 1, 1),
        "route": (1, 1, 0),
    }


def test_what_intake_makes_survives_the_log(world: World) -> None:
    prepared = world.take(
        THUMB,
        {"type": "query", "message_id": "m", "user_id": "u", "data": {"thumbs": "up", "k": [1]}},
    )
    assert decode(encode(prepared.facts)) == prepared.facts


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (THUMB, dict(reversed(THUMB.items()))),
        (THUMB, {"output_id": "o", "customer_id": "u", "thumbs": "up"}),
        (THUMB, {**THUMB, "session_id": "s", "labels": {"a": "b"}}),
        (
            {"type": "explicit", "user_id": "u", "output_id": "o", "data": {"thumbs": "up"}},
            THUMB,
        ),
        (
            {"original": "a", "corrected": "b", "message_id": "m"},
            {"kind": "correction", "before": "a", "after": "b", "message_id": "m"},
        ),
        ({**THUMB, "event_id": "e"}, {**THUMB, "value": 0, "event_id": "e"}),
    ],
)
def test_the_same_fact_has_the_same_key_whatever_its_shape(
    one: Any, other: Any, world: World
) -> None:
    first = world.take(one)
    world.clock.advance(seconds=100_000)
    again = world.take(other)
    assert first.keys == again.keys
    assert len(first.keys[0]) == 24


@pytest.mark.parametrize(
    "other",
    [
        {**THUMB, "value": 0},
        {**THUMB, "output_id": "p"},
        {**THUMB, "user_id": "v"},
        {**THUMB, "message": "more"},
        {**THUMB, "occurred_at": 1_750_000_000_000},
        {**THUMB, "event_id": "e"},
    ],
)
def test_other_facts_have_other_keys(other: Any, world: World) -> None:
    assert world.take(THUMB).keys != world.take(other).keys


def test_the_same_event_id_of_two_tenants_is_two_facts(world: World) -> None:
    item = {**THUMB, "event_id": "e"}
    other = world.intake.accept_items("other", "feedback", items=[item])
    assert world.take(item).keys != other.keys


def test_signals_that_only_name_their_session_are_told_apart(world: World) -> None:
    item = {"kind": "signal", "name": "copy", "session_id": "s"}
    assert world.take(item).keys != world.take(item).keys
    dated = {**item, "occurred_at": 1_750_000_000_000}
    assert world.take(dated).keys == world.take(dated).keys


def test_an_outcome_has_the_key_of_a_plain_reward(world: World) -> None:
    token = SIGNER.sign(world.decision())
    plain = Intake(SIGNER, find=world.pipeline._find, clock=world.clock, ids=world.ids)  # type: ignore[arg-type]
    _, key = plain.accept("acme", FeedbackRequest(token, 1.0))
    item = {"kind": "outcome", "metric": "reward", "value": 1, "request_id": token}
    assert world.take(item).keys == [key]


def test_an_outcome_outside_its_reward_range_is_refused(world: World) -> None:
    token = SIGNER.sign(world.decision())
    item = {"kind": "outcome", "metric": "reward", "value": 0.5, "request_id": token}
    error = world.take(item).refusals[0].error
    assert isinstance(error, RewardInvalid)
    assert world.fact({**item, "metric": "minutes"}).feedback == Outcome("minutes", 0.5)


def test_tokens_that_are_wrong_are_refused_by_their_own_codes(world: World) -> None:
    forged = Signer({1: bytes(32)}, active=1).sign(world.decision())
    foreign = SIGNER.sign(world.decision(tenant_id="other"))
    item = {"kind": "signal", "name": "copy"}
    for token, error in ((forged, TokenForged), (foreign, TokenForeign)):
        assert isinstance(world.take({**item, "request_id": token}).refusals[0].error, error)


def test_another_tenants_event_is_refused(world: World) -> None:
    item = {"type": "query", "message_id": "m", "tenant_id": "other"}
    assert isinstance(world.take(item).refusals[0].error, Forbidden)


def test_a_fact_about_something_unknown_is_kept(world: World) -> None:
    fact = world.fact({**THUMB, "output_id": "never heard of"})
    assert fact.target.output_id == "never heard of"
    assert fact.note.flags == ()


def test_a_fact_from_the_future_is_kept_and_flagged(world: World) -> None:
    now_ms = world.clock.now_ms()
    for ahead_ms, flags in ((299_000, ()), (301_000, ("clock_ahead",))):
        fact = world.fact({**THUMB, "occurred_at": now_ms + ahead_ms})
        assert fact.note.flags == flags
        assert (fact.at_ms, fact.note.occurred_at_ms) == (now_ms, now_ms + ahead_ms)


def test_a_fact_from_before_its_decision_is_kept_and_flagged(world: World) -> None:
    token = SIGNER.sign(world.decision())
    item = {"kind": "signal", "name": "copy", "request_id": token}
    fact = world.fact({**item, "occurred_at": world.clock.now_ms() - 1})
    assert fact.note.flags == ("before_decision",)


def test_a_fact_out_of_order_is_kept_and_flagged(world: World) -> None:
    at_ms = world.clock.now_ms()
    item = {"kind": "signal", "name": "copy", "session_id": "s"}
    flags = [
        world.fact({**item, "occurred_at": at_ms + step}).note.flags for step in (0, 2, 1, 2, 3)
    ]
    assert flags == [(), (), ("out_of_order",), (), ()]


def test_up_and_down_by_one_person_is_kept_and_flagged(world: World) -> None:
    down = {**THUMB, "value": 0}
    assert world.fact(THUMB).note.flags == ()
    assert world.fact({**down, "user_id": "v"}).note.flags == ()
    assert world.fact({**down, "output_id": "p"}).note.flags == ()
    assert world.fact(down).note.flags == ("contradiction",)
    assert world.fact(down).note.flags == ()


def test_what_was_said_before_is_remembered_within_bounds() -> None:
    memory = _Memory()
    for n in range(REMEMBERED + 10):
        memory.is_behind("acme", str(n), 5)
    assert len(memory._sessions) == REMEMBERED
    assert memory.is_behind("acme", str(REMEMBERED), 4)
    assert not memory.is_behind("acme", "0", 4)


def test_what_was_said_again_is_forgotten_last() -> None:
    memory = _Memory()
    for n in range(REMEMBERED):
        memory.is_behind("acme", str(n), 5)
    memory.is_behind("acme", "0", 6)
    memory.is_behind("acme", "one more", 5)
    assert memory.is_behind("acme", "0", 5)
    assert not memory.is_behind("acme", "1", 4)


MIXED: list[Any] = [
    {**THUMB, "labels": {"type": "a word, no member"}},
    {
        "type": "query",
        "message_id": "m",
        "user_id": "v",
        "data": {"thumbs": "up", "query": "a@b.de"},
    },
    {"kind": "signal", "name": "copy", "session_id": "s"},
    {"kind": "rating", "scale": "thumbs", "value": 7, "output_id": "o"},
    {"kind": "rating", "scale": "thumbs", "value": "up", "output_id": "o"},
    {"kind": "signal", "type": "explicit", "output_id": "o"},
    {"original": "a", "corrected": "b", "message_id": "m"},
    {**THUMB, "value": 0, "message": "wrong, ask a@example.com", "ip_address": "203.0.113.9"},
    {"kind": "annotation", "rubric": "r", "rubric_version": 1, "label": "good", "output_id": "o"},
    {"nothing": "known"},
    7,
]


def test_a_body_becomes_what_its_items_become_as_objects(world: World) -> None:
    spelt = json.dumps({"items": MIXED}).encode()
    other = World()
    for made in (world, other):  # pseudonyms are random, in the order of their making
        made.people.resolve("acme", ["u", "v"])
    one, two = world.intake.accept("acme", "feedback", body=spelt), other.take(*MIXED)
    assert (one.facts, one.keys, one.places) == (two.facts, two.keys, two.places)
    assert [str(r.error) for r in one.refusals.values()] == [
        str(r.error) for r in two.refusals.values()
    ]
    assert list(one.refusals) == list(two.refusals) == [3, 4, 9, 10]
    other.close()


def test_items_become_the_same_together_as_one_by_one(world: World) -> None:
    other = World()
    for made in (world, other):
        made.people.resolve("acme", ["u", "v"])
    together = world.take(*MIXED)
    alone = [other.take(item) for item in MIXED]
    assert together.facts == [fact for prepared in alone for fact in prepared.facts]
    assert together.keys == [key for prepared in alone for key in prepared.keys]
    assert world.pipeline.counters == other.pipeline.counters
    other.close()


def test_declared_free_text_is_redacted_and_nothing_else(world: World) -> None:
    item = {
        "type": "query",
        "message_id": "a@example.com",
        "session_id": "4111111111111111",
        "data": {
            "thumbs": "down",
            "query": "of a@example.com",
            "deep": [{"stack_trace": "from 192.168.1.17", "owner": "b@example.com"}],
        },
        "tags": ["c@example.com"],
    }
    fact = world.fact(item)
    assert fact.note.query is not None
    assert fact.note.query.startswith("of <EMAIL:")
    assert fact.target.message_id == "a@example.com"
    assert fact.target.session_id == "4111111111111111"
    assert fact.note.tags == ("c@example.com",)
    deep = fact.note.wire["data"]["deep"][0]
    assert deep["stack_trace"].startswith("from <IP:")
    assert deep["owner"] == "b@example.com"
    assert fact.note.redactions == {"EMAIL": 1, "IP": 1}


def test_corrections_rationales_and_steps_are_redacted(world: World) -> None:
    mail = "a@example.com"
    fact = world.fact({"original": mail, "corrected": f"to {mail}", "message_id": "m"})
    assert isinstance(fact.feedback, Correction)
    assert mail not in fact.feedback.before + fact.feedback.after
    # Of the texts as they are kept, so that it can be computed again.
    assert fact.feedback.distance == 3 / len(fact.feedback.after)
    step = {"id": "1", "session_id": "s", "kind": "sql", "data": {"query": mail, "table": mail}}
    (stepped,) = world.take(step, path="step").facts
    assert stepped.step.data["table"] == mail  # type: ignore[union-attr]
    assert stepped.step.data["query"].startswith("<EMAIL:")  # type: ignore[union-attr]


def test_people_and_addresses_become_pseudonyms(world: World) -> None:
    item = {**THUMB, "ip_address": "203.0.113.9"}
    one, two = world.fact(item), world.fact({**item, "output_id": "p"})
    assert one.note.person == two.note.person == world.people.find("acme", "u").id
    assert one.note.address == two.note.address
    assert "203.0.113.9" not in str(one)
    assert "'u'" not in str(one)


def test_a_judgement_names_who_judged_by_pseudonym(world: World) -> None:
    item = {"kind": "annotation", "rubric": "r", "rubric_version": 1, "label": "good"}
    fact = world.fact({**item, "output_id": "o", "reviewer": "rita", "user_id": "u"})
    assert fact.feedback.reviewer == world.people.find("acme", "rita").id  # type: ignore[union-attr]
    fact = world.fact({**item, "output_id": "o", "user_id": "u"})
    assert fact.feedback.reviewer == fact.note.person  # type: ignore[union-attr]


def test_a_comment_is_classified_unless_the_sender_did(world: World) -> None:
    item = {**THUMB, "value": 0, "message": "The answer is wrong and outdated"}
    note = world.fact(item).note
    assert (note.category, note.category_by) == ("accuracy", "rules")
    assert note.sentiment is not None
    assert note.sentiment < 0
    given = world.fact({**item, "category": "cost"}).note
    assert (given.category, given.category_by) == ("cost", "given")
    silent = world.fact({**item, "message": "see above"}).note
    assert (silent.category, silent.category_by) == (None, "given")


def test_a_trained_classifier_can_take_the_place_of_the_rules(world: World) -> None:
    class Trained:
        labels = ("a", "b")
        version = "text-1"

        def classify(self, text: str) -> Scores:
            return Scores({"a": 0.1, "b": 0.9}, self.version)

    world.pipeline.categories = Trained()
    note = world.fact({**THUMB, "message": "whatever"}).note
    assert (note.category, note.category_by) == ("b", "model")


TERMS = sorted(
    {
        term.strip().rstrip("*")
        for terms in (CATEGORY_TERMS, SENTIMENT_TERMS)
        for groups in terms.values()
        for group in groups
        for term in group.split(",")
    }
)
WORDS = st.sampled_from(
    [*TERMS, "404", "5x", "27001", "it's", "a'b'c", "'said'", "don\u2019t", "x_y", "Stra\u00dfe"]
)


@given(st.lists(WORDS | st.text(max_size=5), max_size=12), st.sampled_from([" ", ", ", "-", "_"]))
def test_rules_that_share_a_vocabulary_say_what_the_rules_say(words: list[str], gap: str) -> None:
    text = gap.join(words)
    for plain, remembered in zip(PLAIN, SHARING, strict=True):
        assert remembered.classify(text) == plain.classify(text)


PLAIN = (RuleClassifier(), sentiment_rules())
VOCABULARY = Vocabulary()
SHARING = (RememberedRules(vocabulary=VOCABULARY), remembered_sentiment(VOCABULARY))


@given(st.text(st.characters(max_codepoint=127)) | st.text())
def test_words_of_plain_ascii_are_those_of_any_text(text: str) -> None:
    assert words_of(text) == words_of(f"\u00e9 {text}")[1:]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It is wrong, and too slow: 25 seconds for 404 pages",
        "not good, not correct, a waste of time; thank you",
        "The invoice charged me twice! Delete my data, or my lawyer will",
        "API key leaked: other user's data; doesn't work, crashes, 500",
        "wrong wrong wrong 12 12 right to be forgotten",
    ],
)
def test_remembered_rules_say_what_the_rules_say(text: str) -> None:
    pairs = ((RuleClassifier(), RememberedRules()), (sentiment_rules(), remembered_sentiment()))
    for plain, remembered in pairs:
        assert plain.version == remembered.version
        for _ in range(2):
            assert remembered.classify(text) == plain.classify(text)


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind": "signal", "name": "\xff\xfe", "output_id": "o"}',
        b'{"items": [{"kind": "signal", "name": "\xff", "output_id": "o"}]}',
        b'{"items": [{"type": "query", "data": {"comment": "\xff"}}]}',
        b'{"kind": ',
        b"",
        b"[" * 100_000,
        b'{"items": [' + b"[" * 100_000,
    ],
)
def test_a_body_that_is_not_json_in_utf_8_is_malformed(body: bytes, world: World) -> None:
    with pytest.raises(BodyMalformed) as caught:
        world.intake.accept("acme", "feedback", body=body)
    assert caught.value.status == 400
    assert world.quarantine.list("acme").held == 0


@pytest.mark.parametrize(
    "body",
    [{"items": []}, {"items": [THUMB] * 1001}, {"items": "x"}, {"items": [THUMB], "more": 1}],
)
def test_a_batch_has_one_to_a_thousand_items(body: Any, world: World) -> None:
    with pytest.raises(Invalid, match="1 to 1000"):
        world.intake.accept("acme", "feedback", body=json.dumps(body).encode())


def test_bytes_and_objects_are_understood_alike(world: World) -> None:
    items: Sequence[Any] = [
        THUMB,
        {**THUMB, "value": 7},
        {"output_id": "o", "thumbs": "up", "comment": "kind"},
        {"original": "kind", "corrected": "type", "message_id": "m"},
        {"kind": "praise"},
        {"type": "query", "message_id": "m"},
        3,
    ]
    body = json.dumps({"items": items}).encode()
    read, given = world.intake.accept("acme", "feedback", body=body), world.take(*items)
    assert read.keys == given.keys
    assert {n: r.error.message for n, r in read.refusals.items()} == {
        n: r.error.message for n, r in given.refusals.items()
    }
    assert set(read.refusals) == {1, 4, 6}


@pytest.mark.parametrize(
    "item",
    [
        {**THUMB, "message": "x" * 1_000_000},
        {"output_id": "o", "thumbs": "up", "comment": "x" * 65_537},
        {"type": "query", "message_id": "m", "data": {"comment": "x" * 1_000_000}},
        {"type": "query", "message_id": "m", "data": {"blob": "x" * 70_000}},
        {"type": "query", "message_id": "m", "extra": {"text": "x" * 1_000_000}},
        {"original": "x" * 65_537, "corrected": "", "message_id": "m"},
    ],
)
def test_a_text_that_is_too_long_is_refused_with_the_limit(item: Any, world: World) -> None:
    error = world.take(item).refusals[0].error
    assert error.status == 422
    assert "65536" in error.message


def test_a_number_no_log_can_hold_spoils_only_its_own_item(world: World) -> None:
    item = {"type": "query", "message_id": "m", "data": {"n": 10**30}}
    prepared = world.take(item, THUMB)
    assert list(prepared.refusals) == [0]
    assert prepared.places == [1]


def test_facts_go_to_their_topic_with_its_key(world: World) -> None:
    def routed(item: Any) -> Any:
        fact = world.fact({"session_id": "s", "output_id": "o", **item})
        topic = topic_of(fact)
        assert topic is not None
        return topic, key_of(topic, fact)

    assert routed({"kind": "rating", "scale": "thumbs", "value": 1}) == (RATINGS, "s")
    assert routed({"kind": "correction", "before": "a", "after": "b"}) == (CORRECTIONS, "acme")
    metric = {"kind": "measurement", "name": "ms", "value": 1}
    assert routed({**metric, "labels": {"endpoint": "/answer"}}) == (METRICS, "/answer")
    assert routed(metric) == (METRICS, "acme")
    assert routed({"kind": "signal", "name": "copy"}) == (EVENTS, "acme")


def test_subscribers_hear_what_was_stored_once_and_cannot_break_anything(world: World) -> None:
    heard: list[tuple[str, Fact]] = []

    def fail(key: str, fact: Fact) -> None:
        raise RuntimeError("mine")

    world.intake.router.subscribe(RATINGS, fail)
    world.intake.router.subscribe(RATINGS, lambda key, fact: heard.append((key, fact)))
    prepared = world.take({**THUMB, "session_id": "s"}, {**THUMB, "session_id": "t"})
    world.commit(prepared, False, True)
    assert heard == [("s", prepared.facts[0])]
    assert world.intake.router.counts[RATINGS] == 1
    assert world.intake.router.failures == 1


def test_the_reference_that_wins_is_the_first_that_is_there() -> None:
    assert reference(Target(decision_id="d", trace_id="t")) == ("decision", "d", None)
    assert reference(Target(trace_id="t", span_id="s", output_id="o")) == ("trace", "t", "s")
    assert reference(Target(session_id="s", message_id="m")) == ("message", "s", "m")
    assert reference(Target(session_id="s", output_id="o")) == ("output", "o", None)
    assert reference(Target(session_id="s")) == ("session", "s", None)


def ask(world: World, body: Any, *, duplicates: Sequence[bool] = ()) -> Any:
    async def append(facts: Sequence[Fact], keys: Sequence[bytes | None]) -> Committed:
        flags = list(duplicates) or [False] * len(facts)
        return Committed(7 if False in flags else None, flags)

    return asyncio.run(
        answer(
            world.intake,
            append,
            tenant_id="acme",
            path="feedback",
            body=json.dumps(body).encode(),
        )
    )


def test_one_item_is_answered_by_its_own_status(world: World) -> None:
    new = ask(world, THUMB)
    assert (new.status, new.content.duplicate, new.content.offset) == (201, False, 7)
    known = ask(world, THUMB, duplicates=[True])
    assert (known.status, known.content.duplicate, known.content.offset) == (200, True, None)
    assert known.content.event_id == new.content.event_id
    with pytest.raises(LoopError) as caught:
        ask(world, {**THUMB, "value": 3})
    held = caught.value.detail["quarantine_id"]
    assert world.quarantine.read("acme", held).body["value"] == 3


def test_a_batch_is_answered_item_by_item(world: World) -> None:
    items = [THUMB, {**THUMB, "value": 3}, {**THUMB, "output_id": "p"}, {**THUMB, "value": 0}]
    got = ask(world, {"items": items}, duplicates=[False, True, False])
    assert isinstance(got.content, TypedBatch)
    assert (got.content.accepted, got.content.duplicates, got.content.rejected) == (2, 1, 1)
    assert [result.status for result in got.content.results] == [201, 422, 200, 201]
    assert [result.offset for result in got.content.results] == [7, None, None, 8]
    assert got.content.results[3].flags == ("contradiction",)
    problem = got.content.results[1].problem
    assert problem is not None
    assert problem["code"] == "invalid"


def test_a_batch_of_refusals_only_appends_nothing(world: World) -> None:
    got = ask(world, {"items": [{"x": 1}]})
    assert (got.status, got.content.rejected) == (200, 1)


def test_a_large_body_takes_the_same_way(world: World) -> None:
    items = [{**THUMB, "output_id": f"o{n}", "message": "m" * 100} for n in range(500)]
    got = ask(world, {"items": items})
    assert got.content.accepted == 500


def test_kinds_without_words_pass_redaction_untouched(world: World) -> None:
    fact = world.fact({"kind": "signal", "name": "a@example.com", "output_id": "o"})
    assert fact == Reported(
        fact.event_id,
        world.clock.now_ms(),
        "acme",
        Target(output_id="o"),
        Signal("a@example.com"),
        Note(occurred_at_ms=world.clock.now_ms(), wire={"undated": True}),
    )
    assert isinstance(world.fact(THUMB).feedback, Rating)


STARS = {"kind": "rating", "scale": "stars", "value": 4}


@pytest.fixture
def rated() -> Iterator[World]:
    made = World(metric="rating", type="bounded")
    yield made
    made.close()


def test_a_rating_of_a_decision_is_followed_by_the_reward_it_amounts_to(rated: World) -> None:
    decision = rated.decision()
    prepared = rated.take({**STARS, "request_id": SIGNER.sign(decision)}, THUMB)
    said, reward, other = prepared.facts
    assert isinstance(said, Reported)
    assert isinstance(other, Reported)
    at_ms, earned = rated.clock.now_ms(), Outcome("rating", 0.75)
    assert reward == Received(said.event_id, at_ms, decision, earned, derived=True, who=Who())
    assert prepared.places == [0, 0, 1]
    plain = Intake(SIGNER, find=rated.pipeline._find, clock=rated.clock, ids=rated.ids)  # type: ignore[arg-type]
    _, key = plain.accept("acme", FeedbackRequest(SIGNER.sign(decision), 1.0, "rating"))
    assert prepared.keys[1] == key


def test_a_signal_is_a_reward_only_under_its_experiments_metric() -> None:
    world = World(metric="copy")
    item = {"kind": "signal", "name": "copy", "request_id": SIGNER.sign(world.decision())}
    assert len(world.take(item).facts) == 2
    assert len(world.take({**item, "name": "export"}).facts) == 1
    assert len(world.take({"kind": "signal", "name": "copy", "output_id": "o"}).facts) == 1
    world.close()


def test_an_outcome_needs_no_reward_beside_it(world: World) -> None:
    token = SIGNER.sign(world.decision())
    item = {"kind": "outcome", "metric": "reward", "value": 1, "request_id": token}
    assert len(world.take(item).facts) == 1


def test_what_no_reward_can_be_is_kept_and_flagged() -> None:
    world = World(metric="rating")  # binary: four stars are neither 0 nor 1
    fact = world.fact({**STARS, "request_id": SIGNER.sign(world.decision())})
    assert fact.note.flags == ("reward_out_of_range",)
    assert len(world.take({**STARS, "request_id": SIGNER.sign(world.decision())}).facts) == 1
    assert (
        len(world.take({**STARS, "value": 5, "request_id": SIGNER.sign(world.decision())}).facts)
        == 2
    )
    world.close()


def test_nobody_trains_who_does_not_allow_it(rated: World) -> None:
    item = {**STARS, "user_id": "u", "request_id": SIGNER.sign(rated.decision())}
    assert len(rated.take({**item, "consent": ["store", "analyze"]}).facts) == 1
    assert len(rated.take(item).facts) == 2
    rated.people.consent("acme", rated.people.find("acme", "u").id, ("store",))
    assert len(rated.take(item).facts) == 1


def test_feedback_inside_an_interaction_is_a_reward_too(rated: World) -> None:
    decision = rated.decision()
    item = {
        "request_id": SIGNER.sign(decision),
        "id": "call",
        "feedback": [{"type": "rating", "value": 5}],
        "outcomes": [{"name": "rating", "value": 1}],
    }
    prepared = rated.take(item, path="interaction")
    assert [type(fact).__name__ for fact in prepared.facts] == [
        "Interacted",
        "Reported",
        "Received",
        "Reported",
    ]
    reward = prepared.facts[2]
    assert isinstance(reward, Received)
    assert reward.feedback == Outcome("rating", 1.0)
    assert prepared.keys[2] == prepared.keys[3]


def test_a_second_rating_is_answered_for_itself(rated: World) -> None:
    token = SIGNER.sign(rated.decision())
    items = [{**STARS, "request_id": token}, {**STARS, "value": 1, "request_id": token}]
    got = ask(rated, {"items": items}, duplicates=[False, False, False, True])
    assert [result.status for result in got.content.results] == [201, 201]
    assert [result.offset for result in got.content.results] == [7, 9]


def test_a_step_without_an_id_gets_one(world: World) -> None:
    item = {"session_id": "s", "kind": "sql"}
    one, two = world.take(item, item, path="step").facts
    assert isinstance(one, Stepped)
    assert isinstance(two, Stepped)
    assert len(one.step.id) == 32
    assert one.step.id != two.step.id
    got = asyncio.run(
        answer(world.intake, _stored, tenant_id="acme", path="step", body=json.dumps(item).encode())
    )
    assert isinstance(got.content, TypedAccepted)
    assert got.content.id


async def _stored(facts: Sequence[Fact], keys: Sequence[bytes | None]) -> Committed:
    return Committed(1, [False] * len(facts))
