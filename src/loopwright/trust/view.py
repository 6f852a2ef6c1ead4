"""The trust view of a tenant's feedback: the weight of each fact in a report, and the reasons.

A view is computed from the raw facts of a period on every request, and nothing of it is stored: the same period,
rules, clearances and known accounts give the same weights.

Votes are weighed twice. First without any record of the people, so that a flood cannot outvote the consensus that
is to judge it. The votes that still count then give each person a record of how often they were right, and with
these records all votes are weighed again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from loopwright.core.clock import DAY_MS
from loopwright.people.people import People
from loopwright.stats.agreement import Codes, Labels
from loopwright.warehouse import Warehouse
from loopwright.warehouse.period import Period
from loopwright.warehouse.queries import POSITIVE

from .bursts import rushed
from .clearances import Clearance, Clearances
from .facts import Facts, coded, goldens_of
from .figures import bursts_of, summary_of
from .policy import TrustPolicy
from .summary import TrustSummary
from .votes import UNKNOWN, Mask, Votes
from .weights import Standing, TrustView, standings, weigh


@dataclass(frozen=True, slots=True)
class Trusted:
    """The weight of each fact by its event id, and the view in numbers."""

    weights: Mapping[str, float]
    summary: TrustSummary


class Trust:
    """Answers by trust over one warehouse. Any number of threads may ask."""

    def __init__(
        self,
        warehouse: Warehouse,
        *,
        people: People | None = None,
        clearances: Clearances | None = None,
        policy: TrustPolicy | None = None,
    ) -> None:
        """Without `people` every account counts as old, without `clearances` every burst is held back."""
        self._warehouse = warehouse
        self._people = people
        self._clearances = clearances
        self._policy = policy or TrustPolicy()

    def summary(
        self, tenant_id: str, of: Period, *, now_ms: int, task: str | None = None
    ) -> TrustSummary:
        """Return the trust view of a period in numbers."""
        return self.trusted(tenant_id, of, now_ms=now_ms, task=task).summary

    def trusted(self, tenant_id: str, of: Period, *, now_ms: int, task: str | None) -> Trusted:
        """Return the trust view of a period, with the weight of each fact."""
        clearances = self._clearances
        return trusted(
            self._warehouse,
            tenant_id,
            of,
            now_ms=now_ms,
            policy=self._policy,
            task=task,
            people=self._people,
            # By the votes' own time, so a clearance also holds for votes that arrive later and lie within it.
            clearances=()
            if clearances is None
            else clearances.in_force(tenant_id, from_ms=of.from_ms, to_ms=of.to_ms),
        )


def weights(
    warehouse: Warehouse, tenant_id: str, of: Period, *, now_ms: int, policy: TrustPolicy
) -> Mapping[str, float]:
    """Return what each rating, signal and outcome of a period counts, by its event id."""
    return trusted(warehouse, tenant_id, of, now_ms=now_ms, policy=policy).weights


def trusted(
    warehouse: Warehouse,
    tenant_id: str,
    of: Period,
    *,
    now_ms: int,
    policy: TrustPolicy,
    task: str | None = None,
    people: People | None = None,
    clearances: Sequence[Clearance] = (),
) -> Trusted:
    """Return the trust view of a period.

    People are judged by all they said in the period; with `task` the numbers are of that task alone. Facts age
    until the period's end, or the end of the present day when that is sooner, so that one day's answers agree.
    """
    answer = warehouse.query("votes", tenant_id=tenant_id, from_ms=of.from_ms, to_ms=of.to_ms)
    as_of_ms = min(of.to_ms, now_ms - now_ms % DAY_MS + DAY_MS)
    facts = Facts.of(answer.columns, answer.rows)
    goldens = goldens_of(facts)
    votes = facts.ballots()
    if people is not None:
        # From the people's database, which erasure empties: no account's age is kept in the warehouse.
        votes = replace(votes, ages_ms=_ages(votes, people, tenant_id, policy=policy))
    view = _view(
        facts, votes, goldens, policy=policy, now_ms=as_of_ms, cleared=_cleared(facts, clearances)
    )
    among = facts.of_task(task)
    found, more = bursts_of(facts, votes, view, among=among, clearances=clearances, policy=policy)
    summary = summary_of(
        view,
        facts.kinds[facts.votes],
        among=among,
        about={
            "tenant_id": tenant_id,
            "period": of,
            "task": task,
            "version": view.version,
            "as_of_ms": as_of_ms,
            "offset": answer.offset,
            "goldens": len(goldens),
            "bursts": found,
            "more_bursts": more,
        },
    )
    return Trusted(dict(zip(facts.event_ids, view.weights.tolist(), strict=True)), summary)


def _ages(votes: Votes, people: People, tenant_id: str, *, policy: TrustPolicy) -> Codes:
    """Return the age of each vote's account when it voted, `UNKNOWN` where that is not known or makes no difference.

    The age is unknown for people who were erased; for the first people of a tenant, who may have been there
    before; and for people whose vote is much older than their first appearance, as in imported history.
    """
    # Looked up for arms with a busy minute only: elsewhere an age changes nothing.
    asked = votes.users[rushed(votes.arms, votes.at_ms, policy) & (votes.users != UNKNOWN)]
    opened_ms = people.first_since(tenant_id) if len(asked) else None
    if opened_ms is None:
        return votes.ages_ms
    known = people.since(tenant_id, [votes.user_names[user] for user in np.unique(asked).tolist()])
    settled_ms = opened_ms + policy.settling_ms
    # The last entry is that of UNKNOWN = -1.
    since = np.array([known.get(name, 0) for name in votes.user_names] + [0], dtype=np.int64)[
        votes.users
    ]
    # An account seen long after its vote was brought in with history; its first sight says nothing.
    is_known = (since >= settled_ms) & (votes.at_ms >= since - policy.new_account_ms)
    return np.where(is_known, np.maximum(votes.at_ms - since, 0), UNKNOWN)


def _cleared(facts: Facts, clearances: Sequence[Clearance]) -> Mask:
    """Return which of the rows that are weighed lie in a clearance."""
    at_ms = np.array(facts.voted("at_ms"), dtype=np.int64)
    cleared = np.zeros(len(at_ms), dtype=np.bool_)
    arms = [coded(facts.voted(name)) for name in ("experiment_id", "arm_id")] if clearances else []
    for clearance in clearances:
        lies_in = (at_ms >= clearance.from_ms) & (at_ms <= clearance.to_ms)
        for (codes, names), wanted in zip(
            arms, (clearance.experiment_id, clearance.arm_id), strict=True
        ):
            # An arm that has no vote here gets a code that no row has.
            known = {None: UNKNOWN, **{name: code for code, name in enumerate(names)}}
            lies_in &= codes == known.get(wanted, len(names))
        cleared |= lies_in
    return cleared


def _view(
    facts: Facts,
    votes: Votes,
    goldens: Mapping[int, bool],
    *,
    policy: TrustPolicy,
    now_ms: int,
    cleared: Mask,
) -> TrustView:
    """Return the view: weighed without records, then with the records that this leaves evidence for."""
    first = weigh(votes, policy, now_ms=now_ms, cleared=cleared)
    found = _standings(facts, votes, first, goldens)
    if not found:
        return first
    return weigh(votes, policy, now_ms=now_ms, standings=found, cleared=cleared)


def _standings(
    facts: Facts, votes: Votes, first: TrustView, goldens: Mapping[int, bool]
) -> dict[str, Standing]:
    """Return the record of each person whose ratings of something that others can judge still count."""
    items = facts.items[facts.votes]
    values = np.array(facts.voted("satisfaction"), dtype=np.float64)
    # Weight 0 is out: what caps and bursts refuse must not vote on who is right.
    is_judged = (items != UNKNOWN) & (votes.users != UNKNOWN) & (first.weights > 0)
    rows = np.flatnonzero(is_judged & ~np.isnan(values))
    if not len(rows):
        return {}
    judged = Labels.of(
        items[rows].tolist(),
        votes.users[rows].tolist(),
        (values[rows] >= POSITIVE).tolist(),
        classes=(False, True),
    )
    shared = set(judged.item_names)
    # `dawid_skene` refuses goldens of items that nobody judged.
    known = {item: is_good for item, is_good in goldens.items() if item in shared}
    return {votes.user_names[user]: found for user, found in standings(judged, known).items()}
