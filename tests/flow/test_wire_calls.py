"""The flat interaction, the rating event, and select with every policy name, as earlier clients send them."""

from __future__ import annotations

import uuid
from typing import Any, Final

import pytest

import loopwright
from loopwright.core.feedback import Outcome, Rating

from .conftest import Server
from .wire_client import accepted, facts_by_id, lost, read_back, sent, variants, wired

__all__ = ["wired"]

FLAT: Final[dict[str, Any]] = {
    "trace_id": "t",
    "session_id": "s",
    "user_id": "u",
    "tenant_id": "default",
    "task_type": "support",
    "task_id": "k",
    "input_hash": "h",
    "prompt_version": "p",
    "model_id": "m",
    "model_version": "v",
    "retrieval_ids": ["d1"],
    "knowledge_version": "kv",
    "output_id": "o",
    "output_tokens": 12,
    "client_latency_ms": 100,
    "server_latency_ms": 80,
    "feedback_type": "thumbs",
    "feedback_value": "up",
    "outcome_metric_name": "resolved",
    "outcome_metric_value": 1,
    "redaction_flags": ["email"],
    "consent_scope": ["store", "train"],
    "timestamp": "2026-11-27T10:00:00Z",
    "country": "DE",
}


PAIRS: Final = ("feedback_type", "feedback_value", "outcome_metric_name", "outcome_metric_value")


def _flat(k: object, **changed: Any) -> dict[str, Any]:
    return {**FLAT, "output_id": f"o-{k}", **changed}


def test_a_flat_interaction_is_stored_with_its_feedback_and_outcome(wired: Server) -> None:
    body = _flat("whole")
    answer = wired.post("/interactions", body)
    assert answer.status_code == 201, answer.text
    id = answer.json()["event_id"]
    facts = facts_by_id(wired)
    call = facts[id].interaction
    assert (call.id, call.task, call.task_id, call.model_version) == (
        "o-whole",
        "support",
        "k",
        "v",
    )
    assert (call.output_tokens, call.country, call.consent) == (12, "DE", ("store", "train"))
    assert call.started_at_ms == 1_795_773_600_000
    assert facts[f"{id}.1"].feedback == Rating(1.0, "thumbs")
    assert facts[f"{id}.2"].feedback == Outcome("resolved", 1.0)
    assert not lost(read_back(wired)[id], body)


def test_each_member_may_be_left_out_or_null(wired: Server) -> None:
    for k, body in enumerate(variants(FLAT)):
        if body.get("output_id"):
            body = {**body, "output_id": f"o-part{k}"}
        answer = wired.post("/interactions", body)
        assert answer.status_code in (200, 201), (body, answer.text)
        back = read_back(wired)[answer.json()["event_id"]]
        assert not lost(back, body), body


@pytest.mark.parametrize(
    ("kind", "value"),
    [("thumbs", "up"), ("thumbs", "down"), ("rating", 4), ("stars", 5), ("copy", 1), ("edit", 0.25),
     ("comment", "fine"), ("correction", "SELECT 1")],
)  # fmt: skip
def test_every_type_of_feedback_is_kept(wired: Server, kind: str, value: Any) -> None:
    body = _flat(kind + str(value), feedback_type=kind, feedback_value=value)
    (id,) = accepted(wired, "/interactions", [body])
    assert not lost(read_back(wired)[id], body)


def test_several_feedbacks_and_outcomes_come_as_lists(wired: Server) -> None:
    body = _flat(
        "lists",
        feedback_type=["thumbs", "rating"],
        feedback_value=["down", 2],
        outcome_metric_name=["resolved", "minutes"],
        outcome_metric_value=[0, 7.5],
    )
    (id,) = accepted(wired, "/interactions", [body])
    facts = facts_by_id(wired)
    assert [facts[f"{id}.{n}"].feedback for n in (1, 2, 3, 4)] == [
        Rating(0.0, "thumbs"), Rating(2.0, "stars", 1.0, 5.0), Outcome("resolved", 0.0),
        Outcome("minutes", 7.5),
    ]  # fmt: skip
    assert not lost(read_back(wired)[id], body)


def test_lists_of_different_length_are_refused(wired: Server) -> None:
    body = _flat("odd", feedback_type=["thumbs", "rating"], feedback_value=["down"])
    answer = wired.post("/interactions", body)
    assert answer.status_code == 422
    assert "feedback_value" in answer.json()["detail"]


def test_lists_of_objects_are_taken_too(wired: Server) -> None:
    body = {name: value for name, value in _flat("objects").items() if name not in PAIRS}
    body |= {
        "feedback": [{"type": "thumbs", "value": "up"}],
        "outcomes": [{"name": "minutes", "value": 3}],
    }
    (id,) = accepted(wired, "/interactions", [body])
    assert not lost(read_back(wired)[id], body)


def test_another_tenant_is_forbidden(wired: Server) -> None:
    answer = wired.post("/interactions", _flat("foreign", tenant_id="rival"))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


@pytest.mark.parametrize("scope", [["store"], ["store", "analyze", "train", "share"], "store"])
def test_every_consent_scope_is_kept(wired: Server, scope: Any) -> None:
    body = _flat(f"consent{scope}", consent_scope=scope)
    answer = wired.post("/interactions", body)
    assert answer.status_code == 201, answer.text
    assert not lost(read_back(wired)[answer.json()["event_id"]], body)


