from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loopwright.core.context import MAX_DIMENSION
from loopwright.core.experiment import Arm, ContextSpec, Experiment, PolicyChoice, Slug


def arm(**changes: Any) -> Arm:
    return msgspec.convert({"id": "a", **changes}, Arm)


@pytest.mark.parametrize("good", ["a", "A1", "gpt-4.1:v2", "x" * 128, "0_."])
def test_a_slug_may_hold_letters_digits_and_a_few_marks(good: str) -> None:
    assert msgspec.convert(good, Slug) == good


@pytest.mark.parametrize("bad", ["", "-a", ".a", "a b", "ä", "x" * 129, "a\n", "a/b", "a?", "a%"])
def test_other_ids_are_refused(bad: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, Slug)


@pytest.mark.parametrize(
    "changes",
    [
        {"id": ""},
        {"min_share": -0.1},
        {"max_share": 1.1},
        {"state": "gone"},
        {"payload": 1, "colour": "red"},
    ],
)
def test_a_bad_arm_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        arm(**changes)


def test_an_arm_starts_enabled_and_unbounded() -> None:
    plain = arm()
    assert (plain.state, plain.min_share, plain.max_share) == ("enabled", 0.0, 1.0)


@pytest.mark.parametrize("dimension", [0, -1, MAX_DIMENSION + 1, 10_000])
def test_a_context_of_an_unreasonable_dimension_is_refused(dimension: int) -> None:
    with pytest.raises(msgspec.ValidationError, match="dimension"):
        msgspec.convert({"dimension": dimension}, ContextSpec)


def test_an_experiment_starts_as_a_draft_with_the_automatic_policy_and_one_percent_exploration() -> (
    None
):
    made = Experiment(id="greeting", tenant_id="default", arms=(arm(),))
    assert (made.state, made.policy, made.explore_floor) == ("draft", PolicyChoice("auto"), 0.01)


def test_an_experiment_survives_json() -> None:
    made = Experiment(
        id="greeting",
        tenant_id="default",
        arms=(arm(payload={"prompt": "hi"}), arm(id="b", state="retired")),
        context=ContextSpec(dimension=4),
    )
    assert msgspec.json.decode(msgspec.json.encode(made), type=Experiment) == made
