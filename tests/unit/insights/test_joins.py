from __future__ import annotations

from loopwright.core.clock import DAY_MS
from loopwright.insights.joins import JoinTally, join_health

NOW = 20_000 * DAY_MS


def test_outcomes_that_do_not_join_raise_the_alarm_once_it_is_certain() -> None:
    tallies = [
        JoinTally(task="sql", outcomes=100, joined=99, facts=120),
        JoinTally(task="chat", outcomes=100, joined=40, facts=200, waiting=60,
                  oldest_waiting_ms=NOW - 7_200_000),
        JoinTally(task="new", outcomes=3, joined=2),
    ]  # fmt: skip
    found = join_health(tallies, now_ms=NOW)

    assert [task.task for task in found.tasks] == ["chat", "new", "sql"]
    assert [task.has_alarm for task in found.tasks] == [True, False, False]
    assert found.has_alarm
    assert (found.waiting, found.oldest_waiting_s) == (60, 7200)


def test_outcomes_without_a_task_count_in_the_rate_of_all() -> None:
    lost = JoinTally(task=None, outcomes=10, joined=0)

    few = join_health([lost, JoinTally(task="sql", outcomes=1000, joined=1000)], now_ms=NOW)
    many = join_health([lost, JoinTally(task="sql", outcomes=30, joined=30)], now_ms=NOW)

    assert not few.has_alarm
    assert many.has_alarm
    assert not any(task.has_alarm for task in many.tasks)


def test_outcomes_of_decisions_alone_raise_no_alarm_and_hide_none() -> None:
    bandit = JoinTally(task=None, outcomes=500, joined=0, apart=500)
    mixed = JoinTally(task="sql", outcomes=600, joined=20, apart=500)

    alone = join_health([bandit], now_ms=NOW)
    both = join_health([bandit, mixed], now_ms=NOW)

    assert (alone.rate, alone.has_alarm, alone.outcomes) == (None, False, 500)
    assert both.rate is not None
    assert (both.rate.estimate, both.has_alarm) == (0.2, True)
