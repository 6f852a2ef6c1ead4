"""Tenants: the domains that never see each other's data."""

from __future__ import annotations

from typing import Final

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.experiment import Slug

DEFAULT_TENANT: Final = "default"


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
