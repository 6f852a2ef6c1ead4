from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.limiting.stand import Stand

from loopwright.core.errors import Invalid, LoopError, NotFound


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    made.loop.limits.put("chat", prior=100, least=10, most=200, burst=1000)
    yield made
    made.close()


def rate(stand: Stand) -> float:
    return stand.loop.limits.status("chat").rate


def test_a_change_of_the_bounds_holds_at_once(stand: Stand) -> None:
    stand.window(overloaded=1.0)
    stand.loop.limits.put("chat", prior=50, least=10, most=60, burst=10)
    assert rate(stand) == 60
    assert stand.loop.limits.status("chat").limit.revision == 2


def test_a_deleted_limit_is_gone_also_after_a_restart(stand: Stand) -> None:
    stand.window(overloaded=1.0)
    stand.loop.limits.delete("chat")
    with pytest.raises(NotFound):
        stand.loop.limits.acquire("chat")
    stand.close()
    stand.open()
    stand.limits.run()
    assert stand.loop.limits.list().items == ()
    stand.loop.limits.put("chat", prior=70)
    assert rate(stand) == 70


def test_a_limit_that_is_set_again_has_full_buckets(stand: Stand) -> None:
    for _ in range(2):
        stand.loop.limits.put("tiny", prior=1, burst=1)
        assert stand.loop.limits.acquire("tiny").allowed
        assert not stand.loop.limits.acquire("tiny").allowed
        stand.loop.limits.delete("tiny")


def test_tenants_have_limits_of_their_own(stand: Stand) -> None:
    with pytest.raises(NotFound):
        stand.limits.acquire("other", "chat")
    with pytest.raises(NotFound):
        stand.limits.status("other", "chat")
    assert stand.limits.list("other").items == ()


@pytest.mark.parametrize(
    "members",
    [
        {"prior": 0},
        {"prior": -5},
        {"prior": float("nan")},
        {"prior": 10, "most": 5},
        {"prior": 10, "least": 20},
        {"prior": 10, "burst": 0},
        {"prior": 10, "trim": 0.9},
        {"prior": 10, "mode": "sometimes"},
        {"prior": 10, "window_s": 0},
    ],
    ids=str,
)
def test_rates_that_make_no_sense_are_refused(stand: Stand, members: dict[str, Any]) -> None:
    with pytest.raises(LoopError) as refused:
        stand.loop.limits.put("wrong", **members)
    assert isinstance(refused.value, Invalid)
    assert [status.limit.id for status in stand.loop.limits.list().items] == ["chat"]


def test_a_limit_that_replaced_a_deleted_one_is_not_moved_by_its_windows(stand: Stand) -> None:
    stand.loop.limits.put("other", prior=5)
    stand.rate(1, who="waits", feature="other")
    for _ in range(4):
        stand.window(overloaded=1.0)
    stand.loop.limits.delete("chat")
    stand.loop.limits.put("chat", prior=40)
    stand.window(overloaded=1.0)
    assert rate(stand) == pytest.approx(34)
    stand.close()
    stand.open()
    stand.limits.run()
    assert rate(stand) == pytest.approx(34)
    assert stand.loop.limits.status("chat").version == 1
