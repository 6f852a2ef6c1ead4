"""The feedback event of earlier systems, unchanged, against a real server: every type, source, category and severity."""

from __future__ import annotations

import time
import uuid
from datetime import datetime
from itertools import product
from typing import Any, Final

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.feedback import Correction, Measurement, Rating, Signal

from .conftest import Server
from .wire_client import accepted, facts_by_id, lost, read_back, variants, wired

__all__ = ["wired"]

TYPES: Final = (
    "log", "metric", "interaction", "query", "error", "performance", "quality", "user_explicit",
    "explicit", "implicit",
)  # fmt: skip
SOURCES: Final = (
    "application_log", "system_metric", "trace", "user_rating", "user_comment", "user_correction",
    "query_result", "model_response", "pipeline_output", "api_response", "database_query",
    "external_service",
)  # fmt: skip
CATEGORIES: Final = (
    "accuracy", "latency", "cost", "error", "user_satisfaction", "quality", "security",
    "compliance",
)  # fmt: skip
SEVERITIES: Final = ("debug", "info", "warning", "error", "critical")
SIGNALS: Final = (
    "refinement", "result_interaction", "dwell_time", "follow_up", "export", "dashboard_addition",
    "abandonment",
)  # fmt: skip

WHOLE: Final[dict[str, Any]] = {
    "id": "8d1f6d50-0c53-4a6e-9f2b-3c8a3ad3a001",
    "type": "explicit",
    "source": "user_rating",
    "severity": "info",
    "category": "accuracy",
    "tenant_id": "default",
    "user_id": "u1",
    "session_id": "s1",
    "message_id": "m1",
    "timestamp": "2026-11-27T10:00:00",
    "data": {"rating": "positive"},
    "tags": ["beta"],
}
RATING: Final[dict[str, Any]] = {
    "type": "explicit",
    "source": "user_rating",
    "category": "accuracy",
    "data": {
        "rating": "positive",
        "message_id": "msg-123",
        "query": "revenue by region",
        "response": "SELECT region, sum(revenue) FROM sales",
    },
}
COMMENT: Final[dict[str, Any]] = {
    "type": "explicit",
    "source": "user_comment",
    "category": "quality",
    "data": {"comment": "the totals are wrong", "message_id": "msg-123"},
}
CORRECTION: Final[dict[str, Any]] = {
    "type": "explicit",
    "source": "user_correction",
    "category": "accuracy",
    "data": {
        "original_sql": "SELECT * FROM sales",
        "corrected_sql": "SELECT * FROM sales WHERE year = 2026",
        "explanation": "only this year",
    },
}
PERFORMANCE: Final[dict[str, Any]] = {
    "type": "performance",
    "source": "system_metric",
    "category": "latency",
    "data": {
        "endpoint": "/api/v1/text-to-sql",
        "latency_ms": 1250,
        "tokens_used": 3400,
        "llm_provider": "openai",
        "model": "gpt-4",
    },
}


def _new() -> str:
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{next(_COUNT)}"))


_COUNT = iter(range(10**9))


def test_every_type_source_category_and_severity_is_kept_with_empty_data(wired: Server) -> None:
    bodies: list[dict[str, Any]] = [
        {
            "id": _new(),
            "type": kind,
            "source": source,
            "severity": severity,
            "category": category,
            "tenant_id": "default",
            "timestamp": "2026-11-27T10:00:00",
            "data": {},
        }
        for kind, source, category, severity in product(TYPES, SOURCES, CATEGORIES, SEVERITIES)
    ]
    ids = accepted(wired, "/feedback", bodies)
    assert ids == [body["id"] for body in bodies]
    back, facts = read_back(wired), facts_by_id(wired)
    wrong = [
        (body, lost(back[body["id"]], body)) for body in bodies if lost(back[body["id"]], body)
    ]
    assert not wrong, (len(wrong), wrong[0])
    for body in bodies:
        said = facts[body["id"]].feedback
        assert said == Signal(body["type"]), "nothing is invented about an event without data"


def test_each_member_but_type_source_and_category_may_be_left_out_or_null(wired: Server) -> None:
    whole = [
        {**body, "id": _new()} if body.get("id") else body
        for body in variants(WHOLE, needed=("type", "source", "category"))
    ]
    for (
        body
    ) in whole:  # one by one: bodies without an id and a time are told apart by their reference
        answer = wired.post("/feedback", body)
        assert answer.status_code in (200, 201), (body, answer.text)
        back = read_back(wired)[answer.json()["event_id"]]
        assert not lost(back, body)


