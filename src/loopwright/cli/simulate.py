"""`loopwright simulate`: policies against made-up arms, with rewards that come late."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from statistics import fmean, pstdev
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter

from loopwright.core.errors import Invalid

from .options import AsJson
from .show import console, number, percent, put_json, sparkline, table

if TYPE_CHECKING:
    from loopwright.policies import Policy, Served

POINTS: Final = 24
"""Points of the curves that are shown."""
TAIL: Final = 0.1
"""Share of the rounds, at the end, over which the share of the best arm is taken."""
_COMPARED: Final = ("BetaThompson", "KLUCB", "UCB1Tuned", "EpsilonGreedy", "Uniform")
"""Policies that are tried when none is named: one of each family, and chance as the yardstick."""


app: Final = App(name="simulate", help_format="plaintext")
app.command(
    "loopwright.cli.simulate_limits:limits",
    name="limits",
    help="Compare controllers of a refill rate in ten made-up worlds.",
)


@dataclass
class Run:
    """What one policy did in one simulated run."""

    reward: float = 0.0
    regret: float = 0.0
    best: list[bool] = field(default_factory=list)


@app.default
def simulate(
    *,
    arms: Annotated[
        str, Parameter(help="Mean rewards of the arms, from 0 to 1, separated by commas.")
    ],
    policy: Annotated[
        list[str] | None,
        Parameter(help="Policy to try; give it several times to compare.", negative=()),
    ] = None,
    rounds: Annotated[int, Parameter(help="Selections per run.")] = 10_000,
    delay: Annotated[float, Parameter(help="Mean number of rounds until feedback arrives.")] = 0.0,
    batch: Annotated[int, Parameter(help="Rewards that are learned from at a time.")] = 10,
    runs: Annotated[int, Parameter(help="Runs to average over.")] = 3,
    seed: Annotated[int, Parameter(help="Same seed, same numbers.")] = 0,
    explore_floor: Annotated[
        float, Parameter(help="Share of the traffic spread evenly over all arms.")
    ] = 0.01,
    json: AsJson = False,
) -> None:
    """Compare policies on made-up arms before going live.

    Each arm pays 1 with its mean as probability, else 0. Regret is what the best arm would have earned more.
    Only policies without a context can be compared this way.
    """
    from loopwright.policies import make

    means = _means(arms)
    _check(rounds=rounds, batch=batch, runs=runs, delay=delay)
    results = []
    for name in policy or _COMPARED:
        chosen = make(name, {})
        if chosen.spec.context == "required":
            raise Invalid(f"{chosen.spec.name} needs a context; simulate has none")
        played = [
            _play(
                chosen,
                means,
                rounds=rounds,
                delay=delay,
                batch=batch,
                explore_floor=explore_floor,
                # The same numbers for every policy within a run (common random numbers): they differ by
                # choices more than by luck.
                rng=random.Random(f"{seed}:{number}"),
            )
            for number in range(runs)
        ]
        results.append(_result(chosen.spec.name, played, rounds))
    if json:
        put_json({"arms": means, "rounds": rounds, "runs": runs, "results": results})
    else:
        title = f"{len(means)} arms, {rounds:,} rounds, mean of {runs} runs, delay {delay:g}"
        _show(results, title)


def _show(results: list[dict[str, Any]], title: str) -> None:
    columns = ("policy", "best arm over time", "reward", "regret", "±", "best at end")
    shown = table(*columns, title=title, left=2)
    for result in sorted(results, key=lambda result: result["regret"]):
        shown.add_row(
            result["policy"],
            sparkline(result["best_share_curve"], high=1.0),
            number(result["mean_reward"], 4),
            number(result["regret"], 1),
            number(result["regret_sd"], 1),
            percent(result["best_share"]),
        )
    console().print(shown)


def _means(arms: str) -> list[float]:
    try:
        means = [float(part) for part in arms.split(",")]
    except ValueError:
        raise Invalid(f"--arms is {arms!r}; write mean rewards such as 0.1,0.12,0.2") from None
    if len(means) < 2 or not all(0 <= mean <= 1 for mean in means):
        raise Invalid(f"--arms is {arms!r}; give at least two means from 0 to 1")
    return means


def _check(*, rounds: int, batch: int, runs: int, delay: float) -> None:
    if min(rounds, batch, runs) < 1 or not 0 <= delay < float("inf"):
        raise Invalid("--rounds, --batch and --runs are at least 1, and --delay is not negative")


def _play(
    policy: Policy,
    means: list[float],
    *,
    rounds: int,
    delay: float,
    batch: int,
    explore_floor: float,
    rng: random.Random,
) -> Run:
    from loopwright.policies import Allocation, Batch, Problem

    problem = Problem(arms=tuple(str(position) for position in range(len(means))))
    allocation = Allocation.even(len(means), explore_floor)
    sums = policy.empty(problem)
    served: Served = policy.prepare(problem, sums, allocation)
    late: dict[int, list[tuple[int, float, float]]] = {}
    arrived: deque[tuple[int, float, float]] = deque()
    best, run = max(means), Run()
    for now in range(rounds):
        arrived.extend(late.pop(now, ()))
        if len(arrived) >= batch:
            arms, rewards, propensities = zip(*arrived, strict=True)
            learned = Batch.of(arms, rewards, propensities=propensities)
            sums = policy.learn(problem, sums, learned)
            served = policy.prepare(problem, sums, allocation)
            arrived.clear()
        draw = served.select(None, rng.random())
        reward = float(rng.random() < means[draw.arm])
        # At least 1: no reward teaches before the round that earned it is over. Delays are exponential, so
        # some are long.
        wait = 1 + (int(rng.expovariate(1 / delay)) if delay else 0)
        late.setdefault(now + wait, []).append((draw.arm, reward, draw.propensity))
        run.reward += reward
        # By means and not by rewards that were drawn: equal in expectation, without their noise.
        run.regret += best - means[draw.arm]
        run.best.append(means[draw.arm] == best)
    return run


def _result(name: str, played: list[Run], rounds: int) -> dict[str, Any]:
    tail = max(round(rounds * TAIL), 1)
    step = max(rounds // POINTS, 1)
    curves = [[fmean(run.best[i : i + step]) for i in range(0, rounds, step)] for run in played]
    return {
        "policy": name,
        "mean_reward": fmean(run.reward / rounds for run in played),
        "regret": fmean(run.regret for run in played),
        "regret_sd": pstdev(run.regret for run in played),
        "best_share": fmean(fmean(run.best[-tail:]) for run in played),
        "best_share_curve": [fmean(values) for values in zip(*curves, strict=True)],
    }
