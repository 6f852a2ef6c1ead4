"""The quality report of one tenant and one period: figures, findings and actions.

`quality_report` is a pure function of the answers of the named queries; `service` runs these.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from loopwright.stats.intervals import Interval
from loopwright.stats.patterns import CorrectedQuery
from loopwright.trust.summary import TrustSummary
from loopwright.warehouse.period import Period, seeded
from loopwright.warehouse.queries import POSITIVE

from .census import Census, Emptiness, emptiness
from .failures import Asked, Failures, Text, corrected_queries, failure_patterns
from .findings import Finding, Parts, findings, headline
from .joins import LEAST_RATE, JoinHealth, JoinTally, join_health
from .metrics import (
    MetricLine,
    RatedFact,
    design_effect,
    estimate,
    metric_lines,
    weighted_rate_of,
)
from .sections import Attempts, Section
from .segments import Breakdown, SegmentTally, breakdown
from .shifts import Drifts, drift_of_numbers, drift_of_shares, rating_changes
from .tallies import DayTally, UnitTally
from .targets import TAXONOMY
from .versions import VersionChange, VersionValues, version_changes


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """The answers of the named queries. A part that is None was not asked for."""

    now: Census
    """In the period."""
    ever: Census
    """Since the beginning."""
    offset: int
    """Log offset through which all of it is true."""
    watermark: int
    """Log offset through which it came from the warehouse's files; the rest came from the log itself."""
    has_metrics: bool = True
    """Whether the metrics themselves were asked for; breakdowns need their tallies too."""
    tallies: Sequence[UnitTally] | None = None
    before: Sequence[UnitTally] = ()
    days: Sequence[DayTally] = ()
    rated: Sequence[RatedFact] = ()
    """Only needed with weights."""
    segments: Mapping[str, Sequence[SegmentTally]] | None = None
    versions: Mapping[str, VersionValues] | None = None
    texts: Sequence[Text] | None = None
    asked: Sequence[Asked] | None = None
    joins: Sequence[JoinTally] | None = None
    shares: Mapping[str, tuple[Mapping[str | None, int], Mapping[str | None, int]]] | None = None
    """By dimension: how often each value came in the period before, and in this one."""
    numbers: Mapping[str, tuple[Sequence[float], Sequence[float]]] = {}
    ratings: tuple[Sequence[int], Sequence[float]] = ((), ())
    """Times and values of all ratings, in order."""
    failed: Mapping[Section, str] = {}
    """The error of each section whose query failed."""


class QualityReport(msgspec.Struct, frozen=True, kw_only=True):
    """How good an AI product is for one tenant over one period.

    A section that is null was not asked for, or could not be made; then a finding of the kind `left out` says why.
    """

    tenant_id: str
    task: str | None = None
    """The task it is about; None for all tasks."""
    period: Period
    generated_at_ms: int
    offset: int
    """Log offset through which the report is true."""
    watermark: int
    """Log offset through which it was read from the warehouse's files, and beyond from the log itself."""
    taxonomy: int
    headline: str
    findings: tuple[Finding, ...]
    """Most urgent first."""
    census: Census
    empty: Emptiness | None
    is_weighted: bool
    metrics: tuple[MetricLine, ...] | None
    breakdowns: tuple[Breakdown, ...] | None
    versions: tuple[VersionChange, ...] | None
    failures: Failures | None
    corrected: tuple[CorrectedQuery, ...] | None
    joins: JoinHealth | None
    drift: Drifts | None
    trust: TrustSummary | None = None
    """The facts that count by trust, and those held back."""

    @property
    def missed(self) -> tuple[str, ...]:
        """Names of the metrics that miss their target."""
        return tuple(line.name for line in self.metrics or () if line.verdict == "missed")


