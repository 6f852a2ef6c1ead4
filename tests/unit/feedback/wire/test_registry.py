from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.feedback.world import SIGNER, World

from loopwright.feedback import restore
from loopwright.feedback.times import iso_time

IDS = st.text("abcdefghij-0123", min_size=1, max_size=8)


WORDS = st.sampled_from(["fine", "too slow", "the year is wrong", "why?"])


NUMBERS = st.floats(-1e6, 1e6).map(lambda x: round(x, 3))


TIMES = st.integers(1_700_000_000_000, 1_750_000_000_000).map(iso_time) | st.sampled_from(
    ["2025-01-02T03:04:05+02:00", "2025-01-02T03:04:05.123456Z", "2025-01-02"]
)


SCOPES = st.sampled_from([["store"], ["store", "analyze"], ["store", "analyze", "train", "share"]])


def some(required: dict[str, Any], **optional: Any) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(required, optional=optional)


COMMON = {
    "event_id": IDS,
    "trace_id": IDS,
    "span_id": IDS,
    "session_id": IDS,
    "message_id": IDS,
    "occurred_at": TIMES | st.integers(0, 2**41),
    "source": st.sampled_from(["end_user", "reviewer", "system", "robot"]),
    "user_id": IDS,
    "ip_address": st.just("203.0.113.9"),
    "task": IDS,
    "category": st.sampled_from(["accuracy", "weather"]),
    "severity": IDS,
    "message": WORDS,
    "query": WORDS,
    "response": WORDS,
    "labels": st.dictionaries(IDS, WORDS, min_size=1, max_size=2),
    "tags": st.lists(IDS, min_size=1, max_size=2),
    "consent": SCOPES,
}


def native(kind: str, required: dict[str, Any], **optional: Any) -> Any:
    return some({"kind": st.just(kind), "output_id": IDS, **required}, **{**COMMON, **optional})


NATIVE = st.one_of(
    native("rating", {"scale": st.just("thumbs"), "value": st.sampled_from([0, 1])}),
    native("rating", {"scale": st.just("stars"), "value": st.integers(1, 5)}),
    native(
        "rating",
        {
            "scale": st.sampled_from(["numeric", "smileys"]),
            "value": st.integers(2, 8),
            "low": st.just(1),
            "high": st.just(10),
        },
    ),
    native("signal", {"name": IDS, "value": NUMBERS}),
    native(
        "correction",
        {"before": WORDS, "after": WORDS},
        explanation=WORDS,
        distance=st.floats(0, 1),
    ),
    native("outcome", {"metric": IDS, "value": NUMBERS}),
    native("measurement", {"name": IDS, "value": NUMBERS}, unit=st.just("ms")),
    native(
        "annotation",
        {"rubric": IDS, "rubric_version": st.integers(0, 9), "label": IDS},
        score=NUMBERS,
        rationale=WORDS,
        reviewer=IDS.map(lambda id: f"reviewer-{id}"),
    ),
)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | IDS,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(IDS, inner, max_size=2),
    max_leaves=5,
)


DATA = some(
    {},
    thumbs=st.sampled_from(["up", "down"]),
    rating=st.integers(1, 5),
    comment=WORDS,
    query=WORDS,
    response=WORDS,
    original=WORDS,
    corrected=WORDS,
    explanation=WORDS,
    metric=IDS,
    name=IDS,
    action=IDS,
    value=NUMBERS,
    unit=st.just("ms"),
    latency_ms=NUMBERS,
    label=IDS,
    score=NUMBERS,
    rubric=IDS,
    rubric_version=st.integers(0, 9),
    rationale=WORDS,
    stuff=ANYTHING,
)


EVENT = some(
    {
        "type": st.sampled_from(
            [
                "log",
                "metric",
                "interaction",
                "query",
                "error",
                "performance",
                "quality",
                "explicit",
                "implicit",
                "telepathy",
            ]
        ),
        "message_id": IDS,
    },
    id=IDS,
    source=st.sampled_from(["user_rating", "user_comment", "trace", "model_response", "oracle"]),
    severity=st.sampled_from(["info", "critical", "apocalyptic"]),
    category=st.sampled_from(["latency", "vibes"]),
    tenant_id=st.just("acme"),
    user_id=IDS,
    session_id=IDS,
    message=WORDS,
    timestamp=TIMES,
    data=DATA,
    tags=st.lists(IDS, max_size=2),
    consent=SCOPES,
    host=ANYTHING.filter(lambda value: value is not None),
)


