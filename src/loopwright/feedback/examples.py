"""Example bodies of every endpoint of typed feedback, as the API document shows them."""

from __future__ import annotations

from typing import Final

EVENT: Final = {
    "id": "evt-1",
    "type": "query",
    "source": "user_rating",
    "severity": "info",
    "category": "accuracy",
    "user_id": "u-17",
    "session_id": "s-4",
    "message_id": "m-9",
    "timestamp": "2026-11-20T09:30:00.000Z",
    "data": {"thumbs": "down", "query": "revenue by region", "comment": "wrong year"},
    "tags": ["beta"],
}
NATIVE: Final = {
    "kind": "rating",
    "scale": "stars",
    "value": 4,
    "output_id": "answer-81",
    "user_id": "u-17",
    "message": "good, but slow",
    "labels": {"model_version": "2026-10"},
}
GENERATION: Final = {
    "output_id": "offer-12/3",
    "customer_id": "c-204",
    "generated_copy": "Two coffees for one, today only.",
    "rating": 5,
    "thumbs": "up",
    "prompt_version": "p7",
    "model_version": "m3",
}
CORRECTION: Final = {
    "original": "SELECT * FROM sales",
    "corrected": "SELECT * FROM sales WHERE year = 2026",
    "explanation": "only this year",
    "user_id": "u-17",
    "session_id": "s-4",
    "message_id": "m-9",
}
RATING: Final = {
    "event_id": "7d444840-9dc0-4df5-a5b4-6f1c9bd5a2f0",
    "user_id": "u-17",
    "session_id": "s-4",
    "timestamp": "2026-11-20T09:30:00.000Z",
    "rating": 4,
    "context": {"feature_id": "search", "device_type": "mobile", "locale": "de-DE"},
    "metadata": {"ip_address": "203.0.113.9", "user_agent": "App/3.1"},
}
SIGNAL: Final = {
    "request_id": "…",
    "session_id": "s-4",
    "event_id": "b1",
    "at_ms": 1_795_000_000_000,
    "type": "signal",
    "kind": "copy",
    "value": 1,
}
INTERACTION: Final = {
    "id": "answer-81",
    "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
    "session_id": "s-4",
    "user_id": "u-17",
    "task": "support",
    "prompt_version": "p7",
    "model_id": "large",
    "model_version": "2026-10",
    "input_tokens": 812,
    "output_tokens": 96,
    "server_latency_ms": 840,
    "started_at": "2026-11-20T09:29:58.000Z",
    "feedback": [{"type": "thumbs", "value": "up"}],
    "outcomes": [{"name": "resolved", "value": 1}],
}
AGENT_DECISION: Final = {
    "session_id": "s-4",
    "tenant_id": "default",
    "decision_type": "sql_generation",
    "decision_data": {"tables": ["sales"]},
    "outcome": "success",
    "confidence": 0.8,
}
STEP: Final = {
    "id": "step-1",
    "session_id": "s-4",
    "kind": "sql_generation",
    "taken_at": "2026-11-20T09:29:58.000Z",
    "data": {"tables": ["sales"]},
    "confidence": 0.8,
    "outcome": "success",
    "user_id": "u-17",
}
