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
    """Rows to put into a state and rows to take out of it, and the values received for the tally."""

    __slots__ = ("minus", "plus", "times", "values")

    def __init__(self) -> None:
        self.plus = Rows()
        self.minus = Rows()
        self.times: list[int] = []
        self.values: list[float] = []