GENERATION = st.one_of(
    [
        some(
            {"output_id": IDS, **required},
            offer_id=IDS,
            customer_id=IDS,
            generated_copy=WORDS,
            prompt_version=IDS,
            model_version=IDS,
            session_id=IDS,
            comment=WORDS,
            timestamp=TIMES,
            campaign=IDS,
        )
        for required in (
            {"rating": st.integers(1, 5)},
            {"thumbs": st.sampled_from(["up", "down"])},
            {"rating": st.integers(1, 5), "thumbs": st.sampled_from(["up", "down"])},
        )
    ]
)


RATING = some(
    {
        "event_id": st.uuids(version=4).map(str),
        "user_id": IDS,
        "session_id": IDS,
        "timestamp": TIMES,
        "rating": st.integers(1, 5),
    },
    context=some(
        {},
        feature_id=IDS,
        device_type=st.sampled_from(["mobile", "web", "voice", "toaster"]),
        locale=st.just("de-DE"),
        build=ANYTHING,
    ),
    metadata=some({}, ip_address=st.just("203.0.113.9"), user_agent=IDS),
)


CORRECTION = some(
    {"original": WORDS, "corrected": WORDS, "message_id": IDS},
    explanation=WORDS,
    query=WORDS,
    user_id=IDS,
    session_id=IDS,
    timestamp=TIMES,
    category=IDS,
    ticket=IDS,
)


BROWSER = st.one_of(
    [
        some(
            {
                "session_id": IDS,
                "event_id": IDS,
                "at_ms": st.integers(1, 2**41),
                **said,
            }
        )
        for said in (
            {"type": st.just("signal"), "kind": IDS, "value": NUMBERS},
            {"type": st.just("rating"), "scale": st.just("stars"), "value": st.integers(1, 5)},
            {"type": st.just("rating"), "scale": st.just("thumbs"), "value": st.integers(0, 1)},
        )
    ]
)


INTERACTION = some(
    {"id": IDS},
    event_id=IDS,
    started_at=st.integers(1_700_000_000_000, 1_750_000_000_000).map(iso_time),
    trace_id=IDS,
    session_id=IDS,
    user_id=IDS,
    decision_id=IDS,
    task=IDS,
    task_id=IDS,
    input_hash=IDS,
    prompt_version=IDS,
    model_id=IDS,
    model_version=IDS,
    knowledge_version=IDS,
    retrieval_ids=st.lists(IDS, min_size=1, max_size=2),
    input_tokens=st.integers(0, 9999),
    output_tokens=st.integers(0, 9999),
    cost=NUMBERS,
    client_latency_ms=NUMBERS,
    server_latency_ms=NUMBERS,
    error=IDS,
    query=WORDS,
    response=WORDS,
    country=st.just("DE"),
    consent=st.sampled_from([["store"], ["store", "analyze"]]),
    redactions=st.just({"EMAIL": 2}),
    labels=st.dictionaries(IDS, WORDS, min_size=1, max_size=2),
    feedback=st.lists(
        st.sampled_from(
            [
                {"type": "thumbs", "value": "up"},
                {"type": "rating", "value": 4},
                {"type": "copy", "value": 1},
            ]
        ),
        min_size=1,
        max_size=2,
    ),
    outcomes=st.just([{"name": "resolved", "value": 1}]),
)


STEP = some(
    {
        "id": IDS,
        "session_id": IDS,
        "kind": st.sampled_from(["sql_generation", "prayer"]),
        "taken_at": st.integers(1_700_000_000_000, 1_750_000_000_000).map(iso_time),
    },
    data=st.dictionaries(IDS, ANYTHING, min_size=1, max_size=2),
    confidence=st.floats(0, 1),
    outcome=st.sampled_from(["success", "failure", "correction", "shrug"]),
    interaction_id=IDS,
    event_id=IDS,
)


