"""What one experiment has learned, and learning more.

The state is the exact sums of the rows of distinct decisions, so order and batches leave no trace in it.
Everything a `Trainer` holds is a function of the log through the offset it has read; it belongs to one thread.
"""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec.structs import replace

from loopwright import policies
from loopwright.core.events import RolledBack
from loopwright.core.experiment import Experiment
from loopwright.policies import (
    Allocation,
    ArmSummary,
    Batch,
    Problem,
    Served,
    StateCorrupt,
    policy_of,
)

from .delays import delays_of
from .group import Group, Key
from .joiner import Joiner
from .memory import Memory, Shelf, Spent
from .rows import Joined, Rows
from .store import Saved, Snapshot
from .tally import Tally


class State(msgspec.Struct, frozen=True, array_like=True):
    """What a policy has learned, as bytes that stand for themselves: in a snapshot, in a rollback."""

    policy: str
    arms: tuple[str, ...]
    rows: int
    sums: bytes
    expected: int = 0
    """How many of the rows are expectations."""


class Trainer:
    """One experiment's policy, its state and its counts."""

    def __init__(
        self,
        experiment: Experiment,
        shelf: Shelf,
        saved: Saved | None = None,
        *,
        event_ms: int = 0,
    ) -> None:
        self.experiment = experiment
        """The experiment at the offset that was read: what it learns by."""
        self.current = experiment
        """The experiment by the newest fact that is known: what it serves by."""
        self.key: Key = (experiment.tenant_id, experiment.id)
        self.policy = policy_of(experiment)
        self.problem = Problem.of(experiment)
        self.memory = Memory(shelf)
        self.spent = Spent(shelf)
        self.tally = Tally() if saved is None else Tally.load(saved.tally)
        self.version = 0 if saved is None else saved.version
        """Offset through which `state` has learned."""
        self.sealed = 0 if saved is None else saved.sealed
        """Offset of the latest rollback."""
        self.state: policies.State = self.policy.empty(self.problem)
        if saved is not None:
            self._restore(saved.state)
        self.event_ms = event_ms
        """The event time through which it has learned."""
        self._weighed_ms = 0
        counted = b"" if saved is None else saved.delays
        self.delays = delays_of(experiment, self.policy, self.memory, counted)
        self._joiner = Joiner(experiment, self.tally, self.memory, spent=self.spent)

    def renew(self, experiment: Experiment) -> None:
        """Go on with a changed experiment: there may be more arms. Raises `StateCorrupt` when arms moved or went missing."""
        _check_arms(tuple(arm.id for arm in self.experiment.arms), experiment)
        before = self.experiment.reward
        self.experiment = experiment
        self.problem = Problem.of(experiment)
        self.state = self.policy.grow(self.problem, self.state)
        if self.delays is not None and experiment.reward == before:
            self.delays.grow(self.problem)
        else:
            # A silent decision stands for the default reward, which is another one now.
            counted = b"" if self.delays is None else self.delays.dump()
            self.delays = delays_of(experiment, self.policy, self.memory, counted)
        self._joiner = Joiner(experiment, self.tally, self.memory, spent=self.spent)

    def learn(self, group: Group | None, *, offset: int, event_ms: int) -> bool:
        """Learn from a stretch of the log that ends at `offset`; return whether the state changed.

        `event_ms` is the event time at its end; windows that ended before it earn their default.
        """
        before = self.state
        if group is not None:
            self._take(self._joiner.join(group, sealed=self.sealed))
        # After the group: feedback from within a window must not find the default that its end would earn.
        for joined in self._joiner.close(event_ms, offset=offset, sealed=self.sealed):
            self._take(joined)
        self.event_ms = event_ms
        # Identity and not equality: policies return a new value when they learn, and comparing sums would cost more.
        if self.state is before and not self.weighs_otherwise(event_ms):
            return False
        self._weighed_ms = event_ms
        self.version = offset
        return True

    def weighs_otherwise(self, event_ms: float) -> bool:
        """Whether decisions that wait have another weight at `event_ms` than when it last learned."""
        delays = self.delays
        return delays is not None and delays.weigh_otherwise(self._weighed_ms, event_ms)

    def roll_back(self, fact: RolledBack, *, offset: int) -> None:
        """Take over the state that `fact` carries. Raises `StateCorrupt` when it is not one of this experiment."""
        self._restore(fact.state)
        self.version = self.sealed = offset

    def prepare(self, previous: Served | None = None) -> Served:
        """Return what serves the state in the current experiment; `previous` may save work.

        Raises what `Policy.prepare` raises.
        """
        problem = Problem.of(self.current)
        state = self.policy.grow(problem, self.estimated())
        allocation = Allocation.of(self.current)
        return self.policy.prepare(problem, state, allocation, previous=previous)

    def estimated(self) -> policies.State:
        """Return the state with decisions that still wait for feedback in it, each by its weight: see `delays`."""
        if self.delays is None:
            return self.state
        return self.delays.estimate(self.state, self.event_ms)

    def pending(self) -> list[int]:
        """Return how many decisions of each arm of the current experiment wait for feedback."""
        waiting = [] if self.delays is None else self.delays.pending()
        return waiting + [0] * (len(self.current.arms) - len(waiting))

    def summaries(self) -> list[ArmSummary]:
        """Return what is known of each arm of the current experiment; `n` counts rewards, not what only waits."""
        summaries = zip(self._summaries(self.estimated()), self.counts(), strict=True)
        return [replace(summary, n=n) for summary, n in summaries]

    def summaries_of(self, state: bytes) -> list[ArmSummary]:
        """Return what was known of each arm in a kept state."""
        return self._summaries(self.policy.load(read_state(state, self.current).sums))

    def counts(self) -> list[int]:
        """Return how many rewards of each arm of the current experiment the state holds."""
        return self.policy.counts(self.policy.grow(Problem.of(self.current), self.state))

    def dump(self) -> bytes:
        """Return the state as bytes; equal states give equal bytes."""
        return self._dumped(self.state)

    def snapshot(self, taken_at_ms: int) -> Snapshot:
        """Return the state as a snapshot: with what waits, as a rollback must not bring back successes alone."""
        return Snapshot.of(
            self._dumped(self.estimated()),
            version=self.version,
            taken_at_ms=taken_at_ms,
            n=self.tally.rows,
            policy=self.policy.spec.name,
        )

    def saved(self, apart: tuple[int, int] | None) -> Saved:
        """Return what a checkpoint keeps; `apart` as in `Saved`."""
        return Saved(
            self.dump(),
            self.tally.dump(),
            self.version,
            self.sealed,
            apart,
            self.experiment,
            b"" if self.delays is None else self.delays.dump(),
        )

    def _summaries(self, state: policies.State) -> list[ArmSummary]:
        problem = Problem.of(self.current)
        allocation = Allocation.of(self.current)
        return self.policy.summaries(problem, self.policy.grow(problem, state), allocation)

    def _dumped(self, state: policies.State) -> bytes:
        arms = tuple(arm.id for arm in self.experiment.arms)
        tally = self.tally
        return _encode(
            State(self.policy.spec.name, arms, tally.rows, self.policy.dump(state), tally.expected)
        )

    def _take(self, joined: Joined) -> None:
        """Learn what was joined, and take note of what waits."""
        self._put(joined.plus)
        self._take_out(joined.minus)
        if self.delays is not None:
            # Begun before ended: one may begin and end in the same stretch.
            self.delays.begin(joined.begin)
            self.delays.answer(joined.answered)
            self.delays.end(joined.end)
            self.delays.leave_out(joined.left_out)

    def _put(self, rows: Rows) -> None:
        if rows:
            self.state = self.policy.learn(self.problem, self.state, _batch(rows))
            self.tally.rows += len(rows)

    def _take_out(self, rows: Rows) -> None:
        if rows:
            self.state = self.policy.unlearn(self.problem, self.state, _batch(rows))
            self.tally.rows -= len(rows)

    def _restore(self, dumped: bytes) -> None:
        state = read_state(dumped, self.experiment)
        self.state = self.policy.grow(self.problem, self.policy.load(state.sums))
        self.tally.rows, self.tally.expected = state.rows, state.expected


def _batch(rows: Rows) -> Batch:
    vectors = [vector for vector in rows.vectors if vector is not None]
    return Batch.of(
        rows.arms, rows.rewards, propensities=rows.propensities, vectors=vectors or None
    )


def read_state(dumped: bytes, experiment: Experiment) -> State:
    """Return the state that `Trainer.dump` wrote; raises `StateCorrupt` when it is not one of `experiment`."""
    try:
        state = _decode(dumped)
    except msgspec.DecodeError as error:
        raise StateCorrupt(
            f"a kept state of experiment {experiment.id!r} cannot be read: {error}"
        ) from error
    _check_arms(state.arms, experiment)
    return state


def _check_arms(learned: tuple[str, ...], experiment: Experiment) -> None:
    arms = tuple(arm.id for arm in experiment.arms)
    # A state knows arms by position. New ones come last, so a state of fewer arms fits; any other order would give
    # rewards to the wrong arm.
    if arms[: len(learned)] != learned:
        raise StateCorrupt(
            f"a state of experiment {experiment.id!r} has the arms {list(learned)}; the experiment "
            f"begins with {list(arms[: len(learned)])}: the catalog and the states are not of one time",
            found=list(learned),
            expected=list(arms),
        )


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(State).decode
