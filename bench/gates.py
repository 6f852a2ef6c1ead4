"""Does a gate promote what is no better, when somebody looks all the time? And how soon does it promote what is?

Streams of units with an outcome of 0 or 1, half of them on each arm, at most 10,000; the gate of the product is judged
every 20 units from 200 on. `aa_false` is the share of streams without any difference that were promoted, `aa_clustered`
the same with 20 events per unit whose users differ, `late_outcomes_false` the same when the challenger's outcomes come
within a minute and the champion's within an hour, counted at settlement. `power` and `median_n` are for .10 against .12.

`rollback_median` is the number of ratings until a drop by 0.10 of the mean star rating is seen after a promotion,
`false_alarm` the share of promotions without a drop that are taken back within 2,000 ratings.

Beside them stands what simpler rules do on the same streams: a z-test at every look, "probability of being better above
95 %", and the product's own statistic put to events instead of units.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Final

import numpy as np
from numpy.typing import NDArray

from loopwright.core.gate import Gate, Primary
from loopwright.rollout.gates import Evidence, Side, judge
from loopwright.rollout.watch import DROP, Watch
from loopwright.stats.sequential import Moments

Floats = NDArray[np.float64]
Rule = Callable[[Moments, Moments], bool]

RUNS: Final = 1000
QUICK_RUNS: Final = 200
UNITS: Final = 10_000
FIRST_LOOK: Final = 200
LOOK: Final = 20
UNITS_A_MINUTE: Final = 10
WINDOW_MINUTES: Final = 60.0
GATE: Final = Gate(primary=Primary())
_Z: Final = NormalDist().inv_cdf(0.95)
_STARS: Final = np.array([0.0, 0.25, 0.5, 0.75, 1.0])


def gate(champion: Moments, challenger: Moments) -> bool:
    """Return whether the product's gate promotes."""
    seen = Evidence(
        champion=Side(units=champion.n, metrics={"reward": champion}),
        challenger=Side(units=challenger.n, metrics={"reward": challenger}),
    )
    return judge(GATE, seen).outcome == "pass"


def z_test(champion: Moments, challenger: Moments) -> bool:
    """Return whether a one-sided z-test at 5 % says so, at this look."""
    se = math.sqrt(sum(_variance(m) / m.n for m in (champion, challenger)))
    return se > 0 and (challenger.mean - champion.mean) / se > _Z


def bayes(champion: Moments, challenger: Moments) -> bool:
    """Return whether the challenger's probability of being better is above 95 %, under flat priors (normal form)."""
    means = [(m.y + 1) / (m.n + 2) for m in (champion, challenger)]
    se = math.sqrt(
        sum(p * (1 - p) / (m.n + 3) for p, m in zip(means, (champion, challenger), strict=True))
    )
    return NormalDist().cdf((means[1] - means[0]) / se) > 0.95


def stopped(champion: Floats, challenger: Floats, rule: Rule, *, per_unit: int = 1) -> int | None:
    """Return at how many units `rule` promotes first, looking again and again; None for never.

    Values are of units, or of events with `per_unit` of them to a unit.
    """
    sums = [(np.cumsum(v), np.cumsum(v * v)) for v in (champion, challenger)]
    for units in range(FIRST_LOOK, UNITS + 1, LOOK):
        at = units // 2 * per_unit
        if at > len(champion):
            break
        first, second = (Moments(n=at, y=float(y[at - 1]), yy=float(yy[at - 1])) for y, yy in sums)
        if rule(first, second):
            return units
    return None


def alike(rng: np.random.Generator, first: float, second: float) -> tuple[Floats, Floats]:
    """Return the outcomes of both arms, one per unit."""
    half = UNITS // 2
    return (rng.random(half) < first).astype(float), (rng.random(half) < second).astype(float)


def crowds(rng: np.random.Generator, *, per_unit: int) -> tuple[Floats, Floats]:
    """Return events of units that differ in how often they convert, by one law on both arms; one row per unit."""
    half = UNITS // 20
    made = []
    for _ in range(2):
        rates = rng.beta(0.5, 4.5, size=half)
        made.append((rng.random((half, per_unit)) < rates[:, None]).astype(float))
    return made[0], made[1]


