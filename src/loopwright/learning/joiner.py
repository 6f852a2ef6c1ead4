"""From facts to rows that a policy learns from.

Pure but for the tally and the memory it is given: what a fact teaches depends on the experiment and on the
facts before it, never on a clock or on how facts are cut into batches. Time is event time, the latest time
that any fact of the log has shown so far.

Two ways lead to the same rewards. One feedback per decision, no window and no caps needs no memory: the log
drops duplicates, so each fact is a row. Everything else goes decision by decision, in log order; a revision
takes the old row out exactly and puts the new one in.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final

from msgspec.structs import replace

from loopwright.core.decision import Decision
from loopwright.core.errors import RewardInvalid
from loopwright.core.events import Decided, Expected, Received
from loopwright.core.experiment import Experiment
from loopwright.core.feedback import Who
from loopwright.core.reward import RewardSpec, settle

from .caps import Spender, spenders
from .memory import GRACE_MS, PAGE, Memory, Remembered, Spent, add_exactly
from .tally import Reason, Tally

Key = tuple[str, str]
"""Tenant id and experiment id."""

Traced = tuple[int, int, Decided | Received | Expected, Who | None]
"""Offset of a fact, event time with it, the fact, and by whom it is where that matters."""

_MEMO_LIMIT: Final = 4096


class Rows:
    """What to learn, column by column."""

    __slots__ = ("arms", "propensities", "rewards", "vectors")

    def __init__(self) -> None:
        self.arms: list[int] = []
        self.rewards: list[float] = []
        self.propensities: list[float] = []
        self.vectors: list[bytes | None] = []

    def add(self, row: Remembered, reward: float) -> None:
        """Add the row of one decision with its reward."""
        self.arms.append(row.arm)
        self.rewards.append(reward)
        self.propensities.append(row.propensity)
        self.vectors.append(row.vector)

    def __len__(self) -> int:
        return len(self.arms)


class Joined:
    """Rows to put into a state and rows to take out of it, and the values received for the tally."""

    __slots__ = ("minus", "plus", "times", "values")

    def __init__(self) -> None:
        self.plus = Rows()
        self.minus = Rows()
        self.times: list[int] = []
        self.values: list[float] = []


class _At:
    """A place in the log: the event time there, the place of the latest rollback, and the caps that hold.

    One object moves along the log: making one for each fact would take a third of the time of joining it.
    """

    __slots__ = ("event_ms", "offset", "sealed", "spenders")

    def __init__(self, offset: int, event_ms: int, sealed: int) -> None:
        self.offset = offset
        self.event_ms = event_ms
        self.sealed = sealed
        self.spenders: tuple[Spender, ...] = ()

    def is_sealed(self, known: Remembered) -> bool:
        """Whether what a decision taught was rolled back over, so that it cannot be taken back."""
        # What is taught at the rollback's own offset are defaults that fell due with it, so they come after it.
        return 0 < known.offset < self.sealed


class Group:
    """The facts of one experiment in one stretch of the log.

    `traced` keeps them in order for an experiment that needs a memory or has caps; for any other, decisions and
    feedback are apart, which is much cheaper.
    """

    __slots__ = ("capped", "decided", "received", "traced")

    def __init__(self, *, traced: bool, capped: bool = False) -> None:
        self.capped = capped
        self.decided: list[Decision] = []
        self.received: list[Received] = []
        self.traced: list[Traced] | None = [] if traced else None

    @classmethod
    def of(cls, experiment: Experiment) -> Group:
        """Return an empty group for the facts of `experiment`."""
        capped = experiment.caps is not None
        return cls(traced=capped or needs_memory(experiment.reward), capped=capped)


class Joiner:
    """Joins the facts of one experiment to the decisions they are about."""

    def __init__(
        self, experiment: Experiment, tally: Tally, memory: Memory, *, spent: Spent
    ) -> None:
        spec = experiment.reward
        self._caps = experiment.caps
        self._spent = spent
        self._remembers = needs_memory(spec)
        context = experiment.context
        self._spec = spec
        self._tally = tally
        self._memory = memory
        self._arms = {arm.id: position for position, arm in enumerate(experiment.arms)}
        self._width = None if context is None else 8 * context.dimension
        self._window_ms = None if spec.window_s is None else round(spec.window_s * 1000)
        self._memo: dict[float, float] = {}

    def join(self, group: Group, *, sealed: int = 0) -> Joined:
        """Return what `group` teaches.

        What decisions taught through offset `sealed` was rolled back over: it can no longer be revised.
        """
        joined = Joined()
        if group.traced is None:
            self._count(group.decided)
            self._join_directly(group.received, joined)
        elif group.traced:
            self._count([fact.decision for _, _, fact, _ in group.traced if type(fact) is Decided])
            self._memory.fetch(self._remembered_ids(group.traced))
            at = _At(0, 0, sealed)
            held = self._spenders(group.traced)
            for at.offset, at.event_ms, fact, who in group.traced:
                if who is not None:
                    at.spenders = next(held)
                if type(fact) is Received:
                    self._revise(fact, joined, at)
                elif type(fact) is Expected:
                    self._expect(fact, joined, at)
                elif self._window_ms is not None:
                    self._await(fact.decision, joined, at)
        self._take(joined.times, joined.values)
        return joined

    def close(self, event_ms: int, *, offset: int, sealed: int = 0) -> Iterator[Joined]:
        """Yield, in batches, what windows that ended before `event_ms` teach: their default reward."""
        at = _At(offset, event_ms, sealed)
        joined = Joined()
        for decision_id, waiting in self._memory.overdue(event_ms):
            self._memory.put(decision_id, self._earn_default(waiting, joined, at))
            if len(joined.plus) == PAGE:
                yield joined
                joined = Joined()
        if joined.plus:
            yield joined

    def _count(self, decisions: Sequence[Decision]) -> None:
        if decisions:
            self._tally.decisions.update([d.arm_id for d in decisions if d.mode == "live"])

    def _join_directly(self, facts: Sequence[Received], joined: Joined) -> None:
        """Make each fact a row, column by column: this is where the learner's time goes."""
        rows = joined.plus
        usable = facts if self._are_usable(facts) else self._usable(facts)
        rewards = self._rewards([fact.feedback.value for fact in usable])
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
        if len(self._memo) > _MEMO_LIMIT:
            self._memo = {}
        memo = self._memo
        rewards: list[float | None] = [memo.get(value) for value in values]
        if None in rewards:
            for at, value in enumerate(values):
                if rewards[at] is None:
                    rewards[at] = reward = self._reward((value,))
                    if reward is not None:
                        memo[value] = reward
        return rewards

    def _revise(self, fact: Received, joined: Joined, at: _At) -> None:
        """Learn from feedback that may be the first, one more, a correction, or what had been expected."""
        decision, value, tally = fact.decision, fact.feedback.value, self._tally
        reason = self._reason(decision, fact.feedback.metric)
        if reason is not None:
            tally.skip(reason)
            return
        closes_ms = self._closes_ms(decision)
        known = self._known(decision.id, joined, at)
        if closes_ms is not None and (
            fact.at_ms > closes_ms or (known is None and at.event_ms > closes_ms + GRACE_MS)
        ):
            tally.skip("late")
            return
        known = known or self._fresh(decision, event_ms=at.event_ms)
        if known.seen and self._spec.duplicates == "first":
            tally.skip("duplicate")
            return
        if at.is_sealed(known):
            tally.skip("rolled_back")
            return
        seen = self._seen(known.seen, value)
        reward = self._reward(seen)
        if reward is None:
            return
        is_new = not (known.seen or known.is_expected)
        if at.spenders and is_new and self._is_beyond(at):
            self._leave_out(decision.id, known, joined)
            return
        self._take_back(known, joined)
        joined.plus.add(known, reward)
        joined.times.append(decision.decided_at_ms)
        joined.values.append(value)
        self._count_feedback(known)
        if self._remembers:
            self._memory.put(decision.id, known.taught(reward, offset=at.offset, seen=seen))

    def _expect(self, fact: Expected, joined: Joined, at: _At) -> None:
        """Learn what a decision will probably earn, unless what it earned is known."""
        decision, value, tally = fact.decision, fact.feedback.value, self._tally
        reason = self._reason(decision, fact.feedback.metric)
        if reason is None and self._spec.shaping is None:
            reason = "metric"
        if reason is not None:
            tally.skip(reason)
            return
        closes_ms = self._closes_ms(decision)
        known = self._known(decision.id, joined, at)
        # By the log's time, not the fact's: whether the default has been earned already must make no difference.
        is_over = closes_ms is not None and at.event_ms > closes_ms
        if is_over or (known is not None and known.seen):
            tally.skip("settled")
            return
        known = known or self._fresh(decision, event_ms=at.event_ms, waits=True)
        if at.is_sealed(known):
            tally.skip("rolled_back")
            return
        reward = self._reward((value,))
        if reward is None or (not known.is_expected and self._is_beyond(at)):
            return
        self._take_back(known, joined)
        joined.plus.add(known, reward)
        tally.expected += 1
        tally.expectations += 1
        self._memory.put(decision.id, known.expecting(reward, offset=at.offset))

    def _spenders(self, traced: Sequence[Traced]) -> Iterator[tuple[Spender, ...]]:
        """Return what each fact that is by somebody adds to, and look those counts up."""
        if self._caps is None:
            return iter(())
        found = [
            spenders(self._caps, who, arm_id=fact.decision.arm_id, event_ms=event_ms)
            for _, event_ms, fact, who in traced
            if who is not None
        ]
        self._spent.fetch(spender.key for held in found for spender in held)
        return iter(found)

    def _is_beyond(self, at: _At) -> bool:
        """Whether a fact lies beyond a cap, which is counted; one that does not uses up its allowances."""
        for spender in at.spenders:
            if self._spent.count(spender.key) >= spender.most:
                self._tally.skip(spender.reason)
                return True
        for spender in at.spenders:
            self._spent.add(spender.key, day=spender.day)
        return False

    def _leave_out(self, decision_id: str, known: Remembered, joined: Joined) -> None:
        """Let a decision earn nothing: the default is for those of which nothing was said.

        Else whoever floods an arm with praise beyond the caps would fill it with defaults.
        """
        if self._window_ms is None:
            return
        if known.reward is not None:
            joined.minus.add(known, known.reward)
            self._tally.defaults -= 1
        # As if nothing had been earned: whether the default was, depends on where the log was cut.
        self._memory.put(decision_id, replace(known, due_ms=None, reward=None, offset=0))

    def _take_back(self, known: Remembered, joined: Joined) -> None:
        """Take out of the state what a decision has taught so far."""
        if known.reward is not None:
            joined.minus.add(known, known.reward)
            self._tally.expected -= known.is_expected

    def _await(self, decision: Decision, joined: Joined, at: _At) -> None:
        """Let a decision wait for feedback until its window ends."""
        reason = self._reason(decision, self._spec.metric)
        if reason is not None:
            if reason != "mode":
                self._tally.skip(reason)
            return
        if self._known(decision.id, joined, at) is None:
            self._memory.put(decision.id, self._fresh(decision, event_ms=at.event_ms, waits=True))

    def _known(self, decision_id: str, joined: Joined, at: _At) -> Remembered | None:
        """Return what is remembered of a decision; one whose time to be forgotten has come is closed first."""
        known = self._memory.get(decision_id)
        if known is None or known.forget_ms is None or at.event_ms <= known.forget_ms:
            return known
        if known.due_ms is not None:
            self._earn_default(known, joined, at)
        self._memory.drop(decision_id)
        return None

    def _earn_default(self, waiting: Remembered, joined: Joined, at: _At) -> Remembered:
        """Return a decision after its window ended without feedback; what had been expected gives way."""
        assert self._spec.default is not None
        if at.is_sealed(waiting):  # the expectation was rolled back over
            return replace(waiting, due_ms=None)
        reward = settle(self._spec, self._spec.default)
        self._take_back(waiting, joined)
        joined.plus.add(waiting, reward)
        self._tally.defaults += 1
        return waiting.taught(reward, offset=at.offset)

    def _reward(self, seen: tuple[float, ...]) -> float | None:
        """Return the reward for the values that count; None, counted, when the experiment cannot use them."""
        try:
            return settle(self._spec, seen[0] if len(seen) == 1 else math.fsum(seen))
        except RewardInvalid:
            self._tally.skip("reward")
            return None

    def _seen(self, seen: tuple[float, ...], value: float) -> tuple[float, ...]:
        return add_exactly(seen, value) if self._spec.duplicates == "add" else (value,)

    def _take(self, times: list[int], values: list[float]) -> None:
        low, high = self._spec.range
        if values and (min(values) < low or max(values) > high):
            self._tally.clipped += sum(not low <= value <= high for value in values)
        self._tally.take(times, values)

    def _count_feedback(self, known: Remembered) -> None:
        if known.seen:
            self._tally.revisions += 1
            return
        self._tally.feedback += 1
        if known.reward is not None and not known.is_expected:
            self._tally.defaults -= 1

    def _fresh(self, decision: Decision, *, event_ms: int, waits: bool = False) -> Remembered:
        closes_ms = self._closes_ms(decision)
        return Remembered(
            self._arms[decision.arm_id],
            decision.propensity,
            decision.vector if self._width is not None else None,
            decision.decided_at_ms,
            None if closes_ms is None else max(closes_ms, event_ms) + GRACE_MS,
            closes_ms if waits else None,
        )

    def _closes_ms(self, decision: Decision) -> int | None:
        return None if self._window_ms is None else decision.decided_at_ms + self._window_ms

    def _reason(self, decision: Decision, metric: str) -> Reason | None:
        """Return why a fact about `decision` teaches nothing, if so."""
        if decision.mode != "live":
            return "mode"
        if metric != self._spec.metric:
            return "metric"
        if decision.arm_id not in self._arms:
            return "arm"
        if self._width is not None and len(decision.vector or b"") != self._width:
            return "context"
        return None

    def _remembered_ids(self, traced: Sequence[Traced]) -> list[str]:
        """The decisions to look up: without a window those that were only made need it not."""
        if not self._remembers:
            return []
        if self._window_ms is None:
            return [fact.decision.id for _, _, fact, _ in traced if type(fact) is not Decided]
        return [fact.decision.id for _, _, fact, _ in traced]


def needs_memory(spec: RewardSpec) -> bool:
    """Whether what a decision taught may still change."""
    return spec.window_s is not None or spec.duplicates != "first"
