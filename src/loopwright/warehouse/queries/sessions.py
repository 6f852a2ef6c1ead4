"""Sessions of people, and the steps an agent took in them."""

from __future__ import annotations

from typing import Final

from loopwright.warehouse.tables import Column

from .declared import LIMIT, Parameter, Query

_USED: Final = "('copy', 'export', 'dashboard', 'accept')"

# One pass over a union: joining calls to feedback by session would multiply the two. The first branch gives the
# columns their types, hence the CAST of its NULL.
SESSIONS_SQL: Final = f"""
SELECT session_id,
    min(moment_ms) AS started_at_ms,
    max(moment_ms) AS ended_at_ms,
    sum(is_call) AS calls,
    sum(is_signal) AS signals,
    sum(is_use) AS uses,
    sum(is_correction) AS corrections,
    CASE WHEN sum(is_abandonment) > 0 THEN 1 ELSE 0 END AS abandoned,
    avg(satisfaction) AS satisfaction
FROM (
    SELECT session_id, started_at_ms AS moment_ms, 1 AS is_call, 0 AS is_signal, 0 AS is_use,
        0 AS is_correction, 0 AS is_abandonment, CAST(NULL AS DOUBLE) AS satisfaction
    FROM interactions WHERE session_id IS NOT NULL
    UNION ALL
    SELECT session_id, occurred_at_ms, 0, CASE WHEN kind = 'signal' THEN 1 ELSE 0 END,
        CASE WHEN kind = 'signal' AND metric IN {_USED} THEN 1 ELSE 0 END,
        CASE WHEN kind = 'correction' THEN 1 ELSE 0 END,
        CASE WHEN kind = 'signal' AND metric = 'abandonment' THEN 1 ELSE 0 END, satisfaction
    FROM linked WHERE session_id IS NOT NULL
) AS events
GROUP BY session_id"""  # noqa: S608 - our own constants


QUERIES: Final = (
    Query(
        name="sessions",
        sentence="Sessions: their calls, what was used of them, whether they were abandoned; latest first.",
        reads=("interactions", "linked"),
        sql=SESSIONS_SQL + " ORDER BY started_at_ms DESC, session_id LIMIT $limit",
        columns=(
            Column("session_id", "VARCHAR", "The session."),
            Column("started_at_ms", "BIGINT", "Its first event."),
            Column("ended_at_ms", "BIGINT", "Its latest event."),
            Column("calls", "BIGINT", "Calls of the product."),
            Column("signals", "BIGINT", "Implicit signals."),
            Column("uses", "BIGINT", "Copies, exports, acceptances, additions to a dashboard."),
            Column("corrections", "BIGINT", "Corrections."),
            Column("abandoned", "BIGINT", "1 when it was abandoned."),
            Column("satisfaction", "DOUBLE", "Mean rating on [0, 1]; NULL without ratings."),
        ),
        parameters=(LIMIT,),
    ),
    Query(
        name="steps_of_session",
        sentence="What an agent decided by itself in one session, in order.",
        reads=("steps",),
        sql="""
SELECT step_id, kind, taken_at_ms, data, confidence, outcome, interaction_id
FROM steps WHERE session_id = $session_id ORDER BY taken_at_ms, log_offset""",
        columns=(
            Column("step_id", "VARCHAR", "The step."),
            Column("kind", "VARCHAR", "intent_routing, sql_generation, table_selection, …"),
            Column("taken_at_ms", "BIGINT", "When it was taken."),
            Column("data", "VARCHAR", "What was decided, as a JSON object."),
            Column("confidence", "DOUBLE", "How sure the agent was."),
            Column("outcome", "VARCHAR", "success, failure, correction; NULL while unknown."),
            Column("interaction_id", "VARCHAR", "The call it led to."),
        ),
        parameters=(Parameter("session_id", "VARCHAR", "The session."),),
    ),
)
