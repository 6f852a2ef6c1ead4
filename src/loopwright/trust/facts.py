"""The feedback that a trust view weighs, as columns, and the verdicts of reviewers on what it is about."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress, count
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loopwright.stats.agreement import Codes
from loopwright.warehouse.queries import POSITIVE

from .votes import UNKNOWN, Mask, Votes

OF_ARMS: Final = ("kind", "experiment_id", "arm_id")
"""What an arm is to trust, as columns of the query `votes`: one per kind, so that limits are too."""

# The decision first: it is exact. The wording joins answers to one question that have no decision.
_ABOUT: Final = ("decision", "wording", "call", "reference")
"""What a fact can be about, as columns of the query `votes`; the first that is known says what people share."""
_VERDICTS: Final = {
    **dict.fromkeys(("bad", "wrong", "incorrect", "negative", "fail", "failed", "no"), False),
    **dict.fromkeys(("good", "right", "correct", "positive", "pass", "passed", "yes"), True),
}
"""Whether an answer is good by a reviewer's label; with any other label its score on [0, 1] does."""


@dataclass(frozen=True, slots=True, eq=False)
class Facts:
    """The rows of the query `votes` as columns; `votes` are the rows that are weighed, the rest are annotations."""

    columns: Mapping[str, Sequence[Any]]
    kinds: NDArray[np.str_]
    items: Codes
    """What people judge in common; `UNKNOWN` where a fact is about nothing that others could judge."""
    targets: Codes
    """What a fact is about; each person has one vote on it."""
    votes: Mask

    @classmethod
    def of(cls, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Facts:
        found = zip(*rows, strict=True) if rows else (() for _ in names)
        columns = dict(zip(names, found, strict=True))
        kinds = np.array(columns["kind"], dtype=np.str_)
        about = {name: coded(columns[name]) for name in _ABOUT}
        return cls(
            columns=columns,
            kinds=kinds,
            items=_first([about[name] for name in _ABOUT]),
            # Not by wording: one person may ask the same question again, and judge the answer again.
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
        metrics, metric_names = coded(self.voted("metric"))
        users, user_names = coded(self.voted("person"))
        roles, role_names = coded(self.voted("source"))
        # A number in mixed radix for each combination; `unique` makes the codes small again.
        arms = np.zeros(len(users), dtype=np.int64)
        for name in OF_ARMS:
            codes, names = coded(self.voted(name))
            arms = arms * (len(names) + 1) + codes + 1
        return Votes(
            users=users,
            sessions=coded(self.voted("session_id"))[0],
            addresses=coded(self.voted("address"))[0],
            ballots=about * (len(metric_names) + 1) + metrics,
            arms=np.unique(arms, return_inverse=True)[1],
            roles=roles,
            at_ms=np.array(self.voted("at_ms"), dtype=np.int64),
            ages_ms=np.full(len(users), UNKNOWN, dtype=np.int64),
            user_names=user_names,
            role_names=role_names,
        )


def goldens_of(facts: Facts) -> dict[int, bool]:
    """Return whether items are good by what reviewers say; where they are evenly divided, nothing."""
    tally: dict[int, int] = {}
    for row in np.flatnonzero(~facts.votes & (facts.items != UNKNOWN)).tolist():
        is_good = _verdict(facts.columns["label"][row], facts.columns["value"][row])
        if is_good is not None:
            item = int(facts.items[row])
            # Every verdict counts alike: reviewers are the standard that others are measured by.
            tally[item] = tally.get(item, 0) + (1 if is_good else -1)
    return {item: lead > 0 for item, lead in tally.items() if lead}


def _verdict(label: str | None, score: float | None) -> bool | None:
    known = _VERDICTS.get((label or "").strip().lower())
    if known is not None or score is None or not 0 <= score <= 1:
        return known
    return score >= POSITIVE


def _first(columns: Sequence[tuple[Codes, tuple[Any, ...]]]) -> Codes:
    """Return one code per row for the first of these coded columns that has a value, `UNKNOWN` where none has."""
    found = np.full(len(columns[0][0]), UNKNOWN, dtype=np.int64)
    used = 0
    for codes, names in columns:
        is_first = (found == UNKNOWN) & (codes != UNKNOWN)
        # Shifted by the codes in use, so that a decision and a call never share a number.
        found[is_first] = codes[is_first] + used
        used += len(names)
    return found


def coded(values: Iterable[Any]) -> tuple[Codes, tuple[Any, ...]]:
    """Return the code of each value in order of first appearance, and the values; None is `UNKNOWN`."""
    plain = list(values)
    names = tuple(value for value in dict.fromkeys(plain) if value is not None)
    codes: dict[Any, int] = dict(zip(names, count()))
    # Set last: None must not take a place among the names.
    codes[None] = UNKNOWN
    return np.fromiter(map(codes.__getitem__, plain), dtype=np.int64, count=len(plain)), names
