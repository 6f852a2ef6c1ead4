"""What is counted about one experiment while its facts are read.

Counts are part of the checkpointed state: each is a function of the facts, in any order and any batches.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, Literal

import msgspec

from .history import History

Reason = Literal[
    "arm",
    "context",
    "mode",
    "metric",
    "reward",
    "late",
    "duplicate",
    "rolled_back",
    "settled",
    "capped_person",
    "capped_session",
    "capped_address",
]
"""Why a fact was not learned from: its arm is unknown, its vector has the wrong length, the decision was not
made by the policy, it measures something else, its reward is unusable, it came after the attribution window,
the decision has been counted, what the decision had taught was rolled back, it is an expectation of what is
known, or it lies beyond a cap of the experiment."""


class Tally:
    """The counts of one experiment."""

    def __init__(self) -> None:
        self.decisions: Counter[str] = Counter()
        """Live decisions in the log, by arm id."""
        self.feedback = 0
        """Distinct live decisions whose feedback counted."""
        self.rows = 0
        """Rewards the state holds now: revisions replace, a rollback goes back."""
        self.defaults = 0
        """Decisions that earn the default reward."""
        self.revisions = 0
        self.clipped = 0
        self.whole = 0
        """Rewards received that were exactly 0 or 1."""
        self.skipped: Counter[str] = Counter()
        """Facts not learned from, by `Reason`."""
        self.expected = 0
        """Rewards the state holds now that are expectations; the other `rows` are outcomes and defaults."""
        self.expectations = 0
        """Expectations learned from so far, those that gave way included."""
        self.history = History()

    def skip(self, reason: Reason) -> None:
        """Count a fact that was not learned from."""
        self.skipped[reason] += 1

    def take(self, decided_at_ms: Sequence[int], values: Sequence[float]) -> None:
        """Count rewards as they were received."""
        if values:
            self.whole += values.count(0.0) + values.count(1.0)
            self.history.add(decided_at_ms, values)

    def dump(self) -> bytes:
        """Return the counts as bytes; equal counts give equal bytes."""
        return _encode(
            [
                dict(self.decisions),
                self.feedback,
                self.rows,
                self.defaults,
                self.revisions,
                self.clipped,
                self.whole,
                self.expected,
                self.expectations,
                dict(self.skipped),
                self.history.dump(),
            ]
        )

    @classmethod
    def load(cls, dumped: bytes) -> Tally:
        """Return the counts that `dump` wrote."""
        decisions, *numbers, skipped, history = _decode(dumped)
        tally = cls()
        tally.decisions = Counter(decisions)
        # An earlier version counted less.
        numbers += [0] * (_NUMBERS - len(numbers))
        (
            tally.feedback,
            tally.rows,
            tally.defaults,
            tally.revisions,
            tally.clipped,
            tally.whole,
            tally.expected,
            tally.expectations,
        ) = numbers
        tally.skipped = Counter(skipped)
        tally.history = History.load(history)
        return tally


_NUMBERS: Final = 8

# Keys in a fixed order: a replay may meet arms and reasons in another one, and must write equal bytes.
_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_decode = msgspec.msgpack.Decoder(list[Any]).decode
