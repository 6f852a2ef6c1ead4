"""Health advice: what a person should know about an experiment, and what to do about it.

Each rule is a pure function from what is known to at most one sentence with the figure behind it. A rule
keeps silent until there is enough to judge by.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from loopwright import policies
from loopwright.core.experiment import Experiment
from loopwright.core.status import Advice, RewardPart, Severity, Status

LEAST_FEEDBACK_RATE: Final = 0.05
ENOUGH_DECISIONS: Final = 200
ENOUGH_REWARDS: Final = 50
ENOUGH_PER_PART: Final = 30
SCALE_FACTOR: Final = 5.0
"""A reward whose largest magnitude changes by this factor was probably sent in another unit."""
SHIFT_SDS: Final = 5.0
"""Learning moves a mean by about one standard deviation of the reward; not by five."""
MUCH_CAPPED: Final = 0.2
STARVING_REWARDS: Final = 10
FED_REWARDS: Final = 100
FOR_CONTINUOUS: Final = frozenset({"GaussianThompson", "MOSS", "MOSSAnytime", "UCB1Tuned"})
"""Context-free policies that estimate a spread, which a 0-or-1 reward already determines."""


def advise(status: Status, experiment: Experiment) -> list[Advice]:
    """Return what is worth saying about `experiment`, most urgent first."""
    said = [advice for rule in _RULES for advice in rule(status, experiment)]
    return sorted(said, key=lambda advice: _URGENCY.index(advice.severity))


_URGENCY: Final[tuple[Severity, ...]] = ("critical", "warning", "info")


def _degraded(status: Status, experiment: Experiment) -> Iterable[Advice]:
    if status.learner == "degraded":
        yield Advice(
            code="learner_degraded",
            severity="critical",
            sentence=f"Learning has stopped and the snapshot of offset {status.snapshot} keeps serving: "
            f"{status.reason}. Look at the feedback after that offset, then roll back to a good "
            "snapshot or end the experiment.",
            figures={"snapshot": status.snapshot, "head": status.head},
        )


def _shed(status: Status, experiment: Experiment) -> Iterable[Advice]:
    if status.shed:
        yield Advice(
            code="decisions_shed",
            severity="warning",
            sentence=f"{status.shed} decision rows were dropped because the log could not keep up. Their "
            "feedback still counts, but the feedback rate reads too high and windows without feedback "
            "earn no default: give the disk more speed, or the buffer more room.",
            figures={"shed": status.shed},
        )


def _clipped(status: Status, experiment: Experiment) -> Iterable[Advice]:
    # Parts are known once there are two; until then at least the clipped ones have come.
    if status.clipped and (received := max(status.clipped, _received(status))):
        share = status.clipped / received
        low, high = experiment.reward.range
        yield Advice(
            code="rewards_clipped",
            severity="warning" if share >= 0.01 else "info",
            sentence=f"{status.clipped} rewards ({share:.1%}) lay outside {low:g} to {high:g} and were "
            "clipped, so differences beyond the bounds are not learned. Check the unit that is sent; "
            "if it is right, make a new experiment with a wider range.",
            figures={"clipped": status.clipped, "share": share, "low": low, "high": high},
        )


def _feedback_rate(status: Status, experiment: Experiment) -> Iterable[Advice]:
    rate = status.feedback_rate
    if rate is None or status.decisions < ENOUGH_DECISIONS or rate >= LEAST_FEEDBACK_RATE:
        return
    window = experiment.reward.window_s
    remedy = (
        "check that the product sends feedback with every request_id, or set reward.window_s with a "
        "default for decisions that hear nothing"
        if window is None
        else f"decisions without any earn the default after {window:g} s, which now decides nearly "
        "everything: check that the product sends feedback with every request_id"
    )
    yield Advice(
        code="feedback_rate_low",
        severity="warning",
        sentence=f"Feedback arrived for {rate:.1%} of {status.decisions} decisions, less than "
        f"{LEAST_FEEDBACK_RATE:.0%}: {remedy}.",
        figures={"rate": rate, "decisions": status.decisions, "feedback": status.feedback},
    )


def _no_negatives(status: Status, experiment: Experiment) -> Iterable[Advice]:
    parts = _parts(status)
    n = _received(status)
    if n < ENOUGH_REWARDS:
        return
    spec = experiment.reward
    least = min(part.minimum for part in parts)
    most = max(part.maximum for part in parts)
    bounded = spec.type != "continuous" or (spec.low is not None and spec.high is not None)
    middle = sum(spec.range) / 2 if bounded else None
    if spec.default is not None and (middle is None or spec.default < middle):
        # Silence is the negative signal.
        return
    if (least >= middle) if middle is not None else (least == most):
        yield Advice(
            code="no_negative_signals",
            severity="warning",
            sentence=f"None of {n} rewards is below {least:g}: without signals for failures every arm looks "
            "good. Send a low reward when it did not work, or set reward.window_s with a low default "
            "in a new experiment.",
            figures={"n": n, "minimum": least, "maximum": most},
        )


def _scale_changed(status: Status, experiment: Experiment) -> Iterable[Advice]:
    before, after = status.earlier, status.later
    if before is None or after is None or min(before.n, after.n) < ENOUGH_PER_PART:
        return
    if _rescaled(before, after) or _shifted(before, after):
        yield Advice(
            code="reward_scale_changed",
            severity="warning",
            sentence=f"Rewards look as if their scale changed: the first {before.n} ran from "
            f"{before.minimum:g} to {before.maximum:g} (mean {before.mean:.3g}), the {after.n} since from "
            f"{after.minimum:g} to {after.maximum:g} (mean {after.mean:.3g}). If the product changed what "
            "it sends, end this experiment and make a new one: the two do not add up.",
            figures={
                "earlier_mean": before.mean,
                "later_mean": after.mean,
                "earlier_maximum": before.maximum,
                "later_maximum": after.maximum,
                "earlier_minimum": before.minimum,
                "later_minimum": after.minimum,
            },
        )


def _looks_binary(status: Status, experiment: Experiment) -> Iterable[Advice]:
    n = _received(status)
    if experiment.reward.type != "binary" and n >= ENOUGH_REWARDS and status.whole >= n:
        yield Advice(
            code="reward_looks_binary",
            severity="info",
            sentence=f"All {n} rewards are 0 or 1, but the reward is declared {experiment.reward.type}. A "
            "new experiment with a binary reward can use a policy that knows this and learns faster.",
            figures={"n": n, "declared": experiment.reward.type},
        )


def _policy_mismatch(status: Status, experiment: Experiment) -> Iterable[Advice]:
    best = policies.resolve("auto", reward_type="binary", has_context=False)
    if experiment.reward.type == "binary" and status.policy in FOR_CONTINUOUS:
        yield Advice(
            code="policy_mismatch",
            severity="info",
            sentence=f"{status.policy} is made for continuous rewards, and it has learned from "
            f"{_learned(status)} rewards of 0 or 1: {best} fits a binary reward better. Make a new "
            "experiment to change the policy.",
            figures={"policy": status.policy, "n": _learned(status), "suggested": best},
        )


def _starving(status: Status, experiment: Experiment) -> Iterable[Advice]:
    enabled = [arm for arm in status.arms if arm.state == "enabled"]
    starving = [arm for arm in enabled if arm.n < STARVING_REWARDS]
    if not starving or _learned(status) < FED_REWARDS * len(enabled):
        return
    worst = min(starving, key=lambda arm: arm.n)
    names = ", ".join(f"'{arm.arm_id}' ({arm.n})" for arm in starving)
    yield Advice(
        code="arms_starving",
        severity="warning",
        sentence=f"Of {_learned(status)} rewards, some arms earned fewer than {STARVING_REWARDS}: {names}. "
        f"Too few to judge them by: raise explore_floor (now {experiment.explore_floor:g}) or their "
        "min_share, or disable them. If they are selected often, check that their feedback arrives.",
        figures={"arms": len(starving), "n": worst.n, "explore_floor": experiment.explore_floor},
    )


def _expected(status: Status, experiment: Experiment) -> Iterable[Advice]:
    if status.expected:
        task = experiment.reward.shaping
        yield Advice(
            code="rewards_expected",
            severity="info",
            sentence=f"{status.expected} of {_learned(status)} rewards are not outcomes: the surrogate of task "
            f"'{task}' expects them, by what people did. They give way to outcomes as these arrive; until then "
            "read the arms' means as partly predicted.",
            figures={"expected": status.expected, "n": _learned(status), "task": task or ""},
        )


def _never_expected(status: Status, experiment: Experiment) -> Iterable[Advice]:
    spec = experiment.reward
    if spec.shaping is None or status.expectations or status.decisions < ENOUGH_DECISIONS:
        return
    yield Advice(
        code="shaping_without_effect",
        severity="warning",
        sentence=f"The reward is shaped by task '{spec.shaping}', but none of {status.decisions} decisions has "
        f"had an expectation: calibrate a surrogate of that task for the metric '{spec.metric}' (loopwright "
        "calibrate), and send the session_id with selects or with signals.",
        figures={"decisions": status.decisions, "task": spec.shaping, "metric": spec.metric},
    )


def _foreign(status: Status, experiment: Experiment) -> Iterable[Advice]:
    """Other metrics may be sent on purpose, so this only speaks when they outnumber the one that teaches."""
    foreign, metric = status.skipped.get("metric", 0), experiment.reward.metric
    if foreign > status.feedback:
        yield Advice(
            code="foreign_metric",
            severity="warning",
            sentence=f"{foreign} rewards carried another metric than '{metric}', which this experiment learns "
            f"from, and taught nothing; {status.feedback} carried it. Send the metric '{metric}', or leave the "
            "metric out.",
            figures={"foreign": foreign, "feedback": status.feedback, "metric": metric},
        )


def _capped(status: Status, experiment: Experiment) -> Iterable[Advice]:
    capped = sum(n for reason, n in status.skipped.items() if reason.startswith("capped_"))
    if capped:
        share = capped / (capped + status.feedback)
        yield Advice(
            code="rewards_capped",
            severity="warning" if share >= MUCH_CAPPED and capped >= ENOUGH_REWARDS else "info",
            sentence=f"{capped} rewards ({share:.1%}) lay beyond what one person, session or address may teach "
            "an arm in a day, and taught nothing. Look who sends so many; if they are honest, make a new "
            "experiment with higher caps.",
            figures={"capped": capped, "share": share},
        )


_RULES: Final[tuple[Callable[[Status, Experiment], Iterable[Advice]], ...]] = (
    _degraded,
    _shed,
    _clipped,
    _feedback_rate,
    _no_negatives,
    _scale_changed,
    _looks_binary,
    _policy_mismatch,
    _starving,
    _expected,
    _never_expected,
    _capped,
    _foreign,
)


def _parts(status: Status) -> list[RewardPart]:
    return [part for part in (status.earlier, status.later) if part is not None]


def _received(status: Status) -> int:
    return sum(part.n for part in _parts(status))


def _learned(status: Status) -> int:
    return sum(arm.n for arm in status.arms)


def _rescaled(before: RewardPart, after: RewardPart) -> bool:
    """Both the extremes and the bulk grew or shrank: a few outliers, or a policy that learns, move only one."""
    return _apart(_extreme(before), _extreme(after), SCALE_FACTOR) and _apart(
        abs(before.mean) + before.sd, abs(after.mean) + after.sd, SCALE_FACTOR / 2
    )


def _shifted(before: RewardPart, after: RewardPart) -> bool:
    spread = max(before.sd, after.sd)
    return spread > 0 and abs(after.mean - before.mean) > SHIFT_SDS * spread


def _extreme(part: RewardPart) -> float:
    return max(abs(part.minimum), abs(part.maximum))


def _apart(a: float, b: float, factor: float) -> bool:
    small, large = sorted((a, b))
    return 0 < factor * small <= large
