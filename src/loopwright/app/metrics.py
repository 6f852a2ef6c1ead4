"""The metrics for Prometheus.

The hot path adds to plain Python cells, three times cheaper than a client library's; one collector turns them,
and figures that other parts keep, into metric families at each scrape. Labels are bounded:
routes and statuses are few, and experiments beyond the first `MAX_EXPERIMENTS` are summed up as "other".
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, PlatformCollector, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

MAX_EXPERIMENTS: Final = 200
BUCKETS: Final = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)

CATALOGUE: Final[dict[str, str]] = {
    "loopwright_http_requests_total": "Requests answered on the hot path, by route and status.",
    "loopwright_http_request_seconds": "Time from the first header to the last byte, by route.",
    "loopwright_http_clients_gone_total": "Requests whose client left before its body was complete.",
    "loopwright_decisions_total": "Arms selected, by tenant and experiment.",
    "loopwright_decisions_shed_total": "Decision rows dropped because the disk could not keep up.",
    "loopwright_feedback_total": "Feedback by result: accepted, duplicate, rejected.",
    "loopwright_intake_items_total": "Items of typed feedback, by stage and by what became of them there.",
    "loopwright_intake_facts_total": "Facts of typed feedback stored, by topic.",
    "loopwright_classifier_fallbacks_total": "Comments that the rules classified because the endpoint could not, by reason.",
    "loopwright_raw_copies_total": "Raw copies by what became of them: kept, failed, read, swept, erased.",
    "loopwright_log_failed": "1 when the latest group commit failed.",
    "loopwright_log_head_offset": "Offset of the newest fact in the event log.",
    "loopwright_log_queue_events": "Facts waiting for the disk.",
    "loopwright_log_oldest_age_seconds": "Age of the oldest fact waiting for the disk.",
    "loopwright_log_commit_seconds": "Duration of the latest group commit.",
    "rating_events_total": "Ratings by what became of them: accepted, error.",
    "rl_policy_update_latency_seconds": "From a rating's arrival to its reading by the controllers of limits.",
    "token_bucket_refill_rate": "Tokens per second in force, by tenant and bucket (the limit's id).",
    "token_bucket_capacity_rate": "Tokens per second that the operator has tested at most, by tenant and bucket.",
    "token_bucket_trim_ratio": "The factor by which ratings move the rate, by tenant and bucket.",
    "token_bucket_requests_total": "Requests by bucket and decision: admitted, denied, shadowed.",
    "rating_last_event_timestamp_seconds": "Unix time of the latest rating that was read; 0 before the first.",
    "loopwright_learner_offset": "Offset through which the learner has trained.",
    "loopwright_learner_lag_events": "Facts in the log that the learner has not read yet.",
    "loopwright_learner_published_total": "Snapshots published.",
    "loopwright_learner_expected_rewards": "Rewards learned that are only expected, until the outcome is known.",
    "loopwright_learner_skipped_total": "Facts not learned from since the experiments began, by reason.",
    "loopwright_learner_degraded": "Experiments that serve an older snapshot because the guard refused a newer one.",
    "loopwright_learner_failed": "1 while the learner fails.",
    "loopwright_task_failures_total": "Failed runs of background tasks, by task.",
    "loopwright_task_last_success_seconds": "Unix time of the latest run that succeeded, by task; 0 before the first.",
}

Sample = tuple[dict[str, str], float]
Source = Callable[[], Iterable[Sample]]


class Route:
    """The cells of one route."""

    # A counter and a histogram here cost 0.25 µs a request; the client library's cost 1.1 µs, and 3.2 µs
    # when each request looks its labels up.
    __slots__ = ("buckets", "seconds", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = defaultdict(int)
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def observe(self, status: int, seconds: float) -> None:
        """Count one answered request."""
        self.statuses[status] += 1
        # A bucket of Prometheus includes its bound (`le`), so an equal value belongs to the left.
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds


class Spread:
    """A histogram of seconds that one thread adds to."""

    def __init__(self) -> None:
        self.buckets = [0] * (len(BUCKETS) + 1)
        self.seconds = 0.0

    def observe(self, seconds: float) -> None:
        """Count one duration."""
        self.buckets[bisect_left(BUCKETS, seconds)] += 1
        self.seconds += seconds


class Metrics:
    """The cells, and the registry that reads them."""

    def __init__(self) -> None:
        self.gone = 0
        self.feedback: dict[str, int] = {"accepted": 0, "duplicate": 0, "rejected": 0}
        self._routes: dict[str, Route] = {}
        self._sources: dict[str, Source] = {}
        self._spreads: dict[str, Callable[[], Spread]] = {}
        # Not the library's global registry: it refuses a second application in the same process.
        self._registry = _registry(_Cells(self, names_tenants=True))
        self._public = _registry(_Cells(self, names_tenants=False))
        self.watch("loopwright_http_clients_gone_total", lambda: [({}, self.gone)])
        self.watch(
            "loopwright_feedback_total",
            lambda: [({"result": result}, n) for result, n in self.feedback.items()],
        )

    def route(self, path: str) -> Route:
        """Return the cells of one route, to keep at hand."""
        return self._routes.setdefault(path, Route())

    def watch(self, name: str, source: Source) -> None:
        """Read the metric `name` of the catalogue from `source` at every scrape."""
        if name not in CATALOGUE:
            raise ValueError(f"{name} is not in the metric catalogue")
        self._sources[name] = source

    def watch_spread(self, name: str, source: Callable[[], Spread]) -> None:
        """Read the histogram `name` of the catalogue from `source` at every scrape."""
        if name not in CATALOGUE:
            raise ValueError(f"{name} is not in the metric catalogue")
        self._spreads[name] = source

    def exposition(self, *, names_tenants: bool = True) -> bytes:
        """Return everything in the Prometheus text format."""
        return generate_latest(self._registry if names_tenants else self._public)

    def families(self, *, names_tenants: bool = True) -> Iterator[Metric]:
        """Yield every metric family with its samples of now; without tenants' names these are summed."""
        requests = CounterMetricFamily(
            *_described("loopwright_http_requests_total"), labels=["route", "status"]
        )
        for path, route in self._routes.items():
            for status, count in list(route.statuses.items()):
                requests.add_metric([path, str(status)], count)
        yield requests
        seconds = HistogramMetricFamily(
            *_described("loopwright_http_request_seconds"), labels=["route"]
        )
        for path, route in self._routes.items():
            if route.statuses:
                seconds.add_metric([path], _cumulative(route.buckets), route.seconds)
        yield seconds
        for name, spread_of in self._spreads.items():
            spread = spread_of()
            histogram = HistogramMetricFamily(*_described(name))
            histogram.add_metric([], _cumulative(spread.buckets), spread.seconds)
            yield histogram
        for name, source in self._sources.items():
            samples = list(source())
            if not names_tenants and samples and "tenant" in samples[0][0]:
                labels_of_all = dict.fromkeys(samples[0][0], "all")
                samples = [(labels_of_all, sum(value for _, value in samples))]
            # A family without samples is still described, so that a dashboard knows it before the first value.
            labels = list(samples[0][0]) if samples else []
            kind = CounterMetricFamily if name.endswith("_total") else GaugeMetricFamily
            family = kind(*_described(name), labels=labels)
            for values, value in samples:
                family.add_metric([values[label] for label in labels], value)
            yield family


