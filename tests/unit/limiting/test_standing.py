from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.limiting.stand import Stand

from loopwright.core.errors import Invalid


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    made.loop.limits.put("chat", prior=100, least=10, most=200, burst=1000)
    yield made
    made.close()


def rate(stand: Stand) -> float:
    return stand.loop.limits.status("chat").rate


def test_requests_are_admitted_by_the_rate_in_force(stand: Stand) -> None:
    stand.loop.limits.put("tiny", prior=1, burst=2)
    told = [stand.loop.limits.acquire("tiny", key="ada").allowed for _ in range(3)]
    assert told == [True, True, False]
    assert stand.loop.limits.acquire("tiny", key="bob").allowed
    denied = stand.loop.limits.acquire("tiny", key="ada", cost=1)
    assert denied.retry_after_s is not None
    assert denied.retry_after_s > 0
    assert stand.loop.limits.acquire("tiny", key="bob", cost=5).retry_after_s is None


def test_modes_answer_without_refusing(stand: Stand) -> None:
    stand.loop.limits.put("shadow", prior=1, burst=1, mode="shadow")
    stand.loop.limits.put("off", prior=1, burst=1, mode="off")
    shadow = [stand.loop.limits.acquire("shadow") for _ in range(2)]
    assert [(told.allowed, told.fits) for told in shadow] == [(True, True), (True, False)]
    assert all(stand.loop.limits.acquire("off").allowed for _ in range(5))
    decided = stand.limits.decided
    assert decided["default", "shadow", "shadowed"] == 1


@pytest.mark.parametrize("cost", [0, -1, float("nan"), float("inf")], ids=str)
def test_costs_that_make_no_sense_are_refused(stand: Stand, cost: float) -> None:
    with pytest.raises(Invalid):
        stand.loop.limits.acquire("chat", cost=cost)


@pytest.mark.parametrize("overloaded", [-0.1, 1.1, float("nan")], ids=str)
def test_reports_that_make_no_sense_are_refused(stand: Stand, overloaded: float) -> None:
    with pytest.raises(Invalid):
        stand.loop.limits.report("chat", overloaded=overloaded)


def test_many_keys_keep_their_own_buckets(stand: Stand) -> None:
    stand.loop.limits.put("per-user", prior=1, burst=1)
    assert all(stand.loop.limits.acquire("per-user", key=f"u{n}").allowed for n in range(2000))
    assert not stand.loop.limits.acquire("per-user", key="u7").allowed
