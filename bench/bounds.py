"""What each figure must reach. A figure without a bound is printed for comparison."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal


@dataclass(frozen=True)
class Bound:
    """One figure of one script, and the value it must reach."""

    script: str
    name: str
    what: str
    direction: Literal["at least", "at most", "printed"]
    value: float = 0.0
    quick: float | None = None
    """The value under `--quick`, where a count depends on how long the script may run."""

    def required(self, *, quick: bool) -> float:
        """Return the value to reach in this kind of run."""
        return self.quick if quick and self.quick is not None else self.value

    def is_met(self, figure: float, *, quick: bool) -> bool:
        """Say whether `figure` is good enough."""
        match self.direction:
            case "at least":
                return figure >= self.required(quick=quick)
            case "at most":
                return figure <= self.required(quick=quick)
            case "printed":
                return True


BOUNDS: Final = (
    Bound("serve", "select_ratio", "complete select, context-free ÷ hello", "at least", 0.55),
    Bound("serve", "select_linucb_ratio", "LinUCB K=10 d=20 ÷ hello", "at least", 0.38),
    Bound("serve", "select_lints_ratio", "LinThompson K=10 d=20 ÷ hello", "at least", 0.28),
    Bound("serve", "feedback_ratio", "durable feedback, one per request ÷ hello", "at least", 0.27),
    Bound("serve", "batch_ratio", "feedback in batches of 100, events/s ÷ hello", "at least", 1.2),
    Bound("serve", "fastapi_select_ratio", "the same select in FastAPI + pydantic", "printed"),
    Bound("propagate", "p99_ms", "feedback sent → new snapshot serves, p99", "at most", 20),
    Bound("learn", "linear_ratio", "training, linear d=20 K=10 ÷ bare NumPy", "at least", 0.6),
    Bound("learn", "linear_sorted_ratio", "the same ÷ the fastest bare NumPy we know", "printed"),
    Bound("learn", "linear_per_s", "events/s trained, linear", "printed"),
    Bound("learn", "free_per_s", "events/s trained, context-free", "printed"),
    Bound("learn", "select_hmacs", "in-process select in units of one HMAC", "at most", 3),
    Bound("regret", "digits", "regret on digits, median of 5 seeds", "at most", 900),
    Bound("regret", "digits_delayed", "the same, batch 256, mean delay 500", "at most", 1200),
    Bound("delayed", "early_bias", "error of the shown means at minute 20, in SE", "at most", 1),
    Bound("delayed", "worse_share", "the worse arm's share, minutes 10-60", "at most", 0.45),
    Bound("crash", "kills", "random SIGKILLs under load", "at least", 500, quick=10),
    Bound("crash", "lost", "acknowledged facts lost", "at most", 0),
    Bound(
        "crash", "replay_equal", "state equal to a clean replay (1 = bit for bit)", "at least", 1
    ),
    Bound("simulate", "violations", "simulated schedules that violate an invariant", "at most", 0),
    Bound("simulate", "schedules_per_s", "schedules a second, on two processes", "at least", 40),
    Bound("footprint", "rss_mb", "idle resident memory, MB", "at most", 150),
    Bound("footprint", "ready_ratio", "start to ready ÷ bare import", "at most", 2),
    Bound("footprint", "clone_to_select_s", "fresh clone to first served select", "at most", 60),
    Bound("intake", "typed_ratio", "typed feedback, batch of 100 ÷ plain rewards", "at least", 0.5),
    Bound("peers_http", "ours_ratio", "one feedback, on disk before the answer ÷ no-op", "printed"),
    Bound("redact", "redact_clean_us", "redaction of 1 KB of clean text, µs", "at most", 60),
    Bound(
        "redact", "redact_dense_us", "redaction of 1 KB full of personal data, µs", "at most", 150
    ),
    Bound("report", "tenant_s", "one tenant's 30-day report, s", "at most", 0.4),
    Bound("report", "all_s", "the report over all tenants, s", "at most", 2),
    Bound("report", "join_s", "the wide join, s", "at most", 3),
    Bound("report", "fresh_s", "event in the log → visible in the report, s", "at most", 1),
    Bound("report", "project_per_s", "events/s from log to warehouse", "at least", 100_000),
    Bound("report", "bytes_per_event", "size of an event in the warehouse", "printed"),
    Bound("erase", "left", "finds of an erased person in any file", "at most", 0),
    Bound("erase", "seconds", "erasure of one person among a million facts, s", "at most", 60),
    Bound("limits", "one_key_us", "a decision with its result, one key, µs", "at most", 2),
    Bound("limits", "many_keys_us", "the same on 100,000 keys, µs", "at most", 4),
    Bound("limits", "middleware_us", "what the middleware adds to a request, µs", "at most", 8),
    Bound("limits", "budget_overspend", "spent beyond a budget by 64 threads", "at most", 0),
    Bound("limits", "limits_us", "a decision of limits, moving window, µs", "printed"),
    Bound("limits", "throttled_us", "a decision of throttled-py, token bucket, µs", "printed"),
    Bound("gates", "aa_false", "A/A promotions, looking all the time", "at most", 0.0707, 0.0963),
    Bound("gates", "aa_clustered", "the same, 20 events per unit", "at most", 0.0707, 0.0963),
    Bound(
        "gates", "late_outcomes_false", "the same, arms of unequal speed", "at most", 0.0707, 0.0963
    ),
    Bound("gates", "power", "promoted of .10 → .12 within 10,000 units", "at least", 0.76, 0.67),
    Bound("gates", "median_n", "units when promoted (fixed sample: 6,039)", "printed"),
    Bound("gates", "rollback_median", "ratings until a drop of 0.10 is seen", "at most", 150),
    Bound("gates", "false_alarm", "promotions taken back without a drop", "at most", 0.01),
    Bound("gates", "peeking_z_false", "A/A promotions of a z-test at each look", "printed"),
    Bound("gates", "by_event_false", "A/A, 20 events per unit, by event", "printed"),
    Bound("gates", "unsettled_false", "A/A, unequal speed, all that came counts", "printed"),
    Bound("triggers", "kills", "random SIGKILLs while webhooks are sent", "at least", 100, quick=5),
    Bound("triggers", "webhook_lost", "webhooks lost, 3 of 10 tries refused", "at most", 0),
    Bound("triggers", "fired_twice", "turns of a schedule that fired twice", "at most", 0),
    Bound("triggers", "unsent", "firings without their delivery", "at most", 0),
    Bound("triggers", "repeated", "webhooks that came twice, under one id", "printed"),
    Bound("trust", "ds_ratio", "Dawid-Skene ÷ crowd-kit's time", "at most", 0.35),
    Bound("trust", "ds_accuracy", "accuracy of Dawid-Skene", "printed"),
    Bound("trust", "majority_accuracy", "accuracy of the majority vote", "printed"),
    Bound(
        "attack", "regret_ratio", "regret under attack, trust on ÷ off, the worse", "at most", 0.5
    ),
    Bound(
        "attack", "report_error_ratio", "report error, trust on ÷ off, the worse", "at most", 0.5
    ),
)


def of(script: str) -> dict[str, Bound]:
    """Return the bounds of `script` by figure name."""
    return {bound.name: bound for bound in BOUNDS if bound.script == script}
