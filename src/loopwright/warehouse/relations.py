"""Joining feedback to calls and decisions: the SQL of the relations that are made of several tables.

Feedback may name a decision, a span, a trace, a message, an output, or several of them. Every reference that
matches a call is found by one equality join each; of all matches the first in that order counts, and within
one reference the earliest call. Nothing is stored about it, so a fact that came before its call joins as soon
as the call is there.

The statements read `calls` (interactions of more than the period, so that both ends of a link are there),
`choices` (decisions), the period's own `interactions`, and feedback from the SELECT that they are given.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from .tables import FEEDBACK, INTERACTIONS, LINKED, WIDE

REFERENCES: Final = {
    "decision": "decision_key",
    "span": "span_key",
    "trace": "trace_key",
    "message": "message_key",
    "output": "output_key",
}
"""The references that can join feedback to a call, in order of preference."""

_PLACE: Final = 2**56
_WHAT: Final = 2**59
"""A match is one whole number: code x 2^59 + place x 2^56 + offset of the call. All matches of a fact have its one
code, so the smallest number is the match of the first reference, and among these the earliest call."""

COUNTED: Final = (
    "log_offset",
    "kind",
    "metric",
    "value",
    "scale",
    "satisfaction",
    "quarantined",
    *REFERENCES.values(),
)
"""The columns of feedback that linking and counting it for its call need."""

_OF_THE_CALL: Final = (
    "session_id",
    "person",
    "prompt_version",
    "model_version",
    "model_id",
    "feature_id",
    "device_type",
    "locale",
    "endpoint",
    "query",
)
"""Columns that a call fills in where the feedback leaves them empty."""

JOINED: Final = frozenset(LINKED.names) - frozenset(FEEDBACK.names)
"""Columns of `linked` that feedback lacks."""

_FILLED_IN: Final = JOINED | {*_OF_THE_CALL, "task", "experiment_id", "arm_id", "unit_id"}

OWN: Final = {name: f"own_{name}" for name in ("person", "session_id", "unit_id")}
"""The feedback's own values of columns that `told` fills in from the call under the plain name."""

_QUARANTINED: Final = 15
_CODE: Final = f"""CASE WHEN quarantined IS NOT NULL THEN {_QUARANTINED} ELSE CASE kind
    WHEN 'rating' THEN CASE scale WHEN 'thumbs' THEN 1 ELSE 2 END
    WHEN 'correction' THEN 3
    WHEN 'outcome' THEN 4
    WHEN 'annotation' THEN 5
    WHEN 'signal' THEN CASE metric
        WHEN 'retry' THEN 11
        WHEN 'refinement' THEN 12
        WHEN 'abandonment' THEN 13
        WHEN 'copy' THEN 14
        WHEN 'export' THEN 14
        WHEN 'dashboard' THEN 14
        WHEN 'accept' THEN 14
        ELSE 10 END
    ELSE 0 END END"""
_NUMBER: Final = "CASE WHEN kind = 'outcome' THEN value ELSE satisfaction END"
"""A call's totals need two numbers of each fact; carrying its texts would cost several times as much."""


def links_sql(facts: str) -> str:
    """Return the SELECT of (fact, target, place, what, number): which call each of `facts` is about."""
    matches = " UNION ALL ".join(
        f"SELECT f.log_offset AS fact, f.what + {place * _PLACE} + c.log_offset AS best, f.number AS number "  # noqa: S608
        f"FROM fact_keys AS f JOIN call_keys AS c ON f.{key} = c.{key}"
        for place, key in enumerate(REFERENCES.values(), 1)
    )
    keys = ", ".join(REFERENCES.values())
    # Both sides are read once and kept for the five joins: a read costs more than any of the joins.
    return f"""
WITH fact_keys AS MATERIALIZED (
    SELECT log_offset, {keys}, CAST({_CODE} AS BIGINT) * {_WHAT} AS what, {_NUMBER} AS number FROM ({facts}) AS facts
), call_keys AS MATERIALIZED (SELECT log_offset, {keys} FROM calls)
SELECT fact, best % {_PLACE} AS target,
    CAST((best % {_WHAT} - best % {_PLACE}) / {_PLACE} AS BIGINT) AS place,
    CAST((best - best % {_WHAT}) / {_WHAT} AS BIGINT) AS what, number
FROM (SELECT fact, min(best) AS best, min(number) AS number FROM ({matches}) AS matches GROUP BY fact) AS firsts"""  # noqa: S608


