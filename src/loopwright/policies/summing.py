"""Policies whose state is exact sums: learning adds, unlearning takes out, and neither order nor batches matter."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from . import exact
from .base import Batch, Floats, Problem
from .exact import Sums


class Summing(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The base of policies that learn by adding up. A family adds `empty`, `stats`, `prepare` and `summaries`."""

    def stats(self, problem: Problem, batch: Batch) -> Sums:
        """Return the sums of `batch` alone; raises `Invalid` when the batch does not fit the problem."""
        raise NotImplementedError

    def learn(self, problem: Problem, state: Sums, batch: Batch) -> Sums:
        """Return `state` after the events of `batch`."""
        # The batch is summed alone first, so learners can sum batches apart and merge them later to the same
        # bits.
        return exact.merge(state, self.stats(problem, batch))

    def unlearn(self, problem: Problem, state: Sums, batch: Batch) -> Sums:
        """Return `state` as if the events of `batch` had never been learned, to the bit."""
        return exact.revert(state, self.stats(problem, batch))

    def weighted(self, problem: Problem, parts: Sequence[tuple[Sums, Floats]]) -> Sums:
        """Return the state of the events of several states, those of each arm counted by a weight in [0, 1]."""
        return exact.weighted(parts)

    def grow(self, problem: Problem, state: Sums) -> Sums:
        """Return the same sums with room for every arm of `problem`; raises `Invalid` if arms went missing."""
        return exact.widen(state, len(problem.arms))

    def counts(self, state: Sums) -> list[int]:
        """Return how many events of each arm were learned."""
        found: list[int] = state.counts.tolist()
        return found

    def dump(self, state: Sums) -> bytes:
        """Return `state` as bytes; equal states give equal bytes."""
        return exact.dump(state)

    def load(self, data: bytes) -> Sums:
        """Return the state that `dump` wrote, bit for bit; raises `StateCorrupt` when it is damaged."""
        return exact.load(data)
