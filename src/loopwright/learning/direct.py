"""Joining without memory: each fact is a row.

One feedback per decision, no window and no caps: the log drops duplicates, so nothing is ever taken back. Most
experiments are of this kind, and they are joined column by column.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from loopwright.core.events import Received

from .rows import Joined
from .terms import Terms

_MEMO_LIMIT: Final = 4096


class Direct:
    """Joins facts, column by column, for an experiment in which a reward never changes."""

    def __init__(self, terms: Terms) -> None:
        self._spec = terms.spec
        self._tally = terms.tally
        self._arms = terms.arms
        self._width = terms.width
        self._reason = terms.reason
        self._reward = terms.reward
        self._memo: dict[float, float] = {}

    def join(self, facts: Sequence[Received], joined: Joined) -> None:
        """Make each fact a row, column by column: this is where the learner's time goes."""
        rows = joined.plus
        usable = facts if self._are_usable(facts) else self._usable(facts)
        rewards = self._rewards([fact.feedback.value for fact in usable])
        # Only then: filtering builds the list anew, and a bad reward is rare.
        if None in rewards:
            usable = [f for f, reward in zip(usable, rewards, strict=True) if reward is not None]
        decisions = [fact.decision for fact in usable]
        arms = self._arms
        rows.arms = [arms[decision.arm_id] for decision in decisions]
        rows.rewards = [reward for reward in rewards if reward is not None]
        rows.propensities = [decision.propensity for decision in decisions]
        if self._width is not None:
            rows.vectors = [decision.vector for decision in decisions]
        joined.times = [decision.decided_at_ms for decision in decisions]
        joined.values = [fact.feedback.value for fact in usable]
        self._tally.feedback += len(usable)

    def _are_usable(self, facts: Sequence[Received]) -> bool:
        """Whether every fact can be learned from; the usual case, seen at a glance."""
        decisions = [fact.decision for fact in facts]
        return (
            # These comparisons run in C. `_usable` asks the same of each fact in Python, for a batch that has a bad one.
            {decision.arm_id for decision in decisions} <= self._arms.keys()
            and {decision.mode for decision in decisions} <= {"live"}
            and {fact.feedback.metric for fact in facts} <= {self._spec.metric}
            and (
                self._width is None
                or {len(decision.vector or b"") for decision in decisions} <= {self._width}
            )
        )

    def _usable(self, facts: Sequence[Received]) -> list[Received]:
        """Return the facts that can be learned from, counting the others."""
        usable = []
        for fact in facts:
            reason = self._reason(fact.decision, fact.feedback.metric)
            if reason is None:
                usable.append(fact)
            else:
                self._tally.skip(reason)
        return usable

    def _rewards(self, values: Sequence[float]) -> list[float | None]:
        """Return the reward of each value; None, counted, for one the experiment cannot use."""
        # Rewards of arbitrary precision fill it; emptying it whole bounds its memory at no cost for each hit.
        if len(self._memo) > _MEMO_LIMIT:
            self._memo = {}
        memo = self._memo
        # Rewards repeat (0, 1, five stars), and one look-up costs less than clipping and scaling a value anew.
        rewards: list[float | None] = [memo.get(value) for value in values]
        if None in rewards:
            for at, value in enumerate(values):
                if rewards[at] is None:
                    rewards[at] = reward = self._reward((value,))
                    if reward is not None:
                        memo[value] = reward
        return rewards
