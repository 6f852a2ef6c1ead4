"""The law of Thompson sampling by quadrature: P(arm k draws the largest value) = ∫ f_k ∏_{j≠k} F_j."""

from __future__ import annotations

from typing import Final

import numpy as np

from .base import Floats

_NODES: Final = 512
_TINY: Final = 1e-300


def nodes(centres: Floats, spreads: Floats, *, reach: tuple[float, float]) -> Floats:
    """Return one sorted grid that resolves the density of every arm that may matter.

    Each of the leading arms gives nodes from `centre + reach[0]·spread` to `centre + reach[1]·spread`, dense
    around the centre; so a narrow arm and a wide one are both resolved.
    """
    # Stable, so that ties between arms give the same grid on every machine.
    leading = np.argsort(-(centres + 2 * spreads), kind="stable")[:16]
    each = max(_NODES // len(leading), 32)
    # Even steps of asinh lie dense at the centre and reach far into heavy tails.
    below, above = np.arcsinh(reach[0]), np.arcsinh(reach[1])
    steps = np.sinh(np.linspace(below, above, each))
    grid = centres[leading, None] + spreads[leading, None] * steps
    return np.sort(grid, axis=None)


def best_by_density(log_density: Floats, grid: Floats) -> Floats:
    """Return f64[K], the probability of each arm to draw the largest value.

    `log_density` f64[K, G] holds log densities, up to a constant per arm, at the sorted `grid` f64[G].
    """
    weights = np.empty_like(grid)
    # The trapezoidal rule on uneven nodes.
    weights[1:-1] = (grid[2:] - grid[:-2]) / 2
    weights[0], weights[-1] = (grid[1] - grid[0]) / 2, (grid[-1] - grid[-2]) / 2
    # With its peak at 1, no density overflows; the constant is divided out below.
    log_density -= log_density.max(axis=1, keepdims=True)
    mass = np.exp(log_density, out=log_density)
    mass *= weights
    below = np.cumsum(mass, axis=1)
    mass /= below[:, -1:]
    below /= below[:, -1:]
    # Half of an arm's mass at a node counts as below it: counted whole, two equal arms would both win
    # every tie.
    below -= mass / 2
    # The product over j != k is the product of all divided by F_k, which must not be 0.
    np.maximum(below, _TINY, out=below)
    mass /= below
    p: Floats = mass @ np.multiply.reduce(below, axis=0)
    # The quadrature's own error: the law must add up to 1 whatever it is.
    p /= p.sum()
    return p
