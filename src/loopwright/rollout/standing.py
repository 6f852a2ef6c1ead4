"""Standing triggers at work: add and remove them, look at their conditions, fire once per cause.

A firing, the new state of its trigger, the deliveries of its actions and the fact about it are one transaction. A kill
at any moment leaves either all of them or none, and then the next look fires.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from msgspec import structs

from loopwright.catalog import Journal
from loopwright.core.errors import StaleVersion
from loopwright.core.ports import START, Database, Offset, Session
from loopwright.core.schema import apply_schema
from loopwright.core.trigger import (
    Action,
    FiringPage,
    Judged,
    NewTrigger,
    Schedule,
    Trigger,
    TriggerDelivery,
    TriggerFiring,
    TriggerPage,
    TriggerReport,
    Webhook,
)
from loopwright.insights.service import Insights

from . import conditions, readings
from . import trigger_store as store

_logger = logging.getLogger(__name__)

QUIET_MS: Final = 900_000
"""How long a trigger is not looked at again while nothing comes into the log: its window still moves."""
CANCELLED_AT_MOST: Final = 10_000


class Triggers:
    """The standing triggers of every tenant. Safe to use from several threads and processes."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        *,
        insights: Callable[[], Insights],
        zone: Callable[[str], str],
        head: Callable[[], Offset] = lambda: START,
        check_action: Callable[[Action], None] = lambda action: None,
    ) -> None:
        """`journal` belongs to the same database. `check_action` raises why an action cannot be carried out here."""
        apply_schema(database, "triggers", store.SCHEMA)
        self._database = database
        self._journal = journal
        self._insights = insights
        self._zone = zone
        self._head = head
        self._check_action = check_action
        self._looked: dict[tuple[str, str, int], tuple[Offset, int]] = {}
        """At which end of the log, and when, each trigger was looked at last."""

    def add(self, tenant_id: str, new: NewTrigger, *, actor: str = "") -> Trigger:
        """Keep a trigger, and look at it from now on.

        Raises `Conflict` for an id that is taken, `NotFound` for an unknown metric, `Invalid` for a condition or an action
        that cannot be.
        """
        readings.check_names(conditions.checked(new.condition))
        for action in new.actions:
            self._check_action(action)
        made = Trigger(
            id=new.id,
            tenant_id=tenant_id,
            condition=new.condition,
            window_days=new.window_days,
            cool_down_s=new.cool_down_s,
            actions=new.actions,
            note=new.note,
            created_at_ms=self._journal.now_ms(),
        )
        with self._journal.transaction() as session:
            store.add(session, made)
            self._tell(session, made, "create", actor=actor)
        self._journal.try_relay()
        return made

    def get(self, tenant_id: str, id: str) -> Trigger:
        """Return a trigger; raises `NotFound`."""
        return store.get(self._database, tenant_id, id)

    def list(self, tenant_id: str) -> TriggerPage:
        """Return a tenant's triggers by their ids."""
        return TriggerPage(items=store.all_of(self._database, tenant_id))

    def report(self, tenant_id: str, id: str) -> TriggerReport:
        """Return a trigger, how its condition stands at this moment, and what happens next."""
        trigger = self.get(tenant_id, id)
        now_ms = self._journal.now_ms()
        found = self._judged(trigger, now_ms=now_ms)
        return TriggerReport(
            trigger=trigger, judged=found, next=_next(trigger, found, now_ms=now_ms)
        )

    def enable(self, tenant_id: str, id: str, *, is_enabled: bool, actor: str = "") -> Trigger:
        """Let a trigger be looked at, or not. To enable one also forgets which of its addresses answered 410."""
        before = self.get(tenant_id, id)
        gone = () if is_enabled else before.gone
        if (before.is_enabled, before.gone) == (is_enabled, gone):
            return before
        after = _changed(before, is_enabled=is_enabled, gone=gone)
        with self._journal.transaction() as session:
            store.change(session, before, after)
            self._tell(session, after, "enable" if is_enabled else "disable", actor=actor)
        self._journal.try_relay()
        return after

    def remove(self, tenant_id: str, id: str, *, actor: str = "") -> Trigger:
        """Forget a trigger and cancel what of it still waits; its firings stay. Raises `NotFound`."""
        trigger = self.get(tenant_id, id)
        with self._journal.transaction() as session:
            store.remove(session, tenant_id, id)
            waiting = store.deliveries(
                session, tenant_id, trigger_id=id, state="waiting", limit=CANCELLED_AT_MOST
            )
            for delivery in waiting:
                store.change_delivery(session, structs.replace(delivery, state="cancelled"))
            self._tell(session, trigger, "remove", actor=actor)
        self._journal.try_relay()
        return trigger

    def firings(
        self, tenant_id: str, *, trigger_id: str | None = None, limit: int = 100
    ) -> FiringPage:
        """Return firings, newest first, also of triggers that were removed."""
        found = store.firings(self._database, tenant_id, trigger_id=trigger_id, limit=limit)
        return FiringPage(items=found)

    def run(self) -> None:
        """Look at every enabled trigger; one that fails does not keep the others from it."""
        failed: Exception | None = None
        triggers = store.enabled(self._database)
        head, now_ms = self._head(), self._journal.now_ms()
        looked, self._looked = self._looked, {}
        for trigger in triggers:
            key = (trigger.tenant_id, trigger.id, trigger.revision)
            seen, at_ms = looked.get(key, (None, 0))
            if not _is_timed(trigger) and seen == head and 0 <= now_ms - at_ms < QUIET_MS:
                self._looked[key] = (head, at_ms)
                continue
            try:
                self._look(trigger, now_ms=now_ms)
            except StaleVersion:
                # Somebody changed it between the reading and now; the next look sees what they did.
                continue
            except Exception as error:  # noqa: BLE001 - raised again below, once the others had their turn
                failed = error
                _logger.warning(
                    "a trigger could not be judged",
                    extra={"trigger": trigger.id, "reason": str(error)},
                )
                continue
            self._looked[key] = (head, now_ms)
        if failed is not None:
            raise failed

    def look(self, tenant_id: str, id: str) -> Trigger:
        """Look at one trigger now, and fire it if that is called for; return it as it then is."""
        return self._look(self.get(tenant_id, id), now_ms=self._journal.now_ms())

    def _look(self, trigger: Trigger, *, now_ms: int) -> Trigger:
        found = self._judged(trigger, now_ms=now_ms)
        after = _after(trigger, found, now_ms=now_ms)
        if after is trigger:
            return trigger
        if after.fired_at_ms == trigger.fired_at_ms:
            with self._journal.transaction() as session:
                store.change(session, trigger, after)
                self._tell(session, after, "clear", reason=found.reason)
        else:
            self._fire(trigger, after, found)
        self._journal.try_relay()
        return after

    def _fire(self, before: Trigger, after: Trigger, found: Judged) -> None:
        now_ms = after.fired_at_ms or 0
        firing = TriggerFiring(
            id=self._journal.new_id(now_ms),
            tenant_id=after.tenant_id,
            trigger_id=after.id,
            fired_at_ms=now_ms,
            from_ms=self._window_from(after, now_ms=now_ms),
            reason=found.reason,
            reading=found.reading,
        )
        with self._journal.transaction() as session:
            # First: of two processes that look at once, the revision lets one fire.
            store.change(session, before, after)
            store.add_firing(session, firing)
            for action in after.actions:
                is_gone = isinstance(action, Webhook) and action.url in after.gone
                store.add_delivery(
                    session,
                    TriggerDelivery(
                        id=self._journal.new_id(now_ms),
                        tenant_id=after.tenant_id,
                        trigger_id=after.id,
                        firing=firing,
                        action=action,
                        state="gone" if is_gone else "waiting",
                        due_ms=now_ms,
                    ),
                )
            self._tell(session, after, "fire", reason=found.reason, firing=firing.id)
        told = {"tenant_id": after.tenant_id, "trigger": after.id, "reason": found.reason}
        _logger.critical("a trigger fired", extra=told)

    def _judged(self, trigger: Trigger, *, now_ms: int) -> Judged:
        of = readings.window(trigger, now_ms=now_ms, tz=self._zone(trigger.tenant_id))
        return readings.judged(trigger, self._insights(), of)

    def _window_from(self, trigger: Trigger, *, now_ms: int) -> int:
        return readings.window(trigger, now_ms=now_ms, tz=self._zone(trigger.tenant_id)).from_ms

    def _tell(
        self, session: Session, trigger: Trigger, action: str, *, actor: str = "", **detail: object
    ) -> None:
        """Keep the fact about a change of a trigger."""
        fact = self._journal.told(
            trigger.tenant_id,
            f"trigger/{trigger.id}",
            action,
            actor=actor,
            condition=str(trigger.condition.__struct_config__.tag),
            **detail,
        )
        self._journal.put(session, fact)


