"""Joining with memory: decision by decision, in the order of the log.

Windows, corrections, expectations and caps make what a decision teaches depend on what it taught before. A
revision takes the old row out exactly and puts the new one in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from loopwright.core.decision import Decision
from loopwright.core.events import Decided, Expected, Received
from loopwright.core.experiment import Experiment
from loopwright.core.reward import settle

from .caps import Spender, spenders
from .group import Traced, needs_memory
from .memory import GRACE_MS, PAGE, Memory, Remembered, Spent, add_exactly
from .rows import Joined
from .terms import Terms


class At:
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


class Revising:
    """Joins facts, one by one, for an experiment in which a reward may change."""

    def __init__(
        self, experiment: Experiment, terms: Terms, memory: Memory, *, spent: Spent
    ) -> None:
        spec = terms.spec
        self._caps = experiment.caps
        self._spent = spent
        self._remembers = needs_memory(spec)
        self._spec = spec
        self._tally = terms.tally
        self._memory = memory
        self._arms = terms.arms
        self._width = terms.width
        self._window_ms = None if spec.window_s is None else round(spec.window_s * 1000)
        # Bound once: both are asked for every fact.
        self._reason = terms.reason
        self._reward = terms.reward

    def join(self, traced: Sequence[Traced], joined: Joined, *, sealed: int) -> None:
        """Add to `joined` what the facts teach, one after the other in the order of the log."""
        self._memory.fetch(self._remembered_ids(traced))
        at = At(0, 0, sealed)
        held = self._spenders(traced)
        for at.offset, at.event_ms, fact, who in traced:
            if who is not None:
                at.spenders = next(held)
            if type(fact) is Received:
                self._revise(fact, joined, at)
            elif type(fact) is Expected:
                self._expect(fact, joined, at)
            elif self._window_ms is not None:
                self._await(fact.decision, joined, at)

    def close(self, event_ms: int, *, offset: int, sealed: int = 0) -> Iterator[Joined]:
        """Yield, in batches, what windows that ended before `event_ms` teach: their default reward."""
        at = At(offset, event_ms, sealed)
        joined = Joined()
        for decision_id, waiting in self._memory.overdue(event_ms):
            self._memory.put(decision_id, self._earn_default(waiting, joined, at))
            if len(joined.plus) == PAGE:
                yield joined
                joined = Joined()
        if joined.plus or joined.end:
            yield joined

    def _revise(self, fact: Received, joined: Joined, at: At) -> None:
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
            # By the fact's own time, so that a fact delayed on its way to the log counts; but once the decision is forgotten
            # nobody can tell whether the default was earned, and the fact is late whatever its time.
            tally.skip("late")
            return
        is_first = closes_ms is not None and (known is None or not known.seen)
        # Quick feedback reaches the log before the row of its decision does. It begins to wait here then, and the row that
        # comes later changes nothing.
        is_unheard_of = known is None and closes_ms is not None
        known = known or self._fresh(decision, event_ms=at.event_ms, waits=is_unheard_of)
        if known.seen and self._spec.duplicates == "first":
            tally.skip("duplicate")
            return
        # The rollback replaced the state, so the row that would be taken out is no longer in it.
        if at.is_sealed(known):
            tally.skip("rolled_back")
            return
        seen = self._seen(known.seen, value)
        reward = self._reward(seen)
        if reward is None:
            return
        # A decision uses up its allowances once, when it first teaches; its corrections are free.
        if is_unheard_of:
            joined.begin.append(known)
        is_new = not (known.seen or known.is_expected or known.has_spent)
        if at.spenders and is_new and self._is_beyond(at):
            self._leave_out(decision.id, known, joined)
            return
        self._take_back(known, joined)
        if is_first:
            joined.answered.append((known, fact.at_ms))
        joined.plus.add(known, reward)
        joined.times.append(decision.decided_at_ms)
        joined.values.append(value)
        self._count_feedback(known)
        if self._remembers:
            self._memory.put(decision.id, known.taught(reward, offset=at.offset, seen=seen))

    def _expect(self, fact: Expected, joined: Joined, at: At) -> None:
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
        is_new = known is None
        known = known or self._fresh(decision, event_ms=at.event_ms, waits=True)
        if at.is_sealed(known):
            tally.skip("rolled_back")
            return
        reward = self._reward((value,))
        if reward is None or (not known.is_expected and self._is_beyond(at)):
            return
        if is_new:
            joined.begin.append(known)
        self._take_back(known, joined)
        joined.plus.add(known, reward)
        tally.expected += 1
        tally.expectations += 1
        self._memory.put(decision.id, known.expecting(reward, offset=at.offset))

    def _spenders(self, traced: Sequence[Traced]) -> Iterator[tuple[Spender, ...]]:
        """Return the counts that each fact with a known sender adds to, and fetch them."""
        if self._caps is None:
            return iter(())
        found = [
            spenders(self._caps, who, arm_id=fact.decision.arm_id, event_ms=event_ms)
            for _, event_ms, fact, who in traced
            if who is not None
        ]
        self._spent.fetch(spender.key for held in found for spender in held)
        return iter(found)

    def _is_beyond(self, at: At) -> bool:
        """Whether a fact lies beyond a cap, which is counted; one that does not uses up its allowances."""
        for spender in at.spenders:
            if self._spent.count(spender.key) >= spender.most:
                self._tally.skip(spender.reason)
                return True
        # Two passes: a fact that one cap refuses must use up none of the other allowances.
        for spender in at.spenders:
            self._spent.add(spender.key, day=spender.day)
        return False

    def _leave_out(self, decision_id: str, known: Remembered, joined: Joined) -> None:
        """Let a decision earn nothing, not even the default: it did get feedback.

        Otherwise a flood of praise beyond the caps would fill the arm with defaults.
        """
        if self._window_ms is None:
            return
        if known.is_silent:
            joined.end.append(known)
            joined.left_out.append(known)
        if known.reward is not None:
            joined.minus.add(known, known.reward)
            self._tally.defaults -= 1
            joined.left_out.append(known)
        # As if nothing had been earned: whether the default was, depends on where the log was cut.
        self._memory.put(decision_id, replace(known, due_ms=None, reward=None, offset=0))

    def _take_back(self, known: Remembered, joined: Joined) -> None:
        """Take out of the state what a decision has taught so far, and end its waiting in silence."""
        if known.is_silent:
            joined.end.append(known)
        if known.reward is not None:
            joined.minus.add(known, known.reward)
            self._tally.expected -= known.is_expected

    def _await(self, decision: Decision, joined: Joined, at: At) -> None:
        """Let a decision wait for feedback until its window ends."""
        reason = self._reason(decision, self._spec.metric)
        if reason is not None:
            if reason != "mode":
                self._tally.skip(reason)
            return
        if self._known(decision.id, joined, at) is None:
            fresh = self._fresh(decision, event_ms=at.event_ms, waits=True)
            self._memory.put(decision.id, fresh)
            joined.begin.append(fresh)

    def _known(self, decision_id: str, joined: Joined, at: At) -> Remembered | None:
        """Return what is remembered of a decision; one whose time to be forgotten has come is closed first."""
        known = self._memory.get(decision_id)
        if known is None or known.forget_ms is None or at.event_ms <= known.forget_ms:
            return known
        # Close it here: `close` runs after the group, and would find the decision gone.
        if known.due_ms is not None:
            self._earn_default(known, joined, at)
        self._memory.drop(decision_id)
        return None

    def _earn_default(self, waiting: Remembered, joined: Joined, at: At) -> Remembered:
        """Return a decision after its window ended without feedback; what had been expected gives way."""
        assert self._spec.default is not None
        # A sealed one is an expectation that was rolled back over.
        if at.is_sealed(waiting):
            return replace(waiting, due_ms=None)
        reward = settle(self._spec, self._spec.default)
        self._take_back(waiting, joined)
        joined.plus.add(waiting, reward)
        self._tally.defaults += 1
        return waiting.taught(reward, offset=at.offset)

    def _seen(self, seen: tuple[float, ...], value: float) -> tuple[float, ...]:
        return add_exactly(seen, value) if self._spec.duplicates == "add" else (value,)

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
            # The later of the two: a decision that reaches the log late, or under a clock that was set back, has its grace too.
            None if closes_ms is None else max(closes_ms, event_ms) + GRACE_MS,
            closes_ms if waits else None,
        )

    def _closes_ms(self, decision: Decision) -> int | None:
        return None if self._window_ms is None else decision.decided_at_ms + self._window_ms

    def _remembered_ids(self, traced: Sequence[Traced]) -> list[str]:
        """Return the decisions to look up; without a window, `Decided` facts need no look-up."""
        if not self._remembers:
            return []
        if self._window_ms is None:
            return [fact.decision.id for _, _, fact, _ in traced if type(fact) is not Decided]
        return [fact.decision.id for _, _, fact, _ in traced]