SHAPES: list[tuple[str, Any]] = [
    ("feedback", NATIVE),
    ("feedback", EVENT),
    ("feedback", GENERATION),
    ("feedback", RATING),
    ("rating", RATING),
    ("correction", CORRECTION),
    ("signals", BROWSER),
    ("feedback", BROWSER),
    ("interaction", INTERACTION),
    ("step", STEP),
]


def pseudonymous(item: Any, world: World, name: str = "") -> Any:
    """The item with pseudonyms where the product's own names of people and addresses stood."""
    if isinstance(item, dict):
        return {
            n: pseudonymous(v, world, n) if n not in ("data", "host", "context") else v
            for n, v in item.items()
        }
    if isinstance(item, str) and name in ("user_id", "customer_id", "reviewer"):
        return world.people.find("acme", item).id
    return "an address" if name == "ip_address" else item


@pytest.mark.parametrize(("path", "items"), SHAPES, ids=range(len(SHAPES)))
def test_every_shape_reads_back_as_it_was_sent(path: str, items: Any) -> None:
    world = World()

    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(item=items)
    def check(item: dict[str, Any]) -> None:
        prepared = world.take(item, path=path)
        assert not prepared.refusals, prepared.refusals[0].error.message
        again = restore(prepared.facts)
        sent = pseudonymous(item, world)
        named = "id" if "type" in item and "at_ms" not in item else "event_id"
        if named not in item:
            del again[named]
        if path == "interaction" and "started_at" not in item:
            del again["started_at"]
        if "source" not in item and again.get("source") == "end_user":
            del again["source"]  # what is assumed when nothing is said
        assert hidden(again) == hidden(sent)

    check()
    world.close()


def hidden(item: Any) -> Any:
    """Addresses are compared as being there, since their pseudonym is keyed."""
    if isinstance(item, dict):
        return {n: "an address" if n == "ip_address" else hidden(v) for n, v in item.items()}
    return item


def test_a_token_comes_back_when_there_is_a_signer(world: World) -> None:
    token = SIGNER.sign(world.decision())
    item = {"kind": "signal", "name": "copy", "value": 1.0, "request_id": token, "event_id": "e"}
    fact = world.fact(item)
    assert fact.target.decision is not None
    assert restore([fact], sign=SIGNER.sign) == item | {"source": "end_user"}
    assert restore([fact])["decision_id"] == fact.target.decision.id


UNKNOWN: list[tuple[str, dict[str, Any], str]] = [
    ("feedback", {"type": "telepathy", "message_id": "m"}, "unknown_type"),
    ("feedback", {"type": "query", "message_id": "m", "source": "oracle"}, "unknown_source"),
    ("feedback", {"type": "query", "message_id": "m", "category": "vibes"}, "unknown_category"),
    ("feedback", {"type": "query", "message_id": "m", "severity": "dire"}, "unknown_severity"),
    (
        "feedback",
        {"kind": "signal", "name": "copy", "output_id": "o", "source": "robot"},
        "unknown_source",
    ),
    (
        "feedback",
        {"kind": "rating", "scale": "moons", "value": 3, "low": 0, "high": 4, "output_id": "o"},
        "unknown_scale",
    ),
    (
        "feedback",
        {"kind": "signal", "name": "copy", "output_id": "o", "consent": ["store", "frame"]},
        "unknown_consent",
    ),
]


@pytest.mark.parametrize(("path", "item", "flag"), UNKNOWN)
def test_an_unknown_word_is_kept_and_flagged(
    path: str, item: dict[str, Any], flag: str, world: World
) -> None:
    fact = world.fact(item, path)
    assert flag in fact.note.flags
    again = restore([fact])
    assert {name: again[name] for name in item} == item


