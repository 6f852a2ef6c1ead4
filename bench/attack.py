"""What a coordinated attack does to a bandit and to a satisfaction report, with trust off and on.

Two attacks, each against the same honest crowd: ten accounts that flood, and 30 % of all accounts that vote
at the usual rate. All attackers praise the worst arm and damn the others. Trust sees no more than a product
has: who voted when on which answer, what others said of the same answer, and 2 % goldens.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loopwright.core.clock import DAY_MS, MINUTE_MS
from loopwright.policies import Allocation, Batch, BetaThompson, Problem
from loopwright.stats.agreement import Labels
from loopwright.trust.policy import TrustPolicy
from loopwright.trust.votes import Votes
from loopwright.trust.weights import standings, weigh

Codes = NDArray[np.int64]
Floats = NDArray[np.float64]

ATTACKS: Final = ("accounts", "crowd")
POLICY: Final = TrustPolicy()


@dataclass(frozen=True)
class World:
    """A product with some arms that answer recurring questions, and people who judge the answers."""

    seed: int = 0
    arms: tuple[float, ...] = (0.45, 0.55, 0.6, 0.7, 0.8)
    """Share of the questions that each arm answers well; the first is what the attackers praise."""
    questions: int = 100
    fidelity: float = 0.9
    """How often an honest user's vote is what the answer deserves."""
    users: int = 300
    votes_per_day: int = 1000
    days: int = 30
    goldens: float = 0.02
    camouflage: float = 0.0
    """Share of an attacker's votes that are cast as an honest user would."""
    flood: float = 0.5
    """Votes of the ten accounts as a share of the honest ones."""


@dataclass(frozen=True, eq=False)
class Day:
    """One day's votes as columns: who, on which arm's answer to which question, when, what; and who is honest."""

    users: Codes
    arms: Codes
    questions: Codes
    at_ms: Codes
    values: Codes
    is_honest: NDArray[np.bool_]


