"""Answers from the warehouse: reports, statistics, agent decisions, join health, exports.

It only reads, and keeps no state between two calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from loopwright.core.clock import Clock
from loopwright.core.errors import NotFound
from loopwright.warehouse import Warehouse
from loopwright.warehouse.period import Period

from .asking import Asking, material
from .exports import ExportFormat, ExportScope, csv_lines, exported, json_lines
from .joins import LEAST_RATE, JoinHealth, JoinTally, join_health
from .report import QualityReport, quality_report
from .sections import sections
from .segments import SegmentTally
from .tallies import RateTally

_PAGE: Final = 10_000


class MetricRate(msgspec.Struct, frozen=True, kw_only=True):
    """A metric of the catalogue over a period: how often it holds, among how many."""

    name: str
    hits: int
    n: int
    rate: float | None
    """Null without any event."""


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
    thumbs_up_rate: float
    """Among thumbs; 0 without any."""
    thumbs_down_rate: float
    corrections: int
    people: int
    record_count: int
    """Items that came in; `records` counts the facts that they hold."""
    avg_rating: float
    """The average rating as earlier systems name it; 0 without any."""
    by_prompt_version: dict[str, float]
    """Average rating of each version that has any; the name is empty for feedback that says none."""
    by_model_version: dict[str, float]
    by_category: dict[str, float]
    segments: dict[str, tuple[SegmentTally, ...]]
    """Everything that is counted of each version and category."""
    metrics: tuple[MetricRate, ...] = ()
    """Every metric of the catalogue."""


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


class AgentDecision(msgspec.Struct, frozen=True, kw_only=True):
    """A step as earlier systems name its members."""

    session_id: str
    tenant_id: str
    decision_type: str
    decision_data: Any
    outcome: str | None
    confidence: float | None
    timestamp: str
    """ISO 8601, UTC."""


class SessionDecisions(msgspec.Struct, frozen=True, kw_only=True):
    """The decisions of an agent in one session, in order."""

    session_id: str
    steps: tuple[SessionStep, ...]
    decisions: tuple[AgentDecision, ...]
    """The same, under the names of earlier systems."""
    outcomes: dict[str, int]
    """The number of steps by outcome; `unknown` for steps without one."""


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

        With `task` it covers the calls of that task and their feedback.

        Raises `Invalid` for an unknown section.
        """
        return quality_report(
            tenant_id,
            of,
            material=material(
                self._warehouse,
                tenant_id,
                of,
                wanted=sections(include),
                task=task,
                is_weighted=weights is not None,
            ),
            now_ms=self._now_ms(),
            task=task,
            weights=weights,
            least_join_rate=self._least_join_rate,
        )

    def stats(self, tenant_id: str, of: Period) -> Stats:
        """Return counts, average rating and thumbs rates, in all and by version and category."""
        ask = Asking(self._warehouse, tenant_id, of)
        (found,) = ask.typed("stats", _Whole)
        # Clients of earlier systems expect 0 without thumbs, not an error.
        thumbs = max(found.thumbs_up + found.thumbs_down, 1)
        segments = {
            name: tuple(ask.typed(f"by_{name}", SegmentTally))
            for name in ("prompt_version", "model_version", "category")
        }
        return Stats(
            tenant_id=tenant_id,
            period=of,
            records=found.facts,
            ratings=found.ratings,
            average_rating=found.average_stars,
            satisfaction=found.satisfaction,
            thumbs_up=found.thumbs_up,
            thumbs_down=found.thumbs_down,
            thumbs_up_rate=found.thumbs_up / thumbs,
            thumbs_down_rate=found.thumbs_down / thumbs,
            corrections=found.corrections,
            people=found.people,
            record_count=found.items,
            avg_rating=found.average_stars or 0.0,
            by_prompt_version=_averages(segments["prompt_version"]),
            by_model_version=_averages(segments["model_version"]),
            by_category=_averages(segments["category"]),
            segments=segments,
            metrics=tuple(_rate(tally) for tally in ask.rates()),
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
                # An agent's data is stored as JSON text and answered as the value that it sent.
                data=msgspec.json.decode(row["data"] or "{}"),
                confidence=row["confidence"],
                outcome=row["outcome"],
                interaction_id=row["interaction_id"],
            )
            for row in answer.dicts()
        )
        # A session exists only by its steps, so none of them means that there is no such session.
        if not steps:
            raise NotFound(
                f"there are no steps of session '{session_id[:80]}'; steps arrive by POST /api/v1/steps"
            )
        outcomes: dict[str, int] = {}
        for step in steps:
            outcomes[step.outcome or "unknown"] = outcomes.get(step.outcome or "unknown", 0) + 1
        decisions = tuple(
            AgentDecision(
                session_id=session_id,
                tenant_id=tenant_id,
                decision_type=step.kind,
                decision_data=step.data,
                outcome=step.outcome,
                confidence=step.confidence,
                timestamp=datetime.fromtimestamp(step.taken_at_ms / 1000, UTC).isoformat(),
            )
            for step in steps
        )
        return SessionDecisions(
            session_id=session_id, steps=steps, decisions=decisions, outcomes=outcomes
        )

    def join_health(self, tenant_id: str, of: Period) -> JoinHealth:
        """Return how well outcomes join to model versions, per task, and how many facts wait."""
        tallies = Asking(self._warehouse, tenant_id, of).typed("join_health", JoinTally)
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

        Every row belongs to a person who agreed to analysis and, with the scope `share` (the default), to sharing
        outside the organisation. Pages are read one at a time, so an export of any size takes little memory.
        """
        write = json_lines if format == "jsonl" else csv_lines
        is_first = True
        for rows in self.exported(tenant_id, of, scope=scope):
            # The first page is written even without rows: a CSV file has its header.
            if is_first or rows:
                yield write([exported(row) for row in rows], is_first=is_first)
            is_first = False

    def exported(
        self, tenant_id: str, of: Period, *, scope: ExportScope = "share"
    ) -> Iterator[Sequence[Mapping[str, Any]]]:
        """Yield the rows that `export` writes, page by page; a page may be empty."""
        after = 0
        while True:
            answer = self._warehouse.query(
                "export_rows",
                tenant_id=tenant_id,
                from_ms=of.from_ms,
                to_ms=of.to_ms,
                after=after,
                # Pages: one answer with all rows would hold every row as a Python object at once.
                limit=_PAGE,
            )
            rows = answer.dicts()
            # Filtered after paging, so that the page's length still says whether another follows.
            yield [row for row in rows if scope == "analyze" or row["consent_share"]]
            if len(rows) < _PAGE:
                return
            # By the last offset and not by a count of rows: facts that arrive meanwhile shift no page, and no
            # page is read twice to be skipped.
            after = rows[-1]["log_offset"]


class _Whole(msgspec.Struct, frozen=True, kw_only=True):
    """The one row of `stats`; sums over nothing are NULL."""

    facts: int
    items: int
    ratings: int
    average_stars: float | None
    satisfaction: float | None
    thumbs_up: int
    thumbs_down: int
    corrections: int
    people: int


def _averages(segments: Sequence[SegmentTally]) -> dict[str, float]:
    # JSON has no null as a member's name.
    return {s.segment or "": s.average_stars for s in segments if s.average_stars is not None}


def _rate(tally: RateTally) -> MetricRate:
    # Without events there is no rate: 0 would read as “never”.
    rate = tally.hits / tally.n if tally.n else None
    return MetricRate(name=tally.metric, hits=tally.hits, n=tally.n, rate=rate)
