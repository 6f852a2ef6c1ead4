"""Reading the log: a position, and the experiments that learn along from there.

The learner has one course for the experiments that keep up, and one for each that is paused or catching up;
a replay has one that begins at the beginning. All read by this code, so they cannot come to different states.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from loopwright.core.events import Decided, Expected, Fact, Received, Reported, RolledBack
from loopwright.core.feedback import Outcome

from .caps import sender_of, whose
from .joiner import Group, Key
from .trainer import Trainer

Located = tuple[int, Fact]
"""A fact with its offset."""


class Course:
    """A position in the log, and the trainers that have read to it.

    `peek` returns the fact at an offset; it is asked for the one at `offset`, and only where caps need it. `admit`
    finds a trainer for an experiment met for the first time; None passes its facts over. A trainer
    that cannot learn from its facts leaves the course and is handed to `expel`; without one, the error rises.
    """

    def __init__(
        self,
        offset: int,
        event_ms: int,
        *,
        peek: Callable[[int], Fact | None] = lambda offset: None,
        admit: Callable[[Key], Trainer | None] | None = None,
        expel: Callable[[Trainer, Exception], None] | None = None,
        before_rollback: Callable[[Trainer], object] | None = None,
    ) -> None:
        self.offset = offset
        """Offset through which the log has been read."""
        self.event_ms = event_ms
        """The latest time that a fact through `offset` has shown."""
        self.trainers: dict[Key, Trainer] = {}
        self.touched: set[Key] = set()
        """Experiments that have had facts; the caller clears it."""
        self._windowed: dict[Key, Trainer] = {}
        self._before: Callable[[], Fact | None] = partial(peek, offset)
        self._admit = admit
        self._expel = expel
        self._before_rollback = before_rollback

    def join(self, trainer: Trainer) -> None:
        """Let `trainer` read along from here."""
        self.trainers[trainer.key] = trainer
        if trainer.experiment.reward.window_s is not None:
            self._windowed[trainer.key] = trainer

    def leave(self, key: Key) -> Trainer:
        """Take an experiment out of the course."""
        self._windowed.pop(key, None)
        return self.trainers.pop(key)

    def next_due_ms(self) -> float:
        """Return a time before which no attribution window ends; infinite when none is open."""
        return min((t.memory.next_due_ms for t in self._windowed.values()), default=float("inf"))

    def read(self, facts: Sequence[Located]) -> set[Key]:
        """Learn from the facts that follow `offset`; return the experiments whose state changed."""
        changed: set[Key] = set()
        start = 0
        while start < len(facts):
            start = self._read_on(facts, start, changed=changed)
            if start < len(facts):
                self._turn_back(facts[start], changed)
                start += 1
        if facts:
            latest = facts[-1][1]
            self._before = lambda: latest
        return changed

    def _read_on(self, facts: Sequence[Located], start: int, *, changed: set[Key]) -> int:
        """Learn up to the next rollback; return where that is.

        What came before a rollback must be complete when it is applied.
        """
        groups = _Groups(self._find)
        end, self.event_ms = sort(
            facts, start, groups=groups, event_ms=self.event_ms, before=self._before
        )
        if end == start:
            return end
        self.offset = facts[end - 1][0]
        for key, group in groups.items():
            if group is not None:
                self._teach(self.trainers[key], group, changed)
        for key, trainer in list(self._windowed.items()):
            if groups.get(key) is None and trainer.memory.next_due_ms < self.event_ms:
                self._teach(trainer, None, changed)
        return end

    def _turn_back(self, located: Located, changed: set[Key]) -> None:
        offset, fact = located
        assert isinstance(fact, RolledBack)
        trainer = self._find((fact.tenant_id, fact.experiment_id))
        if trainer is not None:
            if self._before_rollback is not None:
                self._before_rollback(trainer)

            def turn_back() -> None:
                trainer.roll_back(fact, offset=offset)
                changed.add(trainer.key)

            self._guarded(trainer, turn_back)
        self.offset = offset
        self.event_ms = max(self.event_ms, fact.at_ms)

    def _teach(self, trainer: Trainer, group: Group | None, changed: set[Key]) -> None:
        def learn() -> None:
            if trainer.learn(group, offset=self.offset, event_ms=self.event_ms):
                changed.add(trainer.key)

        self._guarded(trainer, learn)

    def _guarded(self, trainer: Trainer, step: Callable[[], None]) -> None:
        """Run `step`; a failure concerns this experiment alone."""
        self.touched.add(trainer.key)
        if self._expel is None:
            step()
            return
        try:
            step()
        except Exception as error:  # noqa: BLE001 - handed on, whatever a policy raises
            self.leave(trainer.key)
            self._expel(trainer, error)

    def _find(self, key: Key) -> Trainer | None:
        trainer = self.trainers.get(key)
        if trainer is None and self._admit is not None:
            trainer = self._admit(key)
            if trainer is not None:
                self.join(trainer)
        return trainer


class _Groups(dict[Key, Group | None]):
    """Facts by experiment; None for one whose facts are passed over."""

    def __init__(self, find: Callable[[Key], Trainer | None]) -> None:
        self._find = find

    def __missing__(self, key: Key) -> Group | None:
        trainer = self._find(key)
        group = None
        if trainer is not None:
            group = Group.of(trainer.experiment)
        self[key] = group
        return group


def _earned(fact: Reported) -> Received | None:
    """Return a typed outcome of a decision as the plain reward it is; None for what must not train.

    The log knows both under one key, so a decision's outcome is learned once, whichever way it came.
    """
    decision, note = fact.target.decision, fact.note
    if decision is None or type(fact.feedback) is not Outcome:
        return None
    if note.quarantined is not None or "train" not in note.consent:
        return None
    return Received(
        fact.event_id, fact.at_ms, decision, fact.feedback, derived=True, who=sender_of(fact)
    )


def sort(
    facts: Sequence[Located],
    start: int,
    *,
    groups: dict[Key, Group | None],
    event_ms: int,
    before: Callable[[], Fact | None] = lambda: None,
) -> tuple[int, int]:
    """Put facts about decisions into the groups of their experiments, from `start` to the next rollback.

    `before` returns the fact before the first. Returns where that is, and the event time there.
    """
    tenant_id = experiment_id = None
    group: Group | None = None
    for at in range(start, len(facts)):
        offset, fact = facts[at]
        if type(fact) is Reported:
            fact = _earned(fact) or fact
        if type(fact) is Received:
            decision, at_ms = fact.decision, fact.at_ms
        elif type(fact) is Decided:
            decision = fact.decision
            at_ms = decision.decided_at_ms
        elif type(fact) is RolledBack:
            return at, event_ms
        else:
            if fact.at_ms > event_ms:
                event_ms = fact.at_ms
            if type(fact) is Expected:
                shaped = groups[fact.tenant_id, fact.decision.experiment_id]
                if shaped is not None and shaped.traced is not None:
                    who = whose(fact, None) if shaped.capped else None
                    shaped.traced.append((offset, event_ms, fact, who))
            continue
        if at_ms > event_ms:
            event_ms = at_ms
        # Neighbours are often of one experiment, and comparing is cheaper than hashing.
        if decision.experiment_id != experiment_id or decision.tenant_id != tenant_id:
            tenant_id, experiment_id = decision.tenant_id, decision.experiment_id
            group = groups[tenant_id, experiment_id]
        if group is None:
            continue
        if group.traced is not None:
            who = None
            if group.capped and type(fact) is Received:
                who = whose(fact, facts[at - 1][1] if at else before())
            group.traced.append((offset, event_ms, fact, who))
        elif type(fact) is Received:
            group.received.append(fact)
        else:
            group.decided.append(decision)
    return len(facts), event_ms
