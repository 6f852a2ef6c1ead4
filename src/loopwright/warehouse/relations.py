"""How feedback finds what it is about: the SQL of the relations that are made of several tables.

Feedback may name a decision, a span, a trace, a message, an output, or several of them. Every reference that
matches a call is found by one equality join each; of all matches the first in that order counts, and within
one reference the earliest call. Nothing is stored about it, so a fact that came before its call joins as soon
as the call is there.

The statements read `facts` and `calls` (feedback and interactions, wider than the period so that both ends of
a link are there), `choices` (decisions), and the period's own `feedback` and `interactions`.
"""

from __future__ import annotations

from typing import Final

from .tables import FEEDBACK, INTERACTIONS, LINKED, WIDE

REFERENCES: Final = {
    "decision": "decision_key",
    "span": "span_key",
    "trace": "trace_key",
    "message": "message_key",
    "output": "output_key",
}
"""What can join feedback to a call, first choice first."""

_PLACE: Final = 2**56
"""A match is one whole number, place x 2^56 + offset of the call, so that the least of a fact's matches is its best."""

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
"""What a call says where the feedback itself does not."""


def links_sql() -> str:
    """Return the SELECT of (fact, target, place): which call each fact is about."""
    return (
        f"WITH {_held(_keys())} "  # noqa: S608 - our own names
        f"SELECT fact, best % {_PLACE} AS target, (best - best % {_PLACE}) / {_PLACE} AS place "
        f"FROM (SELECT fact, min(best) AS best FROM ({_matches_sql()}) AS matches GROUP BY fact) AS firsts"
    )


def _keys() -> str:
    return ", ".join(REFERENCES.values())


def _held(columns: str, where: str = "TRUE") -> str:
    """Both sides are read once and held for the five joins: reading is dearer than any of them."""
    return (
        f"fact_keys AS MATERIALIZED (SELECT log_offset, {columns} FROM facts WHERE {where}), "  # noqa: S608
        f"call_keys AS MATERIALIZED (SELECT log_offset, {_keys()} FROM calls)"
    )


def _matches_sql(carried: str = "") -> str:
    return " UNION ALL ".join(
        f"SELECT f.log_offset AS fact, {place * _PLACE} + c.log_offset AS best{carried} "  # noqa: S608
        f"FROM fact_keys AS f JOIN call_keys AS c ON f.{key} = c.{key}"
        for place, key in enumerate(REFERENCES.values(), 1)
    )


def feedback_of_task_sql(within: str, task: str) -> str:
    """Return the SELECT of the facts `within` a period that are of a task, by their own word or their call's."""
    return (
        "SELECT f.* FROM facts AS f LEFT JOIN links AS l ON l.fact = f.log_offset "  # noqa: S608
        f"LEFT JOIN calls AS c ON c.log_offset = l.target WHERE {within} "
        f"AND coalesce(nullif(f.task, ''), nullif(c.task, '')) = {task}"
    )


def linked_sql(
    columns: tuple[str, ...] = FEEDBACK.names, calls: tuple[str, ...] = INTERACTIONS.names
) -> str:
    """Return the SELECT of the relation `linked`, where feedback has `columns` and calls have `calls`."""
    kinds = " ".join(f"WHEN {place} THEN '{kind}'" for place, kind in enumerate(REFERENCES, 1))
    refers = ", ".join(f"f.{key}" for key in REFERENCES.values())
    made = {
        "interaction_offset": "c.log_offset",
        "interaction_id": "c.interaction_id",
        "link": f"CASE CAST(l.place AS BIGINT) {kinds} END",
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
    absent = {*FEEDBACK.names, "interaction_id"} - {*columns, *calls}
    # Linked feedback has been linked and counts: what that was decided by is not needed again.
    absent |= {*REFERENCES.values(), "quarantined", "consent_store", "consent_analyze"}
    names = [name for name in LINKED.names if name not in absent]
    select = ", ".join(f"{made.get(name, f'f.{name}')} AS {name}" for name in names)
    return (
        f"SELECT {select} FROM feedback AS f LEFT JOIN links AS l ON l.fact = f.log_offset "  # noqa: S608
        "LEFT JOIN calls AS c ON c.log_offset = l.target "
        "LEFT JOIN choices AS d ON d.decision_key = f.decision_key "
        "WHERE f.quarantined IS NULL"
    )


def wide_sql(columns: tuple[str, ...] = INTERACTIONS.names) -> str:
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


_WHAT: Final = """CASE kind
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
    ELSE 0 END AS what,
    satisfaction AS satisfaction,
    CASE WHEN kind = 'outcome' THEN value END AS outcome"""
"""All that a call's totals need of a fact, in three numbers: texts would be several times as dear to carry."""


def totals_sql(*, has_links: bool) -> str:
    """Return the SELECT of what was learned about each call, by its offset (`target`).

    With the relation `links` facts find their calls by it. Without, they carry their numbers along while their
    best match is found, which spares a join of all facts with all links.
    """
    if has_links:
        return _totals(
            f"SELECT l.target AS target, {_WHAT} "  # noqa: S608 - our own names
            "FROM facts AS f JOIN links AS l ON l.fact = f.log_offset WHERE f.quarantined IS NULL"
        )
    carried = ("what", "satisfaction", "outcome")
    columns = ", ".join(f"min({name}) AS {name}" for name in carried)
    matches = _matches_sql("".join(f", f.{name} AS {name}" for name in carried))
    held = _held(f"{_keys()}, {_WHAT}", "quarantined IS NULL")
    counted = _totals(
        f"SELECT best % {_PLACE} AS target, what, satisfaction, outcome FROM ("  # noqa: S608
        f"SELECT fact, min(best) AS best, {columns} FROM ({matches}) AS matches GROUP BY fact) AS firsts"
    )
    return f"WITH {held} {counted}"


def _totals(source: str) -> str:
    return f"""
SELECT target,
    count(*) AS feedback,
    {_times("what IN (1, 2)")} AS ratings,
    avg(satisfaction) AS satisfaction,
    {_times("what = 1 AND satisfaction >= 0.5")} AS thumbs_up,
    {_times("what = 1 AND satisfaction < 0.5")} AS thumbs_down,
    {_times("what = 3")} AS corrections,
    {_times("what >= 10")} AS signals,
    {_times("what = 11")} > 0 AS is_retried,
    {_times("what = 12")} > 0 AS is_refined,
    {_times("what = 13")} > 0 AS is_abandoned,
    {_times("what = 14")} > 0 AS is_used,
    {_times("what = 4")} AS outcomes,
    avg(outcome) AS outcome_value,
    {_times("what = 5")} AS annotations
FROM ({source}) AS counted
GROUP BY target"""  # noqa: S608 - our own constants
