"""Ten worlds to try controllers in: a service with a capacity, users who rate it, and some who lie.

Demand, capacity and ratings per second are made up; only the comparison of controllers under equal seeds says something.
Goodput is the share of what an oracle, which knows the capacity, would have served well.
"""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

import msgspec
import numpy as np

from .controller import Control, Settings, Window, advance, begin
from .ratings import Rating

CAPACITY: Final = 100.0
PRIOR: Final = 80.0
DEMAND: Final = 130.0
RATED: Final = 0.02
"""Share of the served requests that a user rates."""
BURNT: Final = 1.5
"""Good answers that each request above the capacity spoils."""
SENSED: Final = 0.3
"""Share of requests above the capacity from which a blind sensor notices overload."""


class Scenario(msgspec.Struct, frozen=True):
    """One world. `happiness` is the mean reward without overload; `blame` what a full rejection takes from it."""

    name: str
    happiness: float = 0.75
    demand: float = DEMAND
    swing: float = 0.0
    drop: float = 1.0
    blame: float = 0.0
    rated: float = RATED
    poison: int | None = None


SCENARIOS: Final = (
    Scenario("steady"),
    Scenario("happy users", happiness=0.9),
    Scenario("grumpy users", happiness=0.4),
    Scenario("users blame throttling", blame=0.5),
    Scenario("no feedback", rated=0.0),
    Scenario("capacity drops by half", drop=0.5),
    Scenario("bursty demand", swing=0.6),
    Scenario("low demand", demand=50.0),
    Scenario("poison down", poison=1),
    Scenario("poison up", poison=5),
)

_BASE: Final = Settings(prior=PRIOR, least=10.0, most=400.0)
_REPLACE: Final = msgspec.structs.replace
CONTROLLERS: Final[Mapping[str, Settings]] = {
    "guard + trim": _BASE,
    "guard only": _REPLACE(_BASE, trim=0.0),
    "trim only": _REPLACE(_BASE, guarded=False),
    "constant rate": _REPLACE(_BASE, guarded=False, trim=0.0),
    "literal rule": _REPLACE(_BASE, guarded=False, rule="literal"),
}
"""The product's controller first, then what is left when a part of it is switched off."""
NAIVE: Final = "naive rule"
"""The rule that adds alpha (reward - 0.5) for each rating, with no bound but 0."""


class Played(msgspec.Struct, frozen=True):
    """How one controller did in one world: goodput and time in overload as shares, and its rates per window."""

    goodput: float
    overloaded: float
    rates: tuple[float, ...]


def play(
    scenario: Scenario, controller: str, *, seed: int, windows: int = 720, blind: bool = False
) -> Played:
    """Return what a controller of `CONTROLLERS`, or `NAIVE`, does in one world; equal seeds meet equal demand."""
    settings = CONTROLLERS.get(controller, _BASE)
    is_naive = controller == NAIVE
    length = round(settings.window_s)
    demand = _demand(scenario, seed, windows, length)
    control, good, best, overloaded = begin(settings), 0.0, 0.0, 0
    rates = []
    for number in range(windows):
        capacity = CAPACITY * (scenario.drop if windows // 3 <= number < 2 * windows // 3 else 1.0)
        served = np.minimum(demand[number], control.rate)
        above = np.maximum(served - capacity, 0.0)
        good += float(np.maximum(np.minimum(served, capacity) - BURNT * above, 0.0).sum())
        best += float(np.minimum(demand[number], capacity).sum())
        overloaded += int((above > 0).sum())
        rejected = 1 - float(served.sum()) / max(float(demand[number].sum()), 1.0)
        rng = random.Random(f"{seed}:{number}")
        ratings = _ratings(scenario, served, fmean(above / capacity), rejected, rng)
        window = Window(
            ended_s=(number + 1) * settings.window_s,
            utilisation=float(served.mean()) / control.rate if control.rate > 0 else 1.0,
            overloaded=float((above > (SENSED * capacity if blind else 0.0)).mean()),
            ratings=ratings,
        )
        if is_naive:
            control = _naive(control, ratings)
        else:
            control = advance(settings, control, window)
        rates.append(control.rate)
    return Played(good / best, overloaded / (windows * length), tuple(rates))


def table(
    *, runs: int, seed: int, windows: int, controllers: Sequence[str], blind: bool = False
) -> dict[str, dict[str, list[Played]]]:
    """Return every run, by controller and scenario."""
    return {
        controller: {
            scenario.name: [
                play(scenario, controller, seed=seed + number, windows=windows, blind=blind)
                for number in range(runs)
            ]
            for scenario in SCENARIOS
        }
        for controller in controllers
    }


def _demand(
    scenario: Scenario, seed: int, windows: int, length: int
) -> np.ndarray[tuple[int, int], np.dtype[np.float64]]:
    rng = np.random.default_rng(seed)
    wave = np.sign(np.sin(np.arange(windows) * 2 * math.pi / 30))
    means = scenario.demand * (1 + scenario.swing * wave)
    drawn = rng.poisson(np.repeat(means, length)).astype(np.float64)
    return drawn.reshape(windows, length)


def _ratings(
    scenario: Scenario,
    served: np.ndarray[tuple[int], np.dtype[np.float64]],
    overload: float,
    rejected: float,
    rng: random.Random,
) -> tuple[Rating, ...]:
    mean = scenario.happiness - 3 * overload - scenario.blame * rejected
    expected = float(served.sum()) * scenario.rated
    count = int(expected) + (rng.random() < expected - int(expected))
    honest = [
        Rating(f"user-{rng.randrange(10**6)}", _stars(mean, rng), rng.uniform(0.5, 1.0))
        for _ in range(count)
    ]
    lies = [
        Rating(f"liar-{number % 10}", scenario.poison or 0, 0.2)
        for number in range(5 * count if scenario.poison is not None else 0)
    ]
    return (*honest, *lies)


def _stars(mean: float, rng: random.Random) -> int:
    return 1 + round(4 * min(max(rng.gauss(mean, 0.25), 0.0), 1.0))


def _naive(control: Control, ratings: Sequence[Rating]) -> Control:
    moved = control.rate + sum(0.05 * ((rating.value - 1) / 4 - 0.5) for rating in ratings)
    return _REPLACE(control, rate=max(moved, 0.0))
