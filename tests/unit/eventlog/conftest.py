from __future__ import annotations

from collections.abc import Callable

import pytest

from loopwright.core.decision import Decision
from loopwright.core.events import Decided, Received
from loopwright.core.feedback import Outcome

MakeReceived = Callable[..., Received]
MakeDecided = Callable[..., Decided]


def decision(number: int) -> Decision:
    return Decision(
        id=f"{number:032x}",
        tenant_id="default",
        experiment_id="greeting",
        arm_id="warm",
        propensity=0.5,
        snapshot=0,
        decided_at_ms=1_750_000_000_000 + number,
        vector=b"\0" * 16,
        metadata={"page": "start"},
    )


@pytest.fixture
def received() -> MakeReceived:
    def make(number: int, value: float = 1.0) -> Received:
        return Received(
            event_id=f"{number:032x}",
            at_ms=1_750_000_100_000 + number,
            decision=decision(number),
            feedback=Outcome("reward", value),
        )

    return make


@pytest.fixture
def decided() -> MakeDecided:
    return lambda number: Decided(decision(number))
