"""Facts one by one: their people, their joins, all their columns."""

from __future__ import annotations

from typing import Final

from loopwright.warehouse.tables import FEEDBACK, Column

from .declared import LIMIT, Parameter, Query

QUERIES: Final = (
    Query(
        name="join_health",
        sentence="For each task: how many outcomes there are, how many join to a model version, and how much "
        "feedback still waits for what it refers to.",
        reads=("interactions", "linked"),
        sql="""
SELECT task,
    sum(CASE WHEN kind = 'outcome' THEN 1 ELSE 0 END) AS outcomes,
    sum(CASE WHEN kind = 'outcome' AND model_version IS NOT NULL THEN 1 ELSE 0 END) AS joined,
    sum(CASE WHEN kind = 'outcome' AND model_version IS NULL AND interaction_offset IS NULL AND NOT is_waiting
        AND (experiment_id IS NOT NULL OR (SELECT count(*) FROM interactions) = 0) THEN 1 ELSE 0 END) AS apart,
    count(*) AS facts,
    sum(CASE WHEN is_waiting THEN 1 ELSE 0 END) AS waiting,
    min(CASE WHEN is_waiting THEN at_ms END) AS oldest_waiting_ms
FROM linked GROUP BY task ORDER BY task""",
        columns=(
            Column("task", "VARCHAR", "The workflow; NULL when neither feedback nor call says it."),
            Column("outcomes", "BIGINT", "Outcomes."),
            Column("joined", "BIGINT", "Outcomes that join to a model version."),
            Column(
                "apart",
                "BIGINT",
                "Outcomes that no call can give a model version: of a decision whose call is not sent, or that name "
                "nothing where no calls are sent at all.",
            ),
            Column("facts", "BIGINT", "Facts of any kind."),
            Column("waiting", "BIGINT", "Facts whose call or decision is not there (yet)."),
            Column("oldest_waiting_ms", "BIGINT", "When the oldest of them came; NULL for none."),
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
            Column("event_id", "VARCHAR", "The fact."),
            Column("kind", "VARCHAR", "rating, signal, outcome, annotation."),
            Column("metric", "VARCHAR", "What its number is of."),
            Column("at_ms", "BIGINT", "When it happened."),
            Column("source", "VARCHAR", "end_user, reviewer, evaluator, system."),
            Column("person", "VARCHAR", "Pseudonym of who said it."),
            Column("session_id", "VARCHAR", "The session."),
            Column("address", "VARCHAR", "Pseudonym of the network address."),
            Column("experiment_id", "VARCHAR", "The experiment of the decision it is about."),
            Column("arm_id", "VARCHAR", "That decision's arm."),
            Column("task", "VARCHAR", "The workflow."),
            Column("satisfaction", "DOUBLE", "A rating on [0, 1]; NULL for other kinds."),
            Column("value", "DOUBLE", "The number; of an annotation its score."),
            Column("label", "VARCHAR", "An annotation's label."),
            Column("decision", "BIGINT", "Digest of the decision it is about."),
            Column("call", "BIGINT", "Offset of the call it is about."),
            Column("reference", "BIGINT", "Digest of the other reference it names."),
            Column(
                "wording",
                "BIGINT",
                "Equal for equal question and answer, where there is no decision; NULL without texts.",
            ),
        ),
    ),
    Query(
        name="rows_of_person",
        sentence="In how many rows of each table a person is found, by their pseudonym or as the unit of decisions.",
        reads=("decisions", "feedback", "interactions", "steps"),
        sql="""
SELECT 'feedback' AS table_name, count(*) AS n FROM feedback WHERE person = $person OR unit_id IN ($unit, $id)
UNION ALL
SELECT 'decisions', count(*) FROM decisions WHERE unit_id IN ($unit, $id)
UNION ALL
SELECT 'interactions', count(*) FROM interactions WHERE person = $person
UNION ALL
SELECT 'steps', count(*) FROM steps WHERE person = $person""",
        columns=(
            Column("table_name", "VARCHAR", "The table."),
            Column("n", "BIGINT", "Rows."),
        ),
        parameters=(
            Parameter("person", "VARCHAR", "Pseudonym of the person."),
            Parameter("unit", "VARCHAR", "Pseudonym of their unit.", ""),
            Parameter(
                "id",
                "VARCHAR",
                "Their user id: the unit of decisions made before December 2026.",
                "",
            ),
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
            LIMIT,
        ),
    ),
)
