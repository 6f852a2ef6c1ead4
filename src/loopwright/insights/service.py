"""Asking the warehouse: reports, statistics, agent decisions, join health, exports.

Everything here reads; nothing is kept between two questions.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal, TypeVar

import msgspec

from loopwright.core.clock import Clock
from loopwright.core.errors import NotFound
from loopwright.warehouse import TABLES, Answer, Warehouse
from loopwright.warehouse.period import Period

from .failures import Asked, Text
from .joins import LEAST_RATE, JoinHealth, JoinTally, join_health
from .metrics import DayTally, RatedFact, SegmentTally, UnitTally
from .report import Census, Material, QualityReport, Section, quality_report, sections
from .versions import VersionValues

T = TypeVar("T")

ExportFormat = Literal["jsonl", "csv"]
ExportScope = Literal["share", "analyze"]

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
_PAGE: Final = 10_000


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """All feedback of a period in a few numbers."""

    tenant_id: str
    period: Period
    records: int
    ratings: int
    average_rating: float | None
    """Mean of the 1 to 5 star ratings."""
    satisfaction: float | None
    """Mean of all ratings on [0, 1]."""
    thumbs_up: int
    thumbs_down: int
    thumbs_up_rate: float | None
    """Among thumbs; null without any."""
    thumbs_down_rate: float | None
    corrections: int
    people: int
    by_prompt_version: tuple[SegmentTally, ...]
    by_model_version: tuple[SegmentTally, ...]
    by_category: tuple[SegmentTally, ...]


class SessionStep(msgspec.Struct, frozen=True, kw_only=True):
    """One step that an agent took."""

    id: str
    kind: str
    taken_at_ms: int
    data: Any
    confidence: float | None
    outcome: str | None
    """success, failure, correction; null while unknown."""
    interaction_id: str | None


class SessionDecisions(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent decided in one session, in order."""

    session_id: str
    steps: tuple[SessionStep, ...]
    outcomes: dict[str, int]
    """How many steps ended how; `unknown` for those without an outcome."""


