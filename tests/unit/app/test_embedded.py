from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import loopwright
from loopwright.core.context import Context
from loopwright.core.errors import (
    ContextInvalid,
    DirectoryLocked,
    Invalid,
    NotFound,
    SettingsInvalid,
)
from loopwright.core.experiment import Arm
from loopwright.core.reward import RewardSpec


def test_the_loop_learns_in_this_process(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("greeting", arms=["warm", Arm(id="dry", payload="Hello.")])
        for _ in range(200):
            chosen = loop.agent.select("greeting")
            loop.agent.feedback(chosen.request_id, reward=int(chosen.arm.id == "dry"))
        assert loop.wait_until_learned()
        shares = {arm.arm_id: arm.share for arm in loop.experiments.status("greeting").arms}
        assert shares["dry"] is not None
        assert shares["dry"] > 0.9


def test_what_was_learned_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("greeting", arms=["a", "b"])
        chosen = loop.agent.select("greeting")
        assert not loop.agent.feedback(chosen.request_id, reward=1).duplicate
    with loopwright.open(tmp_path) as loop:
        assert loop.agent.feedback(chosen.request_id, reward=1).duplicate
        assert loop.wait_until_learned()
        assert loop.experiments.status("greeting").feedback == 1


def test_a_directory_is_open_once_at_a_time(tmp_path: Path) -> None:
    with loopwright.open(tmp_path), pytest.raises(DirectoryLocked):
        loopwright.open(tmp_path)
    loopwright.open(tmp_path).close()


def test_what_cannot_open_lets_the_directory_go(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("not json")
    with pytest.raises(SettingsInvalid):
        loopwright.open(tmp_path)
    (tmp_path / "keys.json").unlink()
    loopwright.open(tmp_path).close()


def test_a_contextual_experiment_takes_vectors(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("routing", arms=["a", "b"], dimension=2, reward="bounded")
        chosen = loop.agent.select("routing", {"id": "u1", "vector": [0.5, 1.0]})
        loop.agent.feedback(chosen.request_id, reward=0.25)
        with pytest.raises(ContextInvalid):
            loop.agent.select("routing", {"vector": [0.5]})
        with pytest.raises(Invalid):
            loop.agent.select("routing", {"vektor": [0.5, 1.0]})
        with pytest.raises(Invalid):
            loop.experiments.create("other", arms=["a"], reward="stars")
        with pytest.raises(NotFound):
            loop.experiments.status("nope")


def test_life_and_arms_can_be_changed(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("g", arms=["a"], reward=RewardSpec("click"), start=False)
        assert loop.experiments.get("g").state == "draft"
        loop.experiments.start("g")
        loop.experiments.add_arm("g", "b")
        assert {loop.agent.select("g").arm.id for _ in range(60)} == {"a", "b"}
        assert loop.experiments.pause("g").state == "paused"
        assert loop.experiments.resume("g").state == "running"
        assert loop.experiments.end("g").state == "ended"
        assert [experiment.id for experiment in loop.experiments.list()] == ["g"]


@pytest.mark.parametrize(
    "request_of",
    [
        {"unit_id": 5},
        {"context": Context(id=5)},  # type: ignore[arg-type]
        {"context": Context(metadata={1: 2})},  # type: ignore[dict-item]
        {"context": {"metadata": {"at": object()}}},
        {"mask": "a"},
    ],
)
def test_what_could_not_be_read_back_never_reaches_the_log(
    tmp_path: Path, request_of: dict[str, Any]
) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("g", arms=["a", "b"])
        with pytest.raises(Invalid):
            loop.agent.select("g", **request_of)
        loop.agent.select("g")
        assert loop.wait_until_learned()


@pytest.mark.parametrize(
    "shape",
    [
        {"policy": {"nam": "LinUCB"}},
        {"policy": 3},
        {"reward": "often"},
        {"reward": {"type": "binary", "low": "zero"}},
        {"arms": [1, 2]},
        {"dimension": "three"},
        {"trust": {"per_person": 0}},
    ],
)
def test_an_experiment_of_the_wrong_shape_is_refused(tmp_path: Path, shape: dict[str, Any]) -> None:
    with loopwright.open(tmp_path) as loop:
        with pytest.raises(Invalid, match=r"at `\$\.[a-z.\[\]0-9_]+`"):
            loop.experiments.create("greeting", **{"arms": ["a", "b"], **shape})
        assert len(loop.experiments.list()) == 0


@pytest.mark.parametrize(
    "report", [{"reward": "1"}, {"reward": None}, {"metric": 5}, {"event_id": 7}, {"request_id": 1}]
)
def test_feedback_of_the_wrong_type_is_refused(tmp_path: Path, report: dict[str, Any]) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("g", arms=["a", "b"])
        token = loop.agent.select("g").request_id
        with pytest.raises(Invalid):
            loop.agent.feedback(**{"request_id": token, "reward": 1, **report})
        assert loop.wait_until_learned()


@pytest.mark.parametrize("reward", [True, 1, 1.0, np.float64(1), np.int64(1), np.bool_(True)])
def test_every_kind_of_number_is_a_reward(tmp_path: Path, reward: float) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("g", arms=["a", "b"])
        loop.agent.feedback(loop.agent.select("g").request_id, reward)
        assert loop.wait_until_learned()
        assert sum(arm.n for arm in loop.experiments.status("g").arms) == 1


def test_a_numpy_vector_is_a_vector(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("g", arms=["a", "b"], dimension=3)
        assert loop.agent.select("g", {"vector": np.zeros(3)}).arm.id in {"a", "b"}


def test_feedback_of_every_kind_is_kept_and_reported_on(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.feedback.interactions([{"id": "o1", "task": "support", "prompt_version": "p1"}])
        results = loop.feedback.send(
            [
                {"kind": "rating", "scale": "thumbs", "value": np.int64(1), "output_id": "o1"},
                {"kind": "rating", "scale": "stars", "value": 0, "output_id": "o1"},
            ]
        )
        assert [result.status for result in results] == [201, 422]
        loop.feedback.steps([{"id": "s1", "session_id": "s", "kind": "sql_generation"}])
        report = loop.feedback.quality(days=1)
        satisfaction = next(line for line in report.metrics or () if line.name == "satisfaction")
        assert satisfaction.value == 1.0


def test_each_item_that_cannot_be_stored_is_refused_alone(tmp_path: Path) -> None:
    thumb = {"kind": "rating", "scale": "thumbs", "value": 1, "output_id": "o"}
    items: list[Any] = [
        {**thumb, "message": "\ud800"},
        {**thumb, "value": float("inf")},
        {**thumb, "value": "1"},
        {**thumb, "labels": {"a": object()}},
        {**thumb, "value": np.int64(1)},
    ]
    with loopwright.open(tmp_path) as loop:
        statuses = [result.status for result in loop.feedback.send(items)]
        assert statuses == [422, 422, 422, 422, 201]
        for send in (loop.feedback.interactions, loop.feedback.steps):
            assert send([{"id": object()}])[0].status == 422
            got = send([{"id": "\udfff"}, {"id": "c", "session_id": "s", "kind": "k"}])
            assert got[0].status == 422


def test_half_a_surrogate_pair_in_a_reward_is_our_error_not_pythons(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("greeting", arms=["a"])
        chosen = loop.agent.select("greeting")
        for wrong in ({"event_id": "\ud800"}, {"metric": "\ud800"}):
            with pytest.raises(Invalid, match="surrogate"):
                loop.agent.feedback(chosen.request_id, 1, **wrong)
        assert not loop.agent.feedback(chosen.request_id, 1).duplicate
