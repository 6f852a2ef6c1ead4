"""What the learner says about one experiment: plain values that both doors, the CLI and advice read.

Everything here is known from the log up to one offset, so two replays of the same log give the same status.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from .experiment import ArmState, ExperimentState

Severity = Literal["info", "warning", "critical"]
Figure = float | str
LearnerState = Literal["learning", "paused", "degraded"]


class ArmStatus(msgspec.Struct, frozen=True, kw_only=True):
    """One arm: what it earned, how sure that is, how much traffic it gets.

    The figures are None while there is nothing to compute them from.
    """

    arm_id: str
    state: ArmState
    n: int = 0
    """Rewards the policy has learned from."""
    decisions: int = 0
    """Times the arm was selected, as far as the log knows."""
    pending: int = 0
    """Decisions that wait for feedback within the attribution window. The figures below count each in part: as a
    failure, by how much of the feedback on decisions of its age has usually come (docs/explanation/delays)."""
    mean: float | None = None
    low: float | None = None
    """Lower end of the 95 % interval of the mean."""
    high: float | None = None
    """Upper end of the 95 % interval of the mean."""
    share: float | None = None
    """Share of the traffic the published snapshot gives the arm, in [0, 1]."""
    p_best: float | None = None
    """Probability that the arm is the best enabled one."""


class RewardPart(msgspec.Struct, frozen=True, kw_only=True):
    """The rewards of one stretch of an experiment, as they were received (not rescaled)."""

    n: int
    minimum: float
    maximum: float
    mean: float
    sd: float
    """Standard deviation; 0 for fewer than two rewards."""


class Status(msgspec.Struct, frozen=True, kw_only=True):
    """How one experiment is doing."""

    tenant_id: str
    experiment_id: str
    state: ExperimentState
    policy: str
    """The policy that learns, after `auto` was resolved."""
    arms: tuple[ArmStatus, ...]
    """Every arm ever, in its position."""
    decisions: int = 0
    """Decisions in the log."""
    feedback: int = 0
    """Distinct decisions that feedback has arrived for."""
    snapshot: int = 0
    """Offset of the log through which the published snapshot has learned; its version."""
    head: int = 0
    """Offset of the newest record of the log."""
    learner: LearnerState = "learning"
    reason: str = ""
    """Why the learner is degraded: what it refused and what it keeps serving. Else which facts it cannot learn
    from; empty when there are none."""
    shed: int = 0
    """Decision rows dropped because the log could not keep up; their feedback still counts."""
    clipped: int = 0
    """Rewards beyond the declared range that were clipped to it."""
    whole: int = 0
    """Rewards that were exactly 0 or 1."""
    earlier: RewardPart | None = None
    """The first half of the rewards, roughly; None until there are two parts to compare."""
    later: RewardPart | None = None
    """The rewards after `earlier`."""
    late: int = 0
    """Feedback that came after the attribution window; it does not count."""
    defaults: int = 0
    """Decisions that earned the default reward, because their window ended without feedback."""
    expected: int = 0
    """Rewards learned now that are only expected, by the surrogate that `reward.shaping` names: no outcomes."""
    expectations: int = 0
    """Expectations learned from so far; those that are not in `expected` any more gave way to what came true."""
    skipped: dict[str, int] = {}
    """Facts not learned from, by reason: `arm` and `context` do not fit the experiment, `mode` was not live,
    `metric` is another, `reward` cannot be used, `late`, `duplicate`, `rolled_back`, and expectations that came
    when the outcome was `settled`; `capped_person`, `capped_session` and `capped_address` lie beyond what one may
    teach an arm in a day."""

    @property
    def feedback_rate(self) -> float | None:
        """Share of the logged decisions that feedback has arrived for; None before the first decision."""
        return self.feedback / self.decisions if self.decisions else None


class SnapshotInfo(msgspec.Struct, frozen=True, kw_only=True):
    """A kept snapshot of a policy's state. Its version is the log offset through which it has learned."""

    version: int
    taken_at_ms: int
    policy: str
    n: int
    """Rewards it had learned from."""
    digest: str
    """SHA-256 of the state in hexadecimal digits: equal states have equal digests."""
    size_bytes: int
    serving: bool = False
    """Whether this is the state that is served now."""
    arms: tuple[ArmStatus, ...] = ()
    """The arms as this snapshot sees them; filled when one snapshot is asked for."""


class Advice(msgspec.Struct, frozen=True, kw_only=True):
    """One thing to know: a stable code, how urgent it is, a sentence, and its figures by name."""

    code: str
    severity: Severity
    sentence: str
    figures: dict[str, Figure] = {}