def late(rng: np.random.Generator, rule: Rule, *, settled: bool) -> int | None:
    """Return at how many units `rule` promotes where both arms convert alike and the challenger's outcomes come sooner.

    Ten units come a minute; outcomes of the challenger take up to a minute, those of the champion up to the whole
    window of an hour. At a look, `settled` counts the units whose window has closed, else all that have come.
    """
    values = alike(rng, 0.10, 0.10)
    delays = [rng.random(UNITS // 2) * longest for longest in (WINDOW_MINUTES, 1.0)]
    came = np.arange(UNITS // 2) * 2 / UNITS_A_MINUTE
    for units in range(FIRST_LOOK, UNITS + 1, LOOK):
        now = units / UNITS_A_MINUTE
        counted = came <= (now - WINDOW_MINUTES if settled else now)
        n = int(counted.sum())
        if n < FIRST_LOOK // 2:
            continue
        hits = [
            float((y * (came + delay <= now))[:n].sum())
            for y, delay in zip(values, delays, strict=True)
        ]
        # An outcome is 0 or 1, so the sum of the squares is the sum.
        first, second = (Moments(n=n, y=hit, yy=hit) for hit in hits)
        if rule(first, second):
            return units
    return None


def rollback(rng: np.random.Generator, drop: float) -> int | None:
    """Return after how many ratings a promotion is taken back; None when it is not within 2,000."""
    before = np.array([0.03, 0.05, 0.12, 0.30, 0.50])
    mean = float(before @ _STARS)
    law = before.copy()
    # Mass goes from five stars to one until the mean has fallen by `drop`.
    law[4] -= drop
    law[0] += drop
    watch = Watch.over(mean, margin=0.01)
    for n, rating in enumerate(rng.choice(_STARS, size=2000, p=law), 1):
        watch = watch.after(float(rating))
        if watch.has_dropped:
            return n
    return None


def _variance(of: Moments) -> float:
    return max(of.yy - of.y * of.y / of.n, 0.0) / (of.n - 1)


def _share(found: Sequence[int | None]) -> float:
    return sum(n is not None for n in found) / len(found)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and end with the line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_RUNS} runs instead of {RUNS}")
    runs = QUICK_RUNS if parser.parse_args(argv).quick else RUNS
    rules: dict[str, Rule] = {"gate": gate, "z-test": z_test, "Bayes > 95 %": bayes}
    streams = [alike(np.random.default_rng(seed), 0.10, 0.10) for seed in range(runs)]
    better = [alike(np.random.default_rng(seed), 0.10, 0.12) for seed in range(runs)]
    table = {
        name: (
            [stopped(a, b, rule) for a, b in streams],
            [stopped(a, b, rule) for a, b in better],
        )
        for name, rule in rules.items()
    }
    clustered = [crowds(np.random.default_rng(seed), per_unit=20) for seed in range(runs)]
    by_unit = [stopped(a.mean(axis=1), b.mean(axis=1), gate) for a, b in clustered]
    by_event = [stopped(a.ravel(), b.ravel(), gate, per_unit=20) for a, b in clustered]
    lates, hasty = (
        [late(np.random.default_rng(10_000 + seed), gate, settled=settled) for seed in range(runs)]
        for settled in (True, False)
    )
    backs = [rollback(np.random.default_rng(seed), 0.10) for seed in range(runs)]
    alarms = [rollback(np.random.default_rng(seed), 0.0) for seed in range(runs)]
    print(f"{runs} streams of at most {UNITS} units, a look every {LOOK} from {FIRST_LOOK} on")
    for name, (same, apart) in table.items():
        print(f"{name:14} false {_share(same):.3f}   promoted of .10 -> .12: {_share(apart):.3f}")
    print(
        f"{'by event':14} false {_share(by_event):.3f}   20 events per unit; by unit {_share(by_unit):.3f}"
    )
    stops = [n for n in table["gate"][1] if n is not None]
    figures = {
        "aa_false": _share(table["gate"][0]),
        "aa_clustered": _share(by_unit),
        "power": _share(table["gate"][1]),
        "median_n": statistics.median(stops) if stops else math.inf,
        "late_outcomes_false": _share(lates),
        "unsettled_false": _share(hasty),
        "rollback_median": statistics.median([n or 2000 for n in backs]),
        "false_alarm": _share(alarms),
        "peeking_z_false": _share(table["z-test"][0]),
        "by_event_false": _share(by_event),
    }
    print(f"a drop is looked for at level {DROP}; a fixed sample of 80 % power takes 6,039 units")
    print(json.dumps({"bench": "gates", "figures": figures}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
