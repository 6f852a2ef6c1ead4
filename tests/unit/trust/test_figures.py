from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from loopwright.trust.clearances import Clearance
from loopwright.trust.facts import Facts
from loopwright.trust.figures import LEFT_OUT, SENTENCES, SHOWN_BURSTS, bursts_of, summary_of
from loopwright.trust.policy import TrustPolicy
from loopwright.trust.summary import Burst
from loopwright.trust.weights import Reason, TrustView
from loopwright.warehouse.period import Period

MINUTE = 60_000
NAMES = (
    "event_id", "at_ms", "kind", "experiment_id", "arm_id", "decision", "wording", "call", "reference",
    "person", "source", "session_id", "address", "metric", "task", "label", "value", "satisfaction",
)  # fmt: skip
ABOUT: dict[str, Any] = {
    "tenant_id": "acme", "period": Period(from_ms=0, to_ms=1), "task": None, "version": 2, "as_of_ms": 1,
    "offset": 1, "goldens": 0, "bursts": (), "more_bursts": 0,
}  # fmt: skip


def view(
    reasons: list[int], *, weights: list[float] | None = None, cleared: bool = False
) -> TrustView:
    flags = np.array(reasons, dtype=np.uint16)
    held = (flags & Reason.BURST) != 0
    plain = np.where(flags & LEFT_OUT, 0.0, 1.0) if weights is None else np.array(weights)
    none = np.zeros(len(flags), dtype=np.bool_)
    return TrustView(2, plain, flags, none if cleared else held, held if cleared else none)


def rushes(*times: int, cleared: bool = False, clearances: Any = (), **row: Any) -> tuple[Any, int]:
    plain = {"kind": "rating", "arm_id": "a", "source": "end_user", "metric": "rating"}
    rows = [{**plain, "event_id": f"e{k}", "at_ms": at, **row} for k, at in enumerate(times)]
    facts = Facts.of(NAMES, [tuple(r.get(name) for name in NAMES) for r in rows])
    seen = view([Reason.BURST] * len(times), cleared=cleared)
    among = np.ones(len(times), dtype=np.bool_)
    return bursts_of(
        facts, facts.ballots(), seen, among=among, clearances=clearances, policy=TrustPolicy()
    )


def test_every_reason_has_a_sentence() -> None:
    assert set(SENTENCES) == set(Reason)


def test_a_fact_is_counted_once_however_many_reasons_hold_for_it() -> None:
    both = Reason.REPEATED | Reason.CAPPED_USER
    found = summary_of(
        view([0, both, Reason.ADVERSARIAL, Reason.AGED], weights=[1.0, 0.0, 0.0, 0.5]),
        np.array(["rating", "rating", "signal", "rating"]),
        among=np.array([True, True, True, True]),
        about=ABOUT,
    )
    assert (found.facts, found.counted, found.capped, found.adversarial) == (4, 2, 1, 1)
    ratings = found.of("rating")
    assert ratings is not None
    assert (ratings.facts, ratings.counted) == (3, 2)
    assert ratings.weight == pytest.approx(1.5)
    assert {reason.reason for reason in ratings.reasons} == {"aged", "repeated", "capped_user"}


def test_facts_outside_the_task_are_not_summed_and_kinds_without_facts_not_listed() -> None:
    found = summary_of(
        view([0, 0, 0]),
        np.array(["rating", "signal", "rating"]),
        among=np.array([True, False, True]),
        about=ABOUT,
    )
    assert (found.facts, [tally.kind for tally in found.kinds]) == (2, ["rating"])


def test_rushes_of_one_arm_that_lie_close_together_are_one_burst() -> None:
    found, more = rushes(0, 10 * MINUTE, 20 * MINUTE + 1, person="p")
    assert [(burst.first_ms, burst.last_ms, burst.facts) for burst in found] == [
        (20 * MINUTE + 1, 20 * MINUTE + 1, 1),
        (0, 10 * MINUTE, 2),
    ]
    assert (more, found[1].people, found[1].held) == (0, 1, 2)


def test_of_many_bursts_the_newest_are_shown() -> None:
    found, more = rushes(*[k * 11 * MINUTE for k in range(SHOWN_BURSTS + 3)])
    assert (len(found), more) == (SHOWN_BURSTS, 3)
    assert found[0].first_ms == (SHOWN_BURSTS + 2) * 11 * MINUTE


def test_praise_is_counted_of_ratings_only() -> None:
    assert rushes(0, 1, satisfaction=1.0)[0][0].praise == 2
    assert rushes(0, 1, satisfaction=0.0)[0][0].praise == 0
    assert rushes(0, 1, satisfaction=1.0, kind="signal")[0][0].praise is None


def test_the_latest_clearance_of_the_arm_and_time_is_named() -> None:
    def cleared(id: str, arm: str, from_ms: int, to_ms: int) -> Clearance:
        return Clearance(
            id=id, experiment_id=None, arm_id=arm, from_ms=from_ms, to_ms=to_ms, note="", released_by="k",
            released_at_ms=1,
        )  # fmt: skip

    known = [
        cleared("1", "a", 0, 9),
        cleared("2", "a", 5, 9),
        cleared("3", "b", 0, 9),
        cleared("4", "a", 10, 99),
    ]
    burst: Burst = rushes(4, 6, cleared=True, clearances=known)[0][0]
    assert burst.release is not None
    assert (burst.release.id, burst.held, burst.facts) == ("2", 0, 2)
