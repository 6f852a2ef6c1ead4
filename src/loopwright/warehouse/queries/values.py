"""Numbers, single or by unit: the input of intervals, tests of change and comparisons of versions."""

from __future__ import annotations

from typing import Final

from loopwright.warehouse.tables import Column

from .declared import LIMIT, NUMBERS, OF_METRIC, SEGMENTS, N, Parameter, Query

QUERIES: Final = (
    Query(
        name="rated_facts",
        sentence="Every rating with its fact and its unit: what weighing by trust reads.",
        reads=("linked",),
        sql="""
SELECT event_id, coalesce(person, unit_id, session_id, event_id) AS unit, satisfaction AS value
FROM linked WHERE kind = 'rating' AND satisfaction IS NOT NULL ORDER BY occurred_at_ms, log_offset""",
        columns=(
            Column("event_id", "VARCHAR", "The fact."),
            Column("unit", "VARCHAR", "Whose rating it is."),
            Column("value", "DOUBLE", "The rating on [0, 1]."),
        ),
    ),
    Query(
        name="version_units",
        sentence="Every value of a metric with its version and its unit (the person, else the decision's unit, "
        "the session, or the fact itself), in order of time: what a sequential comparison of versions reads.",
        reads=("linked",),
        sql="SELECT {dimension} AS version, coalesce(person, unit_id, session_id, event_id) AS unit, "  # noqa: S608
        f"occurred_at_ms AS at_ms, value FROM linked WHERE {OF_METRIC} AND "
        "{dimension} IS NOT NULL ORDER BY occurred_at_ms, log_offset",
        columns=(
            Column("version", "VARCHAR", "The version."),
            Column("unit", "VARCHAR", "Who or what the value is of."),
            Column("at_ms", "BIGINT", "When it happened."),
            Column("value", "DOUBLE", "The value."),
        ),
        parameters=(
            Parameter("dimension", "VARCHAR", "Which version.", "prompt_version", among=SEGMENTS),
            Parameter(
                "metric", "VARCHAR", "Which metric; `rating` is every rating on [0, 1].", "rating"
            ),
        ),
    ),
    Query(
        # By unit, since twenty ratings of one person are not twenty opinions: an interval over facts would be
        # too narrow.
        name="unit_totals",
        sentence="A metric's sum and count for each unit: what a bootstrap by user reads.",
        reads=("feedback",),
        sql=f"""
SELECT coalesce(person, unit_id, session_id, event_id) AS unit, sum(value) AS total, count(*) AS n
FROM feedback WHERE quarantined IS NULL AND {OF_METRIC}
GROUP BY coalesce(person, unit_id, session_id, event_id) ORDER BY unit""",  # noqa: S608 - our own constants
        columns=(
            Column("unit", "VARCHAR", "Who or what the values are of."),
            Column("total", "DOUBLE", "Sum of the values."),
            N,
        ),
        parameters=(Parameter("metric", "VARCHAR", "Which metric.", "rating"),),
    ),
    Query(
        name="values_of",
        sentence="Every value of a metric in order of time: what a changepoint or drift test reads.",
        reads=("feedback",),
        sql=f"SELECT occurred_at_ms AS at_ms, value FROM feedback WHERE quarantined IS NULL AND {OF_METRIC} "  # noqa: S608
        "ORDER BY occurred_at_ms, log_offset LIMIT $limit",
        columns=(
            Column("at_ms", "BIGINT", "When it happened."),
            Column("value", "DOUBLE", "The value."),
        ),
        parameters=(Parameter("metric", "VARCHAR", "Which metric.", "rating"), LIMIT),
    ),
    Query(
        name="call_numbers",
        sentence="One number of each call, in order of time: cost, tokens or latency, for drift and trends.",
        reads=("interactions",),
        sql="SELECT started_at_ms AS at_ms, CAST({dimension} AS DOUBLE) AS value FROM interactions "
        "WHERE {dimension} IS NOT NULL ORDER BY started_at_ms, log_offset LIMIT $limit",
        columns=(
            Column("at_ms", "BIGINT", "When the call began."),
            Column("value", "DOUBLE", "The number."),
        ),
        parameters=(Parameter("dimension", "VARCHAR", "Which number.", among=NUMBERS), LIMIT),
    ),
)
