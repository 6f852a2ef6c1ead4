"""The quality report with figures weighed by trust beside the raw ones."""

from __future__ import annotations

from urllib.parse import quote

from msgspec import structs

from loopwright.trust import LEFT_OUT, Reason, Trust, TrustSummary, TrustTally
from loopwright.warehouse.period import Period

from .findings import Finding
from .metrics import MetricLine
from .report import QualityReport
from .service import Insights


def trusted_report(
    insights: Insights, trust: Trust, tenant_id: str, of: Period, *, task: str | None = None
) -> QualityReport:
    """Return the quality report of a period, weighed by trust beside the raw figures."""
    found = trust.trusted(tenant_id, of, now_ms=insights.now_ms(), task=task)
    plain = insights.report(tenant_id, of, task=task, weights=found.weights)
    note = _finding(plain, found.summary)
    return structs.replace(plain, findings=(*plain.findings, *note), trust=found.summary)


def _finding(report: QualityReport, summary: TrustSummary) -> tuple[Finding, ...]:
    """Return the finding about the trust view: how many ratings count, and why the others do not."""
    ratings = summary.of("rating")
    if ratings is None:
        return ()
    left_out = {reason.name.lower() for reason in Reason if reason & LEFT_OUT and reason.name}
    why = ", ".join(
        f"{reason.facts:,} {reason.sentence}"
        for reason in ratings.reasons
        if reason.reason in left_out
    )
    counted = (
        f"Trust view {summary.version} counts {ratings.counted:,} of {ratings.facts:,} ratings"
    )
    lines = {line.name: line for line in report.metrics or ()}
    return (
        Finding(
            level="note",
            kind="trust",
            sentence=f"{counted}{f'; left out: {why}' if why else ''}.{_released(ratings)}"
            f"{_beside(lines.get('satisfaction'))}",
            # Quoted whole: a tenant's id may hold a slash.
            action=f"See GET /api/v1/feedback/trust/{quote(report.tenant_id, safe='')} for all counts and bursts."
            if why
            else "",
        ),
    )


def _released(ratings: TrustTally) -> str:
    if not ratings.released:
        return ""
    return f" {ratings.released:,} came in a burst that was released."


def _beside(line: MetricLine | None) -> str:
    if line is None or line.value is None or line.weighted is None:
        return ""
    by_trust = f"{line.weighted.estimate:.1%} by trust, worth {line.weighted.n:,.0f} people"
    return f" Satisfaction is {line.value:.1%} as it was said and {by_trust}."
