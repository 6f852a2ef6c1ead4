from __future__ import annotations

from loopwright.trust.summary import TrustSummary, TrustTally
from loopwright.warehouse.period import Period


def tally(kind: str, facts: int) -> TrustTally:
    numbers = {"counted": facts, "capped": 0, "quarantined": 0, "released": 0, "adversarial": 0}
    return TrustTally(kind=kind, facts=facts, weight=float(facts), reasons=(), **numbers)


def test_a_summary_finds_what_became_of_one_kind_and_nothing_for_another() -> None:
    kinds = (tally("rating", 3), tally("signal", 5))
    summary = TrustSummary(
        tenant_id="acme",
        period=Period(from_ms=0, to_ms=1),
        task=None,
        version=2,
        as_of_ms=1,
        offset=9,
        facts=8,
        counted=8,
        capped=0,
        quarantined=0,
        released=0,
        adversarial=0,
        goldens=0,
        reasons=(),
        kinds=kinds,
        bursts=(),
        more_bursts=0,
    )
    assert summary.of("signal") is kinds[1]
    assert summary.of("outcome") is None
