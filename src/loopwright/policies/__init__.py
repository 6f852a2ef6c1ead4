"""Learning maths on values: NumPy only, no clock, no IO.

A policy turns exact sums of distinct events into a law over arms, and draws from exactly the law it reports.
"""

from __future__ import annotations

from .adversarial import EXP3, FPL
from .base import (
    LEAST_PROPENSITY,
    Allocation,
    ArmSummary,
    Batch,
    Diverged,
    Draw,
    Policy,
    Problem,
    Served,
    ServedTogether,
    Spec,
    State,
    grow,
    params_of,
)
from .catalog import make, policy_of, resolve, spec_of, specs
from .exact import StateCorrupt, Sums, dump, load, merge, revert
from .greedy import EpsilonGreedy, Uniform
from .linear import LinThompson, LinUCB
from .published import Published, Snapshots
from .summing import Summing
from .thompson import BetaThompson, GaussianThompson
from .ucb import KLUCB, MOSS, MOSSAnytime, UCB1Tuned

__all__ = [
    "EXP3",
    "FPL",
    "KLUCB",
    "LEAST_PROPENSITY",
    "MOSS",
    "Allocation",
    "ArmSummary",
    "Batch",
    "BetaThompson",
    "Diverged",
    "Draw",
    "EpsilonGreedy",
    "GaussianThompson",
    "LinThompson",
    "LinUCB",
    "MOSSAnytime",
    "Policy",
    "Problem",
    "Published",
    "Served",
    "ServedTogether",
    "Snapshots",
    "Spec",
    "State",
    "StateCorrupt",
    "Summing",
    "Sums",
    "UCB1Tuned",
    "Uniform",
    "dump",
    "grow",
    "load",
    "make",
    "merge",
    "params_of",
    "policy_of",
    "resolve",
    "revert",
    "spec_of",
    "specs",
]