def test_consent_to_nothing_is_refused(wired: Server) -> None:
    assert wired.post("/interactions", _flat("none", consent_scope=[])).status_code == 422


def test_a_later_outcome_joins_the_model_version_by_its_output(wired: Server) -> None:
    wired.post(
        "/interactions", _flat("late", task_type="late-task", consent_scope=["store", "analyze"])
    )
    late = {"kind": "outcome", "metric": "resolved", "value": 1, "output_id": "o-late"}
    assert wired.post("/feedback", late).status_code == 201
    health = wired.get("/feedback/join-health", params={"days": 30}).json()
    assert health["tasks"], health
    assert {task["task"]: task["joined"] for task in health["tasks"]}["late-task"] == 2


EVENT: Final[dict[str, Any]] = {
    "event_id": "7d444840-9dc0-4df5-a5b4-6f1c9bd5a2f0",
    "user_id": "u1",
    "session_id": "s1",
    "timestamp": "2026-11-27T10:00:00Z",
    "rating": 4,
    "context": {"feature_id": "feature_12", "device_type": "mobile", "locale": "en-US"},
    "metadata": {"ip_address": "203.0.113.7", "user_agent": "App/3.1"},
}


def _rating(k: int, **changed: Any) -> dict[str, Any]:
    id = uuid.UUID(int=k, version=4)
    return {**EVENT, "event_id": str(id), **changed}


def test_a_rating_event_is_kept_with_every_rating_and_device(wired: Server) -> None:
    bodies = [
        _rating(10 * rating + n, rating=rating, context={**EVENT["context"], "device_type": device})
        for rating in range(1, 6)
        for n, device in enumerate(("mobile", "web", "voice"))
    ]
    ids = accepted(wired, "/ratings", bodies)
    facts, back = facts_by_id(wired), read_back(wired)
    for id, body in zip(ids, bodies, strict=True):
        assert facts[id].feedback.satisfaction == (body["rating"] - 1) / 4
        assert not lost(back[id], body)


def test_context_and_metadata_and_their_members_may_be_left_out_or_null(wired: Server) -> None:
    bodies = variants(
        _rating(0), needed=("event_id", "user_id", "session_id", "timestamp", "rating")
    )
    for name in ("context", "metadata"):
        bodies += [_rating(0, **{name: inner}) for inner in variants(EVENT[name])]
    bodies = [{**body, "event_id": _rating(1000 + k)["event_id"]} for k, body in enumerate(bodies)]
    ids = accepted(wired, "/ratings", bodies)
    back = read_back(wired)
    for id, body in zip(ids, bodies, strict=True):
        assert not lost(back[id], body), body


@pytest.mark.parametrize("rating", [0, 6, 2.5, "4", True, None])
def test_a_rating_out_of_range_is_refused(wired: Server, rating: Any) -> None:
    assert wired.post("/ratings", _rating(7, rating=rating)).status_code == 422


def test_a_rating_again_is_a_duplicate_and_with_other_content_a_conflict(wired: Server) -> None:
    assert wired.post("/ratings", _rating(77)).status_code == 201
    again = wired.post("/ratings", _rating(77))
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    changed = wired.post("/ratings", _rating(77, rating=1))
    assert changed.status_code == 409
    results = sent(wired, "/ratings", [_rating(77), _rating(77, rating=1)])
    assert [result["status"] for result in results] == [200, 409]


POLICIES: Final = {
    "BetaTS": "binary",
    "KLUCB": "binary",
    "GaussianTS": "continuous",
    "UCB1Tuned": "continuous",
    "LinUCB": "continuous",
    "LinTS": "continuous",
    "MOSS": "continuous",
    "MOSSAnyTime": "continuous",
    "EXP3": "bounded",
    "FPL": "bounded",
}


@pytest.mark.parametrize("suffix", ["Policy", ""])
@pytest.mark.parametrize("name", POLICIES)
def test_every_policy_by_its_name_selects_and_learns(wired: Server, name: str, suffix: str) -> None:
    kind = POLICIES[name]
    reward: dict[str, Any] = {"type": kind} | ({"low": 0, "high": 1} if kind == "bounded" else {})
    is_linear = name.startswith("Lin")
    id = f"{name}{suffix}".lower()
    shape: dict[str, Any] = {"policy": {"name": name + suffix}, "reward": reward}
    wired.experiment(id, **shape, **({"context": {"dimension": 2}} if is_linear else {}))
    with loopwright.Client(wired.url, wired.key) as client:
        values = {"binary": (0.0, 1.0), "bounded": (0.25, 1.0), "continuous": (-17.5, 1e6)}[kind]
        for value in values:
            context = {"id": "user-42", "vector": [0.5, -1.0], "metadata": {"plan": "pro"}}
            chosen = client.agent.select(experiment_id=id, context=context)
            assert chosen.request_id
            assert (chosen.arm if isinstance(chosen.arm, str) else chosen.arm.id) in ("a", "b")
            client.agent.feedback(request_id=chosen.request_id, reward=value)
    assert wired.await_status(id, feedback=2)["feedback"] == 2
