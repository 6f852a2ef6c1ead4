from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from tests.unit.policies.oracles import best_by_scipy

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


def test_the_law_of_independent_gaussians_matches_quadrature() -> None:
    rng = np.random.default_rng(0)
    for _ in range(8):
        k = int(rng.integers(2, 5))
        means, deviations = rng.normal(0, 0.4, k), np.exp(rng.normal(-1.5, 1, k))
        posteriors = [stats.norm(m, s) for m, s in zip(means, deviations, strict=True)]
        top = float((means + 9 * deviations).max())
        expected = best_by_scipy(posteriors, float((means - 9 * deviations).min()), top)
        assert best_of(means[None], deviations[None])[0].tolist() == pytest.approx(
            expected, abs=0.012
        )


def test_the_law_of_many_gaussians_looks_at_the_leading_ones() -> None:
    means = np.concatenate((np.full(100, -5.0), [0.0, 0.0]))
    p = best_of(means[None], np.full((1, 102), 0.3))[0]
    assert p[:100].sum() < 1e-4
    assert p[100:].tolist() == pytest.approx([0.5, 0.5], abs=1e-4)