@pytest.mark.parametrize("example", [RATING, COMMENT, CORRECTION, PERFORMANCE])
def test_each_example_is_accepted_alone_and_reads_back(
    wired: Server, example: dict[str, Any]
) -> None:
    answer = wired.post("/feedback", example)
    assert answer.status_code == 201, answer.text
    assert not lost(read_back(wired)[answer.json()["event_id"]], example)


def test_positive_and_negative_are_thumbs_and_a_number_is_stars(wired: Server) -> None:
    said: dict[str | int, Rating] = {
        "positive": Rating(1.0, "thumbs"),
        "negative": Rating(0.0, "thumbs"),
        **{stars: Rating(float(stars), "stars", 1.0, 5.0) for stars in (1, 2, 3, 4, 5)},
    }
    bodies = [
        {**RATING, "id": _new(), "data": {**RATING["data"], "rating": rating}} for rating in said
    ]
    ids = accepted(wired, "/feedback", bodies)
    facts, back = facts_by_id(wired), read_back(wired)
    for id, body, wanted in zip(ids, bodies, said.values(), strict=True):
        assert facts[id].feedback == wanted
        assert facts[id].target.message_id == "msg-123"
        assert (facts[id].note.query, facts[id].note.response) == (
            body["data"]["query"],
            body["data"]["response"],
        )
        assert not lost(back[id], body)


@pytest.mark.parametrize("rating", ["great", 0, 6, 2.5, True, [], {}])
def test_another_rating_is_refused_with_what_was_expected(wired: Server, rating: Any) -> None:
    answer = wired.post("/feedback", {**RATING, "data": {"rating": rating}})
    assert answer.status_code == 422
    assert "positive" in answer.json()["detail"]


def test_what_it_is_about_may_be_at_the_top_or_in_data(wired: Server) -> None:
    top = {**COMMENT, "id": _new(), "message_id": "m-top", "data": {"comment": "fine"}}
    within = {**COMMENT, "id": _new(), "data": {"comment": "fine", "message_id": "m-in"}}
    both = {**within, "id": _new(), "message_id": "m-top"}
    accepted(wired, "/feedback", [top, within, both])
    facts, back = facts_by_id(wired), read_back(wired)
    about = [facts[body["id"]].target.message_id for body in (top, within, both)]
    assert about == ["m-top", "m-in", "m-top"]
    for body in (top, within, both):
        assert not lost(back[body["id"]], body)


def test_a_naive_time_is_utc_and_reads_back_without_a_zone(wired: Server) -> None:
    zoned = {**RATING, "id": _new(), "timestamp": "2026-11-27T10:00:00Z"}
    naive = {**RATING, "id": _new(), "timestamp": "2026-11-27T10:00:00"}
    fine = {**RATING, "id": _new(), "timestamp": "2026-11-27T10:00:00.123456"}
    accepted(wired, "/feedback", [zoned, naive, fine])
    facts, back = facts_by_id(wired), read_back(wired)
    times = [facts[body["id"]].note.occurred_at_ms for body in (zoned, naive, fine)]
    assert times == [1_795_773_600_000, 1_795_773_600_000, 1_795_773_600_123]
    for body in (zoned, naive, fine):
        assert back[body["id"]]["timestamp"] == body["timestamp"]


def test_severity_is_info_by_default(wired: Server) -> None:
    answer = wired.post("/feedback", {**RATING, "id": _new()})
    assert facts_by_id(wired)[answer.json()["event_id"]].note.severity == "info"


def test_one_performance_event_is_several_measurements(wired: Server) -> None:
    body = {**PERFORMANCE, "id": _new()}
    accepted(wired, "/feedback", [body])
    facts = [
        fact.feedback
        for id, fact in facts_by_id(wired).items()
        if id == body["id"] or id.startswith(f"{body['id']}.")
    ]
    assert facts == [Measurement("latency_ms", 1250.0), Measurement("tokens_used", 3400.0)]
    note = facts_by_id(wired)[body["id"]].note
    assert (note.labels["endpoint"], note.labels["model_id"]) == ("/api/v1/text-to-sql", "gpt-4")
    assert not lost(read_back(wired)[body["id"]], body)