class Crowd:
    """The answers' true worth and the people's behaviour, drawn once per world."""

    def __init__(self, world: World, attack: str) -> None:
        self.world, self.attack = world, attack
        self.rng = np.random.default_rng(world.seed)
        shape = (len(world.arms), world.questions)
        self.deserved = (self.rng.random(shape) < np.array(world.arms)[:, None]).astype(np.int64)
        praise = world.fidelity * self.deserved + (1 - world.fidelity) * (1 - self.deserved)
        self.satisfaction: Floats = praise.mean(axis=1)
        is_golden = self.rng.random(self.deserved.size) < world.goldens
        self.goldens = {
            int(item): int(self.deserved.flat[item]) for item in np.flatnonzero(is_golden)
        }

    def day(self, number: int, law: Sequence[float]) -> Day:
        """Return the votes of one day on which arms are served by `law`."""
        world = self.world
        users = self.rng.integers(world.users, size=world.votes_per_day)
        is_honest = np.ones(len(users), dtype=np.bool_)
        if self.attack == "crowd":
            is_honest = users >= 0.3 * world.users
        at_ms = self.rng.integers(DAY_MS, size=len(users))
        if self.attack == "accounts":
            flood = int(world.flood * world.votes_per_day)
            users = np.append(users, world.users + self.rng.integers(10, size=flood))
            is_honest = np.append(is_honest, np.zeros(flood, dtype=np.bool_))
            # Half of it in one rush of ten minutes, half through the day.
            rush = self.rng.integers(10 * MINUTE_MS, size=flood // 2) + DAY_MS // 2
            at_ms = np.concatenate((at_ms, rush, self.rng.integers(DAY_MS, size=flood - len(rush))))
        arms = self.rng.choice(len(world.arms), size=len(users), p=law)
        questions = self.rng.integers(world.questions, size=len(users))
        deserved = self.deserved[arms, questions]
        slip = self.rng.random(len(users)) >= world.fidelity
        is_fair = is_honest | (self.rng.random(len(users)) < world.camouflage)
        values = np.where(is_fair, np.where(slip, 1 - deserved, deserved), arms == 0)
        return Day(
            users, arms, questions, number * DAY_MS + at_ms, values.astype(np.int64), is_honest
        )


def gather(days: Sequence[Day]) -> Day:
    """Return the votes of all days in one."""
    return Day(
        *(
            np.concatenate([getattr(day, name) for day in days])
            for name in ("users", "arms", "questions", "at_ms", "values", "is_honest")
        )
    )


def trusted(crowd: Crowd, seen: Day, *, now_ms: int) -> Floats:
    """Return the weight of each vote, from what a product can see."""
    users = tuple(str(user) for user in range(crowd.world.users + 10))
    nothing = np.full(len(seen.users), -1)
    votes = Votes(
        users=seen.users,
        sessions=nothing,
        addresses=nothing,
        ballots=np.arange(len(seen.users)),
        arms=seen.arms,
        roles=np.zeros(len(seen.users), dtype=np.int64),
        at_ms=seen.at_ms,
        ages_ms=nothing,
        user_names=users,
        role_names=("end_user",),
    )
    # Caps and bursts first: ten accounts must not be able to outvote the consensus that judges them.
    first = weigh(votes, POLICY, now_ms=now_ms)
    counted = first.weights > 0
    items = seen.arms * crowd.world.questions + seen.questions
    labels = Labels.of(
        items[counted].tolist(),
        [users[user] for user in seen.users[counted]],
        seen.values[counted].tolist(),
        classes=(0, 1),
    )
    judged = set(labels.item_names)
    goldens = {item: truth for item, truth in crowd.goldens.items() if item in judged}
    found = standings(labels, goldens)
    return weigh(votes, POLICY, now_ms=now_ms, standings=found).weights


def regret(world: World, attack: str, *, trust: bool) -> float:
    """Return the satisfaction that honest users missed under a bandit that learns from all votes each day."""
    crowd = Crowd(world, attack)
    dice = np.random.default_rng(world.seed + 1)
    names = tuple(f"arm-{k}" for k in range(len(world.arms)))
    policy, problem, even = BetaThompson(), Problem(arms=names), Allocation.even(len(names))
    served = policy.prepare(problem, policy.empty(problem), even)
    days: list[Day] = []
    missed = 0.0
    for number in range(world.days):
        law = np.array(served.law(None))
        days.append(crowd.day(number, law / law.sum()))
        chosen = days[-1].arms[days[-1].is_honest]
        missed += float((crowd.satisfaction.max() - crowd.satisfaction[chosen]).sum())
        seen = gather(days)
        times = np.ones(len(seen.users), dtype=np.int64)
        if trust:
            weights = trusted(crowd, seen, now_ms=(number + 1) * DAY_MS)
            # Learners count whole facts, so that a weight becomes a count that averages to it.
            times = np.floor(weights + dice.random(len(weights))).astype(np.int64)
        arms, values = np.repeat(seen.arms, times), np.repeat(seen.values, times)
        batch = Batch(arms, values.astype(np.float64), np.ones(len(arms)))
        served = policy.prepare(problem, policy.learn(problem, policy.empty(problem), batch), even)
    return missed


def report_error(world: World, attack: str, *, trust: bool) -> float:
    """Return how far the reported satisfaction of an arm is off, on average over the arms."""
    crowd = Crowd(world, attack)
    even = [1 / len(world.arms)] * len(world.arms)
    seen = gather([crowd.day(number, even) for number in range(world.days)])
    weights = np.ones(len(seen.users))
    if trust:
        weights = trusted(crowd, seen, now_ms=world.days * DAY_MS)
    total = np.bincount(seen.arms, weights=weights)
    reported = np.bincount(seen.arms, weights=weights * seen.values) / total
    return float(np.abs(reported - crowd.satisfaction).mean())


def figures(world: World, seeds: int) -> dict[str, float]:
    """Return all figures; those without an attack's name are of the attack that trust helps least against."""
    worlds = [replace(world, seed=world.seed + seed) for seed in range(seeds)]
    found: dict[str, float] = {}
    for name, measure in (("regret", regret), ("report_error", report_error)):
        found[f"{name}_clean"] = float(np.mean([measure(w, "none", trust=False) for w in worlds]))
        for attack in ATTACKS:
            for trust in (False, True):
                key = f"{name}_{attack}_{'on' if trust else 'off'}"
                found[key] = float(np.mean([measure(w, attack, trust=trust) for w in worlds]))
        ratios = {
            attack: found[f"{name}_{attack}_on"] / found[f"{name}_{attack}_off"]
            for attack in ATTACKS
        }
        worst = max(ratios, key=lambda attack: ratios[attack])
        found[f"{name}_off"], found[f"{name}_on"] = (
            found[f"{name}_{worst}_off"],
            found[f"{name}_{worst}_on"],
        )
        found[f"{name}_ratio"] = ratios[worst]
    return found


def limits(seed: int) -> dict[str, float]:
    """Return what trust can and cannot do against a crowd that is harder to see through."""
    worlds = {
        "hidden": World(seed=seed, camouflage=0.5),
        "unshared": World(seed=seed, questions=20_000),
        "unshared_goldens": World(seed=seed, questions=20_000, goldens=0.1),
    }
    return {
        f"{measure.__name__}_{name}_{'on' if trust else 'off'}": measure(
            world, "crowd", trust=trust
        )
        for name, world in worlds.items()
        for measure in (regret, report_error)
        for trust in (False, True)
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Run both attacks on bandit and report."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one seed instead of five")
    options = parser.parse_args(argv)
    found = figures(World(), seeds=1 if options.quick else 5)
    for name in ("regret", "report_error"):
        print(f"{name:13} no attack {found[name + '_clean']:10.3f}")
        for attack in ATTACKS:
            off, on = found[f"{name}_{attack}_off"], found[f"{name}_{attack}_on"]
            print(f"{name:13} {attack:9} trust off {off:10.3f}   on {on:10.3f}")
    hard = limits(World().seed)
    for key, figure in hard.items():
        print(f"{key:35} {figure:10.3f}")
    found |= hard
    line: dict[str, Any] = {"bench": "attack", "figures": found}
    print(json.dumps(line))
    return 0


if __name__ == "__main__":
    sys.exit(main())
