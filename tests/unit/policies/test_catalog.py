"""Policies by name, parameters, defaults, and policies that other packages bring."""

from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.core.errors import PolicyMismatch
from loopwright.core.experiment import Arm, ContextSpec, Experiment
from loopwright.core.reward import RewardSpec
from loopwright.policies import (
    Allocation,
    LinUCB,
    Problem,
    Published,
    Snapshots,
    make,
    params_of,
    resolve,
    spec_of,
    specs,
)
from loopwright.testing import check_policy


@pytest.mark.parametrize(
    ("given", "proper"),
    [
        ("BetaTS", "BetaThompson"),
        ("betathompson", "BetaThompson"),
        ("KLUCB", "KLUCB"),
        ("kl-ucb", "KLUCB"),
        ("GaussianTS", "GaussianThompson"),
        ("UCB1Tuned", "UCB1Tuned"),
        ("LinUCB", "LinUCB"),
        ("LinTS", "LinThompson"),
        ("MOSS", "MOSS"),
        ("MOSSAnyTime", "MOSSAnytime"),
        ("EXP3", "EXP3"),
        ("FPL", "FPL"),
        ("epsilon-greedy", "EpsilonGreedy"),
        ("epsilon_greedy", "EpsilonGreedy"),
        ("uniform", "Uniform"),
    ],
)
def test_every_known_name_finds_its_policy(given: str, proper: str) -> None:
    assert spec_of(given).name == proper
    assert make(given, {}).spec.name == proper


def test_names_and_aliases_are_unambiguous() -> None:
    names = [name.lower() for spec in specs() for name in (spec.name, *spec.aliases)]
    assert len(names) == len(set(names))


def test_an_unknown_policy_is_refused_with_the_list_of_those_there_are() -> None:
    with pytest.raises(
        PolicyMismatch, match=r"no policy 'Quantum'; there are auto, BetaThompson, .*LinThompson"
    ):
        make("Quantum", {})


def test_auto_has_to_be_resolved_first() -> None:
    with pytest.raises(PolicyMismatch, match="resolve it first"):
        make("auto", {})


@pytest.mark.parametrize(
    ("name", "params", "why"),
    [
        ("LinUCB", {"alpha": -1}, "alpha"),
        ("LinUCB", {"alpha": "big"}, "alpha"),
        ("LinUCB", {"alpha": float("nan")}, "alpha"),
        ("LinUCB", {"beta": 1}, "beta"),
        ("LinThompson", {"ridge": 0}, "ridge"),
        ("EXP3", {"gamma": 2}, "gamma"),
        ("MOSS", {"horizon": 1.5}, "horizon"),
        ("BetaThompson", {"prior_wins": 0}, "prior_wins"),
        ("EpsilonGreedy", {"epsilon": 1.1}, "epsilon"),
    ],
)
def test_parameters_that_do_not_fit_are_refused_by_name(
    name: str, params: dict[str, object], why: str
) -> None:
    with pytest.raises(PolicyMismatch, match=why):
        make(name, params)


def test_parameters_come_back_as_plain_data() -> None:
    policy = make("LinUCB", {"alpha": 2})
    assert policy == LinUCB(alpha=2.0)
    assert params_of(policy) == {"ridge": 1.0, "alpha": 2.0}


def test_auto_picks_by_reward_and_context() -> None:
    assert resolve("auto", reward_type="binary", has_context=False) == "BetaThompson"
    assert resolve("auto", reward_type="bounded", has_context=False) == "GaussianThompson"
    assert resolve("Auto", reward_type="continuous", has_context=False) == "GaussianThompson"
    assert resolve("auto", reward_type="binary", has_context=True) == "LinThompson"


@pytest.mark.parametrize("name", ["BetaTS", "KLUCB", "EXP3", "FPL"])
def test_a_policy_that_does_not_fit_the_reward_is_refused(name: str) -> None:
    with pytest.raises(PolicyMismatch, match="continuous"):
        resolve(name, reward_type="continuous", has_context=False)


@pytest.mark.parametrize("name", ["LinUCB", "LinTS"])
def test_a_linear_policy_without_a_context_is_refused(name: str) -> None:
    with pytest.raises(PolicyMismatch, match=r"needs a context"):
        resolve(name, reward_type="binary", has_context=False)


BROUGHT = '''
from loopwright.policies import Uniform

class Stubborn:
    """Wraps a policy; takes its parameters as keywords."""

    spec = Uniform.spec

    def __init__(self, *, mood="calm"):
        if mood not in ("calm", "wild"):
            raise ValueError(f"mood is {mood}")
        self._inner = Uniform()

    def empty(self, problem):
        return self._inner.empty(problem)

    def __getattr__(self, verb):
        return getattr(self._inner, verb)

    def prepare(self, problem, sums, allocation, *, previous=None):
        return self._inner.prepare(problem, sums, allocation)

    def summaries(self, problem, sums, allocation):
        return self._inner.summaries(problem, sums, allocation)
'''


@pytest.fixture
def brought(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A package that brings a policy, installed where Python looks for packages."""
    (tmp_path / "acme_policies.py").write_text(BROUGHT)
    info = tmp_path / "acme_policies-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-policies\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[loopwright.policies]\nStubborn = acme_policies:Stubborn\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    return "Stubborn"


def test_a_policy_of_another_package_is_found_by_its_entry_point(brought: str) -> None:
    policy = make("stubborn", {"mood": "wild"})
    assert type(policy).__name__ == "Stubborn"
    assert resolve(brought, reward_type="binary", has_context=False) == "Uniform"
    assert len(specs()) == 13
    check_policy(lambda: make(brought, {}), learns=False)


def test_a_policy_of_another_package_refuses_bad_parameters(brought: str) -> None:
    for params in ({"mood": "sour"}, {"temper": 1}):
        with pytest.raises(PolicyMismatch, match="does not take these parameters"):
            make(brought, params)
    with pytest.raises(PolicyMismatch, match="Uniform, Stubborn"):
        make("Quantum", {})


def test_an_experiment_says_its_problem_and_its_allocation() -> None:
    experiment = Experiment(
        id="e",
        tenant_id="t",
        arms=(Arm(id="a", min_share=0.2), Arm(id="b", state="retired"), Arm(id="c", max_share=0.5)),
        reward=RewardSpec(type="bounded", low=-1, high=4),
        context=ContextSpec(dimension=3),
        explore_floor=0.05,
    )
    assert Problem.of(experiment) == Problem(
        arms=("a", "b", "c"), dimension=4, low=-1, high=4, reward_type="bounded"
    )
    assert Allocation.of(experiment) == Allocation(
        enabled=(True, False, True),
        min_share=(0.2, 0.0, 0.0),
        max_share=(1.0, 1.0, 0.5),
        explore_floor=0.05,
    )


def test_the_newest_snapshot_is_the_one_that_serves() -> None:
    experiment = Experiment(id="e", tenant_id="t", arms=(Arm(id="a"),))
    problem, policy = Problem.of(experiment), make("Uniform", {})
    served = policy.prepare(problem, policy.empty(problem), Allocation.of(experiment))
    snapshots = Snapshots()
    assert snapshots.get("t", "e") is None
    old, new = Published(experiment, served, 3), Published(experiment, served, 8)
    snapshots.publish(old)
    snapshots.publish(new)
    assert snapshots.get("t", "e") is new
    assert snapshots.all() == [new]
    assert snapshots.get("other", "e") is None
    snapshots.withdraw("t", "e")
    snapshots.withdraw("t", "e")
    assert snapshots.get("t", "e") is None
