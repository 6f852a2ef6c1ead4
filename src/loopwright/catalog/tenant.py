"""Tenants: the domains that never see each other's data."""

from __future__ import annotations

from typing import Final

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.experiment import Slug

from .quotas import UNLIMITED, Quotas

DEFAULT_TENANT: Final = "default"


class Tenant(msgspec.Struct, frozen=True, kw_only=True):
    """A domain of isolation. Every key, experiment and fact belongs to exactly one."""

    id: Slug
    name: str = ""
    created_at_ms: int = 0
    quotas: Quotas = UNLIMITED


def slug(value: str, what: str) -> str:
    """Return `value` when it can be an id; raises `Invalid` naming `what` it was meant for."""
    try:
        return msgspec.convert(value, Slug)
    except msgspec.ValidationError:
        raise Invalid(
            f"{what} is {value!r}; an id starts with a letter or digit and has at most 128 of "
            "letters, digits and . _ : -",
            found=value,
        ) from None
