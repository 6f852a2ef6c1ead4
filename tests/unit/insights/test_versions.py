from __future__ import annotations

import numpy as np
import pytest

from loopwright.core.clock import DAY_MS
from loopwright.insights.versions import VersionValues, version_changes

START = 19_970 * DAY_MS


def two_versions(good: float, bad: float, *, people: int = 600) -> VersionValues:
    """Version b joins with a fifth of the people after a third of the time."""
    rng = np.random.default_rng(3)
    versions, units, times, values = [], [], [], []
    for k in range(3 * people):
        is_b = k > people and k % 5 == 0
        versions.append("b" if is_b else "a")
        units.append(f"u{k}")
        times.append(START + k * 1000)
        values.append(float(rng.random() < (bad if is_b else good)))
    return VersionValues(versions, units, times, values)


def test_a_bad_version_is_found_before_the_average_moves_much() -> None:
    (found,) = version_changes("prompt_version", two_versions(0.9, 0.6))

    assert (found.version, found.baseline, found.verdict) == ("b", "a", "regressed")
    assert found.difference is not None
    assert found.difference.estimate == pytest.approx(-0.3, abs=0.08)
    assert found.difference.high < 0
    assert found.detected_at_ms is not None
    assert found.average_before is not None
    assert found.average_before - found.average_since < 0.1


def test_a_better_version_is_called_improved_and_an_equal_one_neither() -> None:
    (better,) = version_changes("prompt_version", two_versions(0.6, 0.9))
    (equal,) = version_changes("prompt_version", two_versions(0.8, 0.8))

    assert better.verdict == "improved"
    assert equal.verdict == "no difference shown"


def test_few_people_and_one_version_settle_nothing() -> None:
    (few,) = version_changes("prompt_version", two_versions(0.9, 0.1, people=30))

    assert (few.verdict, few.difference) == ("too few people", None)
    assert version_changes("prompt_version", VersionValues(["a"], ["u"], [1], [1.0])) == ()
