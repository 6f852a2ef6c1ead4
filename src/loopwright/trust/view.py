"""The trust view of a tenant's feedback: what each fact counts in a report, and why.

Trust belongs to feedback and reports belong to insights, which do not know each other; here they meet. A view
is worked out anew from the raw facts of a period whenever somebody asks, and nothing of it is stored: the same
period, rules, clearances and known accounts give the same weights.

Votes are first weighed without any record of their people, so that a flood cannot outvote the consensus that
is to judge it. What still counts then says how often each person was right, and with that record all votes
are weighed again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress, count
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loopwright.core.clock import DAY_MS, MINUTE_MS
from loopwright.people.people import People
from loopwright.stats.agreement import Codes, Labels
from loopwright.warehouse import Warehouse
from loopwright.warehouse.period import Period
from loopwright.warehouse.queries import POSITIVE

from .clearances import Clearance, Clearances
from .summary import Burst, BurstClearance, ReasonTally, TrustSummary, TrustTally
from .weights import (
    UNKNOWN,
    Mask,
    Reason,
    Standing,
    TrustPolicy,
    TrustView,
    Votes,
    is_new,
    rushed,
    standings,
    weigh,
)

KINDS: Final = ("rating", "signal", "outcome")
"""What is weighed. Limits hold for each kind by itself: a busy day of signals uses up nobody's ratings."""

SENTENCES: Final[Mapping[Reason, str]] = {
    Reason.AGED: "counts less with age",
    Reason.SKILL: "counts by how often the person was right",
    Reason.CLIPPED: "kept within the least and the greatest weight",
    Reason.UNIDENTIFIED: "of no known person, session or address",
    Reason.REPEATED: "said before by the same person about the same",
    Reason.CAPPED_USER: "beyond what one person may say of an arm in a day",
    Reason.CAPPED_SESSION: "beyond what one session may say of an arm in a day",
    Reason.CAPPED_ADDRESS: "beyond what one address may say of an arm in a day",
    Reason.BURST: "held back as part of a burst",
    Reason.ADVERSARIAL: "of a person who is wrong more often than chance",
}

SHOWN_BURSTS: Final = 50
_APART_MS: Final = 10 * MINUTE_MS
"""Rushes on an arm that are further apart are told as two bursts."""
_OF_ARMS: Final = ("kind", "experiment_id", "arm_id")
"""What an arm is to trust, as columns of the query `votes`: one per kind, so that limits are too."""