def _after(trigger: Trigger, found: Judged, *, now_ms: int) -> Trigger:
    """Return the trigger after a look: fired, cleared, or itself when nothing changes."""
    if found.standing == "bad" and not _is_held(trigger, now_ms=now_ms):
        return _changed(trigger, is_firing=not _is_timed(trigger), fired_at_ms=now_ms)
    if found.standing == "good" and trigger.is_firing:
        return _changed(trigger, is_firing=False)
    return trigger


def _is_held(trigger: Trigger, *, now_ms: int) -> bool:
    """Return whether a trigger may not fire: its last cause still stands, or it cools down."""
    return trigger.is_firing or now_ms < _cool_ms(trigger)


def _cool_ms(trigger: Trigger) -> int:
    # A schedule says itself how often it fires.
    if trigger.fired_at_ms is None or _is_timed(trigger):
        return 0
    return trigger.fired_at_ms + trigger.cool_down_s * 1000


def _is_timed(trigger: Trigger) -> bool:
    return isinstance(trigger.condition, Schedule)


def _changed(trigger: Trigger, **changes: object) -> Trigger:
    return structs.replace(trigger, revision=trigger.revision + 1, **changes)


def _next(trigger: Trigger, found: Judged, *, now_ms: int) -> str:
    if not trigger.is_enabled:
        return "It is disabled: nothing happens until somebody enables it."
    if trigger.is_firing:
        return "It has fired for this cause, and may fire again once the condition no longer holds."
    if found.standing == "bad" and (wait_ms := _cool_ms(trigger) - now_ms) > 0:
        return f"It cools down, and fires in {wait_ms // 1000} s if the condition then holds."
    if found.standing == "bad":
        return "It fires at the next look."
    return "It fires as soon as the condition holds."
