from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.receiver import Receiver, receiving
from tests.unit.rollout.conftest import Stand

from loopwright.app.embedded import Loop
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.clock import SystemClock
from loopwright.core.errors import Conflict, NotFound
from loopwright.core.trigger import Sent, TriggerDelivery, TriggerFiring, Webhook
from loopwright.rollout.deliveries import PAUSES_S, Deliveries, attempted, message
from loopwright.testing import ManualClock

HOUR_S = 3600
EVERY_HOUR = {"kind": "schedule", "every_s": HOUR_S}


class Sending(Stand):
    """A loop that may send to this machine, with a trigger that fires every hour."""

    def __init__(self, folder: Path, url: str) -> None:
        self.url = url
        super().__init__(folder)

    def open(self) -> None:
        # The receiver refuses messages that are five minutes old, by its own clock.
        if not hasattr(self, "begun"):
            self.clock = ManualClock(SystemClock().now_ms())
            self.begun = True
        settings = load_settings(
            data_dir=self.folder,
            webhook_private=True,
            trigger_commands={"note": ["sh", "-c", f"cat > {self.folder}/told"]},
        )
        self.services = Services(settings, clock=self.clock)
        self.loop = Loop(self.services, DEFAULT_TENANT)

    def watch(self, *actions: dict[str, Any]) -> None:
        actions = actions or ({"kind": "webhook", "url": self.url},)
        self.loop.triggers.add("t", condition=EVERY_HOUR, actions=actions)

    def fire(self) -> None:
        self.clock.advance(seconds=HOUR_S)
        self.services.reacting.triggers.run()

    def send(self, *, seconds: float = 0) -> str:
        """Let time pass and the deliveries run; return the state of the newest."""
        self.clock.advance(seconds=seconds)
        self.services.reacting.deliveries.run()
        return self.loop.triggers.deliveries().items[0].state


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def stand(tmp_path: Path, receiver: Receiver) -> Iterator[Sending]:
    made = Sending(tmp_path, receiver.url)
    yield made
    made.close()


def test_a_firing_is_told_once_and_signed(stand: Sending, receiver: Receiver) -> None:
    stand.clock.advance(seconds=-HOUR_S)
    stand.watch()
    receiver.secret = stand.loop.triggers.secret("t").secret
    stand.fire()
    assert stand.send() == "delivered"
    assert stand.send(seconds=60) == "delivered"
    ((headers, content),) = receiver.got
    (firing,) = stand.loop.triggers.firings().items
    (delivery,) = stand.loop.triggers.deliveries().items
    assert headers["webhook-id"] == delivery.id == content["data"]["delivery_id"]
    assert content["type"] == "trigger.fired"
    assert content["data"]["firing_id"] == firing.id
    assert content["data"]["reason"] == firing.reason
    facts = stand.audit("trigger/t")
    assert [fact.action for fact in facts] == ["create", "fire", "delivery_delivered"]


def test_a_receiver_that_is_down_for_a_day_gets_it_after_restarts_under_one_id(
    stand: Sending, receiver: Receiver
) -> None:
    stand.watch()
    stand.fire()
    receiver.answers = [500] * 6
    assert stand.send() == "waiting"
    assert stand.send(seconds=4) == "waiting"
    assert len(receiver.got) == 1
    for pause_s in PAUSES_S[:5]:
        stand.loop.close()
        stand.open()
        assert stand.send(seconds=pause_s) == "waiting"
    assert stand.send(seconds=PAUSES_S[5]) == "delivered"
    assert len(receiver.got) == 7
    assert len(set(receiver.ids)) == 1
    stamps = [int(headers["webhook-timestamp"]) for headers, _ in receiver.got]
    assert stamps == sorted(set(stamps))


