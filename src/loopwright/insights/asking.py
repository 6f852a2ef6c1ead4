"""Runs the named queries of one report: one tenant, one period, one moment."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

import msgspec

from loopwright.core.clock import DAY_MS
from loopwright.warehouse import Answer, Query, Warehouse
from loopwright.warehouse.period import Period

from .census import Census
from .failures import Asked, Text
from .joins import JoinTally
from .metrics import RatedFact
from .report import Material
from .sections import Attempts, Section
from .segments import SegmentTally
from .tallies import DayTally, RateTally, UnitTally, days_query, rates_query, units_query
from .targets import catalogue
from .versions import VersionValues

T = TypeVar("T")

DIMENSIONS: Final = (
    "prompt_version",
    "model_version",
    "category",
    "task",
    "feature_id",
    "device_type",
    "locale",
)
"""What a report breaks satisfaction down by."""

_VERSIONS: Final = ("prompt_version", "model_version")
_SHARES: Final = ("category", "feature_id", "device_type", "locale")
_NUMBERS: Final = ("server_latency_ms", "output_tokens", "cost")

_TEXTS: Final = 1_500
"""Newest texts that failure patterns are looked for in; more change the answer little and cost much."""
_ASKED: Final = 5_000
_NUMBERS_READ: Final = 10_000
_EVERYTHING: Final = 2**31


def material(
    warehouse: Warehouse,
    tenant_id: str,
    of: Period,
    *,
    wanted: Sequence[Section],
    task: str | None = None,
    is_weighted: bool = False,
) -> Material:
    """Run the queries that the wanted sections need; all answers hold at one log offset.

    A query that fails on a stored fact leaves out the sections that need it.
    """
    ask = Asking(warehouse, tenant_id, of, task=task)
    now = ask.census()
    # Only an empty report has to know whether there ever was feedback, and this question reads every file.
    ever = now if now.counted else Asking(warehouse, tenant_id, None, task=task).census()
    # The previous period is asked last, so that the warehouse copies the rows of this one once.
    past = Asking(warehouse, tenant_id, of.previous, task=task)
    tried = Attempts(wanted)
    make = tried.make
    segments = make(("breakdown", "drift"), lambda: {d: ask.segments(d) for d in DIMENSIONS})
    # Breakdowns need the design effect, so they need the tallies too.
    tallies = make(("metrics", "breakdown"), ask.units)
    days = make(("metrics",), ask.days)
    rated = make(("metrics",), lambda: ask.typed("rated_facts", RatedFact) if is_weighted else [])
    versions = make(("versions",), lambda: {name: ask.versions(name) for name in _VERSIONS})
    texts = make(("failures",), lambda: ask.typed("negative_texts", Text, limit=_TEXTS))
    asked = make(("corrected",), lambda: ask.typed("asked_queries", Asked, limit=_ASKED))
    joins = make(("joins",), lambda: ask.typed("join_health", JoinTally))
    numbers = make(("drift",), lambda: {name: ask.numbers(name) for name in _NUMBERS})
    ratings = make(("drift",), lambda: ask.pairs("values_of", limit=_EVERYTHING))
    before = make(("metrics",), past.units)
    shares_before = make(("drift",), lambda: {name: past.shares(name) for name in _SHARES})
    numbers_before = make(("drift",), lambda: {name: past.numbers(name) for name in _NUMBERS})
    has_drift = tried.wants("drift")
    shares = {name: {t.segment: t.facts for t in found} for name, found in (segments or {}).items()}
    return Material(
        now=now,
        ever=ever,
        offset=ask.offset,
        watermark=warehouse.watermark,
        tallies=tallies,
        before=before or (),
        days=days or (),
        rated=rated or (),
        segments=segments if tried.wants("breakdown") else None,
        has_metrics=tried.wants("metrics"),
        versions=versions,
        texts=texts,
        asked=asked,
        joins=joins,
        shares=_beside(shares_before, shares) if has_drift else None,
        numbers=_beside(numbers_before, numbers) if has_drift else {},
        ratings=ratings or ((), ()),
        failed=tried.failed,
    )


def _beside(before: Mapping[str, T] | None, now: Mapping[str, T] | None) -> dict[str, tuple[T, T]]:
    """Return the answers of both periods as pairs, by dimension."""
    return {name: (found, (now or {})[name]) for name, found in (before or {}).items()}


class Asking:
    """Questions about one tenant and one period; None is all time."""

    def __init__(
        self, warehouse: Warehouse, tenant_id: str, of: Period | None, *, task: str | None = None
    ) -> None:
        self._warehouse = warehouse
        self._tenant_id = tenant_id
        self._of = of
        self._task = task
        self.offset = 0

    def rows(self, name: str | Query, **parameters: Any) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        return self._answer(name, parameters).rows

    def typed(self, name: str | Query, kind: type[T], **parameters: Any) -> list[T]:
        """Return the rows of a query as values of `kind`; a number that is not finite is not known."""
        found = self._answer(name, parameters)
        fields = {field.name: field for field in msgspec.structs.fields(kind)}  # type: ignore[arg-type]
        # A sum over no rows is NULL, and a count is then 0: leave it to the default, or to 0 without one.
        return [
            msgspec.convert(
                {
                    key: 0 if value is None and fields[key].type is int else _finite(value)
                    for key, value in row.items()
                    if key in fields
                },
                kind,
                # The engines share no boolean sum, so queries return 0 and 1.
                strict=False,
            )
            for row in found.dicts()
        ]

    def units(self) -> list[UnitTally]:
        """Return the metrics of the catalogue by unit."""
        return self.typed(units_query(catalogue()), UnitTally)

    def rates(self) -> list[RateTally]:
        """Return the metrics of the catalogue over the whole period."""
        return self.typed(rates_query(catalogue()), RateTally)

    def days(self) -> list[DayTally]:
        """Return the metrics of the catalogue by day of the period's time zone."""
        assert self._of is not None
        calendar = self._of.calendar
        offsets = calendar.offsets(self._of.from_ms, self._of.to_ms)
        return [
            msgspec.structs.replace(found, day_ms=calendar.start_ms(found.day_ms // DAY_MS))
            for found in self.typed(days_query(catalogue(), offsets), DayTally)
        ]

    def census(self) -> Census:
        """Return how much feedback there is."""
        counts = self._answer("period_counts", {}).dicts()
        facts = [row for row in counts if row["relation"] == "feedback"]
        # Often only the call tells the task of a fact, and withheld facts are not joined to calls: no task can
        # claim them, so they are counted for all tasks together.
        withheld = sum(
            row["n"] for row in counts if row["relation"] == "withheld" and self._task is None
        )
        times = [row for row in facts if row["first_ms"] is not None]
        return Census(
            facts=sum(row["n"] for row in facts) + withheld,
            quarantined=sum(row["quarantined"] or 0 for row in facts),
            withheld=withheld,
            calls=sum(row["n"] for row in counts if row["relation"] == "interactions"),
            first_ms=min((row["first_ms"] for row in times), default=None),
            last_ms=max((row["last_ms"] for row in times), default=None),
        )

    def segments(self, dimension: str) -> list[SegmentTally]:
        """Return what was said in each value of a dimension."""
        return self.typed("by_segment", SegmentTally, dimension=dimension)

    def shares(self, dimension: str) -> dict[str | None, int]:
        """Return how often each value of a dimension came."""
        return dict(self.rows("distribution", dimension=dimension))

    def numbers(self, dimension: str) -> tuple[float, ...]:
        """Return one number of each call, in order of time."""
        return self.pairs("call_numbers", dimension=dimension, limit=_NUMBERS_READ)[1]

    def versions(self, dimension: str) -> VersionValues:
        """Return each rating with its version and its unit."""
        rows = self.rows("version_units", dimension=dimension)
        return VersionValues(*zip(*rows, strict=True)) if rows else VersionValues((), (), (), ())

    def pairs(
        self, name: str | Query, **parameters: Any
    ) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Return two columns of numbers."""
        rows = self.rows(name, **parameters)
        if not rows:
            return (), ()
        first, second = zip(*rows, strict=True)
        return first, second

    def _answer(self, name: str | Query, parameters: dict[str, Any]) -> Answer:
        found = self._warehouse.query(
            name,
            tenant_id=self._tenant_id,
            from_ms=None if self._of is None else self._of.from_ms,
            to_ms=None if self._of is None else self._of.to_ms,
            task=self._task,
            # All answers of one report are of the moment of its first question.
            as_of=self.offset or None,
            **parameters,
        )
        self.offset = found.offset
        return found


def _finite(value: Any) -> Any:
    """Return None for infinity and NaN, to which sums of huge numbers overflow: JSON has neither."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
