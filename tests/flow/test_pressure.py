"""What happens when more comes than the disk can take, when the disk is full, and at the end."""

from __future__ import annotations

import asyncio
import random
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import msgspec
import pytest

from loopwright.app.acks import Acks
from loopwright.app.asgi import Reply
from loopwright.app.hot import Select
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.backends.memory import MemoryEventLog
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.errors import ContextInvalid, DiskFull, LoopError, NotFound, Overloaded
from loopwright.core.experiment import Arm, ContextSpec, Experiment
from loopwright.core.ports import Offset
from loopwright.eventlog import Writer
from loopwright.feedback import FeedbackRequest
from loopwright.testing import ManualClock

if TYPE_CHECKING:
    from tests.flow.conftest import Server


class SlowLog(MemoryEventLog):
    """A log whose disk waits until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.let_go = threading.Event()
        self.full = False

    def append(self, body: bytes, **told: Any) -> Offset:
        self.let_go.wait()
        if self.full:
            raise DiskFull("the disk is full; free some space")
        return super().append(body, **told)


def reports(services: Services, n: int) -> list[FeedbackRequest]:
    chosen = [services.door.selector.select(DEFAULT_TENANT, "greeting") for _ in range(n)]
    return [FeedbackRequest(one.request_id, 1.0) for one in chosen]


@pytest.fixture
def services(tmp_path: Path) -> Any:
    made = Services(load_settings(data_dir=tmp_path), clock=ManualClock(), rng=random.Random(1))
    arms = (Arm(id="a"), Arm(id="b"))
    made.truth.catalog.experiments.create(
        Experiment(id="greeting", tenant_id=DEFAULT_TENANT, arms=arms)
    )
    made.truth.catalog.experiments.move(DEFAULT_TENANT, "greeting", "start")
    made.start()
    yield made
    made.close()


def queued(
    services: Services, log: SlowLog, check: Callable[[Writer, Any], Any], *, capacity: int = 4
) -> Any:
    """Run `check` against a writer over `log`, on an event loop."""

    async def run() -> Any:
        writer = Writer(log, ManualClock(), capacity=capacity)
        acks = Acks(writer, asyncio.get_running_loop())

        async def send(report: FeedbackRequest) -> Any:
            fact, key = services.door.intake.accept(DEFAULT_TENANT, report)
            return await acks.append([fact], [key])

        try:
            return await check(writer, send)
        finally:
            log.let_go.set()
            await asyncio.to_thread(writer.close)

    return asyncio.run(run())


def test_a_full_queue_says_when_to_come_back_and_keeps_what_it_took(services: Services) -> None:
    log = SlowLog()

    async def check(writer: Writer, send: Any) -> None:
        waiting = [asyncio.create_task(send(report)) for report in reports(services, 4)]
        await asyncio.sleep(0)
        with pytest.raises(Overloaded) as caught:
            await send(reports(services, 1)[0])
        assert caught.value.status == 503
        assert caught.value.detail["retry_after_s"] > 0
        log.let_go.set()
        committed = await asyncio.gather(*waiting)
        assert [c.duplicates for c in committed] == [[False]] * 4
        assert log.head() == 4

    queued(services, log, check)


def test_a_full_disk_is_said_and_nothing_is_acknowledged(services: Services) -> None:
    log = SlowLog()
    log.full = True
    log.let_go.set()

    async def check(writer: Writer, send: Any) -> None:
        with pytest.raises(LoopError) as caught:
            await send(reports(services, 1)[0])
        assert (caught.value.status, caught.value.code) == (507, "disk_full")
        assert log.head() == 0
        log.full = False
        report = reports(services, 1)[0]
        assert (await send(report)).duplicates == [False]
        assert (await send(report)).duplicates == [True]

    queued(services, log, check)


def test_a_client_that_gave_up_waiting_harms_nobody(services: Services) -> None:
    log = SlowLog()

    async def check(writer: Writer, send: Any) -> None:
        one, two = reports(services, 2)
        gone = asyncio.create_task(send(one))
        await asyncio.sleep(0)
        gone.cancel()
        log.let_go.set()
        assert (await send(two)).duplicates == [False]
        assert log.head() == 2

    queued(services, log, check)


def test_selects_go_on_when_decision_rows_are_shed(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, decision_buffer=1)
    services = Services(settings, clock=ManualClock(), rng=random.Random(1))
    services.truth.catalog.experiments.create(
        Experiment(id="greeting", tenant_id=DEFAULT_TENANT, arms=(Arm(id="a"), Arm(id="b")))
    )
    services.truth.catalog.experiments.move(DEFAULT_TENANT, "greeting", "start")
    services.start()
    chosen = [services.door.selector.select(DEFAULT_TENANT, "greeting") for _ in range(2000)]
    shed = services.truth.writer.shed
    assert shed > 0
    assert services.learner.status(DEFAULT_TENANT, "greeting").shed == shed
    fact, key = services.door.intake.accept(
        DEFAULT_TENANT, FeedbackRequest(chosen[-1].request_id, 1.0)
    )
    services.truth.writer.submit([fact], [key], lambda _: None)
    services.truth.writer.flush()
    assert services.learner.wait_until(services.truth.log.head(), 10)
    assert services.learner.status(DEFAULT_TENANT, "greeting").feedback == 1
    services.close()


def test_selects_that_arrive_together_are_answered_each_for_itself(services: Services) -> None:
    catalog = services.truth.catalog
    arms, context = (Arm(id="a"), Arm(id="b")), ContextSpec(dimension=2)
    for name in ("linear", "other"):
        catalog.experiments.create(
            Experiment(id=name, tenant_id=DEFAULT_TENANT, arms=arms, context=context)
        )
        catalog.experiments.move(DEFAULT_TENANT, name, "start")
    key = catalog.keys.create(DEFAULT_TENANT, ["select"]).secret
    principal = catalog.authenticate(key.encode())
    select = Select(services.door.selector)
    bodies: list[dict[str, Any]] = [
        {"experiment_id": name, "context": {"id": f"{name}-{k}", "vector": [1.0, float(k)]}}
        for k in range(20)
        for name in ("linear", "other")
    ]
    bad: dict[str, Any] = {"experiment_id": "linear", "context": {"vector": [1.0]}}
    gone: dict[str, Any] = {"experiment_id": "nothing", "context": {"vector": [1.0, 1.0]}}

    async def run() -> list[Reply | BaseException]:
        async def ask(body: dict[str, Any]) -> Reply:
            return await select.answer(principal, msgspec.json.encode(body))

        # The first of each lays out the plan that says whether they can be drawn together.
        await ask(bodies[0])
        await ask(bodies[1])
        asking = [asyncio.ensure_future(ask(body)) for body in (*bodies, bad, gone)]
        hasty = asyncio.ensure_future(ask(bodies[0]))
        await asyncio.sleep(0)
        hasty.cancel()
        return await asyncio.gather(*asking, hasty, return_exceptions=True)

    *good, refused, missing, cancelled = asyncio.run(run())
    assert isinstance(refused, ContextInvalid)
    assert isinstance(missing, NotFound)
    assert isinstance(cancelled, asyncio.CancelledError)
    for body, reply in zip(bodies, good, strict=True):
        assert isinstance(reply, Reply)
        answer = msgspec.json.decode(reply.body)
        decision = services.door.ring.signer.verify(answer["request_id"], now_ms=0)
        assert decision.experiment_id == answer["experiment_id"] == body["experiment_id"]
        names = services.truth.people.units
        assert decision.context_id == names.name(decision.tenant_id, body["context"]["id"])
        assert decision.arm_id == answer["arm"]["id"]


def test_everything_acknowledged_before_sigterm_is_there_afterwards(server: Server) -> None:
    server.experiment("greeting")
    tokens = [server.select("greeting")["request_id"] for _ in range(400)]
    acked: list[str] = []

    def send(mine: list[str]) -> None:
        with httpx.Client(base_url=server.url, timeout=10) as client:
            for token in mine:
                try:
                    answer = client.post(
                        "/api/v1/agent/feedback",
                        json={"request_id": token, "reward": 1},
                        headers={"authorization": f"Bearer {server.key}"},
                    )
                except httpx.TransportError:
                    return
                if answer.status_code == 201:
                    acked.append(token)

    senders = [threading.Thread(target=send, args=(tokens[k::8],)) for k in range(8)]
    for sender in senders:
        sender.start()
    while len(acked) < 60:
        assert any(sender.is_alive() for sender in senders)
    server.process.send_signal(signal.SIGTERM)
    for sender in senders:
        sender.join()
    assert server.stop() == 0
    server.start()
    answers = [server.post("/agent/feedback", {"request_id": t, "reward": 1}) for t in acked]
    assert {answer.json()["duplicate"] for answer in answers} == {True}
    assert len(acked) >= 60