class Insights:
    """Answers about the feedback of one tenant at a time. Any number of threads may ask."""

    def __init__(
        self, warehouse: Warehouse, *, clock: Clock, least_join_rate: float = LEAST_RATE
    ) -> None:
        self._warehouse = warehouse
        self._now_ms = clock.now_ms
        self._least_join_rate = least_join_rate

    def now_ms(self) -> int:
        """Return the time, by the clock that reports are dated with."""
        return self._now_ms()

    def report(
        self,
        tenant_id: str,
        of: Period,
        *,
        include: Sequence[str] | None = None,
        task: str | None = None,
        weights: Mapping[str, float] | None = None,
    ) -> QualityReport:
        """Return the quality report; `include` names sections, all when None; `weights` is trust by event id.

        With `task` it is about the calls of that task and the feedback that is of it.

        Raises `Invalid` for a section that there is not.
        """
        wanted = sections(include)
        return quality_report(
            tenant_id,
            of,
            material=self._material(
                tenant_id, of, wanted, task=task, is_weighted=weights is not None
            ),
            now_ms=self._now_ms(),
            task=task,
            weights=weights,
            least_join_rate=self._least_join_rate,
        )

    def stats(self, tenant_id: str, of: Period) -> Stats:
        """Return counts, average rating and thumbs rates, in all and by version and category."""
        ask = _Asking(self._warehouse, tenant_id, of)
        (found,) = ask.typed("stats", _Whole)
        thumbs = found.thumbs_up + found.thumbs_down
        return Stats(
            tenant_id=tenant_id,
            period=of,
            records=found.facts,
            ratings=found.ratings,
            average_rating=found.average_stars,
            satisfaction=found.satisfaction,
            thumbs_up=found.thumbs_up,
            thumbs_down=found.thumbs_down,
            thumbs_up_rate=found.thumbs_up / thumbs if thumbs else None,
            thumbs_down_rate=found.thumbs_down / thumbs if thumbs else None,
            corrections=found.corrections,
            people=found.people,
            by_prompt_version=tuple(ask.typed("by_prompt_version", SegmentTally)),
            by_model_version=tuple(ask.typed("by_model_version", SegmentTally)),
            by_category=tuple(ask.typed("by_category", SegmentTally)),
        )

    def decisions(self, tenant_id: str, session_id: str) -> SessionDecisions:
        """Return the steps of a session. Raises `NotFound` when there are none of this tenant."""
        answer = self._warehouse.query(
            "steps_of_session", tenant_id=tenant_id, session_id=session_id
        )
        steps = tuple(
            SessionStep(
                id=row["step_id"],
                kind=row["kind"],
                taken_at_ms=row["taken_at_ms"],
                data=msgspec.json.decode(row["data"] or "{}"),
                confidence=row["confidence"],
                outcome=row["outcome"],
                interaction_id=row["interaction_id"],
            )
            for row in answer.dicts()
        )
        if not steps:
            raise NotFound(
                f"there are no steps of session '{session_id[:80]}'; steps arrive by POST /api/v1/steps"
            )
        outcomes: dict[str, int] = {}
        for step in steps:
            outcomes[step.outcome or "unknown"] = outcomes.get(step.outcome or "unknown", 0) + 1
        return SessionDecisions(session_id=session_id, steps=steps, outcomes=outcomes)

    def join_health(self, tenant_id: str, of: Period) -> JoinHealth:
        """Return how well outcomes join to model versions, per task, and what still waits."""
        tallies = _Asking(self._warehouse, tenant_id, of).typed("join_health", JoinTally)
        return join_health(tallies, now_ms=self._now_ms(), least_rate=self._least_join_rate)

    def export(
        self,
        tenant_id: str,
        of: Period,
        *,
        format: ExportFormat = "jsonl",
        scope: ExportScope = "share",
    ) -> Iterator[bytes]:
        """Yield the feedback of a period page by page, in the order of the log, quarantined facts included.

        Every row is of somebody who agreed to analysis; with the scope `share` (the default) also to its
        leaving the organisation. Pages are read one at a time, so an export of any size takes little memory.
        """
        write = _json_lines if format == "jsonl" else _csv_lines
        is_first, after = True, 0
        while True:
            answer = self._warehouse.query(
                "export_rows",
                tenant_id=tenant_id,
                from_ms=of.from_ms,
                to_ms=of.to_ms,
                after=after,
                limit=_PAGE,
            )
            rows = answer.dicts()
            allowed = [row for row in rows if scope == "analyze" or row["consent_share"]]
            if is_first or allowed:
                yield write([_exported(row) for row in allowed], is_first)
            if len(rows) < _PAGE:
                return
            is_first, after = False, rows[-1]["log_offset"]

    def _material(
        self,
        tenant_id: str,
        of: Period,
        wanted: Sequence[Section],
        *,
        task: str | None,
        is_weighted: bool,
    ) -> Material:
        """Ask everything that the wanted sections are made of; all answers are of one moment."""
        ask = _Asking(self._warehouse, tenant_id, of, task=task)
        now = ask.census()
        ever = now if now.counted else _Asking(self._warehouse, tenant_id, None, task=task).census()
        has = set(wanted)
        segments = (
            {name: ask.segments(name) for name in DIMENSIONS}
            if {"breakdown", "drift"} & has
            else {}
        )
        versions = {name: ask.versions(name) for name in _VERSIONS} if "versions" in has else None
        # Breakdowns need the design effect, so they need the tallies too.
        tallies = ask.typed("metric_units", UnitTally) if {"metrics", "breakdown"} & has else None
        days = ask.typed("metric_by_day", DayTally) if "metrics" in has else ()
        rated = ask.typed("rated_facts", RatedFact) if is_weighted and "metrics" in has else ()
        texts = ask.typed("negative_texts", Text, limit=_TEXTS) if "failures" in has else None
        asked = ask.typed("asked_queries", Asked, limit=_ASKED) if "corrected" in has else None
        joins = ask.typed("join_health", JoinTally) if "joins" in has else None
        numbers = {name: ask.numbers(name) for name in _NUMBERS} if "drift" in has else {}
        ratings = ask.pairs("values_of", limit=_EVERYTHING) if "drift" in has else ((), ())
        # The period before last, so that the rows of this one are copied once.
        past = _Asking(self._warehouse, tenant_id, of.previous, task=task)
        return Material(
            now=now,
            ever=ever,
            offset=ask.offset,
            watermark=self._warehouse.watermark,
            tallies=tallies,
            before=past.typed("metric_units", UnitTally) if "metrics" in has else (),
            days=days,
            rated=rated,
            segments=segments if "breakdown" in has else None,
            has_metrics="metrics" in has,
            versions=versions,
            texts=texts,
            asked=asked,
            joins=joins,
            shares={
                name: (past.shares(name), {t.segment: t.facts for t in segments[name]})
                for name in _SHARES
            }
            if "drift" in has
            else None,
            numbers={name: (past.numbers(name), found) for name, found in numbers.items()},
            ratings=ratings,
        )