class _Cells(Collector):
    def __init__(self, metrics: Metrics, *, names_tenants: bool) -> None:
        self._metrics = metrics
        self._names_tenants = names_tenants

    def collect(self) -> Iterable[Metric]:
        return self._metrics.families(names_tenants=self._names_tenants)


def _registry(cells: Collector) -> CollectorRegistry:
    registry = CollectorRegistry()
    registry.register(cells)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    return registry


def by_experiment(counts: dict[tuple[str, str], int]) -> list[Sample]:
    """Return a sample per tenant and experiment, at most `MAX_EXPERIMENTS`; the rest is summed as "other"."""
    items = list(counts.items())
    samples: list[Sample] = [
        ({"tenant": tenant, "experiment": experiment}, float(count))
        for (tenant, experiment), count in items[:MAX_EXPERIMENTS]
    ]
    if len(items) > MAX_EXPERIMENTS:
        rest = float(sum(count for _, count in items[MAX_EXPERIMENTS:]))
        samples.append(({"tenant": "other", "experiment": "other"}, rest))
    return samples


def _described(name: str) -> tuple[str, str]:
    return name, CATALOGUE[name]


def _cumulative(counts: list[int]) -> list[tuple[str, float]]:
    # Prometheus counts a value in every bucket above it; our cells count it once, one addition a request.
    total, rows = 0, []
    for bound, count in zip([*map(str, BUCKETS), "+Inf"], counts, strict=True):
        total += count
        rows.append((bound, float(total)))
    return rows
