from __future__ import annotations

import json
import logging

import pytest

from loopwright.app.logs import JsonLines, TextLines
from loopwright.app.metrics import CATALOGUE, MAX_EXPERIMENTS, Metrics, by_experiment


def test_requests_are_counted_by_route_and_status_with_cumulative_buckets() -> None:
    metrics = Metrics()
    for seconds in (0.0004, 0.003, 7.0):
        metrics.route("/x").observe(200, seconds)
    page = metrics.exposition().decode()
    assert 'loopwright_http_requests_total{route="/x",status="200"} 3.0' in page
    assert 'loopwright_http_request_seconds_bucket{le="0.0005",route="/x"} 1.0' in page
    assert 'loopwright_http_request_seconds_bucket{le="5.0",route="/x"} 2.0' in page
    assert 'loopwright_http_request_seconds_bucket{le="+Inf",route="/x"} 3.0' in page


def test_labels_are_bounded_and_the_rest_is_summed() -> None:
    counts = {("t", f"e{k}"): 1 for k in range(MAX_EXPERIMENTS + 5)}
    samples = by_experiment(counts)
    assert len(samples) == MAX_EXPERIMENTS + 1
    assert samples[-1] == ({"tenant": "other", "experiment": "other"}, 5.0)
    assert sum(value for _, value in samples) == MAX_EXPERIMENTS + 5


def test_only_what_the_catalogue_names_can_be_watched() -> None:
    with pytest.raises(ValueError, match="catalogue"):
        Metrics().watch("loopwright_surprise", list)
    assert all(sentence.endswith(".") for sentence in CATALOGUE.values())


def test_a_log_line_carries_its_fields() -> None:
    record = logging.makeLogRecord(
        {"name": "n", "levelname": "INFO", "msg": "serving", "created": 0.0, "url": "http://x"}
    )
    told = json.loads(JsonLines().format(record))
    assert (told["event"], told["url"], told["level"]) == ("serving", "http://x", "info")
    assert TextLines().format(record).endswith("serving url=http://x")