class _Whole(msgspec.Struct, frozen=True, kw_only=True):
    """The one row of `stats`; sums over nothing are NULL."""

    facts: int
    ratings: int
    average_stars: float | None
    satisfaction: float | None
    thumbs_up: int
    thumbs_down: int
    corrections: int
    people: int


class _Asking:
    """Questions about one tenant and one period; None is all time."""

    def __init__(
        self, warehouse: Warehouse, tenant_id: str, of: Period | None, *, task: str | None = None
    ) -> None:
        self._warehouse = warehouse
        self._tenant_id = tenant_id
        self._of = of
        self._task = task
        self.offset = 0

    def rows(self, name: str, **parameters: Any) -> list[tuple[Any, ...]]:
        return self._answer(name, parameters).rows

    def typed(self, name: str, kind: type[T], **parameters: Any) -> list[T]:
        found = self._answer(name, parameters)
        fields = {field.name: field for field in msgspec.structs.fields(kind)}  # type: ignore[arg-type]
        # A sum over no rows is NULL, and a count is then 0: leave it to the default, or to 0 without one.
        return [
            msgspec.convert(
                {
                    key: 0 if value is None and fields[key].type is int else value
                    for key, value in row.items()
                    if key in fields
                },
                kind,
                strict=False,
            )
            for row in found.dicts()
        ]

    def census(self) -> Census:
        counts = self._answer("period_counts", {}).dicts()
        facts = [row for row in counts if row["relation"] == "feedback"]
        # Which task a fact is of may only its call say, so what consent keeps out is told for all tasks only.
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
        return self.typed("by_segment", SegmentTally, dimension=dimension)

    def shares(self, dimension: str) -> dict[str | None, int]:
        return dict(self.rows("distribution", dimension=dimension))

    def numbers(self, dimension: str) -> tuple[float, ...]:
        return self.pairs("call_numbers", dimension=dimension, limit=_NUMBERS_READ)[1]

    def versions(self, dimension: str) -> VersionValues:
        rows = self.rows("version_units", dimension=dimension)
        return VersionValues(*zip(*rows, strict=True)) if rows else VersionValues((), (), (), ())

    def pairs(self, name: str, **parameters: Any) -> tuple[tuple[int, ...], tuple[float, ...]]:
        """Return two columns of numbers."""
        rows = self.rows(name, **parameters)
        if not rows:
            return (), ()
        first, second = zip(*rows, strict=True)
        return first, second

    def _answer(self, name: str, parameters: dict[str, Any]) -> Answer:
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


_EXPORTED: Final = tuple(name for name in TABLES["feedback"].names if not name.endswith("_key"))
_DECODED: Final = ("labels", "tags", "flags", "redactions", "wire")


def _exported(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in _EXPORTED}


def _json_lines(rows: list[dict[str, Any]], is_first: bool) -> bytes:
    """Return rows as JSON, one per line, without their nulls; columns that hold JSON become objects."""
    plain = [
        {
            name: msgspec.Raw(value.encode()) if name in _DECODED else value
            for name, value in row.items()
            if value is not None
        }
        for row in rows
    ]
    return msgspec.json.Encoder().encode_lines(plain)


def _csv_lines(rows: list[dict[str, Any]], is_first: bool) -> bytes:
    """Return rows as CSV (RFC 4180), the header before the first page; a NULL is an empty cell."""
    text = io.StringIO()
    writer = csv.DictWriter(text, _EXPORTED)
    if is_first:
        writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()