def test_a_kill_between_the_answer_and_its_note_repeats_under_the_same_id(
    stand: Sending, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.watch()
    stand.fire()

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("loopwright.rollout.deliveries.attempted", killed)
        with pytest.raises(KeyboardInterrupt):
            stand.send()
    stand.loop.close()
    stand.open()
    assert stand.send() == "delivered"
    assert len(receiver.got) == 2
    assert len(set(receiver.ids)) == 1


def test_what_was_given_up_is_there_to_see_and_to_send_again(
    stand: Sending, receiver: Receiver
) -> None:
    stand.watch()
    stand.fire()
    receiver.answers = [500] * (len(PAUSES_S) + 1)
    states = [stand.send(), *(stand.send(seconds=pause_s) for pause_s in PAUSES_S)]
    assert states == ["waiting"] * len(PAUSES_S) + ["dead"]
    (dead,) = stand.loop.triggers.deliveries(state="dead").items
    assert dead.attempts[-1].outcome == "answered 500"
    assert stand.audit("trigger/t")[-1].action == "delivery_dead"
    with pytest.raises(Conflict, match="waiting"):
        stand.loop.triggers.send_again(stand.loop.triggers.send_again(dead.id).id)
    assert stand.send() == "delivered"
    assert len(set(receiver.ids)) == 1
    with pytest.raises(Conflict, match="delivered"):
        stand.loop.triggers.send_again(dead.id)
    with pytest.raises(NotFound):
        stand.loop.triggers.send_again("nope")


def test_410_ends_what_goes_to_an_address_until_the_trigger_is_enabled_again(
    stand: Sending, receiver: Receiver
) -> None:
    stand.watch()
    stand.fire()
    receiver.answers = [410]
    assert stand.send() == "gone"
    assert stand.loop.triggers.report("t").trigger.gone == (receiver.url,)
    stand.fire()
    assert stand.send() == "gone"
    assert len(receiver.got) == 1
    assert stand.loop.triggers.enable("t").gone == ()
    stand.fire()
    assert stand.send() == "delivered"


def test_a_trigger_that_is_removed_sends_nothing_more(stand: Sending, receiver: Receiver) -> None:
    stand.watch()
    stand.fire()
    stand.loop.triggers.remove("t")
    assert stand.send() == "cancelled"
    assert receiver.got == []


def test_a_trigger_that_is_added_anew_has_another_secret(stand: Sending) -> None:
    stand.watch()
    first = stand.loop.triggers.secret("t").secret
    stand.loop.close()
    stand.open()
    assert stand.loop.triggers.secret("t").secret == first
    stand.loop.triggers.remove("t")
    stand.clock.advance(seconds=1)
    stand.watch()
    assert stand.loop.triggers.secret("t").secret != first


def test_a_command_is_told_of_the_firing_and_github_without_settings_stays_local(
    stand: Sending, tmp_path: Path
) -> None:
    stand.watch({"kind": "command", "name": "note"}, {"kind": "github"})
    stand.fire()
    stand.services.reacting.deliveries.run()
    assert not (tmp_path / "told").exists()
    stand.services.reacting.deliveries.run_commands()
    told = msgspec.json.decode((tmp_path / "told").read_bytes())
    assert told["data"]["trigger_id"] == "t"
    local, command = sorted(stand.loop.triggers.deliveries().items, key=lambda d: str(d.attempts))
    assert {d.state for d in (local, command)} == {"delivered"}
    outcomes = {d.attempts[-1].outcome for d in (local, command)}
    assert "note ended with 0" in outcomes
    assert any(outcome.startswith("local: github_token") for outcome in outcomes)


FIRING = TriggerFiring(
    id="f", tenant_id="a", trigger_id="t", fired_at_ms=1000, from_ms=0, reason="so"
)
DELIVERY = TriggerDelivery(
    id="d",
    tenant_id="a",
    trigger_id="t",
    firing=FIRING,
    action=Webhook(url="https://example.com"),
    due_ms=0,
)


@pytest.mark.parametrize(
    ("asked_s", "pause_s"),
    [(0, 5), (3, 5), (60, 60), (10**9, 86_400)],
    ids=["none", "less", "more", "for ever"],
)
def test_a_receiver_may_ask_for_a_longer_rest_within_a_day(asked_s: float, pause_s: int) -> None:
    failed = Sent(outcome="failed", said="answered 503", retry_after_s=asked_s)
    assert attempted(DELIVERY, failed, now_ms=7).due_ms == 7 + pause_s * 1000


def test_the_record_of_attempts_is_bounded() -> None:
    delivery = DELIVERY
    for n in range(50):
        delivery = attempted(delivery, Sent(outcome="failed", said=str(n)), now_ms=n)
    assert [attempt.outcome for attempt in delivery.attempts] == [str(n) for n in range(30, 50)]


def test_a_message_has_type_time_and_data() -> None:
    told = msgspec.json.decode(message(DELIVERY))
    assert told["type"] == "trigger.fired"
    assert told["timestamp"] == "1970-01-01T00:00:01+00:00"
    assert (told["data"]["from_ms"], told["data"]["to_ms"]) == (0, 1000)


def test_a_delivery_that_cannot_be_made_does_not_hold_up_others(
    stand: Sending, receiver: Receiver
) -> None:
    stand.watch({"kind": "webhook", "url": receiver.url}, {"kind": "webhook", "url": stand.url})
    stand.fire()
    (_, first) = stand.loop.triggers.deliveries().items
    truth = stand.services.truth

    def send(delivery: TriggerDelivery) -> Sent:
        if delivery.id == first.id:
            raise NotFound("its trigger is gone")
        return Sent(outcome="done", said="so")

    deliveries = Deliveries(truth.catalog_database, truth.catalog.journal, send=send)
    with pytest.raises(NotFound):
        deliveries.run()
    states = {d.id: d.state for d in stand.loop.triggers.deliveries().items}
    assert sorted(states.values()) == ["delivered", "waiting"]
    assert states[first.id] == "waiting"
