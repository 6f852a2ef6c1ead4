from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.catalog import Catalog, Counted, Meters, Quotas
from loopwright.catalog.quotas import DAY_MS, Meter
from loopwright.core.decision import Decision
from loopwright.core.errors import QuotaExceeded
from loopwright.core.events import Decided, Received
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.feedback import Outcome
from loopwright.core.ids import Ids
from loopwright.testing import ManualClock

EMPTY = Counted()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "catalog.db")
    yield database
    database.close()


def meter(clock: ManualClock, counted: Counted = EMPTY, **quotas: int) -> Meter:
    return Meter(Quotas(**quotas), counted, clock.now_ms)


def received(clock: ManualClock, *, derived: bool = False) -> Received:
    decision = Decision("d", "acme", "greeting", "a", 0.5, 0, clock.now_ms())
    return Received("e", clock.now_ms(), decision, Outcome("reward", 1.0), derived)


def test_requests_beyond_the_quota_wait_for_the_next_minute(clock: ManualClock) -> None:
    held = meter(clock, requests_per_minute=2)
    held.request()
    held.request()
    with pytest.raises(QuotaExceeded, match="requests_per_minute is 2 and 2 are used") as refused:
        held.request()
    into_minute_s = clock.now_ms() % 60_000 / 1000
    assert refused.value.detail["retry_after_s"] == pytest.approx(60 - into_minute_s)
    assert refused.value.detail["resets_at_ms"] % 60_000 == 0
    clock.advance(seconds=60 - into_minute_s)
    held.request()
    assert held.levels() == (1, 0)


def test_events_count_by_the_day_from_what_the_log_holds(clock: ManualClock) -> None:
    held = meter(clock, Counted(events_today=3), events_per_day=5)
    held.take(2)
    with pytest.raises(QuotaExceeded) as refused:
        held.take(1)
    assert (refused.value.detail["used"], refused.value.detail["limit"]) == (5, 5)
    clock.advance(seconds=DAY_MS / 1000)
    held.take(5)


def test_an_item_of_several_facts_is_taken_whole_or_not_at_all(clock: ManualClock) -> None:
    held = meter(clock, events_per_day=3)
    held.take(2)
    with pytest.raises(QuotaExceeded):
        held.take(2)
    held.take(1)


def test_what_was_not_stored_comes_back_and_never_below_zero(clock: ManualClock) -> None:
    held = meter(clock, events_per_day=1)
    held.take(1)
    held.give_back(1)
    held.take(1)
    clock.advance(seconds=DAY_MS / 1000)
    held.give_back(1)
    assert held.levels() == (0, 0)


def test_a_clock_that_goes_back_opens_no_new_window(clock: ManualClock) -> None:
    held = meter(clock, requests_per_minute=1)
    held.request()
    clock.advance(seconds=-120)
    with pytest.raises(QuotaExceeded):
        held.request()


def test_full_storage_refuses_events_until_there_is_room(clock: ManualClock) -> None:
    held = meter(clock, Counted(stored_bytes=10), stored_bytes=10)
    with pytest.raises(QuotaExceeded, match="no clock resets it") as refused:
        held.take(1)
    assert refused.value.detail["resets_at_ms"] is None
    held.note_bytes(9)
    held.take(1)


def test_threads_together_get_no_more_than_the_quota(clock: ManualClock) -> None:
    held = meter(clock, events_per_day=500)
    taken: list[int] = []

    def run() -> None:
        for _ in range(200):
            try:
                held.take(1)
            except QuotaExceeded:
                continue
            taken.append(1)

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(taken) == 500


def test_a_tenant_without_quotas_has_no_meter_and_one_that_lost_them_neither(
    clock: ManualClock,
) -> None:
    meters = Meters(clock)
    assert not meters
    meters.request("acme")
    meters.put("acme", Quotas(requests_per_minute=0))
    assert meters
    with pytest.raises(QuotaExceeded):
        meters.request("acme")
    meters.request("globex")
    meters.put("acme", Quotas())
    assert not meters


def test_only_what_a_tenant_sent_counts(clock: ManualClock) -> None:
    meters = Meters(clock)
    meters.put("acme", Quotas(events_per_day=1))
    meters.take("acme", [received(clock), received(clock, derived=True)])
    meters.take("acme", [Decided(received(clock).decision)])
    with pytest.raises(QuotaExceeded):
        meters.take("acme", [received(clock)])
    meters.give_back([received(clock), received(clock, derived=True)])
    meters.take("acme", [received(clock)])


def test_usage_says_used_limit_and_reset_of_each_quota(clock: ManualClock) -> None:
    meters = Meters(clock)
    quotas = Quotas(requests_per_minute=5)
    meters.put("acme", quotas)
    meters.request("acme")
    used = meters.usage("acme", quotas, Counted(3, 40), experiments=2)
    assert (used.requests_per_minute.used, used.requests_per_minute.limit) == (1, 5)
    assert (used.experiments.used, used.experiments.limit) == (2, None)
    free = meters.usage("globex", Quotas(), Counted(3, 40), experiments=0)
    assert (free.requests_per_minute.used, free.events_per_day.used) == (None, 3)
    assert free.stored_bytes.used == 40


def test_quotas_are_in_force_again_after_a_restart(
    database: SqliteDatabase, clock: ManualClock
) -> None:
    def opened() -> Catalog:
        ids = Ids(clock, random.Random(1))
        return Catalog(database, clock=clock, ids=ids, counted=lambda tenant_id: Counted(4, 0))

    catalog = opened()
    catalog.tenants.create("acme")
    catalog.tenants.set_quotas("acme", Quotas(events_per_day=5))
    again = opened()
    assert again.tenants.get("acme").quotas == Quotas(events_per_day=5)
    again.meters.take("acme", [received(clock)])
    with pytest.raises(QuotaExceeded):
        again.meters.take("acme", [received(clock)])


def test_an_experiment_that_ended_makes_room_for_another(
    database: SqliteDatabase, clock: ManualClock
) -> None:
    catalog = Catalog(database, clock=clock, ids=Ids(clock, random.Random(1)))
    catalog.tenants.create("acme")
    catalog.tenants.set_quotas("acme", Quotas(experiments=1))

    def create(id: str, tenant: str = "acme") -> None:
        shape = Experiment(id=id, tenant_id=tenant, arms=(Arm(id="a"), Arm(id="b")))
        catalog.experiments.create(shape)

    create("first")
    with pytest.raises(QuotaExceeded, match="experiments is 1 and 1 are used"):
        create("second")
    create("elsewhere", "default")
    catalog.experiments.move("acme", "first", "start")
    catalog.experiments.move("acme", "first", "end")
    create("second")
