from __future__ import annotations

from loopwright.core.experiment import Arm, Experiment
from loopwright.policies import Allocation, Problem, make
from loopwright.policies.published import Published, Snapshots

ARMS = (Arm(id="a"), Arm(id="b"))


def published(id: str = "x", *, tenant_id: str = "acme", offset: int = 1) -> Published:
    experiment = Experiment(id=id, tenant_id=tenant_id, arms=ARMS)
    problem, policy = Problem.of(experiment), make("Uniform", {})
    served = policy.prepare(problem, policy.empty(problem), Allocation.even(2))
    return Published(experiment, served, offset)


def test_the_newest_snapshot_of_an_experiment_is_served() -> None:
    snapshots = Snapshots()
    assert snapshots.get("acme", "x") is None
    first, second = published(offset=1), published(offset=2)
    snapshots.publish(first)
    held = snapshots.get("acme", "x")
    snapshots.publish(second)
    assert (held, snapshots.get("acme", "x")) == (first, second)
    assert snapshots.all() == [second]


def test_tenants_may_use_the_same_name() -> None:
    snapshots = Snapshots()
    ours, theirs = published(), published(tenant_id="other")
    snapshots.publish(ours)
    snapshots.publish(theirs)
    snapshots.withdraw("other", "x")
    assert snapshots.get("acme", "x") is ours
    assert snapshots.get("other", "x") is None


def test_withdrawing_what_is_not_served_does_nothing() -> None:
    snapshots = Snapshots()
    snapshots.publish(published())
    snapshots.withdraw("acme", "y")
    assert len(snapshots.all()) == 1
