"""The quality report, as values with the fields of the embedded loop's."""

from __future__ import annotations

import msgspec

from .trust import Period, TrustSummary


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One sentence that a reader should know, and the action that follows."""

    level: str
    kind: str
    sentence: str
    action: str
    section: str | None = None
    """The section of the report that the action points at; it is there and has something to show."""


class Census(msgspec.Struct, frozen=True, kw_only=True):
    """How much feedback there is, counted before anything is left out."""

    facts: int = 0
    quarantined: int = 0
    """Kept, but not counted for now."""
    withheld: int = 0
    """Facts that consent, their own or that of their person, keeps out of reports."""
    calls: int = 0
    first_ms: int | None = None
    last_ms: int | None = None


class Emptiness(msgspec.Struct, frozen=True, kw_only=True):
    """Why a report has nothing to show."""

    reason: str
    sentence: str


class Interval(msgspec.Struct, frozen=True, kw_only=True):
    """An estimate and the range that holds the truth with probability `level`.

    `n` is the effective number of independent observations behind it.
    """

    estimate: float
    low: float
    high: float
    n: float
    level: float = 0.95


class TrendPoint(msgspec.Struct, frozen=True, kw_only=True):
    """One day or week of a metric."""

    start_ms: int
    value: float
    low: float
    high: float
    n: int


class Turn(msgspec.Struct, frozen=True, kw_only=True):
    """A metric's level changed at `at_ms`; `p` is how often chance alone splits a series as well."""

    at_ms: int
    before: float
    after: float
    p: float


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How a metric went over the period."""

    every: str
    points: tuple[TrendPoint, ...]
    turns: tuple[Turn, ...]
    per_week: Interval | None
    """Change per week along a straight line; None with fewer than three points."""
    direction: str


class MetricLine(msgspec.Struct, frozen=True, kw_only=True):
    """One metric of a report: its value with an interval, its target and the verdict."""

    name: str
    title: str = ""
    """The metric's name for people."""
    sentence: str
    direction: str
    target: float
    taxonomy: int
    value: float | None
    """None when there is no data."""
    low: float | None
    high: float | None
    level: float = 0.95
    n: int
    effective_n: float
    people: int
    method: str | None
    verdict: str
    reason: str
    previous: float | None
    """In the period of the same length before."""
    change: Interval | None
    """Value - previous, with its interval."""
    weighted: Interval | None
    """By trust, where weights were given."""
    course: Course | None


class SegmentLine(msgspec.Struct, frozen=True, kw_only=True):
    """One value of a dimension; `positive_rate` is the share of positive ratings."""

    segment: str | None
    facts: int
    ratings: int
    positive_rate: Interval | None
    average_rating: float | None
    """Mean on [0, 1]."""
    average_stars: float | None
    thumbs_up: int
    thumbs_down: int
    corrections: int
    outcomes: int
    outcome_value: float | None
    people: int


class Breakdown(msgspec.Struct, frozen=True, kw_only=True):
    """Satisfaction by a dimension, commonest values first; `left_out` counts those not listed."""

    dimension: str
    segments: tuple[SegmentLine, ...]
    left_out: int


class VersionChange(msgspec.Struct, frozen=True, kw_only=True):
    """A version compared with the baseline that served beside it."""

    dimension: str
    version: str
    baseline: str
    verdict: str
    difference: Interval | None
    """Version - baseline, in mean rating on [0, 1]; None below the least number of people."""
    people: int
    baseline_people: int
    detected_at_ms: int | None
    """When the verdict was first certain."""
    average_before: float | None
    """Mean rating of all versions before this one came; None when it was there from the start, or nearly so."""
    average_since: float
    """Mean rating of all versions since this one came."""


class Pattern(msgspec.Struct, frozen=True, kw_only=True):
    """A phrase that marks negative feedback, with its weight on either side and examples, cut short."""

    phrase: str
    z: float
    """How sure: standard errors by which it is commoner among negative texts."""
    log_odds: float
    negative: float
    positive: float
    examples: tuple[str, ...]


class Group(msgspec.Struct, frozen=True, kw_only=True):
    """Alike negative texts: how many, the words they share, the most typical one."""

    texts: int
    weight: float
    words: tuple[str, ...]
    example: str


class Failures(msgspec.Struct, frozen=True, kw_only=True):
    """The phrases and groups that negative texts share, over the newest texts of the period."""

    negative: int
    positive: int
    patterns: tuple[Pattern, ...]
    groups: tuple[Group, ...]


class CorrectedQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query that people correct, in its commonest spelling, with how often and by how many it was asked."""

    query: str
    asked: int
    corrected: int
    correctors: int
    rate: Interval


class TaskJoin(msgspec.Struct, frozen=True, kw_only=True):
    """Join health of one task; None stands for feedback whose task is unknown."""

    task: str | None
    outcomes: int
    joined: int
    rate: Interval | None
    """Share of the outcomes that could join to a model version and do; None without any that could."""
    facts: int
    waiting: int
    """Facts whose call or decision is not there (yet)."""
    oldest_waiting_s: float | None
    has_alarm: bool


class JoinHealth(msgspec.Struct, frozen=True, kw_only=True):
    """Join health of a tenant over a period."""

    least_rate: float
    outcomes: int
    joined: int
    rate: Interval | None
    waiting: int
    oldest_waiting_s: float | None
    has_alarm: bool
    tasks: tuple[TaskJoin, ...]


class BinShare(msgspec.Struct, frozen=True, kw_only=True):
    """A value or range, with its share before and now."""

    name: str
    before: float
    now: float


class Drift(msgspec.Struct, frozen=True, kw_only=True):
    """How far a distribution moved since the period before, and its bins that moved most.

    `noise` is what `psi` reaches in one of twenty comparisons without any drift.
    """

    of: str
    psi: float
    noise: float
    verdict: str
    before: int
    now: int
    moved: tuple[BinShare, ...]


class Drifts(msgspec.Struct, frozen=True, kw_only=True):
    """Drift against the period before, and moments at which the stream of ratings changed."""

    since_ms: int
    items: tuple[Drift, ...]
    rating_changes_ms: tuple[int, ...]


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
