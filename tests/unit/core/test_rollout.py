from __future__ import annotations

import msgspec
import pytest

from loopwright.core.rollout import STAGES, NewRollout, Rollout


def test_the_stages_that_are_not_given_grow_and_begin_without_harm() -> None:
    assert [stage.share for stage in STAGES] == [0.05, 0.5]
    assert STAGES[0].gate.primary is None
    assert STAGES[0].gate.guardrails


@pytest.mark.parametrize("state", ["running", "held"])
def test_what_runs_or_is_held_is_open(state: str) -> None:
    members = {
        "id": "r",
        "tenant_id": "t",
        "experiment_id": "e",
        "challenger": "b",
        "champion": "a",
    }
    body = msgspec.json.encode({**members, "stages": [], "state": state})
    assert msgspec.json.decode(body, type=Rollout).is_open


@pytest.mark.parametrize("share", [0, 1, 1.5, -0.1])
def test_a_share_is_a_part_of_the_traffic(share: float) -> None:
    body = {
        "id": "r",
        "experiment_id": "e",
        "champion": "a",
        "challenger": "b",
        "stages": [{"name": "x", "share": share, "gate": {}}],
    }
    with pytest.raises(msgspec.ValidationError, match="share"):
        msgspec.json.decode(msgspec.json.encode(body), type=NewRollout)
