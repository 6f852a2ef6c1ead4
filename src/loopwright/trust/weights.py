"""How much each vote counts, and why.

Raw votes stay in the log untouched. A trust view is worked out from them: a weight for each vote, the reasons
it differs from the role's, and the votes held back until somebody has looked at a burst. The view names the
version of the rules it was made by, so that a number can be made again later.

weight = role prior * shrunk skill * age decay, within [least, most]; 0 for annotators known to be adversarial,
for repeated and for capped votes. Never negative: an adversary whose votes were inverted could steer by lying
backwards.

References: Dawid and Skene 1979 (see `agreement`); Anscombe, "The transformation of Poisson, binomial and
negative-binomial data", Biometrika 35 (1948), for why counts need a tail of their own.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from loopwright.core.clock import DAY_MS, MINUTE_MS
from loopwright.core.errors import Invalid
from loopwright.stats.agreement import Codes, Consensus, Floats, Labels, dawid_skene, peers_belief

Flags = NDArray[np.uint16]
Mask = NDArray[np.bool_]

UNKNOWN: Final = -1
"""The code of a user, address or session that was not given."""

ROLES: Final[Mapping[str, float]] = {
    "end_user": 1.0,
    "reviewer": 2.0,
    "expert": 3.0,
    "evaluator": 0.5,
    "system": 1.0,
}
"""How much a vote counts by who casts it, unless a policy says otherwise."""

_Z975: Final = 1.959963984540054

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class Reason(enum.IntFlag):
    """Why a vote does not simply count as much as its role says; several may hold."""

    AGED = 1
    SKILL = 2
    CLIPPED = 4
    UNIDENTIFIED = 8
    REPEATED = 16
    CAPPED_USER = 32
    CAPPED_SESSION = 64
    CAPPED_ADDRESS = 128
    BURST = 256
    ADVERSARIAL = 512


class TrustPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules of a trust view. Change a rule, raise `version`: views of different versions do not compare."""

    version: Count = 2
    roles: dict[str, Positive] = msgspec.field(default_factory=lambda: dict(ROLES))
    other_role: Positive = 0.5
    """Weight of a role that is not listed."""
    least: Positive = 0.1
    most: Positive = 3.0
    half_life_days: Positive | None = 90.0
    """Age at which a vote counts half; None keeps it for ever."""
    prior_right: Positive = 4.0
    prior_wrong: Positive = 1.0
    """What everybody is credited with before any evidence: a Beta prior on being right."""
    chance: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    """How often somebody who does not look is right: 1 ÷ number of classes."""
    per_user: Count = 5
    per_session: Count = 5
    per_address: Count = 50
    """Votes that count per user, session or address on one arm and day (UTC)."""
    keep: Literal["first", "latest"] = "first"
    """Which of several votes of one user on one decision counts."""
    burst_least: Count = 10
    """Fewer votes than this in a minute of an arm are never a burst."""
    burst_tail: Annotated[float, Meta(gt=0, lt=0.5)] = 1e-6
    """How unlikely a minute's votes on an arm must be to count as a burst."""
    burst_slack: Annotated[float, Meta(ge=1)] = 3.0
    """How many times its usual rate an arm may see at the peak of a day."""
    burst_z: Positive = 6.0
    """How many robust standard deviations above the usual a burst lies."""
    new_account_ms: Annotated[int, Meta(ge=0)] = DAY_MS
    """An account that was first seen less than this before its vote is new."""
    settling_ms: Annotated[int, Meta(ge=0)] = 7 * DAY_MS
    """Accounts first seen so soon after a tenant's first one may have been there long before: they are not new."""

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise ValueError(f"least weight {self.least} exceeds most weight {self.most}")
        if self.prior_right / (self.prior_right + self.prior_wrong) <= self.chance:
            raise ValueError(
                f"the prior {self.prior_right}:{self.prior_wrong} is no better than chance {self.chance}; "
                "somebody unknown must be believed more than a coin"
            )


