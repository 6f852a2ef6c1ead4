"""Counts of feedback: in all, by day, by dimension, by tenant."""

from __future__ import annotations

from typing import Final

from loopwright.core.clock import DAY_MS
from loopwright.warehouse.tables import Column

from .declared import POSITIVE, SEGMENTS, N, Parameter, Query

DAY: Final = Column("day_ms", "BIGINT", "Start of the day, UTC.")

TALLY: Final = (
    Column("facts", "BIGINT", "Facts that count."),
    Column("ratings", "BIGINT", "Ratings."),
    Column("positive", "BIGINT", "Positive ratings: thumbs up, or at least 4 of 5 stars."),
    Column("satisfaction", "DOUBLE", "Mean rating on [0, 1]; NULL without ratings."),
    Column("average_stars", "DOUBLE", "Mean of the 1 to 5 star ratings; NULL without any."),
    Column("thumbs_up", "BIGINT", "Thumbs up."),
    Column("thumbs_down", "BIGINT", "Thumbs down."),
    Column("corrections", "BIGINT", "Corrections."),
    Column("outcomes", "BIGINT", "Outcomes."),
    Column("outcome_value", "DOUBLE", "Mean of the outcomes; NULL without any."),
    Column("people", "BIGINT", "Different people who said something."),
)

# CASE within sum and avg, because FILTER is not in the SQL that the engines share. `avg` leaves out NULL, so a
# CASE without ELSE averages only the rows that are meant.
TALLY_SQL: Final = f"""
    count(*) AS facts,
    sum(CASE WHEN satisfaction IS NULL THEN 0 ELSE 1 END) AS ratings,
    sum(CASE WHEN satisfaction >= {POSITIVE} THEN 1 ELSE 0 END) AS positive,
    avg(satisfaction) AS satisfaction,
    avg(CASE WHEN scale = 'stars' THEN rating END) AS average_stars,
    sum(CASE WHEN scale = 'thumbs' AND satisfaction >= 0.5 THEN 1 ELSE 0 END) AS thumbs_up,
    sum(CASE WHEN scale = 'thumbs' AND satisfaction < 0.5 THEN 1 ELSE 0 END) AS thumbs_down,
    sum(CASE WHEN kind = 'correction' THEN 1 ELSE 0 END) AS corrections,
    sum(CASE WHEN kind = 'outcome' THEN 1 ELSE 0 END) AS outcomes,
    avg(CASE WHEN kind = 'outcome' THEN value END) AS outcome_value,
    count(DISTINCT person) AS people"""


def by(dimension: str, name: str, sentence: str) -> Query:
    """Return the query that counts feedback by a column, or by the one that is asked for."""
    # A category is the feedback's own, so nothing has to be joined for it.
    source = "feedback" if dimension == "category" else "linked"
    where = "WHERE quarantined IS NULL " if dimension == "category" else ""
    return Query(
        name=name,
        sentence=sentence,
        reads=(source,),
        sql=f"SELECT {dimension} AS segment, {TALLY_SQL} FROM {source} {where}"  # noqa: S608 - a column of ours
        f"GROUP BY {dimension} ORDER BY facts DESC, segment",
        columns=(Column("segment", "VARCHAR", "The value; NULL when not known."), *TALLY),
        parameters=(
            (Parameter("dimension", "VARCHAR", "What to break down by.", among=SEGMENTS),)
            if dimension == "{dimension}"
            else ()
        ),
    )


