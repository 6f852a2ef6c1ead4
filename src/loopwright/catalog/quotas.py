"""Quotas of a tenant, and the meters that hold it to them.

Only tenants with a quota have a meter, so a request of any other costs one look at an empty dictionary. Minutes and
days are those of UTC: a window begins anew for everybody at the same moment, which is what a person can predict.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Final, Literal

import msgspec

from loopwright.core.clock import Clock
from loopwright.core.errors import QuotaExceeded
from loopwright.core.events import Fact, is_sent
from loopwright.core.tenancy import UNLIMITED, Level, Quotas, Usage

MINUTE_MS: Final = 60_000
DAY_MS: Final = 86_400_000
LATER_S: Final = 3600
"""What `Retry-After` says for a quota that no clock resets."""

Quota = Literal["requests_per_minute", "events_per_day", "experiments", "stored_bytes"]


class Counted(msgspec.Struct, frozen=True):
    """What the event log holds of a tenant."""

    events_today: int = 0
    stored_bytes: int = 0


def exceeded(
    quota: Quota, *, limit: int, used: int, now_ms: int, resets_at_ms: int | None = None
) -> QuotaExceeded:
    """Return the error for a quota that is used up."""
    if resets_at_ms is None:
        until = "no clock resets it: end or delete what is not needed, or ask the operator for more"
        retry_after_s = float(LATER_S)
    else:
        at = datetime.fromtimestamp(resets_at_ms / 1000, UTC)
        until = (
            f"it begins anew at {at:%Y-%m-%d %H:%M:%S} UTC: send less, or ask the operator for more"
        )
        retry_after_s = (resets_at_ms - now_ms) / 1000
    return QuotaExceeded(
        f"the quota {quota} is {limit} and {used} are used; {until}",
        quota=quota,
        limit=limit,
        used=used,
        resets_at_ms=resets_at_ms,
        retry_after_s=retry_after_s,
    )


class Meter:
    """Counts what one tenant uses. Any thread may call."""

    def __init__(self, quotas: Quotas, counted: Counted, now_ms: Callable[[], int]) -> None:
        self.quotas = quotas
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._minute = 0
        self._requests = 0
        self._day = now_ms() // DAY_MS
        self._events = counted.events_today
        self._bytes = counted.stored_bytes

    def request(self) -> None:
        """Count one request; raises `QuotaExceeded`."""
        limit = self.quotas.requests_per_minute
        if limit is None:
            return
        now_ms = self._now_ms()
        with self._lock:
            self._begin(now_ms)
            if self._requests >= limit:
                raise exceeded(
                    "requests_per_minute",
                    limit=limit,
                    used=self._requests,
                    now_ms=now_ms,
                    resets_at_ms=(self._minute + 1) * MINUTE_MS,
                )
            self._requests += 1

    def take(self, events: int) -> None:
        """Reserve room for events before they are stored; raises `QuotaExceeded`, reserving nothing."""
        now_ms = self._now_ms()
        of_day, of_bytes = self.quotas.events_per_day, self.quotas.stored_bytes
        with self._lock:
            self._begin(now_ms)
            if of_bytes is not None and self._bytes >= of_bytes:
                raise exceeded("stored_bytes", limit=of_bytes, used=self._bytes, now_ms=now_ms)
            if of_day is not None and self._events + events > of_day:
                raise exceeded(
                    "events_per_day",
                    limit=of_day,
                    used=self._events,
                    now_ms=now_ms,
                    resets_at_ms=(self._day + 1) * DAY_MS,
                )
            self._events += events

    def give_back(self, events: int) -> None:
        """Return the room of events that were not stored after all."""
        with self._lock:
            # Not below 0: a reservation of yesterday may come back today.
            self._events = max(0, self._events - events)

    def note_bytes(self, stored: int) -> None:
        """Take over how many bytes the log holds by now."""
        with self._lock:
            self._bytes = stored

    def levels(self) -> tuple[int, int]:
        """Return the requests of this minute and the events of this day."""
        with self._lock:
            self._begin(self._now_ms())
            return self._requests, self._events

    def _begin(self, now_ms: int) -> None:
        """Begin a new minute or day at 0; a clock that was set back stays in the window it is in."""
        if now_ms // MINUTE_MS > self._minute:
            self._minute, self._requests = now_ms // MINUTE_MS, 0
        if now_ms // DAY_MS > self._day:
            self._day, self._events = now_ms // DAY_MS, 0


class Meters:
    """The meters of the tenants that have a quota. False when there is none: then nothing is to be counted.

    `counted` returns what the event log holds of a tenant, for the start of its meter.
    """

    def __init__(
        self, clock: Clock, counted: Callable[[str], Counted] = lambda tenant_id: Counted()
    ) -> None:
        self._now_ms = clock.now_ms
        self._counted = counted
        # Bare, for the hot path: looking whether it is empty costs a tenth of a call of `__bool__`.
        self.by_tenant: dict[str, Meter] = {}
        """The meter of each tenant that has a quota."""

    def __bool__(self) -> bool:
        return bool(self.by_tenant)

    def put(self, tenant_id: str, quotas: Quotas) -> None:
        """Hold a tenant to `quotas` from now on; a minute that has begun is counted anew."""
        if quotas == UNLIMITED:
            self.by_tenant.pop(tenant_id, None)
        else:
            self.by_tenant[tenant_id] = Meter(quotas, self._counted(tenant_id), self._now_ms)

    def request(self, tenant_id: str) -> None:
        """Count one request of a tenant; raises `QuotaExceeded`."""
        if (meter := self.by_tenant.get(tenant_id)) is not None:
            meter.request()

    def take(self, tenant_id: str, facts: Sequence[Fact]) -> None:
        """Reserve room for one item, whose facts these are; raises `QuotaExceeded`, reserving nothing."""
        if (meter := self.by_tenant.get(tenant_id)) is not None and (
            events := sum(map(is_sent, facts))
        ):
            meter.take(events)

    def give_back(self, facts: Sequence[Fact]) -> None:
        """Return the room of facts that were not stored: duplicates, conflicts, and those of a failed commit."""
        for fact in facts:
            if is_sent(fact) and (meter := self.by_tenant.get(fact.tenant_id)) is not None:
                meter.give_back(1)

    def note_bytes(self, stored: Callable[[str], int]) -> None:
        """Tell every meter how many bytes the log holds of its tenant."""
        for tenant_id, meter in list(self.by_tenant.items()):
            meter.note_bytes(stored(tenant_id))

    def usage(self, tenant_id: str, quotas: Quotas, counted: Counted, *, experiments: int) -> Usage:
        """Return what a tenant uses and may use."""
        now_ms = self._now_ms()
        meter = self.by_tenant.get(tenant_id)
        requests, events = (None, counted.events_today) if meter is None else meter.levels()
        if quotas.requests_per_minute is None:
            requests = None
        next_minute_ms = (now_ms // MINUTE_MS + 1) * MINUTE_MS
        next_day_ms = (now_ms // DAY_MS + 1) * DAY_MS
        return Usage(
            tenant_id=tenant_id,
            requests_per_minute=Level(requests, quotas.requests_per_minute, next_minute_ms),
            events_per_day=Level(events, quotas.events_per_day, next_day_ms),
            experiments=Level(experiments, quotas.experiments, None),
            stored_bytes=Level(counted.stored_bytes, quotas.stored_bytes, None),
        )
