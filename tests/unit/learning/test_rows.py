from __future__ import annotations

from loopwright.learning.memory import Remembered
from loopwright.learning.rows import Joined, Rows


def test_rows_keep_one_decision_in_each_position_of_every_column() -> None:
    rows = Rows()
    rows.add(Remembered(1, 0.25, b"v", 1000), 0.5)
    rows.add(Remembered(0, 0.75, None, 2000), 1.0)
    assert len(rows) == 2
    assert (rows.arms, rows.rewards) == ([1, 0], [0.5, 1.0])
    assert (rows.propensities, rows.vectors) == ([0.25, 0.75], [b"v", None])


def test_what_is_put_in_and_what_is_taken_out_are_apart() -> None:
    joined = Joined()
    joined.plus.add(Remembered(0, 1.0, None, 0), 1.0)
    assert (len(joined.plus), len(joined.minus)) == (1, 0)
