"""Facts of an embedded loop on their way to the log."""

from __future__ import annotations

from collections.abc import Sequence

from loopwright.core.events import Fact
from loopwright.core.ports import Committed

from .acks import COMMIT_TIMEOUT_S, returning
from .wiring import Services


def append(services: Services, facts: Sequence[Fact], keys: Sequence[bytes | None]) -> Committed:
    """Return once `facts` are durable; raises what the log refused them with."""
    meters = services.truth.catalog.meters
    if not meters:
        return services.truth.writer.append(facts, keys, timeout_s=COMMIT_TIMEOUT_S)
    with returning(meters, facts) as unused:
        committed = services.truth.writer.append(facts, keys, timeout_s=COMMIT_TIMEOUT_S)
        unused(committed)
        return committed
