"""The typed feedback, people and refused items of the data folder of November 2026; see `folder_2026_11`."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from loopwright.feedback.people import change_consent, erase_person

if TYPE_CHECKING:
    from .folder_2026_11 import Maker

SECRET_TEXT: Final = "write to mallory@example.org"
BURST: Final = 60


def send_every_shape(m: Maker) -> None:
    """One item or more of every kind and every wire shape."""
    at_ms = m.clock.now_ms()
    stamp = "2026-11-16T12:00:00.000Z"
    decided = m.home.agent.select("greeting")
    about: dict[str, Any] = {"output_id": "answer-81", "user_id": "u-17", "occurred_at": at_ms}
    native = [
        {"kind": "rating", "scale": "stars", "value": 4, "message": "good, but slow", **about},
        {"kind": "rating", "scale": "thumbs", "value": 0, "message": "wrong year",
         "request_id": decided.request_id, "user_id": "u-18"},
        {"kind": "rating", "scale": "numeric", "value": 7, "low": 0, "high": 10, "decision_id": "theirs-1"},
        {"kind": "signal", "name": "dwell", "value": 42_000, "session_id": "s-4", "message_id": "m-9"},
        {"kind": "correction", "before": "SELECT 1", "after": "SELECT 2", "explanation": "two", **about},
        {"kind": "outcome", "metric": "reward", "value": 1, "request_id": decided.request_id},
        {"kind": "measurement", "name": "latency", "value": 120, "unit": "ms", "trace_id": "4bf92f", "span_id": "01"},
        {"kind": "annotation", "rubric": "tone", "rubric_version": 3, "label": "good", "score": 0.75,
         "reviewer": "rev-1", "rationale": "polite", "output_id": "answer-82", "source": "reviewer"},
        {"kind": "rating", "scale": "stars", "value": 1, "output_id": "answer-83", "user_id": "u-20",
         "consent": ["store", "analyze"], "labels": {"model_version": "2026-10"}, "tags": ["beta"]},
    ]  # fmt: skip
    event = {
        "id": "evt-1", "type": "query", "source": "user_rating", "severity": "info", "category": "accuracy",
        "tenant_id": "default", "user_id": "u-17", "session_id": "s-4", "message_id": "m-9", "timestamp": stamp,
        "data": {"thumbs": "down", "query": "revenue by region", "comment": "wrong year"}, "tags": ["beta"],
    }  # fmt: skip
    generation = {"output_id": "offer-12/3", "customer_id": "c-204", "generated_copy": "Two coffees for one.",
                  "rating": 5, "thumbs": "up", "prompt_version": "p7", "model_version": "m3"}  # fmt: skip
    correction = {"original": "SELECT * FROM sales", "corrected": "SELECT * FROM sales WHERE year = 2026",
                  "explanation": "only this year", "user_id": "u-17", "session_id": "s-4", "message_id": "m-9"}  # fmt: skip
    rating = {"event_id": "7d444840-9dc0-4df5-a5b4-6f1c9bd5a2f0", "user_id": "u-17", "session_id": "s-4",
              "timestamp": stamp, "rating": 4, "context": {"feature_id": "search", "device_type": "mobile", "locale": "de-DE"},
              "metadata": {"ip_address": "203.0.113.9", "user_agent": "App/3.1"}}  # fmt: skip
    interaction = {
        "id": "answer-81", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "session_id": "s-4", "user_id": "u-17",
        "task": "answers", "prompt_version": "p7", "model_id": "large", "model_version": "2026-10",
        "input_tokens": 812, "output_tokens": 96, "server_latency_ms": 840, "started_at": stamp,
        "feedback": [{"type": "thumbs", "value": "up"}], "outcomes": [{"name": "resolved", "value": 1}],
    }  # fmt: skip
    step = {"id": "step-1", "session_id": "s-4", "kind": "sql_generation", "taken_at": stamp,
            "data": {"tables": ["sales"]}, "confidence": 0.8, "user_id": "u-17"}  # fmt: skip
    seen = {"type": "signal", "kind": "copy", "value": 1, "request_id": decided.request_id,
            "session_id": "s-5", "event_id": "browser-1", "at_ms": at_ms}  # fmt: skip
    clicked = {**seen, "type": "rating", "scale": "stars", "value": 5, "event_id": "browser-2"}
    clicked.pop("kind")
    m.expect(201, "feedback", [*native, event, generation])
    m.expect(201, "correction", [correction])
    m.expect(201, "rating", [rating])
    m.expect(201, "signals", [seen, clicked])
    m.expect(201, "interaction", [interaction])
    m.expect(201, "step", [step, {**step, "id": "step-2", "outcome": "failure"}])
    m.clock.advance(seconds=30)
    m.expect(201, "step", [{**step, "outcome": "correction"}])
    m.expect(200, "feedback", [native[0]])


def send_burst(m: Maker) -> None:
    """Six days of quiet ratings of one arm, then one minute of many; the minute is released, another one and back."""
    for _ in range(6):
        for person in range(8):
            token = m.home.agent.select("greeting", mask=["casual"]).request_id
            item = {
                "kind": "rating",
                "scale": "thumbs",
                "value": person % 4 > 0,
                "request_id": token,
            }
            m.expect(
                201,
                "feedback",
                [{**item, "value": int(item["value"]), "user_id": f"quiet-{person}"}],
            )
            m.clock.advance(seconds=3 * 3600)
    from_ms = m.clock.now_ms()
    for person in range(BURST):
        token = m.home.agent.select("greeting", mask=["casual"]).request_id
        m.expect(201, "feedback", [{"kind": "rating", "scale": "thumbs", "value": 0, "request_id": token,
                                    "user_id": f"rush-{person}"}])  # fmt: skip
        m.clock.advance(seconds=0.5)
    until = m.clock.now_ms()
    rush = {"experiment_id": "greeting", "arm_id": "casual", "from_ms": from_ms, "to_ms": until}
    m.home.feedback.release(**rush, note="the newsletter of Monday")
    other = m.home.feedback.release(from_ms=from_ms - 60_000, to_ms=from_ms, note="a mistake")
    m.home.feedback.withdraw(other.id)
    m.clock.advance(seconds=3600)


def send_personal(m: Maker) -> None:
    """Raw copies, refused items, a consent that changed, a person who was erased."""
    about = {"kind": "rating", "scale": "stars", "value": 2, "output_id": "answer-81"}
    for name in ("u-17", "u-30", "u-erased"):
        copy = {**about, "event_id": f"raw-{name}", "user_id": name, "message": SECRET_TEXT}
        m.expect(201, "feedback", [copy])
    m.known["raw"] = {
        name: {"kind": "rating", "scale": "stars", "value": 2, "output_id": "answer-81",
               "event_id": f"raw-{name}", "user_id": name, "message": SECRET_TEXT}
        for name in ("u-17", "u-30")
    }  # fmt: skip
    m.expect(
        201,
        "step",
        [{"id": "gone-1", "session_id": "s-9", "kind": "search", "user_id": "u-erased"}],
    )
    call = {"id": "gone-call", "session_id": "s-9", "user_id": "u-erased", "task": "answers"}
    m.expect(201, "interaction", [call])
    bad = [
        {**about, "value": 9, "user_id": "u-30", "message": SECRET_TEXT},
        {**about, "value": 9, "user_id": "u-erased"},
        {**about, "colour": "red"},
        {"kind": "rating", "scale": "stars", "value": 3},
    ]
    m.expect(422, "feedback", bad)
    m.expect(403, "feedback", [{**about, "request_id": forged(m), "user_id": "u-17"}])
    asyncio.run(change_people(m))


def forged(m: Maker) -> str:
    """Return a token whose signature does not match."""
    token = m.home.agent.select("greeting").request_id
    return token[:-6] + ("AAAAAA" if token[-6:] != "AAAAAA" else "BBBBBB")


async def change_people(m: Maker) -> None:
    """Erase one person and limit what two others allow, as the HTTP routes do."""
    services, at_ms = m.services, m.clock.now_ms()
    assert services.raw is not None
    m.known["consents"] = {}
    for user, scopes in {"u-18": ["store"], "u-20": ["store", "analyze", "share"]}.items():
        person, _ = await change_consent(
            services.people, m.append, tenant_id="default", id=user, scopes=scopes, at_ms=at_ms,
            forget_raw=services.raw.forget,
        )  # fmt: skip
        m.known["consents"][user] = {"person": person.id, "scopes": scopes}
    erased = await erase_person(
        services.people, m.append, tenant_id="default", id="u-erased", count_rows=services.rows_of,
        forget_quarantined=services.quarantine.forget, at_ms=at_ms, forget_raw=services.raw.forget,
    )  # fmt: skip
    assert erased.raw_copies == 1
    assert erased.quarantined == 1
    assert all(erased.rows[table] for table in ("feedback", "interactions", "steps"))
    m.known["erased"] = {"user_id": "u-erased", "person": erased.person, "event_id": "raw-u-erased"}
