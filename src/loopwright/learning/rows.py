"""What facts have taught, as rows for a policy: to put into a state and to take out of it."""

from __future__ import annotations

from .memory import Remembered


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
    """Rows to put into a state and rows to take out of it, and the values received for the tally.

    Of decisions in a window: those that `begin` to wait, those that `end` waiting, those that are `answered` for the
    first time and when, and those that are `left_out`, whose feedback does not count.
    """

    __slots__ = ("answered", "begin", "end", "left_out", "minus", "plus", "times", "values")

    def __init__(self) -> None:
        self.plus = Rows()
        self.minus = Rows()
        self.times: list[int] = []
        self.values: list[float] = []
        self.begin: list[Remembered] = []
        self.end: list[Remembered] = []
        self.answered: list[tuple[Remembered, int]] = []
        self.left_out: list[Remembered] = []
