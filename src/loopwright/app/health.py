"""The answer of the probes: whether this process serves, and which background work fails."""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from .supervise import TaskHealth


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Whether this process can serve, and which background work fails.

    `degraded` means that selects and feedback are served while some background work fails.
    """

    status: Literal["alive", "ready", "degraded", "unready"]
    reason: str = ""
    failing: tuple[TaskHealth, ...] | UnsetType = UNSET
    """The background work that fails; left out when all is well."""

    @property
    def is_serving(self) -> bool:
        """Whether traffic should come here."""
        return self.status != "unready"
