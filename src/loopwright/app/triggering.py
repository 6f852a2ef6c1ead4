"""Triggers of an embedded loop."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from loopwright.client.arguments import text
from loopwright.core.trigger import (
    DAY_S,
    Action,
    Condition,
    DeliveryPage,
    DeliveryState,
    FiringPage,
    NewTrigger,
    Trigger,
    TriggerDelivery,
    TriggerPage,
    TriggerReport,
    TriggerSecret,
)

from .arguments import Part, checked

_ACTOR: Final = "embedded"


class _Asked(msgspec.Struct, frozen=True):
    limit: Annotated[int, Meta(ge=1, le=1000)]
    state: DeliveryState | None = None


class Triggers(Part):
    """Add triggers, see how they stand, what they started, and send again what failed."""

    def add(
        self,
        id: str,
        *,
        condition: Condition | Mapping[str, Any],
        actions: Sequence[Action | Mapping[str, Any]] = (),
        window_days: float = 7.0,
        cool_down_s: int = DAY_S,
        note: str = "",
    ) -> Trigger:
        """Add a trigger: it fires once when its `condition` holds over the window, and starts its `actions`.

        After a firing the condition has to stop holding, and `cool_down_s` has to pass, before it may fire again.
        """
        new = checked(
            NewTrigger,
            id=id,
            condition=condition,
            actions=actions,
            window_days=window_days,
            cool_down_s=cool_down_s,
            note=note,
        )
        return self._services.reacting.triggers.add(self._tenant_id, new, actor=_ACTOR)

    def list(self) -> TriggerPage:
        """Return the triggers by their ids."""
        return self._services.reacting.triggers.list(self._tenant_id)

    def report(self, id: str) -> TriggerReport:
        """Return a trigger, how its condition stands at this moment, and what happens next."""
        return self._services.reacting.triggers.report(self._tenant_id, text("id", id))

    def remove(self, id: str) -> Trigger:
        """Remove a trigger and cancel what of it still waits; its firings stay. Returns it as it was."""
        triggers = self._services.reacting.triggers
        return triggers.remove(self._tenant_id, text("id", id), actor=_ACTOR)

    def enable(self, id: str) -> Trigger:
        """Let a trigger be looked at again, and addresses that answered 410 be sent to again."""
        return self._enabled(id, is_enabled=True)

    def disable(self, id: str) -> Trigger:
        """Let a trigger be looked at no longer; what it started goes on."""
        return self._enabled(id, is_enabled=False)

    def secret(self, id: str) -> TriggerSecret:
        """Return what the webhooks of a trigger are signed with, for the receiver to check them."""
        return self._services.reacting.secret(self._tenant_id, text("id", id))

    def firings(self, *, trigger_id: str | None = None, limit: int = 100) -> FiringPage:
        """Return firings, newest first, also of triggers that were removed."""
        asked = checked(_Asked, limit=limit)
        return self._services.reacting.triggers.firings(
            self._tenant_id, trigger_id=trigger_id, limit=asked.limit
        )

    def deliveries(
        self, *, trigger_id: str | None = None, state: str | None = None, limit: int = 100
    ) -> DeliveryPage:
        """Return deliveries, newest first; `state` is waiting, delivered, dead, gone or cancelled."""
        asked = checked(_Asked, limit=limit, state=state)
        return self._services.reacting.deliveries.list(
            self._tenant_id, trigger_id=trigger_id, state=asked.state, limit=asked.limit
        )

    def send_again(self, id: str) -> TriggerDelivery:
        """Send a delivery that was given up once more, under its old id."""
        deliveries = self._services.reacting.deliveries
        return deliveries.again(self._tenant_id, text("id", id), actor=_ACTOR)

    def _enabled(self, id: str, *, is_enabled: bool) -> Trigger:
        return self._services.reacting.triggers.enable(
            self._tenant_id, text("id", id), is_enabled=is_enabled, actor=_ACTOR
        )
