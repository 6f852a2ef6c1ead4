"""Bursts: minutes in which an arm gets far more votes than it ever has.

Reference: Anscombe, "The transformation of Poisson, binomial and negative-binomial data", Biometrika 35 (1948), for
why counts need a tail of their own.
"""

from __future__ import annotations

import math

import numpy as np

from loopwright.core.clock import MINUTE_MS
from loopwright.stats.agreement import Codes, Floats

from .policy import TrustPolicy
from .votes import Mask, Votes, joint


def bursts(votes: Votes, policy: TrustPolicy) -> Mask:
    """Return which votes belong to a burst: bool[n].

    A minute of an arm is a burst when its count is beyond the Poisson tail at `burst_slack` times the arm's
    median rate and lies `burst_z` robust standard deviations above it. Votes of new accounts are judged by
    their own rate first. Where they alone explain the burst only they are held back, else the whole minute.
    """
    # New accounts first, at their own rate: then the regulars of that minute are not held back with them.
    busy = rushed(votes.arms, votes.at_ms, policy)
    held = busy & _crowded(votes, busy & is_new(votes, policy), policy)
    return held | _crowded(votes, busy & ~held, policy)


def rushed(arms: Codes, at_ms: Codes, policy: TrustPolicy) -> Mask:
    """Return which votes are of an arm with a minute busy enough for a burst: bool[n].

    The other votes cannot change the result of `bursts`, so the age of their accounts need not be looked up.
    """
    minutes = joint(arms, at_ms // MINUTE_MS)
    _, firsts, counts = np.unique(minutes, return_index=True, return_counts=True)
    # By arm, as `_crowd` needs all minutes of an arm to know its usual rate.
    return np.isin(arms, arms[firsts[counts >= policy.burst_least]])


def is_new(votes: Votes, policy: TrustPolicy) -> Mask:
    """Return which votes are of accounts that were new when they voted: bool[n]."""
    return (votes.ages_ms >= 0) & (votes.ages_ms < policy.new_account_ms)


def poisson_limit(rate: float, tail: float) -> int:
    """Return the smallest count x with P(X ≥ x) < `tail` for a Poisson X of mean `rate` > 0."""
    # Doubling and then halving: no table, and the rate may be anything.
    low, high = math.ceil(rate), math.ceil(rate) + 8
    while _poisson_tail(rate, high) >= tail:
        low, high = high, high + 2 * (high - low)
    while low < high:
        middle = (low + high) // 2
        if _poisson_tail(rate, middle) < tail:
            high = middle
        else:
            low = middle + 1
    return high


def _poisson_tail(rate: float, count: int) -> float:
    """Return P(X ≥ count) for count ≥ rate, where the series of ratios falls."""
    term, total, k = 1.0, 1.0, count
    # Terms below the last digit of the sum cannot change it.
    while term > 1e-17 * total:
        k += 1
        term *= rate / k
        total += term
    # In logarithms: rate to the power of count and the factorial each overflow by themselves.
    return total * math.exp(count * math.log(rate) - rate - math.lgamma(count + 1))


def _crowded(votes: Votes, among: Mask, policy: TrustPolicy) -> Mask:
    """Return which votes of `among` fall into a minute of their arm that has too many of these."""
    rows = np.flatnonzero(among)
    crowded = np.zeros(len(votes), dtype=np.bool_)
    if not len(rows):
        return crowded
    minutes = votes.at_ms // MINUTE_MS
    # Of all votes: a rush of new accounts alone spans only its own minutes, and would look usual there.
    spans = _spans(votes.arms, minutes)
    _, firsts, places, counts = np.unique(
        joint(votes.arms[rows], minutes[rows]),
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    arms = votes.arms[rows][firsts]
    limits = np.zeros(len(spans), dtype=np.int64)
    for arm in np.unique(arms).tolist():
        limits[arm] = _crowd(counts[arms == arm], policy, minutes=int(spans[arm]))
    crowded[rows] = (counts >= limits[arms])[places]
    return crowded


def _spans(arms: Codes, minutes: Codes) -> Codes:
    """Return how many minutes lie between each arm's first vote and its last, both included."""
    first = np.full(int(arms.max()) + 1, np.iinfo(np.int64).max)
    last = np.zeros_like(first)
    np.minimum.at(first, arms, minutes)
    np.maximum.at(last, arms, minutes)
    spans: Codes = last - first + 1
    return spans


def _crowd(counts: Codes, policy: TrustPolicy, *, minutes: int) -> int:
    """Return the count from which a minute is a burst; `counts` are of the minutes that are not empty."""
    # Empty minutes are one entry that is taken many times, and not an array of a month of zeros.
    seen = np.append(counts, 0)
    times = np.append(np.ones(len(counts), dtype=np.int64), max(minutes - len(counts), 0))
    # Where most minutes are empty the median says nothing. The share of busy minutes does, and a short burst
    # cannot raise it.
    usual = _middle(seen, times) or len(counts) / minutes
    # The median of deviations * 1.4826 estimates a normal standard deviation, and a burst cannot inflate it.
    deviation = 1.4826 * _middle(np.abs(seen - usual), times)
    # A Poisson count varies by √rate even where every minute so far was alike.
    spread = max(deviation, math.sqrt(usual))
    limit = poisson_limit(policy.burst_slack * usual, policy.burst_tail)
    return max(limit, math.ceil(usual + policy.burst_z * spread), policy.burst_least)


def _middle(values: Floats | Codes, times: Codes) -> float:
    """Return the lower median of `values`, each taken `times` times."""
    order = np.argsort(values)
    up_to = np.cumsum(times[order])
    return float(values[order][np.searchsorted(up_to, (up_to[-1] + 1) // 2)])
