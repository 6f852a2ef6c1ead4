from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

import loopwright
from loopwright.core.errors import Conflict


def test_a_loop_gives_its_tables_for_a_period_and_not_after_it_is_closed(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("x", arms=["a", "b"])
        loop.agent.select("x")
        assert loop.wait_until_learned()  # a select does not wait for the disk
        assert loop.to_arrow("decisions").read_all().num_rows == 1
        assert loop.to_arrow("decisions", since=date(2100, 1, 1)).read_all().num_rows == 0
    with pytest.raises(Conflict, match="the loop is closed"):
        loop.to_arrow("decisions")
