"""Deliveries: the actions of firings, carried out at least once, tried again after failures, given up in the open.

A delivery is a row from the transaction of its firing on, so neither a kill nor a receiver that is down for a day loses
it. Every attempt has the id of the delivery as its `webhook-id`: a kill between the receiver's answer and our note of
it repeats the attempt, and the receiver knows it by that id.

Reference: Standard Webhooks, https://www.standardwebhooks.com, for the ids, the retries and 410.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
from msgspec import structs

from loopwright.catalog import Journal
from loopwright.core.errors import Conflict, LoopError, NotFound
from loopwright.core.ports import Database, Session
from loopwright.core.trigger import (
    Attempt,
    DeliveryPage,
    DeliveryState,
    Sent,
    TriggerDelivery,
    Webhook,
)

from . import trigger_store as store

_logger = logging.getLogger(__name__)

PAUSES_S: Final = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Rest after each failed attempt, as Standard Webhooks proposes; after the last one the delivery is dead, three days on."""
LONGEST_PAUSE_S: Final = 86_400.0
"""A receiver may ask for a longer rest than ours, but not for one without end."""
KEPT_ATTEMPTS: Final = 20
AT_ONCE: Final = 100
EVENT: Final = "trigger.fired"


def message(delivery: TriggerDelivery) -> bytes:
    """Return what a receiver or a command is told: type, time and data, as Standard Webhooks has them."""
    firing = delivery.firing
    at = datetime.fromtimestamp(firing.fired_at_ms / 1000, UTC)
    data: dict[str, Any] = {
        "tenant_id": firing.tenant_id,
        "trigger_id": firing.trigger_id,
        "firing_id": firing.id,
        "delivery_id": delivery.id,
        "reason": firing.reason,
        "from_ms": firing.from_ms,
        "to_ms": firing.fired_at_ms,
        "reading": firing.reading,
    }
    return msgspec.json.encode({"type": EVENT, "timestamp": at.isoformat(), "data": data})


class Deliveries:
    """Carries out what firings ask for. One task at a time runs each of its two kinds: commands, and all others."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        *,
        send: Callable[[TriggerDelivery], Sent | None],
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """`send` makes one attempt, and returns None for one that the shutdown broke off: it does not count.

        The tables are those of `Triggers`, which makes them.
        """
        self._database = database
        self._journal = journal
        self._send = send
        self._stopping = stopping

    def list(
        self,
        tenant_id: str,
        *,
        trigger_id: str | None = None,
        state: DeliveryState | None = None,
        limit: int = 100,
    ) -> DeliveryPage:
        """Return deliveries, newest first; those of the state `dead` were given up."""
        found = store.deliveries(
            self._database, tenant_id, trigger_id=trigger_id, state=state, limit=limit
        )
        return DeliveryPage(items=found)

    def again(self, tenant_id: str, id: str, *, actor: str = "") -> TriggerDelivery:
        """Send a delivery that was given up once more, under its old id.

        Raises `NotFound`, or `Conflict` for one that still waits, was delivered, or belongs to a trigger that was removed.
        """
        found = store.delivery(self._database, tenant_id, id)
        if found.state not in ("dead", "gone"):
            raise Conflict(
                f"delivery {id!r} is {found.state}; only one that is dead or gone can be sent again"
            )
        now_ms = self._journal.now_ms()
        after = structs.replace(found, state="waiting", due_ms=now_ms, tries=0)
        with self._journal.transaction() as session:
            store.get(session, tenant_id, found.trigger_id)
            if not store.change_delivery(session, after, was=found.state):
                raise Conflict(f"somebody else has just sent delivery {id!r} again")
            self._tell(session, after, "again", actor=actor)
        self._journal.try_relay()
        return after

    def run(self) -> int:
        """Make the attempts that are due, commands left out; return how many."""
        return self._run(are_commands=False)

    def run_commands(self) -> int:
        """Run the commands that are due; return how many."""
        return self._run(are_commands=True)

    def _run(self, *, are_commands: bool) -> int:
        now_ms = self._journal.now_ms()
        found = store.due(self._database, now_ms=now_ms, are_commands=are_commands, limit=AT_ONCE)
        made, failed = 0, None
        for delivery in found:
            if self._stopping():
                break
            try:
                sent = self._send(delivery)
                if sent is None:
                    break
                self._note(delivery, sent)
            except LoopError as error:
                # One that cannot be noted is tried again, and must not hold up those behind it.
                failed = error
                continue
            made += 1
        if failed is not None:
            raise failed
        return made

    def _note(self, delivery: TriggerDelivery, sent: Sent) -> None:
        now_ms = self._journal.now_ms()
        after = attempted(delivery, sent, now_ms=now_ms)
        with self._journal.transaction() as session:
            # Cancelled while it was on its way: the trigger was removed, and nothing more is to come of it.
            if not store.change_delivery(session, after):
                return
            if after.state == "gone":
                self._stop(session, after)
            if after.state != "waiting":
                self._tell(session, after, after.state, said=sent.said, tries=after.tries)
        self._journal.try_relay()
        if sent.outcome != "done":
            told = {"trigger": after.trigger_id, "delivery": after.id, "reason": sent.said}
            _logger.error("an action of a trigger failed", extra=told | {"state": after.state})

    def _stop(self, session: Session, delivery: TriggerDelivery) -> None:
        """Note in the trigger that an address wants nothing more."""
        if not isinstance(delivery.action, Webhook):
            return
        try:
            trigger = store.get(session, delivery.tenant_id, delivery.trigger_id)
        except NotFound:
            return
        if delivery.action.url not in trigger.gone:
            gone = (*trigger.gone, delivery.action.url)
            after = structs.replace(trigger, gone=gone, revision=trigger.revision + 1)
            store.change(session, trigger, after)

    def _tell(
        self,
        session: Session,
        delivery: TriggerDelivery,
        action: str,
        *,
        actor: str = "",
        **detail: object,
    ) -> None:
        fact = self._journal.told(
            delivery.tenant_id,
            f"trigger/{delivery.trigger_id}",
            f"delivery_{action}",
            actor=actor,
            delivery=delivery.id,
            firing=delivery.firing.id,
            **detail,
        )
        self._journal.put(session, fact)


def attempted(delivery: TriggerDelivery, sent: Sent, *, now_ms: int) -> TriggerDelivery:
    """Return a delivery after an attempt: done, stopped, due again, or given up."""
    tries = delivery.tries + 1
    attempts = (*delivery.attempts, Attempt(at_ms=now_ms, outcome=sent.said))[-KEPT_ATTEMPTS:]
    made = structs.replace(delivery, tries=tries, attempts=attempts)
    if sent.outcome == "done":
        return structs.replace(made, state="delivered")
    if sent.outcome == "gone":
        return structs.replace(made, state="gone")
    if tries > len(PAUSES_S):
        return structs.replace(made, state="dead")
    pause_s = max(PAUSES_S[tries - 1], min(sent.retry_after_s, LONGEST_PAUSE_S))
    return structs.replace(made, due_ms=now_ms + round(pause_s * 1000))
