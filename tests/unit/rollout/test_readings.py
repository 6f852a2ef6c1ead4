from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.rollout.conftest import Stand

from loopwright.core.errors import NotFound
from loopwright.core.trigger import Judged, MetricBound, Trigger
from loopwright.rollout.readings import check_names, window
from loopwright.stats.intervals import wilson

DAY_S = 86_400


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    yield made
    made.close()


def judged(stand: Stand, condition: dict[str, Any], *, window_days: float = 7) -> Judged:
    stand.loop.triggers.add("t", condition=condition, window_days=window_days)
    stand.clock.advance(seconds=60)
    stand.services.truth.writer.flush()
    found = stand.loop.triggers.report("t").judged
    stand.loop.triggers.remove("t")
    return found


def say(stand: Stand, n: int, **item: Any) -> None:
    items = [{**item, "output_id": f"o{stand.users + k}"} for k in range(n)]
    stand.users += n
    assert stand.loop.feedback.send(items).accepted == n


def test_thumbs_down_are_judged_by_their_wilson_bound(stand: Stand) -> None:
    say(stand, 30, kind="rating", scale="thumbs", value=0)
    say(stand, 20, kind="rating", scale="thumbs", value=1)
    found = judged(stand, {"kind": "thumbs_down", "above": 0.4})
    assert found.reading is not None
    expected = wilson(30, 50)
    assert found.reading.value == 0.6
    assert found.reading.low == pytest.approx(expected.low)
    assert found.standing == "bad"
    assert judged(stand, {"kind": "thumbs_down", "above": 0.5}).standing == "between"


def test_a_metric_of_the_report_is_judged_with_its_interval(stand: Stand) -> None:
    condition = {"kind": "metric", "metric": "satisfaction", "below": 0.5}
    assert judged(stand, condition).standing == "unknown"
    say(stand, 40, kind="rating", scale="stars", value=1)
    found = judged(stand, condition)
    assert found.reading is not None
    assert found.reading.high is not None
    assert found.reading.high < 0.5
    assert found.standing == "bad"


def test_the_volume_is_not_called_low_before_a_whole_window_has_passed(stand: Stand) -> None:
    say(stand, 3, kind="rating", scale="stars", value=5)
    low = {"kind": "volume", "below": 5}
    assert judged(stand, low, window_days=1).standing == "unknown"
    assert judged(stand, {"kind": "volume", "above": 2}, window_days=1).standing == "bad"
    stand.loop.triggers.add("old", condition=low, window_days=1)
    stand.clock.advance(seconds=DAY_S - 60)
    say(stand, 3, kind="rating", scale="stars", value=5)
    stand.clock.advance(seconds=60)
    found = stand.loop.triggers.report("old").judged
    assert (found.standing, found.reason) == ("bad", "volume=3 < 5 (n=3)")


def test_the_join_rate_is_judged_for_all_tasks_or_for_one(stand: Stand) -> None:
    call = {"kind": "interaction", "output_id": "o-call", "task": "sql", "model_version": "m1"}
    stand.loop.feedback.interactions([call])
    say(stand, 30, kind="outcome", metric="resolved", value=1, task="sql")
    found = judged(stand, {"kind": "join_rate", "below": 0.9})
    assert found.reading is not None
    assert (found.standing, found.reading.value) == ("bad", 0.0)
    assert judged(stand, {"kind": "join_rate", "task": "sql"}).standing == "bad"
    assert judged(stand, {"kind": "join_rate", "task": "nope"}).standing == "unknown"


def test_drift_is_judged_against_the_window_before(stand: Stand) -> None:
    for locale in ("de", "fr"):
        stand.clock.advance(seconds=DAY_S)
        say(stand, 300, kind="rating", scale="stars", value=4, labels={"locale": locale})
    found = judged(stand, {"kind": "drift", "of": "locale"}, window_days=1)
    assert found.reading is not None
    assert found.reading.value is not None
    assert found.reading.value > 1
    assert (found.standing, found.reading.n) == ("bad", 300)
    assert judged(stand, {"kind": "drift", "of": "nope"}, window_days=1).standing == "unknown"


def test_a_window_is_as_long_as_its_days_on_the_wall_clock() -> None:
    trigger = Trigger(
        id="t",
        tenant_id="a",
        condition=MetricBound(metric="satisfaction", below=0.5),
        window_days=1,
        cool_down_s=0,
        created_at_ms=0,
    )
    # At noon of 30 March 2025 in Berlin, the day before has 23 hours.
    noon = 1_743_328_800_000
    assert noon - window(trigger, now_ms=noon, tz="Europe/Berlin").from_ms == 23 * 3_600_000
    assert noon - window(trigger, now_ms=noon, tz="UTC").from_ms == 24 * 3_600_000


def test_a_metric_that_nobody_declared_is_not_found() -> None:
    with pytest.raises(NotFound, match="no metric 'nope'"):
        check_names(MetricBound(metric="nope", below=1))
