from __future__ import annotations

import math
import random
from typing import Any

import pytest

from loopwright.limiting.ratings import Rating, is_suspicious, normal, reward


@pytest.mark.parametrize("bad", [0, 6, "5", math.nan, math.inf, None, True, -1])
def test_what_is_no_rating_from_1_to_5_is_not_seen(bad: Any) -> None:
    assert normal(bad) is None
    assert reward([Rating("a", bad)], 0.5, 10) is None


def test_ratings_are_normalised_to_the_whole_of_zero_to_one() -> None:
    assert [normal(value) for value in (1, 2, 3, 3.5, 5)] == [0, 0.25, 0.5, 0.625, 1]


def test_an_identity_counts_once_however_often_it_rates() -> None:
    said = [Rating("loud", 1)] * 50 + [Rating("a", 5), Rating("b", 5), Rating("c", 5)]
    assert reward(said, None, 10) == 0.75


def test_trust_weighs_and_has_a_floor_and_a_ceiling() -> None:
    assert reward([Rating("a", 5, 1.0), Rating("b", 1, 0.0)], None, 10) == pytest.approx(1 / 1.2)
    assert reward([Rating("a", 5, 99.0), Rating("b", 1, 1.0)], None, 10) == 0.5
    assert reward([Rating("a", 5, math.nan), Rating("b", 1, 1.0)], None, 10) == 0


def test_few_voices_move_little() -> None:
    assert reward([Rating("a", 1)], 0.8, 10) == pytest.approx(8 / 11)


def test_the_order_of_ratings_makes_no_difference() -> None:
    rng = random.Random(3)
    said = [Rating(f"u{rng.randrange(40)}", rng.randint(1, 5), rng.random()) for _ in range(200)]
    expected = reward(said, 0.7, 10)
    for _ in range(20):
        rng.shuffle(said)
        assert reward(said, 0.7, 10) == expected


def test_a_flood_and_a_loud_identity_are_suspicious_and_a_few_ratings_never_are() -> None:
    many = [Rating(f"u{number}", 1) for number in range(101)]
    assert is_suspicious(many, [20] * 5)
    assert not is_suspicious(many, [20] * 4)
    assert not is_suspicious(many[:100], [20] * 5)
    assert is_suspicious([*many[:60], *[Rating("loud", 5)] * 30], [])
    assert not is_suspicious([Rating("loud", 5)] * 19, [0] * 5)
