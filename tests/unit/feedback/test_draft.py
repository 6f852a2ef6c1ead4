from __future__ import annotations

import pytest
from tests.unit.feedback.world import SIGNER, World

from loopwright.core.decision import Decision
from loopwright.core.errors import TokenMalformed
from loopwright.feedback.draft import decision_of


def test_a_token_is_verified_and_feedback_without_one_asks_nobody(world: World) -> None:
    asked: list[str] = []
    decision = world.decision()

    def verify(token: str) -> Decision:
        asked.append(token)
        return decision

    assert decision_of(verify, None) is None
    assert asked == []
    # An empty token is one that was sent: it must be refused and not be taken for none.
    assert decision_of(verify, "") is decision
    assert asked == [""]


def test_a_token_that_is_none_is_refused_and_not_passed_over(world: World) -> None:
    for token in ("", "x", "v1.", "é"):
        with pytest.raises(TokenMalformed):
            decision_of(lambda told: SIGNER.verify(told, now_ms=1), token)
    refused = world.refused({"kind": "rating", "scale": "thumbs", "value": 1, "request_id": "x"})
    assert "request_id" in refused
