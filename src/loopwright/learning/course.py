"""Reading the log: a position, and the experiments that learn along from there.

The learner has one course for the experiments that keep up, and one for each that is paused or catching up;
a replay has one that begins at the beginning. All read by this code, so they cannot come to different states.

What a course has learned at an offset depends on the facts through that offset and on nothing else: every window
that ended before the event time there is closed, however the facts were cut into stretches.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from loopwright.core.errors import Broken
from loopwright.core.events import (
    Consented,
    Decided,
    Erased,
    Expected,
    ExperimentChanged,
    Fact,
    KeyChanged,
    Received,
    Reported,
    RolledBack,
)
from loopwright.core.feedback import Outcome
from loopwright.policies import StateCorrupt

from .caps import sender_of, whose
from .group import Group, Key
from .trainer import Trainer

_FOLLOWED: Final = frozenset({KeyChanged, Consented, Erased})
"""Kinds, besides `ExperimentChanged`, that caches of the control plane follow."""

Located = tuple[int, Fact]
"""A fact with its offset."""


class Course:
    """A position in the log, and the trainers that have read to it.

    `peek` returns the fact at an offset; it is asked for the one at `offset`, and only where caps need it for a log
    from before rewards named their sender. A trainer that cannot learn from its facts leaves the course and is
    handed to `expel`; without one, the error rises. `control` is called with each fact of an experiment's life once
    its trainer, if it is here, has taken it over; `passed` with an experiment whose facts are passed over, and
    `follow` with every fact of the control plane.
    """

    def __init__(
        self,
        offset: int,
        event_ms: int,
        *,
        peek: Callable[[int], Fact | None] = lambda offset: None,
        expel: Callable[[Trainer, Exception], None] | None = None,
        before_rollback: Callable[[Trainer], object] | None = None,
        control: Callable[[int, ExperimentChanged], None] | None = None,
        passed: Callable[[Key], None] | None = None,
        follow: Callable[[Fact], None] | None = None,
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
        self._expel = expel
        self._before_rollback = before_rollback
        self._control = control
        self._passed = passed
        self._follow = follow

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
                self._turn(facts[start], changed)
                start += 1
        if facts:
            latest = facts[-1][1]
            self._before = lambda: latest
        return changed

    def _read_on(self, facts: Sequence[Located], start: int, *, changed: set[Key]) -> int:
        """Learn up to the next rollback or fact of an experiment's life; return where that is.

        What came before it must be complete when it is applied.
        """
        groups = _Groups(self.trainers, self._passed)
        end, self.event_ms = sort(
            facts,
            start,
            groups=groups,
            event_ms=self.event_ms,
            before=self._before,
            follow=self._follow,
        )
        if end == start:
            return end
        self.offset = facts[end - 1][0]
        for key, group in groups.items():
            if group is not None:
                self._teach(self.trainers[key], group, changed)
        self._close_windows(groups, changed)
        return end

    def _close_windows(self, taught: Mapping[Key, Group | None], changed: set[Key]) -> None:
        """Let what is due earn its default, and weigh what waits, but for experiments that were `taught`, which did so."""
        for key, trainer in list(self._windowed.items()):
            is_due = trainer.memory.next_due_ms < self.event_ms
            if taught.get(key) is None and (is_due or trainer.weighs_otherwise(self.event_ms)):
                self._teach(trainer, None, changed)

    def _turn(self, located: Located, changed: set[Key]) -> None:
        """Apply a rollback or a fact of an experiment's life."""
        offset, fact = located
        if type(fact) is ExperimentChanged:
            self._change(fact)
        else:
            assert type(fact) is RolledBack
            self._turn_back(fact, offset, changed)
        self.offset = offset
        self.event_ms = max(self.event_ms, fact.at_ms)
        # Windows that ended meanwhile are closed here: a pause at this offset must find them closed.
        self._close_windows({}, changed)
        if type(fact) is ExperimentChanged:
            if self._control is not None:
                self._control(offset, fact)
            if self._follow is not None:
                self._follow(fact)

    def _change(self, fact: ExperimentChanged) -> None:
        experiment = fact.experiment
        trainer = self.trainers.get((experiment.tenant_id, experiment.id))
        if trainer is not None and experiment.state != "draft":
            self._guarded(trainer, lambda: trainer.renew(experiment))

    def _turn_back(self, fact: RolledBack, offset: int, changed: set[Key]) -> None:
        trainer = self.trainers.get((fact.tenant_id, fact.experiment_id))
        if trainer is not None:
            if self._before_rollback is not None:
                self._before_rollback(trainer)

            def turn_back() -> None:
                trainer.roll_back(fact, offset=offset)
                changed.add(trainer.key)

            self._guarded(trainer, turn_back)

    def _teach(self, trainer: Trainer, group: Group | None, changed: set[Key]) -> None:
        def learn() -> None:
            if trainer.learn(group, offset=self.offset, event_ms=self.event_ms):
                changed.add(trainer.key)

        self._guarded(trainer, learn)

    def _guarded(self, trainer: Trainer, step: Callable[[], None]) -> None:
        """Run `step`; a failure concerns this experiment alone, unless an engine refused."""
        self.touched.add(trainer.key)
        if self._expel is None:
            step()
            return
        try:
            step()
        except Exception as error:
            # An engine that refuses says nothing about the experiment, which may have learned half of the stretch: see
            # `Places.load`. A state that does not fit is the experiment's own.
            if isinstance(error, Broken | OSError) and not isinstance(error, StateCorrupt):
                raise
            self.leave(trainer.key)
            self._expel(trainer, error)


class _Groups(dict[Key, Group | None]):
    """Facts by experiment; None for one whose facts are passed over."""

    def __init__(
        self, trainers: Mapping[Key, Trainer], passed: Callable[[Key], None] | None
    ) -> None:
        self._trainers = trainers
        self._passed = passed

    def __missing__(self, key: Key) -> Group | None:
        trainer = self._trainers.get(key)
        group = None
        if trainer is not None:
            group = Group.of(trainer.experiment)
        elif self._passed is not None:
            self._passed(key)
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
    follow: Callable[[Fact], None] | None = None,
) -> tuple[int, int]:
    """Put facts about decisions into the groups of their experiments, up to the next rollback or control fact.

    Begins at `start`; `before` returns the fact before that. Returns where it stopped, and the event time there.
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
        elif type(fact) is RolledBack or type(fact) is ExperimentChanged:
            return at, event_ms
        else:
            if fact.at_ms > event_ms:
                event_ms = fact.at_ms
            if type(fact) is Expected:
                shaped = groups[fact.tenant_id, fact.decision.experiment_id]
                if shaped is not None and shaped.traced is not None:
                    who = whose(fact, None) if shaped.capped else None
                    shaped.traced.append((offset, event_ms, fact, who))
            elif follow is not None and type(fact) in _FOLLOWED:
                follow(fact)
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
