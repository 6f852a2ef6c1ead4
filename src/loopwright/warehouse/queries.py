"""The named queries: everything that people and reports read from the warehouse.

Each is one statement in the SQL that the engines share: sums, counts, cases, averages, least and greatest,
row numbers; no engine's own functions. A query names the relations it reads, and never a tenant or a period:
the warehouse hands it relations that already hold one tenant's rows of one period, so that no query can
forget to ask. Parameters are written `$name`; `{dimension}` stands for one of the declared columns.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from loopwright.core.clock import DAY_MS
from loopwright.core.errors import Invalid, NotFound

from .tables import FEEDBACK, Column, Type

POSITIVE: Final = 0.75
"""A rating is positive from here on: thumbs up, or at least 4 of 5 stars."""

SEGMENTS: Final = (
    "prompt_version",
    "model_version",
    "model_id",
    "task",
    "category",
    "feature_id",
    "device_type",
    "locale",
    "endpoint",
    "country",
    "source",
    "experiment_id",
    "arm_id",
)
"""What feedback can be broken down by."""

NUMBERS: Final = (
    "input_tokens",
    "output_tokens",
    "cost",
    "client_latency_ms",
    "server_latency_ms",
)
"""What a call is measured in."""

_SQL_TASKS: Final = "('sql', 'sql_generation', 'text_to_sql')"
_USED: Final = "('copy', 'export', 'dashboard', 'accept')"


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a query; required when its default is None."""

    name: str
    type: Type
    sentence: str
    default: Any = None
    among: tuple[str, ...] = ()
    """The values it can have, when they are few."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One named question: what it answers, what it takes, what it reads, what comes back."""

    name: str
    sentence: str
    reads: tuple[str, ...]
    sql: str
    columns: tuple[Column, ...]
    parameters: tuple[Parameter, ...] = ()
    is_bulk: bool = False
    """It reads the tables as they are, every column, rather than the slim copy of a period that reports share."""

    def bind(self, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the statement and its parameters. Raises `Invalid` for a missing, foreign or odd one."""
        known = {parameter.name: parameter for parameter in self.parameters}
        if foreign := sorted(set(given) - set(known)):
            raise Invalid(
                f"query {self.name!r} has no parameter {foreign[0]!r}; "
                f"it takes {', '.join(known) or 'none'} besides tenant_id, from_ms and to_ms"
            )
        values = {name: _checked(self, p, given.get(name, p.default)) for name, p in known.items()}
        sql = self.sql
        if "dimension" in values:
            sql = sql.replace("{dimension}", values.pop("dimension"))
        return sql, values


def _checked(query: Query, parameter: Parameter, value: Any) -> Any:
    if value is None:
        raise Invalid(f"query {query.name!r} needs {parameter.name}: {parameter.sentence}")
    if parameter.among and value not in parameter.among:
        raise Invalid(
            f"query {query.name!r}: {parameter.name} is {value!r}; expected one of {', '.join(parameter.among)}"
        )
    kinds = {"VARCHAR": str, "BIGINT": int, "DOUBLE": (int, float), "BOOLEAN": bool}
    if not isinstance(value, kinds[parameter.type]):  # type: ignore[arg-type]
        raise Invalid(
            f"query {query.name!r}: {parameter.name} is {value!r}; expected a {parameter.type}"
        )
    return value


def _column(name: str, type: Type, sentence: str) -> Column:
    return Column(name, type, sentence)


_LIMIT: Final = Parameter("limit", "BIGINT", "Most rows to return.", 10_000)

_DAY: Final = Column("day_ms", "BIGINT", "Start of the day, UTC.")
_N: Final = Column("n", "BIGINT", "Among how many.")
_TALLY: Final = (
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

_TALLY_SQL: Final = f"""
    count(*) AS facts,
    sum(CASE WHEN kind = 'rating' THEN 1 ELSE 0 END) AS ratings,
    sum(CASE WHEN satisfaction >= {POSITIVE} THEN 1 ELSE 0 END) AS positive,
    avg(satisfaction) AS satisfaction,
    avg(CASE WHEN scale = 'stars' THEN rating END) AS average_stars,
    sum(CASE WHEN scale = 'thumbs' AND satisfaction >= 0.5 THEN 1 ELSE 0 END) AS thumbs_up,
    sum(CASE WHEN scale = 'thumbs' AND satisfaction < 0.5 THEN 1 ELSE 0 END) AS thumbs_down,
    sum(CASE WHEN kind = 'correction' THEN 1 ELSE 0 END) AS corrections,
    sum(CASE WHEN kind = 'outcome' THEN 1 ELSE 0 END) AS outcomes,
    avg(CASE WHEN kind = 'outcome' THEN value END) AS outcome_value,
    count(DISTINCT person) AS people"""

_SESSIONS_SQL: Final = f"""
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


def _by(dimension: str, name: str, sentence: str) -> Query:
    # A category is the feedback's own, so nothing has to be joined for it.
    source = "feedback" if dimension == "category" else "linked"
    where = "WHERE quarantined IS NULL " if dimension == "category" else ""
    return Query(
        name=name,
        sentence=sentence,
        reads=(source,),
        sql=f"SELECT {dimension} AS segment, {_TALLY_SQL} FROM {source} {where}"  # noqa: S608 - a column of ours
        f"GROUP BY {dimension} ORDER BY facts DESC, segment",
        columns=(Column("segment", "VARCHAR", "The value; NULL when not known."), *_TALLY),
        parameters=(
            (Parameter("dimension", "VARCHAR", "What to break down by.", among=SEGMENTS),)
            if dimension == "{dimension}"
            else ()
        ),
    )


_ALL: Final = (
    Query(
        name="satisfaction_by_day",
        sentence="Ratings of each day: how many, how many positive, their mean.",
        reads=("feedback",),
        sql=f"""
SELECT occurred_at_ms - occurred_at_ms % {DAY_MS} AS day_ms,
    count(*) AS n,
    sum(CASE WHEN satisfaction >= {POSITIVE} THEN 1 ELSE 0 END) AS positive,
    avg(satisfaction) AS satisfaction
FROM feedback WHERE quarantined IS NULL AND kind = 'rating'
GROUP BY occurred_at_ms - occurred_at_ms % {DAY_MS} ORDER BY day_ms""",  # noqa: S608 - our own constants
        columns=(
            _DAY,
            _N,
            _column("positive", "BIGINT", "Positive ratings."),
            _column("satisfaction", "DOUBLE", "Mean rating on [0, 1]."),
        ),
    ),
    Query(
        name="metric_rates",
        sentence="The metrics with targets over the whole period: how often, among how many. "
        "A metric without data has n = 0.",
        reads=("interactions", "linked", "steps", "wide"),
        sql=f"""
SELECT 'satisfaction' AS metric, coalesce(sum(CASE WHEN satisfaction >= {POSITIVE} THEN 1 ELSE 0 END), 0) AS hits,
    count(*) AS n FROM linked WHERE kind = 'rating'
UNION ALL
SELECT 'sql_accuracy', coalesce(sum(is_right), 0), count(*) FROM (
    SELECT CASE WHEN outcome = 'success' THEN 1 ELSE 0 END AS is_right
    FROM steps WHERE kind = 'sql_generation' AND outcome IS NOT NULL
    UNION ALL
    SELECT CASE WHEN value >= 0.5 THEN 1 ELSE 0 END
    FROM linked WHERE kind = 'outcome' AND task IN {_SQL_TASKS}
) AS answers
UNION ALL
SELECT 'correction', coalesce(sum(CASE WHEN corrections > 0 THEN 1 ELSE 0 END), 0), count(*) FROM wide
UNION ALL
SELECT 'refinement', coalesce(sum(CASE WHEN is_refined THEN 1 ELSE 0 END), 0), count(*) FROM wide
UNION ALL
SELECT 'abandonment', coalesce(sum(abandoned), 0), count(*)
FROM ({_SESSIONS_SQL}) AS sessions WHERE signals > 0
ORDER BY metric""",  # noqa: S608 - our own constants
        columns=(
            _column("metric", "VARCHAR", "Name in the catalogue of metrics."),
            _column("hits", "BIGINT", "How often it holds."),
            _N,
        ),
    ),
    Query(
        name="metric_by_day",
        sentence="Satisfaction, SQL accuracy, correction and refinement of each day.",
        reads=("interactions", "linked", "steps", "wide"),
        sql=f"""
SELECT metric, moment_ms - moment_ms % {DAY_MS} AS day_ms, sum(is_hit) AS hits, count(*) AS n FROM (
    SELECT 'satisfaction' AS metric, occurred_at_ms AS moment_ms,
        CASE WHEN satisfaction >= {POSITIVE} THEN 1 ELSE 0 END AS is_hit
    FROM linked WHERE kind = 'rating'
    UNION ALL
    SELECT 'sql_accuracy', taken_at_ms, CASE WHEN outcome = 'success' THEN 1 ELSE 0 END
    FROM steps WHERE kind = 'sql_generation' AND outcome IS NOT NULL
    UNION ALL
    SELECT 'sql_accuracy', occurred_at_ms, CASE WHEN value >= 0.5 THEN 1 ELSE 0 END
    FROM linked WHERE kind = 'outcome' AND task IN {_SQL_TASKS}
    UNION ALL
    SELECT 'correction', started_at_ms, CASE WHEN corrections > 0 THEN 1 ELSE 0 END FROM wide
    UNION ALL
    SELECT 'refinement', started_at_ms, CASE WHEN is_refined THEN 1 ELSE 0 END FROM wide
    UNION ALL
    SELECT 'abandonment', started_at_ms, abandoned FROM ({_SESSIONS_SQL}) AS sessions WHERE signals > 0
) AS events GROUP BY metric, moment_ms - moment_ms % {DAY_MS} ORDER BY metric, day_ms""",  # noqa: S608 - our own constants
        columns=(
            _column("metric", "VARCHAR", "Name in the catalogue of metrics."),
            _DAY,
            _column("hits", "BIGINT", "How often it holds."),
            _N,
        ),
    ),
    Query(
        name="metric_units",
        sentence="The metrics with targets by unit (the person, else the session, else the call itself), units "
        "with equal figures counted together: what an interval over people reads.",
        reads=("interactions", "linked", "steps", "wide"),
        sql=f"""
SELECT metric, hits, n, count(*) AS units FROM (
    SELECT metric, unit, sum(is_hit) AS hits, count(*) AS n FROM (
        SELECT 'satisfaction' AS metric, coalesce(person, unit_id, session_id, event_id) AS unit,
            CASE WHEN satisfaction >= {POSITIVE} THEN 1 ELSE 0 END AS is_hit
        FROM linked WHERE kind = 'rating'
        UNION ALL
        SELECT 'sql_accuracy', session_id, CASE WHEN outcome = 'success' THEN 1 ELSE 0 END
        FROM steps WHERE kind = 'sql_generation' AND outcome IS NOT NULL
        UNION ALL
        SELECT 'sql_accuracy', coalesce(person, session_id, unit_id, event_id),
            CASE WHEN value >= 0.5 THEN 1 ELSE 0 END
        FROM linked WHERE kind = 'outcome' AND task IN {_SQL_TASKS}
        UNION ALL
        SELECT 'correction', coalesce(person, session_id, CAST(log_offset AS VARCHAR)),
            CASE WHEN corrections > 0 THEN 1 ELSE 0 END
        FROM wide
        UNION ALL
        SELECT 'refinement', coalesce(person, session_id, CAST(log_offset AS VARCHAR)),
            CASE WHEN is_refined THEN 1 ELSE 0 END
        FROM wide
        UNION ALL
        SELECT 'abandonment', session_id, abandoned FROM ({_SESSIONS_SQL}) AS sessions WHERE signals > 0
    ) AS events GROUP BY metric, unit
) AS by_unit GROUP BY metric, hits, n ORDER BY metric, n, hits""",  # noqa: S608 - our own constants
        columns=(
            _column("metric", "VARCHAR", "Name in the catalogue of metrics."),
            _column("hits", "BIGINT", "How often it holds for each of these units."),
            _column("n", "BIGINT", "Among how many of each of these units."),
            _column("units", "BIGINT", "How many units these are the figures of."),
        ),
    ),
    Query(
        name="rated_facts",
        sentence="Every rating with its fact and its unit: what weighing by trust reads.",
        reads=("linked",),
        sql="""
SELECT event_id, coalesce(person, unit_id, session_id, event_id) AS unit, satisfaction AS value
FROM linked WHERE kind = 'rating' ORDER BY occurred_at_ms, log_offset""",
        columns=(
            _column("event_id", "VARCHAR", "The fact."),
            _column("unit", "VARCHAR", "Whose rating it is."),
            _column("value", "DOUBLE", "The rating on [0, 1]."),
        ),
    ),
    Query(
        name="votes",
        sentence="Ratings, signals, outcomes and reviewers' annotations with who said them and what they are "
        "about: what a trust view is worked out from.",
        reads=("calls", "choices", "feedback", "links"),
        is_bulk=True,
        sql="""
SELECT event_id, kind, metric, at_ms, source, person, session_id, address, experiment_id, arm_id, task,
    satisfaction, value, label, decision, call, reference,
    CASE WHEN coalesce(query, response) IS NOT NULL
        THEN min(log_offset) OVER (PARTITION BY query, response) END AS wording
FROM (
    SELECT f.log_offset AS log_offset, f.event_id AS event_id, f.kind AS kind, f.metric AS metric,
        f.occurred_at_ms AS at_ms, f.source AS source, coalesce(f.person, c.person) AS person,
        coalesce(f.session_id, c.session_id) AS session_id, f.address AS address,
        coalesce(f.experiment_id, d.experiment_id) AS experiment_id, coalesce(f.arm_id, d.arm_id) AS arm_id,
        coalesce(nullif(f.task, ''), nullif(c.task, '')) AS task, f.satisfaction AS satisfaction,
        f.value AS value, f.label AS label, coalesce(f.decision_key, c.decision_key) AS decision,
        c.log_offset AS call, coalesce(f.output_key, f.message_key, f.span_key, f.trace_key) AS reference,
        CASE WHEN f.kind IN ('rating', 'annotation') AND coalesce(f.decision_key, c.decision_key) IS NULL
            THEN coalesce(c.query, f.query) END AS query,
        CASE WHEN f.kind IN ('rating', 'annotation') AND coalesce(f.decision_key, c.decision_key) IS NULL
            THEN coalesce(c.response, f.response) END AS response
    FROM feedback AS f
    LEFT JOIN links AS l ON l.fact = f.log_offset
    LEFT JOIN calls AS c ON c.log_offset = l.target
    LEFT JOIN choices AS d ON d.decision_key = coalesce(f.decision_key, c.decision_key)
    WHERE f.quarantined IS NULL
        AND (f.kind IN ('rating', 'signal', 'outcome') OR f.kind = 'annotation' AND f.source = 'reviewer')
) AS said ORDER BY at_ms, log_offset""",
        columns=(
            _column("event_id", "VARCHAR", "The fact."),
            _column("kind", "VARCHAR", "rating, signal, outcome, annotation."),
            _column("metric", "VARCHAR", "What its number is of."),
            _column("at_ms", "BIGINT", "When it happened."),
            _column("source", "VARCHAR", "end_user, reviewer, evaluator, system."),
            _column("person", "VARCHAR", "Pseudonym of who said it."),
            _column("session_id", "VARCHAR", "The session."),
            _column("address", "VARCHAR", "Pseudonym of the network address."),
            _column("experiment_id", "VARCHAR", "The experiment of the decision it is about."),
            _column("arm_id", "VARCHAR", "That decision's arm."),
            _column("task", "VARCHAR", "The workflow."),
            _column("satisfaction", "DOUBLE", "A rating on [0, 1]; NULL for other kinds."),
            _column("value", "DOUBLE", "The number; of an annotation its score."),
            _column("label", "VARCHAR", "An annotation's label."),
            _column("decision", "BIGINT", "Digest of the decision it is about."),
            _column("call", "BIGINT", "Offset of the call it is about."),
            _column("reference", "BIGINT", "Digest of the other reference it names."),
            _column(
                "wording",
                "BIGINT",
                "Equal for equal question and answer, where there is no decision; NULL without texts.",
            ),
        ),
    ),
    _by("prompt_version", "by_prompt_version", "What was said about each version of the prompt."),
    _by("model_version", "by_model_version", "What was said about each version of the model."),
    _by("category", "by_category", "What was said in each category."),
    _by("{dimension}", "by_segment", "What was said in each value of a dimension."),
    Query(
        name="join_health",
        sentence="For each task: how many outcomes there are, how many join to a model version, and how much "
        "feedback still waits for what it refers to.",
        reads=("linked",),
        sql="""
SELECT task,
    sum(CASE WHEN kind = 'outcome' THEN 1 ELSE 0 END) AS outcomes,
    sum(CASE WHEN kind = 'outcome' AND model_version IS NOT NULL THEN 1 ELSE 0 END) AS joined,
    count(*) AS facts,
    sum(CASE WHEN is_waiting THEN 1 ELSE 0 END) AS waiting,
    min(CASE WHEN is_waiting THEN at_ms END) AS oldest_waiting_ms
FROM linked GROUP BY task ORDER BY task""",
        columns=(
            _column(
                "task", "VARCHAR", "The workflow; NULL when neither feedback nor call says it."
            ),
            _column("outcomes", "BIGINT", "Outcomes."),
            _column("joined", "BIGINT", "Outcomes that join to a model version."),
            _column("facts", "BIGINT", "Facts of any kind."),
            _column("waiting", "BIGINT", "Facts whose call or decision is not there (yet)."),
            _column("oldest_waiting_ms", "BIGINT", "When the oldest of them came; NULL for none."),
        ),
    ),
    Query(
        name="version_units",
        sentence="Every value of a metric with its version and its unit (the person, else the decision's unit, "
        "the session, or the fact itself), in order of time: what a sequential comparison of versions reads.",
        reads=("linked",),
        sql="""
SELECT {dimension} AS version, coalesce(person, unit_id, session_id, event_id) AS unit,
    occurred_at_ms AS at_ms, value
FROM linked
WHERE metric = $metric AND value IS NOT NULL AND {dimension} IS NOT NULL
ORDER BY occurred_at_ms, log_offset""",
        columns=(
            _column("version", "VARCHAR", "The version."),
            _column("unit", "VARCHAR", "Who or what the value is of."),
            _column("at_ms", "BIGINT", "When it happened."),
            _column("value", "DOUBLE", "The value."),
        ),
        parameters=(
            Parameter("dimension", "VARCHAR", "Which version.", "prompt_version", among=SEGMENTS),
            Parameter(
                "metric", "VARCHAR", "Which metric; `rating` is every rating on [0, 1].", "rating"
            ),
        ),
    ),
    Query(
        name="unit_totals",
        sentence="A metric's sum and count for each unit: what a bootstrap by user reads.",
        reads=("feedback",),
        sql="""
SELECT coalesce(person, unit_id, session_id, event_id) AS unit, sum(value) AS total, count(*) AS n
FROM feedback WHERE quarantined IS NULL AND metric = $metric AND value IS NOT NULL
GROUP BY coalesce(person, unit_id, session_id, event_id) ORDER BY unit""",
        columns=(
            _column("unit", "VARCHAR", "Who or what the values are of."),
            _column("total", "DOUBLE", "Sum of the values."),
            _N,
        ),
        parameters=(Parameter("metric", "VARCHAR", "Which metric.", "rating"),),
    ),
    Query(
        name="negative_texts",
        sentence="Texts that came with a verdict, newest first, told apart by whether it was negative: a rating "
        "below the middle, a correction, or without either a sentiment below 0.",
        reads=("linked",),
        sql="""
SELECT event_id, occurred_at_ms AS at_ms, is_negative, text, query, category, task, severity,
    prompt_version, model_version, person
FROM (
    SELECT *, coalesce(message, explanation, query) AS text,
        CASE WHEN kind = 'correction' THEN 1
             WHEN satisfaction IS NOT NULL THEN CASE WHEN satisfaction < 0.5 THEN 1 ELSE 0 END
             WHEN sentiment IS NOT NULL THEN CASE WHEN sentiment < 0 THEN 1 ELSE 0 END
        END AS is_negative
    FROM linked
) AS texts
WHERE text IS NOT NULL AND is_negative IS NOT NULL
ORDER BY occurred_at_ms DESC, log_offset DESC LIMIT $limit""",
        columns=(
            _column("event_id", "VARCHAR", "The fact."),
            _column("at_ms", "BIGINT", "When it happened."),
            _column("is_negative", "BIGINT", "1 when negative, 0 when not."),
            _column("text", "VARCHAR", "The comment, else the explanation, else the question."),
            _column("query", "VARCHAR", "The question."),
            _column("category", "VARCHAR", "Its category."),
            _column("task", "VARCHAR", "The workflow."),
            _column("severity", "VARCHAR", "How bad it is said to be."),
            _column("prompt_version", "VARCHAR", "Version of the prompt."),
            _column("model_version", "VARCHAR", "Version of the model."),
            _column("person", "VARCHAR", "Pseudonym of who said it."),
        ),
        parameters=(_LIMIT,),
    ),
    Query(
        name="corrections",
        sentence="Corrections, newest first.",
        reads=("linked",),
        sql="""
SELECT event_id, occurred_at_ms AS at_ms, query, before_text, after_text, explanation, value AS distance,
    category, task, prompt_version, model_version, person
FROM linked WHERE kind = 'correction'
ORDER BY occurred_at_ms DESC, log_offset DESC LIMIT $limit""",
        columns=(
            _column("event_id", "VARCHAR", "The fact."),
            _column("at_ms", "BIGINT", "When it happened."),
            _column("query", "VARCHAR", "The question, the feedback's own or the call's."),
            _column("before_text", "VARCHAR", "The text before."),
            _column("after_text", "VARCHAR", "The text after."),
            _column("explanation", "VARCHAR", "Why."),
            _column("distance", "DOUBLE", "Edit distance in [0, 1]; NULL when unknown."),
            _column("category", "VARCHAR", "Its category."),
            _column("task", "VARCHAR", "The workflow."),
            _column("prompt_version", "VARCHAR", "Version of the prompt."),
            _column("model_version", "VARCHAR", "Version of the model."),
            _column("person", "VARCHAR", "Pseudonym of who corrected."),
        ),
        parameters=(_LIMIT,),
    ),
    Query(
        name="asked_queries",
        sentence="Every question that is known as text, and whether its answer was corrected: one row per call, "
        "and one per correction that is of no known call.",
        reads=("linked", "wide"),
        sql="""
SELECT query, is_corrected, person FROM (
    SELECT query, CASE WHEN corrections > 0 THEN 1 ELSE 0 END AS is_corrected, person, started_at_ms AS moment_ms
    FROM wide WHERE query IS NOT NULL
    UNION ALL
    SELECT query, 1, person, occurred_at_ms FROM linked
    WHERE kind = 'correction' AND query IS NOT NULL AND interaction_offset IS NULL
) AS asked ORDER BY moment_ms DESC LIMIT $limit""",
        columns=(
            _column("query", "VARCHAR", "The question."),
            _column("is_corrected", "BIGINT", "1 when its answer was corrected."),
            _column("person", "VARCHAR", "Pseudonym of who asked."),
        ),
        parameters=(_LIMIT,),
    ),
    Query(
        name="rows_of_person",
        sentence="In how many rows of each table a person is found.",
        reads=("feedback", "interactions", "steps"),
        sql="""
SELECT 'feedback' AS table_name, count(*) AS n FROM feedback WHERE person = $person
UNION ALL
SELECT 'interactions', count(*) FROM interactions WHERE person = $person
UNION ALL
SELECT 'steps', count(*) FROM steps WHERE person = $person""",
        columns=(
            _column("table_name", "VARCHAR", "The table."),
            _column("n", "BIGINT", "Rows."),
        ),
        parameters=(Parameter("person", "VARCHAR", "Pseudonym of the person."),),
    ),
    Query(
        name="sessions",
        sentence="Sessions: their calls, what was used of them, whether they were abandoned; latest first.",
        reads=("interactions", "linked"),
        sql=_SESSIONS_SQL + " ORDER BY started_at_ms DESC, session_id LIMIT $limit",
        columns=(
            _column("session_id", "VARCHAR", "The session."),
            _column("started_at_ms", "BIGINT", "Its first event."),
            _column("ended_at_ms", "BIGINT", "Its latest event."),
            _column("calls", "BIGINT", "Calls of the product."),
            _column("signals", "BIGINT", "Implicit signals."),
            _column("uses", "BIGINT", "Copies, exports, acceptances, additions to a dashboard."),
            _column("corrections", "BIGINT", "Corrections."),
            _column("abandoned", "BIGINT", "1 when it was abandoned."),
            _column("satisfaction", "DOUBLE", "Mean rating on [0, 1]; NULL without ratings."),
        ),
        parameters=(_LIMIT,),
    ),
    Query(
        name="steps_of_session",
        sentence="What an agent decided by itself in one session, in order.",
        reads=("steps",),
        sql="""
SELECT step_id, kind, taken_at_ms, data, confidence, outcome, interaction_id
FROM steps WHERE session_id = $session_id ORDER BY taken_at_ms, log_offset""",
        columns=(
            _column("step_id", "VARCHAR", "The step."),
            _column("kind", "VARCHAR", "intent_routing, sql_generation, table_selection, …"),
            _column("taken_at_ms", "BIGINT", "When it was taken."),
            _column("data", "VARCHAR", "What was decided, as a JSON object."),
            _column("confidence", "DOUBLE", "How sure the agent was."),
            _column("outcome", "VARCHAR", "success, failure, correction; NULL while unknown."),
            _column("interaction_id", "VARCHAR", "The call it led to."),
        ),
        parameters=(Parameter("session_id", "VARCHAR", "The session."),),
    ),
    Query(
        name="stats",
        sentence="All feedback in one row: counts, average rating, thumbs.",
        reads=("feedback",),
        sql=f"SELECT {_TALLY_SQL}, min(occurred_at_ms) AS first_ms, max(occurred_at_ms) AS last_ms FROM feedback WHERE quarantined IS NULL",  # noqa: S608
        columns=(
            *_TALLY,
            _column("first_ms", "BIGINT", "The earliest; NULL for none."),
            _column("last_ms", "BIGINT", "The latest; NULL for none."),
        ),
    ),
    Query(
        name="export_rows",
        sentence="Every fact with all its columns, quarantined ones included, in the order of the log: an export "
        "reads it page by page.",
        reads=("feedback",),
        is_bulk=True,
        sql="SELECT "  # noqa: S608 - our own columns
        + ", ".join(FEEDBACK.names)
        + " FROM feedback WHERE log_offset > $after ORDER BY log_offset LIMIT $limit",
        columns=FEEDBACK.columns,
        parameters=(
            Parameter("after", "BIGINT", "log_offset of the last row of the page before.", 0),
            _LIMIT,
        ),
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
            _column(
                "relation",
                "VARCHAR",
                "feedback, interactions, decisions, steps; withheld is feedback that consent keeps out of reports.",
            ),
            _column("kind", "VARCHAR", "Kind of feedback or step, mode of decision."),
            _column("n", "BIGINT", "How many."),
            _column("quarantined", "BIGINT", "How many of them do not count for now."),
            _column("first_ms", "BIGINT", "The earliest."),
            _column("last_ms", "BIGINT", "The latest."),
        ),
    ),
    Query(
        name="distribution",
        sentence="How often each value of a dimension occurs: what drift between two periods is measured on.",
        reads=("linked",),
        sql="SELECT {dimension} AS segment, count(*) AS n FROM linked GROUP BY {dimension} ORDER BY n DESC, segment",
        columns=(_column("segment", "VARCHAR", "The value; NULL when not known."), _N),
        parameters=(Parameter("dimension", "VARCHAR", "Of what.", among=SEGMENTS),),
    ),
    Query(
        name="call_numbers",
        sentence="One number of each call, in order of time: cost, tokens or latency, for drift and trends.",
        reads=("interactions",),
        sql="SELECT started_at_ms AS at_ms, CAST({dimension} AS DOUBLE) AS value FROM interactions "
        "WHERE {dimension} IS NOT NULL ORDER BY started_at_ms, log_offset LIMIT $limit",
        columns=(
            _column("at_ms", "BIGINT", "When the call began."),
            _column("value", "DOUBLE", "The number."),
        ),
        parameters=(Parameter("dimension", "VARCHAR", "Which number.", among=NUMBERS), _LIMIT),
    ),
    Query(
        name="values_of",
        sentence="Every value of a metric in order of time: what a changepoint or drift test reads.",
        reads=("feedback",),
        sql="SELECT occurred_at_ms AS at_ms, value FROM feedback WHERE quarantined IS NULL AND metric = $metric AND value IS NOT NULL "
        "ORDER BY occurred_at_ms, log_offset LIMIT $limit",
        columns=(
            _column("at_ms", "BIGINT", "When it happened."),
            _column("value", "DOUBLE", "The value."),
        ),
        parameters=(Parameter("metric", "VARCHAR", "Which metric.", "rating"), _LIMIT),
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
            _column("tenant_id", "VARCHAR", "The tenant."),
            _column("calls", "BIGINT", "Calls."),
            _column("errors", "BIGINT", "Calls that failed."),
            _column("cost", "DOUBLE", "Sum of the calls' costs; NULL when none is known."),
            _column("facts", "BIGINT", "Feedback that counts."),
            _column("ratings", "BIGINT", "Ratings."),
            _column("positive", "BIGINT", "Positive ratings."),
            _column("satisfaction", "DOUBLE", "Mean rating on [0, 1]; NULL without ratings."),
            _column("corrections", "BIGINT", "Corrections."),
            _column("refinements", "BIGINT", "Queries asked again in other words."),
            _column("abandonments", "BIGINT", "Sessions that ended without a result being used."),
            _column("outcomes", "BIGINT", "Outcomes."),
            _column("outcome_value", "DOUBLE", "Mean of the outcomes; NULL without any."),
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
            _column("tenant_id", "VARCHAR", "The tenant."),
            _column("calls", "BIGINT", "Calls."),
            _column("ratings", "BIGINT", "Ratings of them."),
            _column("satisfaction", "DOUBLE", "Mean over rated calls on [0, 1]."),
            _column("satisfied", "BIGINT", "Calls with a positive mean rating."),
            _column("corrected", "BIGINT", "Calls that were corrected."),
            _column("refined", "BIGINT", "Calls that were asked again in other words."),
            _column("abandoned", "BIGINT", "Calls after which the session was abandoned."),
            _column("outcomes", "BIGINT", "Outcomes."),
            _column("outcome_value", "DOUBLE", "Mean over calls with an outcome."),
            _column("server_latency_ms", "DOUBLE", "Mean latency."),
            _column("cost", "DOUBLE", "Sum of the costs."),
            _column("errors", "BIGINT", "Calls that failed."),
        ),
    ),
)

QUERIES: Final = {query.name: query for query in _ALL}
"""All named queries by name."""


def named(name: str) -> Query:
    """Return the query of that name. Raises `NotFound` for another."""
    if name not in QUERIES:
        raise NotFound(f"there is no query {name!r}; the warehouse has {', '.join(QUERIES)}")
    return QUERIES[name]
