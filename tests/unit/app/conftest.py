from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.testing import ManualClock


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """All roles over a real directory; nothing runs in the background yet."""
    made = Services(load_settings(data_dir=tmp_path), clock=ManualClock(), rng=random.Random(1))
    yield made
    made.close()
