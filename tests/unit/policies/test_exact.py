"""Exact sums: any order, any split, any merge, equal bits."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.policies import StateCorrupt, dump, load, merge, revert
from loopwright.policies.exact import LIMIT, Floats, Ints, Sums, empty, readable, sums_of, widen

VALUES = st.floats(-LIMIT, LIMIT, allow_nan=False) | st.sampled_from(
    [0.0, 1.0, -1.0, LIMIT, -LIMIT, 2.0**-24, 3 * 2.0**-25, 1 / 3]
)


@st.composite
def events(draw: st.DrawFn, columns: int = 3, arms: int = 3) -> tuple[Ints, Floats]:
    rows = draw(
        st.lists(st.tuples(st.integers(0, arms - 1), *[VALUES] * columns), min_size=1, max_size=40)
    )
    return np.array([row[0] for row in rows]), np.array([row[1:] for row in rows])


def by_hand(arms: Ints, columns: Floats, arm: int, i: int, j: int) -> Fraction:
    """Return one sum of products of rounded values in rational arithmetic."""
    return sum(
        (
            Fraction(round(row[i] * 2**24), 2**24) * Fraction(round(row[j] * 2**24), 2**24)
            for k, row in zip(arms.tolist(), columns.tolist(), strict=True)
            if k == arm
        ),
        Fraction(0),
    )


@settings(max_examples=60, deadline=None)
@given(events())
def test_sums_equal_rational_arithmetic(data: tuple[Ints, Floats]) -> None:
    arms, columns = data
    sums = sums_of(arms, columns, count=3)
    for i in range(3):
        for j in range(3):
            expected = [by_hand(arms, columns, arm, i, j) * 2**48 for arm in range(3)]
            assert sums.exactly(i, j) == expected
    assert sums.counts.tolist() == np.bincount(arms, minlength=3).tolist()


@settings(max_examples=60, deadline=None)
@given(events(), st.randoms(use_true_random=False), st.integers(0, 40))
def test_order_and_split_do_not_matter(data, random, cut) -> None:
    arms, columns = data
    whole = sums_of(arms, columns, count=3)
    order = list(range(len(arms)))
    random.shuffle(order)
    first, second = order[:cut], order[cut:]
    parts = [sums_of(arms[part], columns[part], count=3) for part in (first, second) if part]
    state = empty(3, 3)
    for part in parts:
        state = merge(state, part)
    assert dump(state) == dump(whole)
    assert revert(state, parts[0]) == merge(empty(3, 3), *parts[1:] or [empty(3, 3)])


@settings(max_examples=60, deadline=None)
@given(events())
def test_floats_are_correctly_rounded(data: tuple[Ints, Floats]) -> None:
    arms, columns = data
    sums = sums_of(arms, columns, count=3)
    for arm in range(3):
        assert sums.floats()[arm, 0, 1] == float(by_hand(arms, columns, arm, 0, 1))


@settings(max_examples=40, deadline=None)
@given(events())
def test_a_stored_state_comes_back_bit_for_bit(data: tuple[Ints, Floats]) -> None:
    sums = sums_of(data[0], data[1], count=3)
    again = load(dump(sums))
    assert again == sums
    assert hash(again) == hash(sums)
    assert dump(again) == dump(sums)


def test_chunks_of_a_large_batch_add_up_at_the_largest_magnitude() -> None:
    n = 1000
    arms = np.zeros(n, np.int64)
    columns = np.full((n, 2), LIMIT)
    columns[:, 1] *= -1
    sums = sums_of(arms, columns, count=1)
    assert sums.exactly(0, 0) == [n * 2**88]
    assert sums.exactly(0, 1) == [-n * 2**88]
    assert sums.floats()[0, 0, 1] == -n * 2.0**40


def test_nineteen_doublings_of_the_largest_magnitude_stay_exact() -> None:
    state = sums_of(np.zeros(256, np.int64), np.full((256, 1), -LIMIT), count=1)
    for _ in range(19):
        state = merge(state, state)
    assert state.exactly(0, 0) == [2**27 * 2**88]


def test_taking_everything_out_leaves_the_empty_state() -> None:
    rng = np.random.default_rng(1)
    arms, columns = rng.integers(0, 5, 700), rng.normal(size=(700, 6)) * 1000
    whole = sums_of(arms, columns, count=5)
    parts = [sums_of(arms[i::3], columns[i::3], count=5) for i in range(3)]
    for part in parts:
        whole = revert(whole, part)
    assert whole == empty(5, 6)


def test_taking_out_what_was_never_learned_is_refused() -> None:
    one = sums_of(np.array([0]), np.ones((1, 2)), count=2)
    other = sums_of(np.array([1]), np.ones((1, 2)), count=2)
    with pytest.raises(Invalid, match="never learned"):
        revert(one, other)


def test_states_of_different_shape_do_not_add_up() -> None:
    with pytest.raises(Invalid, match="do not add up"):
        merge(empty(2, 3), empty(2, 4))


def test_new_arms_join_at_the_end_and_none_can_leave() -> None:
    one = sums_of(np.array([0, 1]), np.ones((2, 2)), count=2)
    more = widen(one, 4)
    assert more.counts.tolist() == [1, 1, 0, 0]
    assert more.exactly(0, 1) == [2**48, 2**48, 0, 0]
    assert widen(more, 4) is more
    with pytest.raises(Invalid, match="position for life"):
        widen(more, 2)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf, 2.0**20 + 1])
def test_a_value_that_is_not_finite_or_too_large_is_refused(bad: float) -> None:
    with pytest.raises(Invalid, match="not finite or beyond"):
        sums_of(np.array([0, 0]), np.array([[1.0], [bad]]), count=1)


@pytest.mark.parametrize("position", [-1, 2])
def test_an_arm_that_does_not_exist_is_refused(position: int) -> None:
    with pytest.raises(Invalid, match="arm position"):
        sums_of(np.array([position]), np.ones((1, 1)), count=2)


def test_no_events_give_the_empty_state() -> None:
    assert sums_of(np.zeros(0, np.int64), np.zeros((0, 3)), count=2) == empty(2, 3)


@pytest.mark.parametrize(
    "harm",
    [
        lambda data: data[:-1],
        lambda data: data + b"\0",
        lambda data: data[:20] + bytes([data[20] ^ 1]) + data[21:],
        lambda data: b"",
        lambda data: b"nonsense that is long enough to be looked at",
    ],
)
def test_a_damaged_state_is_refused(harm) -> None:
    data = dump(sums_of(np.array([0, 1]), np.ones((2, 2)), count=2))
    with pytest.raises(StateCorrupt, match="rebuild it from the log"):
        load(harm(data))


def test_a_state_of_another_layout_is_refused() -> None:
    import zlib

    body = b"LWS9" + dump(empty(1, 1))[4:-4]
    with pytest.raises(StateCorrupt, match="unknown layout"):
        load(body + zlib.crc32(body).to_bytes(4, "little"))


def test_a_state_cannot_be_written_to() -> None:
    sums: Sums = empty(2, 2)
    with pytest.raises(ValueError, match="read-only"):
        sums.counts[0] = 1


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (1.9999998807907104, 5.0, 2.0),
        (round(0.1 * 2**24) / 2**24, 1.0, 0.1),
        (2 / 3, 1.0, 2 / 3),
        (1.9999, 5.0, 1.9999),
        (0.0, 1.0, 0.0),
        (-3.0000001, 10.0, -3.0),
    ],
)
def test_a_mean_is_shown_as_it_was_before_the_grid_rounded_it(
    value: float, unit: float, shown: float
) -> None:
    assert readable(value, unit=unit) == shown
