"""What a trainer has to say, as the plain values of `status`."""

from __future__ import annotations

import msgspec

from loopwright.core.experiment import Experiment
from loopwright.core.status import ArmStatus, LearnerState, SnapshotInfo, Status
from loopwright.policies import ArmSummary, policy_of

from .store import Snapshot
from .tally import Reason, Tally
from .trainer import Trainer

_MISFITS: dict[Reason, str] = {
    "context": "their context vector does not have the length this experiment learns from",
    "arm": "their arm is not one of this experiment's",
    "reward": "their reward is not one this experiment can learn from",
}


def reported(
    trainer: Trainer,
    *,
    head: int,
    shed: int,
    serving: int | None,
    is_apart: bool,
    degraded: str,
) -> Status:
    """Return the status of an experiment; `degraded` says why, when it serves less than it should."""
    experiment, tally = trainer.current, trainer.tally
    halves = tally.history.halves() or (None, None)
    arms, failure = _arms_now(trainer)
    degraded = degraded or failure
    return Status(
        tenant_id=experiment.tenant_id,
        experiment_id=experiment.id,
        state=experiment.state,
        policy=trainer.policy.spec.name,
        arms=arms,
        decisions=tally.decisions.total(),
        feedback=tally.feedback,
        # Of one that does not serve: what it would serve.
        snapshot=trainer.version if serving is None else serving,
        head=head,
        shed=shed,
        learner=_learner(experiment, is_apart=is_apart, degraded=degraded),
        reason=degraded or _misfits(tally),
        clipped=tally.clipped,
        whole=tally.whole,
        earlier=halves[0],
        later=halves[1],
        late=tally.skipped["late"],
        defaults=tally.defaults,
        expected=tally.expected,
        expectations=tally.expectations,
        skipped=dict(sorted(tally.skipped.items())),
    )


def drafted(experiment: Experiment, *, head: int) -> Status:
    """Return the status of an experiment that has not been started."""
    return Status(
        tenant_id=experiment.tenant_id,
        experiment_id=experiment.id,
        state=experiment.state,
        policy=policy_of(experiment).spec.name,
        arms=tuple(ArmStatus(arm_id=arm.id, state=arm.state) for arm in experiment.arms),
        head=head,
        learner="paused",
    )


def info_of(snapshot: Snapshot, serving: int | None) -> SnapshotInfo:
    """Return the description of a kept snapshot; `serving` is the version in service."""
    return SnapshotInfo(
        version=snapshot.version,
        taken_at_ms=snapshot.taken_at_ms,
        policy=snapshot.policy,
        n=snapshot.n,
        digest=snapshot.digest,
        size_bytes=snapshot.size_bytes,
        serving=snapshot.version == serving,
    )


def inspected(snapshot: Snapshot, trainer: Trainer, *, serving: int | None) -> SnapshotInfo:
    """Return the description of a kept snapshot with its arms as that state sees them."""
    summaries = trainer.summaries_of(snapshot.state)
    return msgspec.structs.replace(
        # An empty tally: a snapshot does not hold how many decisions there were when it was taken.
        info_of(snapshot, serving),
        arms=_arms(trainer.current, summaries, Tally()),
    )


def _arms_now(trainer: Trainer) -> tuple[tuple[ArmStatus, ...], str]:
    """Return the arms, and why they lack figures if the policy cannot give any."""
    try:
        arms = _arms(trainer.current, trainer.summaries(), trainer.tally)
        return tuple(map(_with_pending, arms, trainer.pending())), ""
    except Exception as error:  # noqa: BLE001 - a status must tell even of a policy that is broken
        plain = tuple(
            ArmStatus(
                arm_id=arm.id, state=arm.state, n=n, decisions=trainer.tally.decisions[arm.id]
            )
            for arm, n in zip(trainer.current.arms, trainer.counts(), strict=True)
        )
        return plain, f"the policy cannot sum up its state: {type(error).__name__}: {error}"


def _with_pending(arm: ArmStatus, pending: int) -> ArmStatus:
    return msgspec.structs.replace(arm, pending=pending)


def _arms(
    experiment: Experiment, summaries: list[ArmSummary], tally: Tally
) -> tuple[ArmStatus, ...]:
    return tuple(
        ArmStatus(
            arm_id=arm.id,
            state=arm.state,
            n=summary.n,
            decisions=tally.decisions[arm.id],
            mean=summary.mean,
            low=summary.low,
            high=summary.high,
            share=summary.share,
            p_best=summary.p_best,
        )
        for arm, summary in zip(experiment.arms, summaries, strict=True)
    )


def _learner(experiment: Experiment, *, is_apart: bool, degraded: str) -> LearnerState:
    if degraded:
        return "degraded"
    # One that runs and stands apart is catching up, which is learning.
    return "paused" if is_apart and experiment.state != "running" else "learning"


def _misfits(tally: Tally) -> str:
    return "; ".join(
        f"{count} {'fact was' if count == 1 else 'facts were'} not learned from: {why}"
        for reason, why in _MISFITS.items()
        if (count := tally.skipped[reason])
    )