class Standing(msgspec.Struct, frozen=True, gc=False):
    """The evidence about one user: how often right and wrong, in (fractions of) judgements that were checked."""

    right: float = 0.0
    wrong: float = 0.0


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One explicit judgement of a decision, as far as trust needs to know it."""

    decision_id: str
    arm_id: str
    at_ms: int
    role: str = "end_user"
    metric: str = "rating"
    user_id: str | None = None
    session_id: str | None = None
    address: str | None = None
    account_made_ms: int | None = None
    """When the account was first seen; None counts as old."""


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """Votes as columns, in log order. Codes are int64[n]; `UNKNOWN` where something was not given.

    `ballots` codes (decision, metric). `ages_ms` is the age of the account when it voted, -1 when unknown.
    """

    users: Codes
    sessions: Codes
    addresses: Codes
    ballots: Codes
    arms: Codes
    roles: Codes
    at_ms: Codes
    ages_ms: Codes
    user_names: tuple[str, ...]
    role_names: tuple[str, ...]

    @classmethod
    def of(cls, votes: Sequence[Vote]) -> Votes:
        """Return `votes` as columns."""
        users, user_names = _codes(vote.user_id for vote in votes)
        roles, role_names = _codes(vote.role for vote in votes)
        ages = [
            UNKNOWN if vote.account_made_ms is None else max(vote.at_ms - vote.account_made_ms, 0)
            for vote in votes
        ]
        return cls(
            users=users,
            sessions=_codes(vote.session_id for vote in votes)[0],
            addresses=_codes(vote.address for vote in votes)[0],
            ballots=_codes((vote.decision_id, vote.metric) for vote in votes)[0],
            arms=_codes(vote.arm_id for vote in votes)[0],
            roles=roles,
            at_ms=np.array([vote.at_ms for vote in votes], dtype=np.int64),
            ages_ms=np.array(ages, dtype=np.int64),
            user_names=user_names,
            role_names=role_names,
        )

    def __len__(self) -> int:
        return len(self.at_ms)


@dataclass(frozen=True, slots=True, eq=False)
class TrustView:
    """What a policy's rules make of votes, in their order.

    `weights` f64[n] are 0 or within the policy's bounds, `reasons` uint16[n] are `Reason` flags,
    `quarantined` bool[n] marks votes of a burst: their weight is 0 until they are cleared. `cleared` bool[n]
    marks votes of a burst that a person has cleared.
    """

    version: int
    weights: Floats
    reasons: Flags
    quarantined: Mask
    cleared: Mask

    def why(self, row: int) -> tuple[str, ...]:
        """Return the names of the reasons that hold for one vote."""
        held = int(self.reasons[row])
        return tuple(name.lower() for name, reason in Reason.__members__.items() if held & reason)

    def counts(self) -> dict[str, int]:
        """Return how many votes each reason holds for."""
        return {
            name.lower(): int(np.count_nonzero(self.reasons & reason))
            for name, reason in Reason.__members__.items()
        }


def weigh(
    votes: Votes,
    policy: TrustPolicy,
    *,
    now_ms: int,
    standings: Mapping[str, Standing] | None = None,
    cleared: Mask | None = None,
) -> TrustView:
    """Return the trust view of `votes` at `now_ms`.

    Votes are judged in order of their time. What is left out by one rule does not use up the allowance of the
    next: adversaries first, then bursts, repetitions, and the caps of user, session and address. `cleared`
    bool[n] marks votes that count even in a burst, because a person has cleared it. Raises `Invalid` when it does not
    fit the votes.
    """
    if cleared is None:
        cleared = np.zeros(len(votes), dtype=np.bool_)
    if len(cleared) != len(votes):
        raise Invalid(f"`cleared` has {len(cleared)} entries for {len(votes)} votes")
    weights, reasons = _priors(votes, policy, now_ms=now_ms, standings=standings or {})
    order = np.argsort(votes.at_ms, kind="stable")
    alive = (reasons & Reason.ADVERSARIAL) == 0
    burst = bursts(votes, policy) & alive
    held = burst & ~cleared
    reasons[held] |= np.uint16(Reason.BURST)
    alive &= ~held
    for reason, refused in _limits(votes, policy, order=order, alive=alive):
        reasons[refused] |= np.uint16(reason)
        alive &= ~refused
    weights[~alive] = 0.0
    return TrustView(policy.version, weights, reasons, held, burst & cleared)


def bursts(votes: Votes, policy: TrustPolicy) -> Mask:
    """Return which votes belong to a burst: bool[n].

    A minute of an arm is a burst when its count is beyond the Poisson tail at `burst_slack` times the arm's
    median rate and lies `burst_z` robust standard deviations above it. Votes of new accounts are judged by
    their own rate first. Where they alone explain the burst only they are held back, else the whole minute.
    """
    busy = rushed(votes.arms, votes.at_ms, policy)
    held = busy & _crowded(votes, busy & is_new(votes, policy), policy)
    return held | _crowded(votes, busy & ~held, policy)


def rushed(arms: Codes, at_ms: Codes, policy: TrustPolicy) -> Mask:
    """Return which votes are of an arm with a minute busy enough for a burst: bool[n].

    What the others say makes no difference to `bursts`, so nobody needs to find out how old their accounts are.
    """
    minutes = _joint(arms, at_ms // MINUTE_MS)
    _, firsts, counts = np.unique(minutes, return_index=True, return_counts=True)
    return np.isin(arms, arms[firsts[counts >= policy.burst_least]])


def is_new(votes: Votes, policy: TrustPolicy) -> Mask:
    """Return which votes are of accounts that were new when they voted: bool[n]."""
    return (votes.ages_ms >= 0) & (votes.ages_ms < policy.new_account_ms)


def standings(labels: Labels, goldens: Mapping[Any, Any] | None = None) -> dict[Any, Standing]:
    """Return the evidence about each annotator, from goldens and from the others' judgements.

    On a golden, a judgement is right or wrong. Elsewhere it is right with the probability that the others make
    true (Dawid and Skene), and counts the more the surer they are: not at all where nobody else has judged.
    Raises `Invalid` like `dawid_skene`.
    """
    goldens = goldens or {}
    consensus = dawid_skene(labels, goldens)
    belief, worth = _evidence(consensus, goldens)
    right = belief[np.arange(len(labels)), labels.labels]
    count = len(labels.annotator_names)
    rights = np.bincount(labels.annotators, weights=worth * right, minlength=count)
    wrongs = np.bincount(labels.annotators, weights=worth * (1 - right), minlength=count)
    return {
        name: Standing(yes, no)
        for name, yes, no in zip(
            labels.annotator_names, rights.tolist(), wrongs.tolist(), strict=True
        )
    }


def skill(standing: Standing, policy: TrustPolicy) -> tuple[float, bool]:
    """Return a user's factor, 1 for somebody unknown and 0 for a coin, and whether the user is adversarial.

    Adversarial: with 97.5 % probability right less often than by chance.
    """
    right = policy.prior_right + standing.right
    wrong = policy.prior_wrong + standing.wrong
    mean = right / (right + wrong)
    spread = math.sqrt(mean * (1 - mean) / (right + wrong + 1))
    unknown = policy.prior_right / (policy.prior_right + policy.prior_wrong)
    factor = (mean - policy.chance) / (unknown - policy.chance)
    return max(factor, 0.0), mean + _Z975 * spread < policy.chance


def poisson_limit(rate: float, tail: float) -> int:
    """Return the smallest count x with P(X ≥ x) < `tail` for a Poisson X of mean `rate` > 0."""
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
    while term > 1e-17 * total:
        k += 1
        term *= rate / k
        total += term
    return total * math.exp(count * math.log(rate) - rate - math.lgamma(count + 1))


def _priors(
    votes: Votes, policy: TrustPolicy, *, now_ms: int, standings: Mapping[str, Standing]
) -> tuple[Floats, Flags]:
    """Return role * skill * age within bounds, and the reasons for it."""
    role = np.array([policy.roles.get(name, policy.other_role) for name in votes.role_names])
    judged = [
        skill(standings[name], policy) if name in standings else (1.0, False)
        for name in votes.user_names
    ]
    # The last entry is that of UNKNOWN = -1.
    factor = np.array([found for found, _ in judged] + [1.0])[votes.users]
    adversarial = np.array([is_bad for _, is_bad in judged] + [False])[votes.users]
    age = np.maximum(now_ms - votes.at_ms, 0) / DAY_MS
    decay = 0.5 ** (age / policy.half_life_days) if policy.half_life_days else np.ones(len(votes))
    nobody = np.maximum(np.maximum(votes.users, votes.sessions), votes.addresses) == UNKNOWN
    raw = np.where(nobody, policy.least, role[votes.roles] * factor * decay)
    weights = np.clip(raw, policy.least, policy.most)
    reasons = np.zeros(len(votes), dtype=np.uint16)
    for reason, holds in (
        (Reason.AGED, decay < 0.99),
        (Reason.SKILL, factor != 1.0),
        (Reason.CLIPPED, weights != raw),
        (Reason.UNIDENTIFIED, nobody),
        (Reason.ADVERSARIAL, adversarial),
    ):
        reasons[holds] |= np.uint16(reason)
    return weights, reasons


def _limits(
    votes: Votes, policy: TrustPolicy, *, order: Codes, alive: Mask
) -> Iterable[tuple[Reason, Mask]]:
    """Yield each rule with the votes it refuses, among those `alive` when it is asked."""
    by_time = order if policy.keep == "first" else order[::-1]
    ballots = _joint(votes.users, votes.ballots)
    yield Reason.REPEATED, _beyond(ballots, 1, order=by_time, alive=alive & (votes.users >= 0))
    arm_days = _joint(votes.arms, votes.at_ms // DAY_MS)
    for reason, column, most in (
        (Reason.CAPPED_USER, votes.users, policy.per_user),
        (Reason.CAPPED_SESSION, votes.sessions, policy.per_session),
        (Reason.CAPPED_ADDRESS, votes.addresses, policy.per_address),
    ):
        groups = _joint(column, arm_days)
        yield reason, _beyond(groups, most, order=order, alive=alive & (column >= 0))


def _beyond(groups: Codes, most: int, *, order: Codes, alive: Mask) -> Mask:
    """Return which `alive` rows come after the first `most` of their group, in `order`."""
    rows = order[alive[order]]
    by_group = np.argsort(groups[rows], kind="stable")
    found = groups[rows][by_group]
    starts = np.flatnonzero(np.diff(found, prepend=found[:1] - 1))
    lengths = np.diff(np.append(starts, len(found)))
    rank = np.arange(len(found)) - np.repeat(starts, lengths)
    refused = np.zeros(len(groups), dtype=np.bool_)
    refused[rows[by_group[rank >= most]]] = True
    return refused


def _joint(first: Codes, second: Codes) -> Codes:
    """Return one code per pair of codes."""
    if not len(first):
        return first
    low = second.min()
    joint: Codes = (first + 1) * (second.max() - low + 1) + (second - low)
    return joint


def _crowded(votes: Votes, among: Mask, policy: TrustPolicy) -> Mask:
    """Return which votes of `among` fall into a minute of their arm that has too many of these."""
    rows = np.flatnonzero(among)
    crowded = np.zeros(len(votes), dtype=np.bool_)
    if not len(rows):
        return crowded
    minutes = votes.at_ms // MINUTE_MS
    spans = _spans(votes.arms, minutes)
    _, firsts, places, counts = np.unique(
        _joint(votes.arms[rows], minutes[rows]),
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
    seen = np.append(counts, 0)
    times = np.append(np.ones(len(counts), dtype=np.int64), max(minutes - len(counts), 0))
    # Where most minutes are empty the median says nothing. The share of busy minutes does, and a short burst
    # cannot raise it.
    usual = _middle(seen, times) or len(counts) / minutes
    deviation = 1.4826 * _middle(np.abs(seen - usual), times)
    spread = max(deviation, math.sqrt(usual))
    limit = poisson_limit(policy.burst_slack * usual, policy.burst_tail)
    return max(limit, math.ceil(usual + policy.burst_z * spread), policy.burst_least)


def _middle(values: Floats | Codes, times: Codes) -> float:
    """Return the lower median of `values`, each taken `times` times."""
    order = np.argsort(values)
    up_to = np.cumsum(times[order])
    return float(values[order][np.searchsorted(up_to, (up_to[-1] + 1) // 2)])


def _evidence(consensus: Consensus, goldens: Mapping[Any, Any]) -> tuple[Floats, Floats]:
    """Return what each judgement is measured against, and how much that is worth (0 to 1)."""
    labels = consensus.labels
    belief, others = peers_belief(consensus)
    size = len(labels.classes)
    worth = np.clip((belief.max(axis=1) * size - 1) / max(size - 1, 1), 0.0, 1.0)
    worth[others == 0] = 0.0
    if goldens:
        known = np.array([name in goldens for name in labels.item_names])[labels.items]
        belief[known], worth[known] = consensus.posteriors[labels.items[known]], 1.0
    return belief, worth


def _codes(values: Iterable[Any]) -> tuple[Codes, tuple[str, ...]]:
    """Return codes in order of first appearance, and what they stand for; None has the code `UNKNOWN`."""
    seen: dict[Any, int] = {}
    found = [UNKNOWN if value is None else seen.setdefault(value, len(seen)) for value in values]
    return np.array(found, dtype=np.int64), tuple(seen)