@pytest.mark.parametrize("name", SIGNALS)
@pytest.mark.parametrize("member", ["signal", "action", "signal_type", "interaction_type"])
def test_each_implicit_signal_is_known_by_its_name(wired: Server, name: str, member: str) -> None:
    body: dict[str, Any] = {
        "id": _new(),
        "type": "implicit",
        "source": "trace",
        "category": "user_satisfaction",
        "session_id": "s9",
        "data": {member: name, "message_id": "m9"},
    }
    accepted(wired, "/feedback", [body])
    assert facts_by_id(wired)[body["id"]].feedback == Signal(name)
    assert not lost(read_back(wired)[body["id"]], body)


def test_a_correction_without_a_target_is_kept(wired: Server) -> None:
    first = {**CORRECTION, "id": _new()}
    accepted(wired, "/feedback", [first])
    fact = facts_by_id(wired)[first["id"]]
    assert isinstance(fact.feedback, Correction)
    assert (fact.feedback.before, fact.feedback.after, fact.feedback.explanation) == (
        CORRECTION["data"]["original_sql"],
        CORRECTION["data"]["corrected_sql"],
        "only this year",
    )


SQL: Final[dict[str, Any]] = {
    "original_sql": "SELECT * FROM sales",
    "corrected_sql": "SELECT id FROM sales",
    "explanation": "only ids",
    "message_id": "m1",
    "session_id": "s1",
    "query": "which sales",
    "tenant_id": "default",
}


@pytest.mark.parametrize("spelling", ["{}_sql", "{}"])
def test_corrections_are_taken_in_both_spellings_with_any_member_missing(
    wired: Server, spelling: str
) -> None:
    before, after = spelling.format("original"), spelling.format("corrected")
    whole = {before: SQL["original_sql"], after: SQL["corrected_sql"]} | {
        name: value for name, value in SQL.items() if not name.endswith("_sql")
    }
    for k, body in enumerate([whole, *variants(whole, needed=(before, after))]):
        body = {**body, after: f"SELECT {spelling} {k}"}
        answer = wired.post("/feedback/correction", body)
        assert answer.status_code == 201, (body, answer.text)
        id = answer.json()["event_id"]
        fact = facts_by_id(wired)[id]
        assert fact.feedback.after == body[after]
        assert fact.target.message_id == body.get("message_id")
        assert not lost(read_back(wired)[id], body)


@pytest.mark.parametrize("missing", ["original_sql", "corrected_sql"])
def test_half_a_correction_is_refused(wired: Server, missing: str) -> None:
    body = {name: value for name, value in SQL.items() if name != missing}
    assert wired.post("/feedback/correction", body).status_code == 422


@pytest.mark.parametrize("path", ["/feedback", "/feedback/correction"])
def test_another_tenant_is_forbidden(wired: Server, path: str) -> None:
    body = {**(RATING if path == "/feedback" else SQL), "tenant_id": "somebody-else"}
    answer = wired.post(path, body)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


def test_the_same_id_again_is_a_duplicate(wired: Server) -> None:
    body = {**RATING, "id": _new(), "timestamp": "2026-11-27T10:00:00"}
    assert wired.post("/feedback", body).status_code == 201
    again = wired.post("/feedback", body)
    assert (again.status_code, again.json()["duplicate"]) == (200, True)


_WORDS = st.text("abcdefghij klmnop", min_size=1, max_size=12)
_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-(2**40), 2**40), _WORDS),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(_WORDS, inner, max_size=3)
    ),
    max_leaves=6,
)
_SPAN: Final = (datetime.fromisoformat("1971-01-01"), datetime.fromisoformat("2100-01-01"))
EVENTS = st.fixed_dictionaries(
    {
        "type": st.sampled_from(TYPES),
        "source": st.sampled_from(SOURCES),
        "category": st.sampled_from(CATEGORIES),
    },
    optional={
        "severity": st.sampled_from(SEVERITIES) | st.none(),
        "tenant_id": st.just("default"),
        "user_id": _WORDS | st.none(),
        "session_id": _WORDS | st.none(),
        "message_id": _WORDS | st.none(),
        "timestamp": st.datetimes(*_SPAN).map(lambda at: at.isoformat()) | st.none(),
        "tags": st.lists(_WORDS, max_size=3) | st.none(),
        "data": st.dictionaries(
            st.sampled_from(
                [
                    "rating",
                    "comment",
                    "query",
                    "response",
                    "latency_ms",
                    "cost",
                    "note",
                    "message_id",
                ]
            ),
            _VALUES,
            max_size=4,
        ),
    },
)


