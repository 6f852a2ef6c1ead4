from __future__ import annotations

from pathlib import Path

import pytest

import loopwright
from loopwright.core.errors import Invalid, NotFound


def test_an_embedded_loop_rolls_out_and_takes_back(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.versions.add("v2", kind="prompt", content="Be brief.")
        loop.experiments.create(
            "e", arms=["old", {"id": "new", "version": "v2"}], gate={"sticky": True}
        )
        begun = loop.rollouts.begin("r", experiment_id="e", champion="old", challenger="new")
        assert begun.state == "running"
        assert loop.rollouts.report("r").verdict is not None
        assert loop.versions.lineage("v2").links[0].arms == ("e/new",)
        assert loop.rollouts.roll_back("r").state == "rolled_back"
        with pytest.raises(NotFound):
            loop.rollouts.hold("nope")
        with pytest.raises(Invalid):
            loop.rollouts.list(limit=0)
        with pytest.raises(Invalid):
            loop.versions.list(kind="poem")