BAD: list[tuple[str, Any, str]] = [
    ("feedback", {"output_id": "o", "rating": 0}, "rating is 0; send a whole number from 1 to 5"),
    ("feedback", {"output_id": "o", "rating": 6}, "rating is 6"),
    ("feedback", {"output_id": "o", "rating": True}, "rating is true"),
    ("feedback", {"output_id": "o", "rating": 4.5}, "rating is 4.5"),
    ("feedback", {"output_id": "o", "rating": [4]}, "rating is a list"),
    ("feedback", {"output_id": "o", "thumbs": "sideways"}, "thumbs is 'sideways'; send 'up'"),
    ("feedback", {"output_id": "o", "thumbs": 1}, "thumbs is 1"),
    ("feedback", {"output_id": "o", "generated_copy": "x"}, "neither rating nor thumbs"),
    ("feedback", {"thumbs": "up"}, "neither offer_id nor output_id"),
    (
        "feedback",
        {"type": "query", "message_id": "m", "data": {"thumbs": "sideways"}},
        "data.thumbs",
    ),
    ("feedback", {"type": "query", "message_id": "m", "data": {"rating": 6}}, "data.rating is 6"),
    (
        "feedback",
        {"type": "query", "message_id": "m", "data": []},
        "data is a list; send an object",
    ),
    ("feedback", {"type": 7}, "type is 7; send a string"),
    ("feedback", {"type": "query"}, ""),
    ("feedback", {"kind": "rating", "scale": "stars", "value": 0, "output_id": "o"}, "value is 0"),
    ("feedback", {"kind": "rating", "scale": "stars", "value": 6, "output_id": "o"}, "value is 6"),
    ("feedback", {"kind": "rating", "scale": "thumbs", "value": 2, "output_id": "o"}, "thumbs"),
    ("feedback", {"kind": "rating", "scale": "moons", "value": 2, "output_id": "o"}, "moons"),
    (
        "feedback",
        {"kind": "rating", "scale": "numeric", "value": 9, "low": 1, "high": 5, "output_id": "o"},
        "9 within 1 to 5",
    ),
    ("feedback", {"kind": "praise", "output_id": "o"}, "praise"),
    ("feedback", {"kind": "signal", "name": "copy", "output_id": "o", "mesage": "x"}, "mesage"),
    ("feedback", {"kind": "signal", "name": "copy"}, "refers to nothing"),
    ("feedback", {"kind": "outcome", "metric": "m", "value": 10**400, "output_id": "o"}, ""),
    ("feedback", {"kind": "signal", "name": "c", "output_id": "o", "occurred_at": "soon"}, "soon"),
    ("feedback", {"kind": "signal", "name": "c", "output_id": "o", "occurred_at": -1}, "-1"),
    ("feedback", {"anything": 1}, "none of the members"),
    ("feedback", "a string", "send an object"),
    ("feedback", None, "send an object"),
    ("correction", {"original": "x"}, "original and corrected"),
    ("correction", {"kind": "signal", "name": "c", "output_id": "o"}, "no correction"),
    ("rating", {"event_id": "1", "rating": 3}, "UUID of version 4"),
    ("signals", {"type": "signal", "kind": "copy", "value": None, "at_ms": 1}, "value is null"),
    ("signals", {"type": "signal", "kind": "copy", "value": 1}, "at_ms is null"),
    ("signals", {"type": "rating", "scale": "thumbs", "value": 2, "at_ms": 1}, "value is 2"),
    ("interaction", {"id": "x", "country": "Germany"}, "country"),
    ("interaction", {"id": "x", "feedback": [{"type": "thumbs", "value": "sideways"}]}, "sideways"),
    ("step", {"id": "x", "kind": "sql"}, "session_id"),
]


@pytest.mark.parametrize(("path", "item", "sentence"), BAD)
def test_what_cannot_be_understood_is_refused_with_a_sentence(
    path: str, item: Any, sentence: str, world: World
) -> None:
    prepared = world.take(item, path=path)
    if item == {"type": "query"}:  # a system's own report may be about nothing in particular
        assert prepared.facts[0].note.flags == ("without_target",)  # type: ignore[union-attr]
        return
    error = prepared.refusals[0].error
    assert error.status == 422
    assert sentence in error.message
    assert prepared.refusals[0].quarantine_id is not None
