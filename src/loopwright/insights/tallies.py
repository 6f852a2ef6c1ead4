"""Counting the metrics of the catalogue: the queries that their declarations make, and the rows that come back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec

from loopwright.core.clock import DAY_MS
from loopwright.warehouse import Query
from loopwright.warehouse.tables import Column

from .targets import Metric

_METRIC: Final = Column("metric", "VARCHAR", "Name in the catalogue of metrics.")


class UnitTally(msgspec.Struct, frozen=True):
    """`units` people, or else sessions, of whom each has `hits` among `n` events."""

    metric: str
    hits: int
    n: int
    units: int


class DayTally(msgspec.Struct, frozen=True):
    """A metric on the day that begins at `day_ms`: `hits` among `n`."""

    metric: str
    day_ms: int
    hits: int
    n: int


class RateTally(msgspec.Struct, frozen=True):
    """A metric over a whole period: `hits` among `n`."""

    metric: str
    hits: int
    n: int


def rates_query(metrics: Sequence[Metric]) -> Query:
    """Return the query of each metric over the whole period."""
    sql = " UNION ALL ".join(
        # A sum over no rows is NULL; a metric without data is a row with n = 0, not a missing row.
        f"SELECT '{of.name}' AS metric, coalesce(sum(is_hit), 0) AS hits, count(*) AS n "  # noqa: S608 - declared names
        f"FROM ({of.events}) AS events"
        for of in metrics
    )
    return Query(
        name="metric_rates",
        sentence="The metrics with targets over the whole period: how often, among how many. A metric without data "
        "has n = 0.",
        reads=_reads(metrics),
        sql=f"{sql} ORDER BY metric",
        columns=(
            _METRIC,
            Column("hits", "BIGINT", "How often it holds."),
            Column("n", "BIGINT", "Among how many."),
        ),
    )


def units_query(metrics: Sequence[Metric]) -> Query:
    """Return the query of each metric by unit, units with equal figures counted together."""
    return Query(
        # Grouped twice: people are many, but their pairs of hits and events are few, so few rows leave the
        # engine.
        name="metric_units",
        sentence="The metrics with targets by unit (the person, else the session, else the event itself), units with "
        "equal figures counted together: what an interval over people reads.",
        reads=_reads(metrics),
        sql=f"""
SELECT metric, hits, n, count(*) AS units FROM (
    SELECT metric, unit, sum(is_hit) AS hits, count(*) AS n FROM ({_events(metrics)}) AS events GROUP BY metric, unit
) AS by_unit GROUP BY metric, hits, n ORDER BY metric, n, hits""",  # noqa: S608 - declared names
        columns=(
            _METRIC,
            Column("hits", "BIGINT", "How often it holds for each of these units."),
            Column("n", "BIGINT", "Among how many of each of these units."),
            Column("units", "BIGINT", "How many units these are the figures of."),
        ),
    )


def days_query(metrics: Sequence[Metric], offsets: Sequence[tuple[int, int]] = ((0, 0),)) -> Query:
    """Return the query of each metric by day of the wall clock that `offsets` (of `Calendar`) describe."""
    wall = wall_sql("moment_ms", offsets)
    return Query(
        name="metric_by_day",
        sentence="The metrics with targets on each day, by the wall clock of the period's time zone.",
        reads=_reads(metrics),
        sql=f"""
SELECT metric, wall_ms - wall_ms % {DAY_MS} AS day_ms, sum(is_hit) AS hits, count(*) AS n
FROM (SELECT metric, {wall} AS wall_ms, is_hit FROM ({_events(metrics)}) AS events) AS timed
GROUP BY metric, wall_ms - wall_ms % {DAY_MS} ORDER BY metric, day_ms""",  # noqa: S608 - declared names
        columns=(
            _METRIC,
            Column("day_ms", "BIGINT", "Start of the day, by the wall clock."),
            Column("hits", "BIGINT", "How often it holds."),
            Column("n", "BIGINT", "Among how many."),
        ),
    )


def wall_sql(moment: str, offsets: Sequence[tuple[int, int]]) -> str:
    """Return the SQL of what a wall clock shows at `moment`: a case per change of its offset.

    Engines name and compute time zones each in their own way, and some lack them; whole numbers are the same in
    all.
    """
    (_, first), *later = offsets
    # Latest change first, because the first WHEN that holds wins.
    cases = " ".join(f"WHEN {moment} >= {since} THEN {ahead}" for since, ahead in reversed(later))
    if not cases:
        return f"{moment} + {first}" if first else moment
    return f"{moment} + CASE {cases} ELSE {first} END"


def _events(metrics: Sequence[Metric]) -> str:
    return " UNION ALL ".join(
        f"SELECT '{of.name}' AS metric, unit, moment_ms, is_hit FROM ({of.events}) AS events"  # noqa: S608 - declared names
        for of in metrics
    )


def _reads(metrics: Sequence[Metric]) -> tuple[str, ...]:
    return tuple(sorted({name for of in metrics for name in of.reads}))
