from __future__ import annotations

import math
import struct

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.context import BOUND, MAX_DIMENSION, Context, pack, unpack
from loopwright.core.errors import ContextInvalid

components = st.floats(-BOUND, BOUND)


@given(st.lists(components, min_size=1, max_size=64))
def test_a_packed_vector_comes_back_bit_for_bit(vector: list[float]) -> None:
    packed = pack(vector, dimension=len(vector))
    assert packed == b"".join(struct.pack("<d", v) for v in vector)
    assert struct.pack(f"<{len(vector)}d", *unpack(packed)) == packed


@given(st.lists(components, min_size=0, max_size=20), st.integers(1, 20))
def test_a_vector_of_another_length_is_refused(vector: list[float], dimension: int) -> None:
    if len(vector) == dimension:
        return
    with pytest.raises(ContextInvalid, match=f"expects {dimension}") as caught:
        pack(vector, dimension=dimension)
    assert caught.value.detail == {"found": len(vector), "expected": dimension}


@given(
    st.lists(components, min_size=1, max_size=20),
    st.sampled_from(
        [math.nan, math.inf, -math.inf, 1e308, -1e308, math.nextafter(BOUND, math.inf), 10**400]
    ),
    st.data(),
)
def test_a_bad_component_is_named_wherever_it_stands(
    vector: list[float], bad: float, data: st.DataObject
) -> None:
    at = data.draw(st.integers(0, len(vector) - 1))
    vector[at] = bad
    with pytest.raises(ContextInvalid, match=rf"context\.vector\[{at}\]") as caught:
        pack(vector, dimension=len(vector))
    assert caught.value.detail == {"index": at}


def test_opposite_infinities_are_refused() -> None:
    with pytest.raises(ContextInvalid, match=r"\[0\] is inf"):
        pack([math.inf, -math.inf], dimension=2)


def test_components_may_reach_the_bound() -> None:
    assert unpack(pack([BOUND, -BOUND], dimension=2)) == (BOUND, -BOUND)


def test_integers_are_welcome_as_components() -> None:
    assert unpack(pack([1, 0, -3], dimension=3)) == (1.0, 0.0, -3.0)


def test_the_largest_dimension_packs() -> None:
    assert len(pack([0.5] * MAX_DIMENSION, dimension=MAX_DIMENSION)) == 8 * MAX_DIMENSION


def test_unknown_fields_of_a_context_are_refused() -> None:
    with pytest.raises(msgspec.ValidationError, match="vectr"):
        msgspec.json.decode(b'{"vectr": [1]}', type=Context)
