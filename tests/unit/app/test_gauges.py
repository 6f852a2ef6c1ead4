"""Which figure each metric reads."""

from __future__ import annotations

import pytest

from loopwright.app.gauges import watch
from loopwright.app.metrics import CATALOGUE, Metrics
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.events import Ticked
from loopwright.core.experiment import Arm, Experiment


def figures(metrics: Metrics) -> dict[str, float]:
    """Every sample without labels, and the sum of those with."""
    found: dict[str, float] = {}
    for family in metrics.families():
        for sample in family.samples:
            found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


@pytest.fixture
def metrics(services: Services) -> Metrics:
    made = Metrics()
    watch(made, services)
    return made


def test_every_metric_of_the_catalogue_is_exposed(metrics: Metrics) -> None:
    text = metrics.exposition().decode()
    missing = [name for name in CATALOGUE if f"# HELP {name} " not in text]
    assert missing == []


def test_the_log_is_read_at_the_scrape(metrics: Metrics, services: Services) -> None:
    services.truth.writer.flush()
    before = figures(metrics)["loopwright_log_head_offset"]
    services.truth.writer.append([Ticked(1)], [None], timeout_s=10)
    after = figures(metrics)
    assert after["loopwright_log_head_offset"] == before + 1
    assert after["loopwright_learner_lag_events"] == after["loopwright_log_head_offset"]
    assert after["loopwright_log_failed"] == 0


def test_selects_are_counted_by_experiment(metrics: Metrics, services: Services) -> None:
    catalog = services.truth.catalog
    catalog.experiments.create(
        Experiment(id="x", tenant_id=DEFAULT_TENANT, arms=(Arm(id="a"), Arm(id="b")))
    )
    catalog.experiments.move(DEFAULT_TENANT, "x", "start")
    services.supervisor.turn("learner")
    for _ in range(3):
        services.door.selector.select(DEFAULT_TENANT, "x")
    text = metrics.exposition().decode()
    assert f'loopwright_decisions_total{{experiment="x",tenant="{DEFAULT_TENANT}"}} 3.0' in text


def test_a_task_that_never_succeeded_says_zero(metrics: Metrics) -> None:
    found = figures(metrics)
    assert found["loopwright_task_last_success_seconds"] == 0
    assert found["loopwright_task_failures_total"] == 0
