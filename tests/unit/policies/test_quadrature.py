from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from loopwright.policies.quadrature import best_by_density, nodes


def test_the_grid_is_sorted_and_covers_every_leading_arm() -> None:
    centres, spreads = np.array([0.0, 5.0]), np.array([1.0, 0.001])
    grid = nodes(centres, spreads, reach=(-6.0, 6.0))
    assert np.all(np.diff(grid) >= 0)
    assert grid[0] == pytest.approx(-6.0)
    narrow = grid[np.abs(grid - 5.0) <= 0.006]
    assert len(narrow) > 200


def test_arms_far_behind_do_not_make_the_grid_longer() -> None:
    many = nodes(np.arange(1000.0), np.ones(1000), reach=(-1.0, 1.0))
    assert len(many) == 16 * 32
    assert many[0] >= 983.0


@pytest.mark.parametrize("gap", [0.0, 0.5, 2.0])
def test_two_gaussians_are_as_their_difference_says(gap: float) -> None:
    centres, spreads = np.array([0.0, gap]), np.array([1.0, 0.5])
    grid = nodes(centres, spreads, reach=(-9.0, 9.0))
    log_density = np.asarray(stats.norm.logpdf(grid, centres[:, None], spreads[:, None]))
    wins = stats.norm.cdf(gap / np.hypot(1.0, 0.5))
    assert best_by_density(log_density, grid) == pytest.approx([1 - wins, wins], abs=2e-3)


def test_a_constant_added_to_a_log_density_changes_nothing() -> None:
    grid = np.linspace(-5.0, 5.0, 400)
    density = np.asarray(stats.norm.logpdf(grid, np.array([[0.0], [1.0]]), 1.0))
    shifted = density + np.array([[700.0], [-700.0]])
    assert best_by_density(shifted, grid) == pytest.approx(best_by_density(density.copy(), grid))
