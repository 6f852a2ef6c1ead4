"""Experiments of an embedded loop: definitions, pages and changes, given whole or one by one."""

from __future__ import annotations

from pathlib import Path

import pytest

import loopwright
from loopwright.core.amendment import Amendment, ArmChange
from loopwright.core.errors import Conflict, Invalid, NotFound
from loopwright.core.experiment import Arm


def test_a_definition_becomes_an_experiment(tmp_path: Path) -> None:
    definition = {"id": "g", "arms": [{"id": "a", "payload": 1}], "trust": {"per_person": 3}}
    with loopwright.open(tmp_path) as loop:
        made = loop.experiments.define(definition, start=False)
        assert (made.state, made.arms[0].payload) == ("draft", 1)
        assert loop.experiments.define(definition, exists_ok=True).state == "running"
        with pytest.raises(Conflict):
            loop.experiments.define(definition)
        with pytest.raises(Invalid, match="must be a mapping"):
            loop.experiments.define([])  # type: ignore[arg-type]
        with pytest.raises(Invalid, match="state"):
            loop.experiments.define({**definition, "state": "ended"})


def test_experiments_come_in_pages(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        for id in ("c", "a", "b"):
            loop.experiments.create(id, arms=["x"])
        first = loop.experiments.list(limit=2)
        assert ([each.id for each in first], first.next_cursor) == (["a", "b"], "b")
        rest = loop.experiments.list(limit=2, cursor=first.next_cursor)
        assert ([each.id for each in rest], rest.next_cursor) == (["c"], None)


def test_arms_are_added_and_changed_whole_or_by_their_members(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        calls = loop.experiments
        calls.create("g", arms=["a"])
        calls.add_arm("g", "b", payload=2)
        calls.add_arm("g", Arm(id="c", payload=3))
        calls.add_arm("g", {"id": "d", "payload": 4})
        calls.change_arm("g", "a", ArmChange(payload=1))
        calls.change_arm("g", "d", payload=None, metadata={"why": "old"})
        assert [arm.payload for arm in calls.get("g").arms] == [1, 2, 3, None]
        with pytest.raises(Invalid, match="has its payload"):
            calls.add_arm("g", Arm(id="e"), payload=5)
        with pytest.raises(Invalid, match="not both"):
            calls.change_arm("g", "a", {"payload": 1}, state="disabled")
        with pytest.raises(NotFound):
            calls.change_arm("g", "nope", state="disabled")
        assert calls.update("g", Amendment(name="G")).name == "G"
        assert calls.update("g", {"arms": {"a": {"state": "disabled"}}}).arms[0].state == "disabled"


def test_advice_is_that_of_the_status(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("g", arms=["a", "b"])
        assert loop.experiments.advice("g") == []
        with pytest.raises(NotFound):
            loop.experiments.advice("nope")
