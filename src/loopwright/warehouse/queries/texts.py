"""Texts with a verdict, and questions: the input of failure patterns."""

from __future__ import annotations

from typing import Final

from loopwright.warehouse.tables import Column

from .declared import LIMIT, Query

QUERIES: Final = (
    Query(
        # A correction is negative whatever rating came with it, and a rating outweighs the sentiment, which a
        # classifier only guessed from the words.
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
            Column("event_id", "VARCHAR", "The fact."),
            Column("at_ms", "BIGINT", "When it happened."),
            Column("is_negative", "BIGINT", "1 when negative, 0 when not."),
            Column("text", "VARCHAR", "The comment, else the explanation, else the question."),
            Column("query", "VARCHAR", "The question."),
            Column("category", "VARCHAR", "Its category."),
            Column("task", "VARCHAR", "The workflow."),
            Column("severity", "VARCHAR", "How bad it is said to be."),
            Column("prompt_version", "VARCHAR", "Version of the prompt."),
            Column("model_version", "VARCHAR", "Version of the model."),
            Column("person", "VARCHAR", "Pseudonym of who said it."),
        ),
        parameters=(LIMIT,),
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
            Column("event_id", "VARCHAR", "The fact."),
            Column("at_ms", "BIGINT", "When it happened."),
            Column("query", "VARCHAR", "The question, the feedback's own or the call's."),
            Column("before_text", "VARCHAR", "The text before."),
            Column("after_text", "VARCHAR", "The text after."),
            Column("explanation", "VARCHAR", "Why."),
            Column("distance", "DOUBLE", "Edit distance in [0, 1]; NULL when unknown."),
            Column("category", "VARCHAR", "Its category."),
            Column("task", "VARCHAR", "The workflow."),
            Column("prompt_version", "VARCHAR", "Version of the prompt."),
            Column("model_version", "VARCHAR", "Version of the model."),
            Column("person", "VARCHAR", "Pseudonym of who corrected."),
        ),
        parameters=(LIMIT,),
    ),
    Query(
        # A correction without a known call cannot be a row of `wide`, so it is added as one of its own.
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
            Column("query", "VARCHAR", "The question."),
            Column("is_corrected", "BIGINT", "1 when its answer was corrected."),
            Column("person", "VARCHAR", "Pseudonym of who asked."),
        ),
        parameters=(LIMIT,),
    ),
)
