"""The words of the general event: its types, sources, categories and severities."""

from __future__ import annotations

from typing import Final

from loopwright.core.feedback import Source

TYPES: Final = frozenset(
    {
        "log",
        "metric",
        "interaction",
        "query",
        "error",
        "performance",
        "quality",
        "explicit",
        "user_explicit",
        "implicit",
    }
)
SOURCES: Final[dict[str, Source]] = {
    "application_log": "system",
    "system_metric": "system",
    "trace": "system",
    "user_rating": "end_user",
    "user_comment": "end_user",
    "user_correction": "end_user",
    "query_result": "system",
    "model_response": "system",
    "pipeline_output": "system",
    "api_response": "system",
    "database_query": "system",
    "external_service": "system",
}
CATEGORIES: Final = frozenset(
    {
        "accuracy",
        "latency",
        "cost",
        "error",
        "user_satisfaction",
        "quality",
        "security",
        "compliance",
    }
)
SEVERITIES: Final = frozenset(
    {"debug", "info", "low", "medium", "warning", "error", "high", "critical"}
)


def unknown_words(
    kind: str, source: str | None, severity: str | None, category: str | None
) -> tuple[str, ...]:
    """Return a flag for each word that is not one of those we know; the event is kept all the same."""
    words = (
        ("unknown_type", kind, TYPES),
        ("unknown_source", source, SOURCES),
        ("unknown_severity", severity, SEVERITIES),
        ("unknown_category", category, CATEGORIES),
    )
    return tuple(flag for flag, word, known in words if word is not None and word not in known)


def source_of(source: str | None, kind: str) -> Source:
    """Return who an event comes from: by its source, or by its type where the source is none that we know."""
    if source in SOURCES:
        return SOURCES[source]
    return "end_user" if kind in ("explicit", "user_explicit", "implicit") else "system"
