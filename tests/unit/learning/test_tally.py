from __future__ import annotations

import msgspec

from loopwright.learning.tally import Tally

T0 = 1_750_000_000_000


def test_a_tally_survives_storage():
    tally = Tally()
    tally.decisions.update(["b", "a", "b"])
    tally.feedback, tally.rows, tally.defaults, tally.revisions, tally.clipped = 5, 4, 3, 2, 1
    tally.take([T0, T0 + 5_000, T0 + 9_000_000], [1.0, 2.0**20, -(2.0**20)])
    tally.skip("late")
    again = Tally.load(tally.dump())
    assert again.dump() == tally.dump()
    assert (again.rows, again.whole, again.skipped["late"], again.decisions["b"]) == (4, 1, 1, 2)
    assert again.history.halves() == tally.history.halves()


def test_counts_of_an_earlier_version_are_read() -> None:
    """Version 1 did not count expectations: it wrote six numbers where there are eight."""
    tally = Tally()
    tally.feedback, tally.whole = 3, 2
    decisions, *numbers, skipped, history = msgspec.msgpack.decode(tally.dump())
    old = msgspec.msgpack.encode([decisions, *numbers[:6], skipped, history])
    assert Tally.load(old).dump() == tally.dump()


def test_equal_counts_are_equal_bytes_in_whatever_order_they_came() -> None:
    one, other = Tally(), Tally()
    one.decisions.update(["a", "b"])
    one.skip("late")
    one.skip("arm")
    other.skip("arm")
    other.decisions.update(["b"])
    other.decisions.update(["a"])
    other.skip("late")
    assert one.dump() == other.dump()


def test_only_rewards_of_exactly_zero_or_one_are_whole() -> None:
    tally = Tally()
    tally.take([T0] * 5, [0.0, -0.0, 1.0, 0.999999, 2.0])
    tally.take([], [])
    assert tally.whole == 3