def told_sql(facts: str, columns: Sequence[str]) -> str:
    """Return the SELECT of `facts` joined to their calls and decisions: `columns` of `linked`, and `OWN`."""
    kinds = " ".join(f"WHEN {place} THEN '{kind}'" for place, kind in enumerate(REFERENCES, 1))
    refers = ", ".join(f"f.{key}" for key in REFERENCES.values())
    made = {
        "interaction_offset": "c.log_offset",
        "interaction_id": "c.interaction_id",
        "link": f"CASE l.place {kinds} END",
        "interaction_started_at_ms": "c.started_at_ms",
        "country": "c.country",
        "knowledge_version": "c.knowledge_version",
        "is_waiting": f"coalesce({refers}) IS NOT NULL AND f.experiment_id IS NULL "
        "AND c.log_offset IS NULL AND d.decision_id IS NULL",
        "task": "coalesce(nullif(f.task, ''), nullif(c.task, ''))",
        "experiment_id": "coalesce(f.experiment_id, d.experiment_id)",
        "arm_id": "coalesce(f.arm_id, d.arm_id)",
        "unit_id": "coalesce(f.unit_id, d.unit_id)",
        **{name: f"coalesce(f.{name}, c.{name})" for name in _OF_THE_CALL},
    }
    select = [f"{made.get(name, f'f.{name}')} AS {name}" for name in columns]
    select += [f"f.{name} AS {own}" for name, own in OWN.items()]
    return (
        f"SELECT {', '.join(select)} FROM ({facts}) AS f LEFT JOIN links AS l ON l.fact = f.log_offset "  # noqa: S608
        "LEFT JOIN calls AS c ON c.log_offset = l.target "
        "LEFT JOIN choices AS d ON d.decision_key = f.decision_key"
    )


def own_sql(columns: Sequence[str]) -> str:
    """Return the SELECT of feedback with its own values, from `told` with `columns`."""
    plain = [name for name in columns if name not in _FILLED_IN]
    own = [f"{own} AS {name}" for name, own in OWN.items()]
    return f"SELECT {', '.join(plain + own)} FROM told"  # noqa: S608 - our own names


def wide_sql(columns: Sequence[str]) -> str:
    """Return the SELECT of the relation `wide`, with `columns` of interactions."""
    own = ", ".join(f"i.{name}" for name in columns)
    counts = [c.name for c in WIDE.columns[len(INTERACTIONS.columns) :]]
    sums = ", ".join(
        f"s.{name}" if name in _MEANS else f"coalesce(s.{name}, {_NONE.get(name, '0')}) AS {name}"
        for name in counts
    )
    return (
        f"SELECT {own}, {sums} FROM interactions AS i "  # noqa: S608 - our own names
        "LEFT JOIN totals AS s ON s.target = i.log_offset"
    )


_MEANS: Final = ("satisfaction", "outcome_value")
_NONE: Final = dict.fromkeys(("is_retried", "is_refined", "is_abandoned", "is_used"), "FALSE")


def _times(condition: str) -> str:
    # A count is 8 bytes wide where a sum of whole numbers takes 16, for each of millions of calls.
    return f"count(CASE WHEN {condition} THEN 1 END)"


def totals_sql() -> str:
    """Return the SELECT of the totals of each call's feedback, by the call's offset (`target`)."""
    return f"""
SELECT target,
    count(*) AS feedback,
    {_times("what IN (1, 2)")} AS ratings,
    avg(CASE WHEN what IN (1, 2) THEN number END) AS satisfaction,
    {_times("what = 1 AND number >= 0.5")} AS thumbs_up,
    {_times("what = 1 AND number < 0.5")} AS thumbs_down,
    {_times("what = 3")} AS corrections,
    {_times("what >= 10")} AS signals,
    {_times("what = 11")} > 0 AS is_retried,
    {_times("what = 12")} > 0 AS is_refined,
    {_times("what = 13")} > 0 AS is_abandoned,
    {_times("what = 14")} > 0 AS is_used,
    {_times("what = 4")} AS outcomes,
    avg(CASE WHEN what = 4 THEN number END) AS outcome_value,
    {_times("what = 5")} AS annotations
FROM links WHERE what < {_QUARANTINED}
GROUP BY target"""  # noqa: S608 - our own constants