QUERIES: Final = (
    Query(
        name="satisfaction_by_day",
        sentence="Ratings of each day: how many, how many positive, their mean.",
        reads=("feedback",),
        sql=f"""
SELECT occurred_at_ms - occurred_at_ms % {DAY_MS} AS day_ms,
    count(*) AS n,
    sum(CASE WHEN satisfaction >= {POSITIVE} THEN 1 ELSE 0 END) AS positive,
    avg(satisfaction) AS satisfaction
FROM feedback WHERE quarantined IS NULL AND satisfaction IS NOT NULL
GROUP BY occurred_at_ms - occurred_at_ms % {DAY_MS} ORDER BY day_ms""",  # noqa: S608 - our own constants
        columns=(
            DAY,
            N,
            Column("positive", "BIGINT", "Positive ratings."),
            Column("satisfaction", "DOUBLE", "Mean rating on [0, 1]."),
        ),
    ),
    Query(
        name="stats",
        sentence="All feedback in one row: counts, average rating, thumbs.",
        reads=("feedback",),
        sql=f"""
SELECT {TALLY_SQL}, sum(CASE WHEN shape = 'inner' THEN 0 ELSE 1 END) AS items,
    min(occurred_at_ms) AS first_ms, max(occurred_at_ms) AS last_ms
FROM feedback WHERE quarantined IS NULL""",  # noqa: S608 - our own constants
        columns=(
            *TALLY,
            Column("items", "BIGINT", "Items that came in: facts but those inside another item."),
            Column("first_ms", "BIGINT", "The earliest; NULL for none."),
            Column("last_ms", "BIGINT", "The latest; NULL for none."),
        ),
    ),
    by("prompt_version", "by_prompt_version", "What was said about each version of the prompt."),
    by("model_version", "by_model_version", "What was said about each version of the model."),
    by("category", "by_category", "What was said in each category."),
    by("{dimension}", "by_segment", "What was said in each value of a dimension."),
    Query(
        name="distribution",
        sentence="How often each value of a dimension occurs: what drift between two periods is measured on.",
        reads=("linked",),
        sql="SELECT {dimension} AS segment, count(*) AS n FROM linked GROUP BY {dimension} ORDER BY n DESC, segment",
        columns=(Column("segment", "VARCHAR", "The value; NULL when not known."), N),
        parameters=(Parameter("dimension", "VARCHAR", "Of what.", among=SEGMENTS),),
    ),
    Query(
        name="period_counts",
        sentence="How much of everything a period holds, by kind, and since when: says why a report is empty.",
        reads=("decisions", "feedback", "interactions", "steps", "withheld"),
        sql="""
SELECT 'feedback' AS relation, kind, count(*) AS n,
    sum(CASE WHEN quarantined IS NULL THEN 0 ELSE 1 END) AS quarantined,
    min(occurred_at_ms) AS first_ms, max(occurred_at_ms) AS last_ms
FROM feedback GROUP BY kind
UNION ALL
SELECT 'interactions', 'interaction', count(*), 0, min(started_at_ms), max(started_at_ms)
FROM interactions HAVING count(*) > 0
UNION ALL
SELECT 'decisions', mode, count(*), 0, min(at_ms), max(at_ms) FROM decisions GROUP BY mode
UNION ALL
SELECT 'steps', kind, count(*), 0, min(taken_at_ms), max(taken_at_ms) FROM steps GROUP BY kind
UNION ALL
SELECT 'withheld', 'feedback', count(*), 0, min(occurred_at_ms), max(occurred_at_ms)
FROM withheld HAVING count(*) > 0
ORDER BY relation, kind""",
        columns=(
            Column(
                "relation",
                "VARCHAR",
                "feedback, interactions, decisions, steps; withheld is feedback that consent keeps out of reports.",
            ),
            Column("kind", "VARCHAR", "Kind of feedback or step, mode of decision."),
            Column("n", "BIGINT", "How many."),
            Column("quarantined", "BIGINT", "How many of them do not count for now."),
            Column("first_ms", "BIGINT", "The earliest."),
            Column("last_ms", "BIGINT", "The latest."),
        ),
    ),
    Query(
        name="tenants",
        sentence="One row per tenant: its calls and its feedback, counted side by side and not joined, which is "
        "several times as quick as `overview` over all tenants.",
        reads=("feedback", "interactions"),
        sql=f"""
SELECT tenant_id, sum(calls) AS calls, sum(errors) AS errors, sum(cost) AS cost, sum(facts) AS facts,
    sum(ratings) AS ratings, sum(positive) AS positive,
    sum(satisfaction) / nullif(sum(ratings), 0) AS satisfaction,
    sum(corrections) AS corrections, sum(refinements) AS refinements, sum(abandonments) AS abandonments,
    sum(outcomes) AS outcomes, sum(outcome_value) / nullif(sum(outcomes), 0) AS outcome_value
FROM (
    SELECT tenant_id, count(*) AS calls, count(error) AS errors, sum(cost) AS cost, 0 AS facts, 0 AS ratings,
        0 AS positive, 0.0 AS satisfaction, 0 AS corrections, 0 AS refinements, 0 AS abandonments,
        0 AS outcomes, 0.0 AS outcome_value
    FROM interactions GROUP BY tenant_id
    UNION ALL
    SELECT tenant_id, 0, 0, CAST(NULL AS DOUBLE), count(*), count(satisfaction),
        count(CASE WHEN satisfaction >= {POSITIVE} THEN 1 END), sum(satisfaction),
        count(CASE WHEN kind = 'correction' THEN 1 END),
        count(CASE WHEN kind = 'signal' AND metric = 'refinement' THEN 1 END),
        count(CASE WHEN kind = 'signal' AND metric = 'abandonment' THEN 1 END),
        count(CASE WHEN kind = 'outcome' THEN 1 END), sum(CASE WHEN kind = 'outcome' THEN value END)
    FROM feedback WHERE quarantined IS NULL GROUP BY tenant_id
) AS sides GROUP BY tenant_id ORDER BY tenant_id""",  # noqa: S608 - our own constants
        columns=(
            Column("tenant_id", "VARCHAR", "The tenant."),
            Column("calls", "BIGINT", "Calls."),
            Column("errors", "BIGINT", "Calls that failed."),
            Column("cost", "DOUBLE", "Sum of the calls' costs; NULL when none is known."),
            Column("facts", "BIGINT", "Feedback that counts."),
            Column("ratings", "BIGINT", "Ratings."),
            Column("positive", "BIGINT", "Positive ratings."),
            Column("satisfaction", "DOUBLE", "Mean rating on [0, 1]; NULL without ratings."),
            Column("corrections", "BIGINT", "Corrections."),
            Column("refinements", "BIGINT", "Queries asked again in other words."),
            Column("abandonments", "BIGINT", "Sessions that ended without a result being used."),
            Column("outcomes", "BIGINT", "Outcomes."),
            Column("outcome_value", "DOUBLE", "Mean of the outcomes; NULL without any."),
        ),
    ),
    Query(
        name="overview",
        sentence="One row per tenant: calls, ratings and the rates that a manager compares.",
        reads=("wide",),
        sql=f"""
SELECT tenant_id, count(*) AS calls,
    sum(ratings) AS ratings,
    avg(satisfaction) AS satisfaction,
    sum(CASE WHEN satisfaction >= {POSITIVE} THEN 1 ELSE 0 END) AS satisfied,
    sum(CASE WHEN corrections > 0 THEN 1 ELSE 0 END) AS corrected,
    sum(CASE WHEN is_refined THEN 1 ELSE 0 END) AS refined,
    sum(CASE WHEN is_abandoned THEN 1 ELSE 0 END) AS abandoned,
    sum(outcomes) AS outcomes,
    avg(outcome_value) AS outcome_value,
    avg(server_latency_ms) AS server_latency_ms,
    sum(cost) AS cost,
    sum(CASE WHEN error IS NULL THEN 0 ELSE 1 END) AS errors
FROM wide GROUP BY tenant_id ORDER BY tenant_id""",  # noqa: S608 - our own constants
        columns=(
            Column("tenant_id", "VARCHAR", "The tenant."),
            Column("calls", "BIGINT", "Calls."),
            Column("ratings", "BIGINT", "Ratings of them."),
            Column("satisfaction", "DOUBLE", "Mean over rated calls on [0, 1]."),
            Column("satisfied", "BIGINT", "Calls with a positive mean rating."),
            Column("corrected", "BIGINT", "Calls that were corrected."),
            Column("refined", "BIGINT", "Calls that were asked again in other words."),
            Column("abandoned", "BIGINT", "Calls after which the session was abandoned."),
            Column("outcomes", "BIGINT", "Outcomes."),
            Column("outcome_value", "DOUBLE", "Mean over calls with an outcome."),
            Column("server_latency_ms", "DOUBLE", "Mean latency."),
            Column("cost", "DOUBLE", "Sum of the costs."),
            Column("errors", "BIGINT", "Calls that failed."),
        ),
    ),
)
