from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from loopwright.policies.gaussians import LEADING, best_of


def test_rows_add_up_to_one_and_do_not_depend_on_each_other() -> None:
    rng = np.random.default_rng(4)
    means, deviations = rng.normal(size=(50, 7)), rng.uniform(0.01, 3.0, size=(50, 7))
    together = best_of(means, deviations)
    assert together.sum(axis=1) == pytest.approx(np.ones(50))
    for row in range(50):
        alone = best_of(means[row : row + 1], deviations[row : row + 1])[0]
        assert np.array_equal(together[row], alone)


@pytest.mark.parametrize("narrow", [1.0, 0.1, 0.01])
def test_two_arms_are_as_their_difference_says(narrow: float) -> None:
    found = best_of(np.array([[0.3, 0.0]]), np.array([[narrow, 1.0]]))[0]
    assert found[0] == pytest.approx(stats.norm.cdf(0.3 / np.hypot(narrow, 1.0)), abs=0.01)


def test_equal_arms_share_evenly_however_many() -> None:
    for arms in (1, 2, LEADING, LEADING + 8):
        found = best_of(np.zeros((1, arms)), np.ones((1, arms)))[0]
        assert found == pytest.approx(np.full(arms, 1 / arms), abs=0.01)


def test_a_hopeless_arm_gets_nothing_and_nothing_is_nan() -> None:
    found = best_of(np.array([[0.0, -1e9, 1e-9]]), np.array([[1e-6, 1e-6, 1e-6]]))[0]
    assert np.isfinite(found).all()
    assert found[1] < 1e-5
