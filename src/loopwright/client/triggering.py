"""The calls of triggers. See `calls` for how a call becomes a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from loopwright.core.trigger import (
    DAY_S,
    Action,
    Condition,
    DeliveryPage,
    FiringPage,
    Trigger,
    TriggerDelivery,
    TriggerPage,
    TriggerReport,
    TriggerSecret,
)

from .exchange import Call, Terms
from .requests import change, get, segment

_read_trigger = msgspec.json.Decoder(Trigger).decode


def add_trigger(
    terms: Terms,
    id: str,
    *,
    condition: Condition | Mapping[str, Any],
    actions: Sequence[Action | Mapping[str, Any]] = (),
    window_days: float = 7.0,
    cool_down_s: int = DAY_S,
    note: str = "",
) -> Call[Trigger]:
    """Add a trigger: it fires once when its `condition` holds over the window, and starts its `actions`.

    After a firing the condition has to stop holding, and `cool_down_s` has to pass, before it may fire again.
    """
    body = {
        "id": id,
        "condition": condition,
        "actions": actions,
        "window_days": window_days,
        "cool_down_s": cool_down_s,
        "note": note,
    }
    return change("POST", "/triggers", body=body, read=_read_trigger)


def list_triggers(terms: Terms) -> Call[TriggerPage]:
    """Return the triggers by their ids."""
    return get("/triggers", msgspec.json.Decoder(TriggerPage).decode)


def trigger_report(terms: Terms, id: str) -> Call[TriggerReport]:
    """Return a trigger, how its condition stands at this moment, and what happens next."""
    return get(f"/triggers/{segment(id)}", msgspec.json.Decoder(TriggerReport).decode)


def remove_trigger(terms: Terms, id: str) -> Call[Trigger]:
    """Remove a trigger and cancel what of it still waits; its firings stay. Returns it as it was."""
    return change("DELETE", f"/triggers/{segment(id)}", body=None, read=_read_trigger)


def enable_trigger(terms: Terms, id: str) -> Call[Trigger]:
    """Let a trigger be looked at again, and addresses that answered 410 be sent to again."""
    return change("POST", f"/triggers/{segment(id)}/enable", body=None, read=_read_trigger)


def disable_trigger(terms: Terms, id: str) -> Call[Trigger]:
    """Let a trigger be looked at no longer; what it started goes on."""
    return change("POST", f"/triggers/{segment(id)}/disable", body=None, read=_read_trigger)


def trigger_secret(terms: Terms, id: str) -> Call[TriggerSecret]:
    """Return what the webhooks of a trigger are signed with, for the receiver to check them."""
    return get(f"/triggers/{segment(id)}/secret", msgspec.json.Decoder(TriggerSecret).decode)


def list_firings(
    terms: Terms, *, trigger_id: str | None = None, limit: int = 100
) -> Call[FiringPage]:
    """Return firings, newest first, also of triggers that were removed."""
    query: dict[str, Any] = {"limit": limit}
    if trigger_id is not None:
        query["trigger_id"] = trigger_id
    return get(f"/firings?{urlencode(query)}", msgspec.json.Decoder(FiringPage).decode)


def list_deliveries(
    terms: Terms, *, trigger_id: str | None = None, state: str | None = None, limit: int = 100
) -> Call[DeliveryPage]:
    """Return deliveries, newest first; `state` is waiting, delivered, dead, gone or cancelled."""
    query: dict[str, Any] = {"limit": limit}
    if trigger_id is not None:
        query["trigger_id"] = trigger_id
    if state is not None:
        query["state"] = state
    return get(f"/deliveries?{urlencode(query)}", msgspec.json.Decoder(DeliveryPage).decode)


def send_again(terms: Terms, id: str) -> Call[TriggerDelivery]:
    """Send a delivery that was given up once more, under its old id."""
    read = msgspec.json.Decoder(TriggerDelivery).decode
    return change("POST", f"/deliveries/{segment(id)}/again", body=None, read=read)
