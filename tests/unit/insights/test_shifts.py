from __future__ import annotations

import numpy as np

from loopwright.insights.shifts import drift_of_numbers, drift_of_shares, rating_changes


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_what_moved_most_is_named_first() -> None:
    found = drift_of_shares("device", {"web": 900, "tv": 100}, {"web": 100, "tv": 900}, rng=rng())

    assert (found.verdict, found.before, found.now) == ("large", 1000, 1000)
    assert {bin.name for bin in found.moved} == {"web", "tv"}


def test_the_largest_numbers_have_a_finite_drift() -> None:
    huge = [1.7e308, -1.7e308, 5e-324] * 100
    found = drift_of_numbers("cost", huge, [1.0] * 300, rng=rng())

    assert np.isfinite(found.psi)


def test_a_long_stream_is_averaged_and_its_change_still_dated() -> None:
    values = [1.0] * 10_000 + [0.0] * 10_000
    (at, *_) = rating_changes(range(20_000), values)

    assert 10_000 <= at < 12_000
    assert rating_changes((), ()) == ()
