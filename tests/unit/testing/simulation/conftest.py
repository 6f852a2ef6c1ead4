from __future__ import annotations

from collections.abc import Iterator

import pytest

from loopwright.testing.simulation import Simulation


@pytest.fixture(scope="module")
def simulation() -> Iterator[Simulation]:
    """One for the tests of a file: entering it starts the loop once, for every schedule to begin with a copy."""
    with Simulation() as simulation:
        yield simulation
