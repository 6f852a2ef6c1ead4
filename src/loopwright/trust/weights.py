"""How much each vote counts, and why.

Raw votes stay in the log untouched. A trust view is worked out from them: a weight for each vote, the reasons
it differs from the role's, and the votes held back until a person has looked at a burst. The view names the
version of the rules it was made by, so that a number can be made again later.

weight = role prior * shrunk skill * age decay, within [least, most]; 0 for annotators known to be adversarial,
for repeated and for capped votes. Never negative: an adversary whose votes were inverted could steer by lying
backwards.

Reference: Dawid and Skene 1979 (see `agreement`).
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.core.clock import DAY_MS
from loopwright.core.errors import Invalid
from loopwright.stats.agreement import Codes, Consensus, Floats, Labels, dawid_skene, peers_belief
from loopwright.stats.intervals import Z95

from .bursts import bursts
from .policy import TrustPolicy
from .votes import UNKNOWN, Mask, Votes, joint

Flags = NDArray[np.uint16]


class Reason(enum.IntFlag):
    """Why a vote does not simply count as much as its role says; several may hold."""

    # One bit each in a uint16; clients see the names, so bits may be added but not reused.
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


class Standing(msgspec.Struct, frozen=True, gc=False):
    """The evidence about one user: how often right and wrong, in (fractions of) judgements that were checked."""

    right: float = 0.0
    wrong: float = 0.0


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
    # Over all votes: adversaries make a rush too, and the others in it should be looked at.
    burst = bursts(votes, policy) & alive
    held = burst & ~cleared
    reasons[held] |= np.uint16(Reason.BURST)
    alive &= ~held
    # In turn, each on what the rules before it left: a refused vote uses up no allowance.
    for reason, refused in _limits(votes, policy, order=order, alive=alive):
        reasons[refused] |= np.uint16(reason)
        alive &= ~refused
    weights[~alive] = 0.0
    return TrustView(policy.version, weights, reasons, held, burst & cleared)


def standings(labels: Labels, goldens: Mapping[Any, Any] | None = None) -> dict[Any, Standing]:
    """Return the evidence about each annotator, from goldens and from the others' judgements.

    On a golden, a judgement is right or wrong. Elsewhere it is right with the probability that the others make
    true (Dawid and Skene), and counts the more the surer they are: not at all where no other annotator has judged.
    Raises `Invalid` like `dawid_skene`.
    """
    goldens = goldens or {}
    consensus = dawid_skene(labels, goldens)
    belief, worth = _evidence(consensus, goldens)
    # A fraction, as the truth is uncertain: half a right and half a wrong judgement say nothing.
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
    """Return a user's factor, 1 for an unknown user and 0 for a coin, and whether the user is adversarial.

    Adversarial: with 97.5 % probability right less often than by chance.
    """
    right = policy.prior_right + standing.right
    wrong = policy.prior_wrong + standing.wrong
    mean = right / (right + wrong)
    # Mean and variance of a Beta distribution.
    spread = math.sqrt(mean * (1 - mean) / (right + wrong + 1))
    unknown = policy.prior_right / (policy.prior_right + policy.prior_wrong)
    factor = (mean - policy.chance) / (unknown - policy.chance)
    # The upper end of the interval: a few unlucky judgements do not make an adversary.
    return max(factor, 0.0), mean + Z95 * spread < policy.chance


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
    # Anonymous votes cannot be capped, so each weighs the least.
    unnamed = np.maximum(np.maximum(votes.users, votes.sessions), votes.addresses) == UNKNOWN
    raw = np.where(unnamed, policy.least, role[votes.roles] * factor * decay)
    # Clipped last: no product of role, skill and age leaves the bounds.
    weights = np.clip(raw, policy.least, policy.most)
    reasons = np.zeros(len(votes), dtype=np.uint16)
    for reason, holds in (
        (Reason.AGED, decay < 0.99),
        (Reason.SKILL, factor != 1.0),
        (Reason.CLIPPED, weights != raw),
        (Reason.UNIDENTIFIED, unnamed),
        (Reason.ADVERSARIAL, adversarial),
    ):
        reasons[holds] |= np.uint16(reason)
    return weights, reasons


def _limits(
    votes: Votes, policy: TrustPolicy, *, order: Codes, alive: Mask
) -> Iterable[tuple[Reason, Mask]]:
    """Yield each rule with the votes it refuses, among those `alive` when it is asked."""
    by_time = order if policy.keep == "first" else order[::-1]
    # The metric is part of a ballot: a rating and a copy of the same answer are two statements.
    ballots = joint(votes.users, votes.ballots)
    # Rows without a user are left alone: taken as one person, they would repeat everything.
    yield Reason.REPEATED, _beyond(ballots, 1, order=by_time, alive=alive & (votes.users >= 0))
    arm_days = joint(votes.arms, votes.at_ms // DAY_MS)
    for reason, column, most in (
        (Reason.CAPPED_USER, votes.users, policy.per_user),
        (Reason.CAPPED_SESSION, votes.sessions, policy.per_session),
        (Reason.CAPPED_ADDRESS, votes.addresses, policy.per_address),
    ):
        groups = joint(column, arm_days)
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


def _evidence(consensus: Consensus, goldens: Mapping[Any, Any]) -> tuple[Floats, Floats]:
    """Return what each judgement is measured against, and how much that is worth (0 to 1)."""
    labels = consensus.labels
    belief, others = peers_belief(consensus)
    size = len(labels.classes)
    # 0 where the others leave it open, 1 where they are certain: an even belief proves nobody wrong.
    worth = np.clip((belief.max(axis=1) * size - 1) / max(size - 1, 1), 0.0, 1.0)
    # Without others the belief is the prior alone: nobody vouches for himself.
    worth[others == 0] = 0.0
    if goldens:
        known = np.array([name in goldens for name in labels.item_names])[labels.items]
        belief[known], worth[known] = consensus.posteriors[labels.items[known]], 1.0
    return belief, worth