_CAPS: Final = Reason.REPEATED | Reason.CAPPED_USER | Reason.CAPPED_SESSION | Reason.CAPPED_ADDRESS
LEFT_OUT: Final = _CAPS | Reason.BURST | Reason.ADVERSARIAL
"""Reasons for which a fact counts nothing."""
_ABOUT: Final = ("decision", "wording", "call", "reference")
"""What a fact can be about, as columns of the query `votes`; the first that is known says what people share."""
_VERDICTS: Final = {
    **dict.fromkeys(("bad", "wrong", "incorrect", "negative", "fail", "failed", "no"), False),
    **dict.fromkeys(("good", "right", "correct", "positive", "pass", "passed", "yes"), True),
}
"""Whether an answer is good by a reviewer's label; with any other label its score on [0, 1] does."""


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
    facts = _Facts.of(answer.columns, answer.rows)
    goldens = _goldens(facts)
    votes = facts.ballots()
    if people is not None:
        votes = replace(votes, ages_ms=_ages(votes, people, tenant_id, policy=policy))
    view = _view(
        facts, votes, goldens, policy=policy, now_ms=as_of_ms, cleared=_cleared(facts, clearances)
    )
    among = facts.of_task(task)
    found, more = _bursts(facts, votes, view, among=among, clearances=clearances, policy=policy)
    summary = _summary(
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


@dataclass(frozen=True, slots=True, eq=False)
class _Facts:
    """The rows of the query `votes` as columns; `votes` are the rows that are weighed, the rest are annotations."""

    columns: Mapping[str, Sequence[Any]]
    kinds: NDArray[np.str_]
    items: Codes
    """What people judge in common; `UNKNOWN` where a fact is about nothing that others could judge."""
    targets: Codes
    """What a fact is about, of which each person has one vote."""
    votes: Mask

    @classmethod
    def of(cls, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> _Facts:
        found = zip(*rows, strict=True) if rows else (() for _ in names)
        columns = dict(zip(names, found, strict=True))
        kinds = np.array(columns["kind"], dtype=np.str_)
        about = {name: _coded(columns[name]) for name in _ABOUT}
        return cls(
            columns=columns,
            kinds=kinds,
            items=_first([about[name] for name in _ABOUT]),
            targets=_first([about[name] for name in _ABOUT if name != "wording"]),
            votes=kinds != "annotation",
        )

    @property
    def event_ids(self) -> list[str]:
        return self.voted("event_id")

    def voted(self, name: str) -> list[Any]:
        """Return a column of the rows that are weighed."""
        return list(compress(self.columns[name], self.votes.tolist()))

    def of_task(self, task: str | None) -> Mask:
        """Return which of the rows that are weighed are of a task."""
        if task is None:
            return np.ones(int(self.votes.sum()), dtype=np.bool_)
        return np.array([found == task for found in self.voted("task")], dtype=np.bool_)

    def ballots(self) -> Votes:
        """Return the rows that are weighed as votes."""
        about = self.targets[self.votes]
        # A fact that is about nothing we know repeats no other.
        alone = about == UNKNOWN
        about[alone] = about.max(initial=0) + 1 + np.arange(np.count_nonzero(alone))
        metrics, metric_names = _coded(self.voted("metric"))
        users, user_names = _coded(self.voted("person"))
        roles, role_names = _coded(self.voted("source"))
        arms = np.zeros(len(users), dtype=np.int64)
        for name in _OF_ARMS:
            codes, names = _coded(self.voted(name))
            arms = arms * (len(names) + 1) + codes + 1
        return Votes(
            users=users,
            sessions=_coded(self.voted("session_id"))[0],
            addresses=_coded(self.voted("address"))[0],
            ballots=about * (len(metric_names) + 1) + metrics,
            arms=np.unique(arms, return_inverse=True)[1],
            roles=roles,
            at_ms=np.array(self.voted("at_ms"), dtype=np.int64),
            ages_ms=np.full(len(users), UNKNOWN, dtype=np.int64),
            user_names=user_names,
            role_names=role_names,
        )


def _ages(votes: Votes, people: People, tenant_id: str, *, policy: TrustPolicy) -> Codes:
    """Return the age of each vote's account when it voted, `UNKNOWN` where that is not known or makes no difference.

    Not known is the age of who was erased; of who was among a tenant's first people, for they may have been
    there before; and of who voted long before being seen here first, as in history that was brought in.
    """
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
    is_known = (since >= settled_ms) & (votes.at_ms >= since - policy.new_account_ms)
    return np.where(is_known, np.maximum(votes.at_ms - since, 0), UNKNOWN)


def _cleared(facts: _Facts, clearances: Sequence[Clearance]) -> Mask:
    """Return which of the rows that are weighed lie in a clearance."""
    at_ms = np.array(facts.voted("at_ms"), dtype=np.int64)
    cleared = np.zeros(len(at_ms), dtype=np.bool_)
    arms = [_coded(facts.voted(name)) for name in ("experiment_id", "arm_id")] if clearances else []
    for clearance in clearances:
        lies_in = (at_ms >= clearance.from_ms) & (at_ms <= clearance.to_ms)
        for (codes, names), wanted in zip(
            arms, (clearance.experiment_id, clearance.arm_id), strict=True
        ):
            known = {None: UNKNOWN, **{name: code for code, name in enumerate(names)}}
            lies_in &= codes == known.get(wanted, len(names))
        cleared |= lies_in
    return cleared


def _bursts(
    facts: _Facts,
    votes: Votes,
    view: TrustView,
    *,
    among: Mask,
    clearances: Sequence[Clearance],
    policy: TrustPolicy,
) -> tuple[tuple[Burst, ...], int]:
    """Return the newest bursts, the newest first, and how many more there are.

    Minutes of a burst that lie close together are told as one.
    """
    rows = np.flatnonzero((view.quarantined | view.cleared) & among)
    rows = rows[np.lexsort((votes.at_ms[rows], votes.arms[rows]))]
    is_next = (np.diff(votes.arms[rows]) != 0) | (np.diff(votes.at_ms[rows]) > _APART_MS)
    groups = np.split(rows, np.flatnonzero(is_next) + 1) if len(rows) else []
    groups.sort(key=lambda group: int(votes.at_ms[group[-1]]), reverse=True)
    wanted = (*_OF_ARMS, "satisfaction") if groups else ()
    columns = {name: facts.voted(name) for name in wanted}
    new = is_new(votes, policy)
    found = [
        _burst(group, votes, view, columns=columns, new=new, clearances=clearances)
        for group in groups[:SHOWN_BURSTS]
    ]
    return tuple(found), len(groups) - len(found)


def _burst(
    rows: Codes,
    votes: Votes,
    view: TrustView,
    *,
    columns: Mapping[str, Sequence[Any]],
    new: Mask,
    clearances: Sequence[Clearance],
) -> Burst:
    kind, experiment_id, arm_id = (columns[name][rows[0]] for name in _OF_ARMS)
    said = [columns["satisfaction"][row] for row in rows.tolist()]
    at_ms = votes.at_ms[rows]
    holding = [
        clearance
        for clearance in clearances
        if (clearance.experiment_id, clearance.arm_id) == (experiment_id, arm_id)
        and np.any((at_ms >= clearance.from_ms) & (at_ms <= clearance.to_ms))
    ]
    users = votes.users[rows]
    return Burst(
        experiment_id=experiment_id,
        arm_id=arm_id,
        kind=kind,
        first_ms=int(at_ms[0]),
        last_ms=int(at_ms[-1]),
        facts=len(rows),
        held=int(np.count_nonzero(view.quarantined[rows])),
        praise=sum(value is not None and value >= POSITIVE for value in said)
        if kind == "rating"
        else None,
        people=len(np.unique(users[users != UNKNOWN])),
        new_accounts=int(np.count_nonzero(new[rows])),
        release=_mark(holding[-1]) if holding else None,
    )


def _mark(clearance: Clearance) -> BurstClearance:
    return BurstClearance(
        id=clearance.id,
        released_by=clearance.released_by,
        released_at_ms=clearance.released_at_ms,
        note=clearance.note,
    )


def _view(
    facts: _Facts,
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
    facts: _Facts, votes: Votes, first: TrustView, goldens: Mapping[int, bool]
) -> dict[str, Standing]:
    """Return the record of each person whose ratings of something that others can judge still count."""
    items = facts.items[facts.votes]
    values = np.array(facts.voted("satisfaction"), dtype=np.float64)
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
    known = {item: is_good for item, is_good in goldens.items() if item in shared}
    return {votes.user_names[user]: found for user, found in standings(judged, known).items()}


def _goldens(facts: _Facts) -> dict[int, bool]:
    """Return whether items are good by what reviewers say; where they are evenly divided, nothing."""
    tally: dict[int, int] = {}
    for row in np.flatnonzero(~facts.votes & (facts.items != UNKNOWN)).tolist():
        is_good = _verdict(facts.columns["label"][row], facts.columns["value"][row])
        if is_good is not None:
            item = int(facts.items[row])
            tally[item] = tally.get(item, 0) + (1 if is_good else -1)
    return {item: lead > 0 for item, lead in tally.items() if lead}


def _verdict(label: str | None, score: float | None) -> bool | None:
    known = _VERDICTS.get((label or "").strip().lower())
    if known is not None or score is None or not 0 <= score <= 1:
        return known
    return score >= POSITIVE


def _summary(
    view: TrustView, kinds: NDArray[np.str_], *, among: Mask, about: dict[str, Any]
) -> TrustSummary:
    tallies = [_tally(view, kind, among & (kinds == kind)) for kind in KINDS]
    return TrustSummary(
        **about,
        facts=sum(tally.facts for tally in tallies),
        counted=sum(tally.counted for tally in tallies),
        capped=sum(tally.capped for tally in tallies),
        quarantined=sum(tally.quarantined for tally in tallies),
        released=sum(tally.released for tally in tallies),
        adversarial=sum(tally.adversarial for tally in tallies),
        reasons=_reasons(view.reasons[among]),
        kinds=tuple(tally for tally in tallies if tally.facts),
    )


def _tally(view: TrustView, kind: str, rows: Mask) -> TrustTally:
    reasons, known = view.reasons[rows], view.weights[rows]
    return TrustTally(
        kind=kind,
        facts=len(known),
        counted=int(np.count_nonzero(known > 0)),
        weight=float(known.sum()),
        capped=int(np.count_nonzero(reasons & _CAPS)),
        quarantined=int(np.count_nonzero(view.quarantined[rows])),
        released=int(np.count_nonzero(view.cleared[rows])),
        adversarial=int(np.count_nonzero(reasons & Reason.ADVERSARIAL)),
        reasons=_reasons(reasons),
    )


def _reasons(reasons: NDArray[np.uint16]) -> tuple[ReasonTally, ...]:
    found = [
        ReasonTally(
            reason=(reason.name or "").lower(),
            sentence=sentence,
            facts=int(np.count_nonzero(reasons & reason)),
        )
        for reason, sentence in SENTENCES.items()
    ]
    return tuple(sorted((r for r in found if r.facts), key=lambda r: (-r.facts, r.reason)))


def _first(columns: Sequence[tuple[Codes, tuple[Any, ...]]]) -> Codes:
    """Return one code per row for the first of these coded columns that has a value, `UNKNOWN` where none has."""
    found = np.full(len(columns[0][0]), UNKNOWN, dtype=np.int64)
    used = 0
    for codes, names in columns:
        is_first = (found == UNKNOWN) & (codes != UNKNOWN)
        found[is_first] = codes[is_first] + used
        used += len(names)
    return found


def _coded(values: Iterable[Any]) -> tuple[Codes, tuple[Any, ...]]:
    """Return the code of each value in order of first appearance, and the values; None is `UNKNOWN`."""
    plain = list(values)
    names = tuple(value for value in dict.fromkeys(plain) if value is not None)
    codes: dict[Any, int] = dict(zip(names, count()))
    codes[None] = UNKNOWN
    return np.fromiter(map(codes.__getitem__, plain), dtype=np.int64, count=len(plain)), names
