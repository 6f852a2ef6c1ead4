from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from loopwright.app.acks import Acks
from loopwright.app.hot import FeedbackBatch
from loopwright.app.metrics import Metrics
from loopwright.backends.memory import MemoryEventLog
from loopwright.catalog import Meters
from loopwright.core.decision import Decision
from loopwright.core.errors import LoopError
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.ids import Ids
from loopwright.core.principal import Principal
from loopwright.core.token import Signer
from loopwright.eventlog import Writer
from loopwright.feedback import Intake
from loopwright.testing import ManualClock

SIGNER = Signer({1: bytes(range(32))}, active=1)
CLOCK = ManualClock()
NEW_ID = Ids(CLOCK, random.Random(3))
EXPERIMENT = Experiment(id="greeting", tenant_id="acme", arms=(Arm(id="a"),))


def token() -> str:
    decided = Decision(NEW_ID(), "acme", "greeting", "a", 0.5, 1, CLOCK.now_ms())
    return SIGNER.sign(decided)


@pytest.fixture
def send() -> Callable[[bytes], Any]:
    """Returns what `POST /api/v1/agent/feedback/batch` answers."""

    def sent(body: bytes) -> Any:
        async def run(writer: Writer) -> Any:
            intake = Intake(SIGNER, find=lambda *_: EXPERIMENT, clock=CLOCK, ids=NEW_ID)
            acks = Acks(writer, asyncio.get_running_loop())
            endpoint = FeedbackBatch(intake, acks.append, Metrics(), meters=Meters(CLOCK))
            principal = Principal("acme", "key", frozenset({"feedback"}))
            return json.loads((await endpoint.answer(principal, body)).body)

        with closing(Writer(MemoryEventLog(), CLOCK)) as writer:
            return asyncio.run(run(writer))

    return sent


@pytest.mark.parametrize(
    ("faulty", "status"),
    [
        (b'{"request_id": 7, "reward": 1}', 422),
        (b'{"request_id": "t", "reward": "1"}', 422),
        (b'{"request_id": "t", "reward": null}', 422),
        (b'{"request_id": "t"}', 422),
        (b'{"request_id": "t", "reward": 1, "event_id": ""}', 422),
        (b'{"request_id": "t", "reward": 1, "rewrad": 1}', 422),
        (b"[]", 422),
        (b"null", 422),
        (b'{"request_id": "t", "reward": 1e999}', 422),
        (b'{"request_id": "t", "reward": NaN}', 400),
        (b'{"request_id": "t", "reward": 1, "event_id": "\\ud800"}', 400),
    ],
)
def test_a_faulty_reward_is_refused_alone(
    faulty: bytes, status: int, send: Callable[[bytes], Any]
) -> None:
    sound = json.dumps({"request_id": token(), "reward": 1}).encode()
    got = send(b'{"items": [%s, %s]}' % (sound, faulty))
    assert [result["status"] for result in got["results"]] == [201, status]
    assert (got["accepted"], got["rejected"]) == (1, 1)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"items": []}', b'{"items": "x"}', b"\xff"])
def test_a_body_that_is_no_batch_is_refused_as_a_whole(
    body: bytes, send: Callable[[bytes], Any]
) -> None:
    with pytest.raises(LoopError) as caught:
        send(body)
    assert caught.value.status in (400, 422)