def quality_report(
    tenant_id: str,
    of: Period,
    *,
    material: Material,
    now_ms: int,
    task: str | None = None,
    weights: Mapping[str, float] | None = None,
    least_join_rate: float = LEAST_RATE,
) -> QualityReport:
    """Return the report made from `material`. `weights` are trust weights by event id; 1 where unknown.

    A section that fails on a stored fact is left out, and a finding says so.
    """
    attempts = Attempts()
    # First: a section whose query failed must not be made from the empty default of its material.
    attempts.failed.update(material.failed)
    make = attempts.make
    lines = make(("metrics",), lambda: _lines(tenant_id, of, material, weights=weights))
    versions = make(("versions",), lambda: _versions(material))
    breakdowns = make(("breakdown",), lambda: _breakdowns(tenant_id, of, material))
    joins = make(("joins",), lambda: _joins(material, now_ms, least_join_rate))
    failures = make(("failures",), lambda: _failures(material, weights))
    corrected = make(("corrected",), lambda: _corrected(material))
    drift = make(("drift",), lambda: _drift(tenant_id, of, material))
    empty = emptiness(material.now, material.ever, task=task, calendar=of.calendar)
    parts = Parts(
        empty=empty,
        lines=lines or (),
        versions=versions or (),
        failures=failures,
        corrected=corrected,
        joins=joins,
        drift=drift,
        failed=attempts.failed,
    )
    found = findings(parts, of.calendar)
    return QualityReport(
        tenant_id=tenant_id,
        task=task,
        period=of,
        generated_at_ms=now_ms,
        offset=material.offset,
        watermark=material.watermark,
        taxonomy=TAXONOMY,
        headline=headline(found),
        findings=found,
        census=material.now,
        empty=empty,
        is_weighted=weights is not None,
        metrics=lines,
        breakdowns=breakdowns,
        versions=versions,
        failures=failures,
        corrected=corrected,
        joins=joins,
        drift=drift,
    )


def _lines(
    tenant_id: str, of: Period, material: Material, *, weights: Mapping[str, float] | None
) -> tuple[MetricLine, ...] | None:
    if material.tallies is None or not material.has_metrics:
        return None
    weighted: dict[str, Interval] = {}
    if weights is not None and material.rated:
        rate = weighted_rate_of(
            material.rated,
            weights,
            positive_from=POSITIVE,
            # A seed of its own: with or without weights, the raw figures stay the same.
            rng=seeded(tenant_id, of, "weighted satisfaction"),
        )
        weighted = {} if rate is None else {"satisfaction": rate}
    return metric_lines(
        tenant_id,
        of,
        tallies=material.tallies,
        before=material.before,
        days=material.days,
        weighted=weighted,
    )


def _joins(material: Material, now_ms: int, least_rate: float) -> JoinHealth | None:
    if material.joins is None:
        return None
    return join_health(material.joins, now_ms=now_ms, least_rate=least_rate)


def _failures(material: Material, weights: Mapping[str, float] | None) -> Failures | None:
    return None if material.texts is None else failure_patterns(material.texts, weights=weights)


def _corrected(material: Material) -> tuple[CorrectedQuery, ...] | None:
    return None if material.asked is None else corrected_queries(material.asked)


def _breakdowns(tenant_id: str, of: Period, material: Material) -> tuple[Breakdown, ...] | None:
    if material.segments is None:
        return None
    rated = [tally for tally in material.tallies or () if tally.metric == "satisfaction"]
    # One design effect for all segments: most are too small to estimate their own.
    design = design_effect(estimate(rated, rng=seeded(tenant_id, of, "satisfaction")))
    return tuple(
        breakdown(dimension, tallies, design=design)
        for dimension, tallies in material.segments.items()
    )


def _versions(material: Material) -> tuple[VersionChange, ...] | None:
    if material.versions is None:
        return None
    return tuple(
        change
        for dimension, values in material.versions.items()
        for change in version_changes(dimension, values)
    )


def _drift(tenant_id: str, of: Period, material: Material) -> Drifts | None:
    if material.shares is None:
        return None
    items = [
        drift_of_shares(name, before, now, rng=seeded(tenant_id, of, f"drift {name}"))
        for name, (before, now) in material.shares.items()
        # A dimension that nobody ever sent has not drifted.
        if {*before, *now} - {None}
    ]
    items += [
        drift_of_numbers(name, before, now, rng=seeded(tenant_id, of, f"drift {name}"))
        for name, (before, now) in material.numbers.items()
        if len(before) or len(now)
    ]
    times, values = material.ratings
    return Drifts(
        since_ms=of.previous.from_ms,
        # The greatest drift first, since a reader looks at the first rows.
        items=tuple(sorted(items, key=lambda item: -item.psi)),
        rating_changes_ms=rating_changes(times, values),
    )
