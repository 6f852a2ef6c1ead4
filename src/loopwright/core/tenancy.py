"""Tenants, their quotas and what they use, as values that both doors answer with."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from .experiment import Slug

Quantity = Annotated[int, Meta(ge=0, le=2**53)]


class Quotas(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant may use; null is without limit."""

    requests_per_minute: Quantity | None = None
    """Requests with the tenant's keys, except operator keys."""
    events_per_day: Quantity | None = None
    """Facts that the tenant sends: rewards, feedback, calls and steps. A duplicate is no new fact."""
    experiments: Quantity | None = None
    """Experiments that have not ended."""
    stored_bytes: Quantity | None = None
    """Bytes of the tenant's facts in the event log, decisions included."""


UNLIMITED: Final = Quotas()


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A domain of isolation. Every key, experiment and fact belongs to exactly one."""

    id: Slug
    name: str = ""
    created_at_ms: int = 0
    quotas: Quotas = UNLIMITED


class Level(msgspec.Struct, frozen=True):
    """How much of one quota is used."""

    used: int | None
    """Null for requests of a tenant without that quota: nobody counts them."""
    limit: int | None
    resets_at_ms: int | None
    """When it begins anew at 0; null when no clock resets it."""


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """What a tenant uses and may use."""

    tenant_id: str
    requests_per_minute: Level
    events_per_day: Level
    experiments: Level
    stored_bytes: Level