@settings(max_examples=10, deadline=None)
@given(bodies=st.lists(EVENTS, min_size=40, max_size=40))
def test_whatever_is_accepted_of_generated_events_reads_back_without_loss(
    wired: Server, bodies: list[dict[str, Any]]
) -> None:
    bodies = [{**body, "id": _new()} for body in bodies]
    answer = wired.post("/feedback", {"items": bodies})
    back = read_back(wired)
    for body, result in zip(bodies, answer.json()["results"], strict=True):
        if result["status"] == 422:  # only what `data` gives a wrong value for is refused
            assert "data." in result["problem"]["detail"], (body, result)
        else:
            assert result["status"] == 201, (body, result)
            assert not lost(back[body["id"]], body), body


DECISION: Final[dict[str, Any]] = {
    "session_id": "agent-1",
    "tenant_id": "default",
    "decision_type": "sql_generation",
    "decision_data": {"tables": ["sales"], "sql": "SELECT 1"},
    "outcome": "success",
    "confidence": 0.82,
}
DECISIONS: Final = (
    "routing", "intent_routing", "sql_generation", "table_selection", "chart_type",
    "visualization", "analysis_type",
)  # fmt: skip


@pytest.mark.parametrize("path", ["/feedback", "/feedback/decisions", "/steps"])
def test_an_agent_decision_is_taken_wherever_it_is_posted_and_read_by_session(
    wired: Server, path: str
) -> None:
    session = f"agent{path.replace('/', '-')}"
    bodies = [
        {**DECISION, "session_id": session, "decision_type": kind, "outcome": outcome}
        for kind in DECISIONS
        for outcome in ("success", "failure", "correction", None)
    ]
    for body in bodies:
        answer = wired.post(path, body)
        assert answer.status_code == 201, (body, answer.text)
        back = read_back(wired)[answer.json()["event_id"]]
        assert not lost(back, body)
    answer = _eventually(wired, f"/feedback/decisions/{session}", n=len(bodies))
    found = answer.json()["decisions"]
    for body, told in zip(bodies, found, strict=True):
        assert {name: told[name] for name in body} == body
    assert answer.json()["outcomes"] == {
        "success": 7, "failure": 7, "correction": 7, "unknown": 7
    }  # fmt: skip


def test_each_member_of_a_decision_but_session_and_type_may_be_left_out(wired: Server) -> None:
    for body in variants(DECISION, needed=("session_id", "decision_type")):
        answer = wired.post("/feedback", body)
        assert answer.status_code == 201, (body, answer.text)
        assert not lost(read_back(wired)[answer.json()["event_id"]], body)


def test_a_decision_for_another_tenant_is_forbidden(wired: Server) -> None:
    answer = wired.post("/feedback", {**DECISION, "tenant_id": "rival"})
    assert answer.status_code == 403


def _eventually(server: Server, path: str, *, n: int) -> httpx.Response:
    """Return the answer once it has `n` decisions: reports may be a moment behind."""
    deadline = time.monotonic() + 15
    while True:
        answer = server.get(path)
        if answer.status_code == 200 and len(answer.json()["decisions"]) == n:
            return answer
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.1)


def test_insights_have_the_five_members_at_their_top(wired: Server) -> None:
    answer = wired.get("/feedback/insights/default", params={"period_days": 30})
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["overall_satisfaction"] is None or 0 <= found["overall_satisfaction"] <= 1
    assert found["accuracy_rate"] is None or 0 <= found["accuracy_rate"] <= 1
    assert isinstance(found["top_failure_patterns"], list)
    assert isinstance(found["most_corrected_queries"], list)
    assert found["improvement_trend"] in (None, "improving", "worsening", "steady", "too few")
    assert found["tenant_id"] == "default"


def test_the_period_of_insights_is_period_days(wired: Server) -> None:
    span = wired.get("/feedback/insights/default", params={"period_days": 7}).json()["period"]
    assert span["to_ms"] - span["from_ms"] == 7 * 86_400_000


TARGETS: Final = {
    "satisfaction_score": 0.85,
    "sql_accuracy": 0.90,
    "correction_rate": 0.10,
    "refinement_rate": 0.20,
    "abandonment_rate": 0.15,
}


@pytest.mark.parametrize("prefix", ["/api/v1", ""])
def test_quality_has_the_five_metrics_with_value_and_target(wired: Server, prefix: str) -> None:
    answer = wired.http.get(f"{prefix}/feedback/quality/default")
    assert answer.status_code == 200, answer.text
    found = answer.json()
    for name, target in TARGETS.items():
        assert found[name]["target"] == target
        assert found[name]["value"] is None or 0 <= found[name]["value"] <= 1
