"""Where each metric of the catalogue gets its value: from a figure of a role, read at the scrape."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from loopwright.core.limit import Limit
from loopwright.learning import Learner

from .metrics import MAX_EXPERIMENTS, Metrics, Sample, Spread, by_experiment
from .roles import Door, Truth
from .supervise import Supervisor
from .wiring import Services


def watch(metrics: Metrics, services: Services) -> None:
    """Connect every role's figures to `metrics`."""
    _watch_log(metrics, services.truth)
    _watch_door(metrics, services.door, services.truth)
    _watch_limits(metrics, services.door)
    _watch_learner(metrics, services.learner, services.truth)
    _watch_tasks(metrics, services.supervisor)


def _one(value: float) -> Iterable[Sample]:
    return [({}, float(value))]


def _watch_log(metrics: Metrics, truth: Truth) -> None:
    writer, log = truth.writer, truth.log
    metrics.watch("loopwright_decisions_shed_total", lambda: _one(writer.shed))
    metrics.watch("loopwright_log_head_offset", lambda: _one(log.head()))
    # Feedback, which is acknowledged, and decisions, which may be shed, wait in queues of their own.
    metrics.watch("loopwright_log_queue_events", lambda: _one(writer.queued + writer.offered))
    metrics.watch("loopwright_log_oldest_age_seconds", lambda: _one(writer.oldest_age_ms / 1000))
    metrics.watch("loopwright_log_commit_seconds", lambda: _one(writer.commit_seconds))
    metrics.watch("loopwright_log_failed", lambda: _one(writer.failure is not None))


def _watch_door(metrics: Metrics, door: Door, truth: Truth) -> None:
    metrics.watch("loopwright_decisions_total", lambda: by_experiment(door.selector.selected))
    metrics.watch(
        "loopwright_intake_items_total",
        lambda: [
            ({"stage": stage, "result": result}, getattr(counter, result))
            for stage, counter in door.pipeline.counters.items()
            for result in ("seen", "changed", "refused")
        ],
    )
    metrics.watch(
        "loopwright_intake_facts_total",
        lambda: [({"topic": topic}, n) for topic, n in door.typed_intake.topics.counts.items()],
    )
    metrics.watch(
        "loopwright_classifier_fallbacks_total",
        # A copy: an intake thread may add a reason while the scrape runs.
        lambda: [({"reason": why}, n) for why, n in list(door.classifier_fell_back.items())],
    )
    raw = truth.raw
    metrics.watch(
        "loopwright_raw_copies_total",
        lambda: [] if raw is None else [({"result": name}, n) for name, n in raw.counts.items()],
    )


def _watch_limits(metrics: Metrics, door: Door) -> None:
    limits, mover, spread = door.limits, door.limits.mover, Spread()

    def latencies() -> Spread:
        # Taken at the scrape: the list grows by one per rating, and nobody else empties it.
        waiting, mover.latencies_s = mover.latencies_s, []
        for seconds in waiting:
            spread.observe(seconds)
        return spread

    def by_bucket(figure: Callable[[Limit, float, float], float]) -> list[Sample]:
        # Bounded like experiments: each bucket is a series, and a tenant may set a thousand.
        # Tenants may use one id: a bucket is named by both, for a sample may occur once.
        return [
            ({"tenant": tenant, "bucket": id}, figure(*found))
            for (tenant, id), found in list(limits.rates().items())[:MAX_EXPERIMENTS]
        ]

    ratings = door.typed_intake.ratings
    metrics.watch_spread("rl_policy_update_latency_seconds", latencies)
    metrics.watch(
        "rating_events_total",
        lambda: [({"result": result}, float(n)) for result, n in ratings.items()],
    )
    metrics.watch("rating_last_event_timestamp_seconds", lambda: _one(mover.last_rating_ms / 1000))
    metrics.watch(
        "token_bucket_requests_total",
        lambda: [
            ({"tenant": tenant, "bucket": id, "decision": decision}, n)
            for (tenant, id, decision), n in list(limits.decided.items())
        ],
    )
    metrics.watch("token_bucket_refill_rate", lambda: by_bucket(lambda limit, rate, trim: rate))
    metrics.watch(
        "token_bucket_capacity_rate", lambda: by_bucket(lambda limit, rate, trim: limit.most)
    )
    metrics.watch("token_bucket_trim_ratio", lambda: by_bucket(lambda limit, rate, trim: trim))


def _watch_learner(metrics: Metrics, learner: Learner, truth: Truth) -> None:
    metrics.watch("loopwright_learner_offset", lambda: _one(learner.offset))
    metrics.watch("loopwright_learner_lag_events", lambda: _one(truth.reader.count(learner.offset)))
    metrics.watch("loopwright_learner_published_total", lambda: _one(learner.published))
    metrics.watch(
        "loopwright_learner_expected_rewards", lambda: by_experiment(learner.views.expected())
    )
    metrics.watch(
        "loopwright_learner_skipped_total",
        lambda: [({"reason": reason}, n) for reason, n in learner.views.skipped().items()],
    )
    metrics.watch("loopwright_learner_degraded", lambda: _one(len(learner.views.degraded())))
    metrics.watch("loopwright_learner_failed", lambda: _one(learner.failure is not None))


def _watch_tasks(metrics: Metrics, supervisor: Supervisor) -> None:
    metrics.watch(
        "loopwright_task_failures_total",
        lambda: [({"task": h.task}, float(h.failures)) for h in supervisor.health()],
    )
    metrics.watch(
        "loopwright_task_last_success_seconds",
        lambda: [({"task": h.task}, (h.last_success_ms or 0) / 1000) for h in supervisor.health()],
    )
