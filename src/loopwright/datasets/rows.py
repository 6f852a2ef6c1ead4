"""The facts that a data set is made of: feedback with the input that it is about, in the order of the log.

They are read in parts, by a digest of the input, so that all feedback about one input is in one part and no more than a part
is in memory.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from loopwright.warehouse import Warehouse
from loopwright.warehouse.queries import Parameter, Query
from loopwright.warehouse.tables import Column

PART_ROWS: Final = 100_000
"""Facts of one part, about: with their texts some hundred megabytes."""

# An input is what was rendered for a call, by its hash; without one the same question of another person may have had
# another context, so the person belongs to it.
_INPUT: Final = "coalesce(i.input_hash, lower(trim(f.query)) || chr(31) || coalesce(f.person, f.session_id, f.event_id))"
_WINDOW: Final = """
    f.log_offset <= $watermark AND f.occurred_at_ms >= $start_ms AND f.occurred_at_ms < $end_ms
    AND f.kind IN ('rating', 'correction')"""

_COUNT: Final = Query(
    name="dataset_facts",
    sentence="How many ratings and corrections a window holds.",
    reads=("feedback",),
    is_bulk=True,
    sql=f"SELECT count(*) AS n FROM feedback AS f WHERE {_WINDOW}",  # noqa: S608 - our own constants
    columns=(Column("n", "BIGINT", "Facts."),),
    parameters=(
        Parameter("watermark", "BIGINT", "Facts beyond it are left out."),
        Parameter("start_ms", "BIGINT", "Start of the window."),
        Parameter("end_ms", "BIGINT", "End of the window, excluded."),
    ),
)

_ROWS: Final = Query(
    name="dataset_rows",
    sentence="Ratings and corrections with the texts and the call that they are about, in the order of the log.",
    reads=("linked", "interactions"),
    is_bulk=True,
    sql=f"""
SELECT f.event_id, f.log_offset, f.kind, f.satisfaction, f.query, coalesce(f.response, i.response) AS response,
    f.before_text, f.after_text, f.person, f.session_id, f.task, f.prompt_version, i.input_hash,
    {_INPUT} AS input,
    CASE WHEN $consent = 'share' THEN f.consent_share AND coalesce(i.consent_share, TRUE)
        ELSE f.consent_train AND coalesce(i.consent_train, TRUE) END AS may
FROM linked AS f LEFT JOIN interactions AS i ON i.log_offset = f.interaction_offset AND i.log_offset <= $watermark
WHERE {_WINDOW} AND digest63({_INPUT}) % $parts = $part
ORDER BY input, f.log_offset""",  # noqa: S608 - our own constants
    columns=(
        Column("event_id", "VARCHAR", "The fact."),
        Column("log_offset", "BIGINT", "Its place in the log."),
        Column("kind", "VARCHAR", "rating, correction."),
        Column("satisfaction", "DOUBLE", "A rating on [0, 1]."),
        Column("query", "VARCHAR", "The question."),
        Column("response", "VARCHAR", "The answer that was rated."),
        Column("before_text", "VARCHAR", "The text before a correction."),
        Column("after_text", "VARCHAR", "The text after it."),
        Column("person", "VARCHAR", "Pseudonym of who said it."),
        Column("session_id", "VARCHAR", "The session."),
        Column("task", "VARCHAR", "The workflow."),
        Column("prompt_version", "VARCHAR", "Version of the prompt."),
        Column("input_hash", "VARCHAR", "Hash of the whole rendered input."),
        Column("input", "VARCHAR", "What is the same for the same input."),
        Column("may", "BOOLEAN", "Whether consent allows it."),
    ),
    parameters=(
        *_COUNT.parameters,
        Parameter("consent", "VARCHAR", "Which consent is needed.", among=("train", "share")),
        Parameter("parts", "BIGINT", "Into how many parts inputs are dealt."),
        Parameter("part", "BIGINT", "Which of them."),
    ),
)

QUERIES: Final = (_COUNT, _ROWS)


class Row(msgspec.Struct, frozen=True, gc=False):
    """One rating or correction, and what it is about."""

    event_id: str
    log_offset: int
    kind: str
    satisfaction: float | None
    query: str | None
    response: str | None
    before_text: str | None
    after_text: str | None
    person: str | None
    session_id: str | None
    task: str | None
    prompt_version: str | None
    input_hash: str | None
    input: str | None
    may: bool


def count(warehouse: Warehouse, tenant_id: str, *, watermark: int, from_ms: int, to_ms: int) -> int:
    """Return how many facts a build will read."""
    answer = warehouse.query(
        _COUNT, tenant_id=tenant_id, **_bounds(watermark, from_ms, to_ms), is_fresh=True
    )
    return int(answer.rows[0][0])


def parts(
    warehouse: Warehouse,
    tenant_id: str,
    *,
    watermark: int,
    from_ms: int,
    to_ms: int,
    consent: str,
    many: int,
) -> Iterator[list[Row]]:
    """Yield the facts in `many` parts; those of one input are together, in the order of the log."""
    for part in range(many):
        answer = warehouse.query(
            _ROWS,
            tenant_id=tenant_id,
            **_bounds(watermark, from_ms, to_ms),
            consent=consent,
            parts=many,
            part=part,
            is_fresh=True,
        )
        # Without an input the digest is NULL, so such rows are in no part: they are counted by what is missing.
        yield [Row(*row) for row in answer.rows]


def _bounds(watermark: int, from_ms: int, to_ms: int) -> dict[str, Any]:
    # The warehouse has parameters of its own under these names; the query's go in by its own.
    return {"watermark": watermark, "start_ms": from_ms, "end_ms": to_ms}
