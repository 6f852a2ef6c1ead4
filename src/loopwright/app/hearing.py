"""Feedback of an embedded loop: what people and products say, and what is reported of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

import msgspec

from loopwright.client.answers import RawCopy, TypedReceipt
from loopwright.client.arguments import mappings, text
from loopwright.core.errors import RawNotKept
from loopwright.feedback import NOTHING_STORED, TypedBatch
from loopwright.insights import Insights, QualityReport
from loopwright.insights.trusted import trusted_report
from loopwright.people.raw import OFF
from loopwright.trust.clearances import Clearance, NewClearance
from loopwright.trust.summary import TrustSummary
from loopwright.warehouse.period import period

from .appending import append
from .arguments import Part, checked, plain_item


class Feedback(Part):
    """Feedback of every kind, interactions and steps; and the report that is made of them."""

    def send(self, items: Iterable[Mapping[str, Any]]) -> TypedReceipt:
        """Store feedback of any kind, in any shape the server reads; returns once it is durable."""
        return self._take("feedback", items)

    def interactions(self, items: Iterable[Mapping[str, Any]]) -> TypedReceipt:
        """Store calls of your AI product: versions, tokens, latencies, errors."""
        return self._take("interaction", items)

    def steps(self, items: Iterable[Mapping[str, Any]]) -> TypedReceipt:
        """Store steps that an agent took, or their outcomes, by session."""
        return self._take("step", items)

    def raw(self, event_id: str) -> RawCopy:
        """Return feedback as it came, before redaction; the log records the read before it returns.

        Raises `NotFound`, with a code that says why, when there is no raw copy of it.
        """
        services = self._services
        if services.truth.raw is None:
            raise RawNotKept(OFF)
        copy = services.truth.raw.look(
            partial(append, services),
            tenant_id=self._tenant_id,
            event_id=event_id,
            actor="embedded",
        )
        # Kept as JSON text, which the server hands on as it is; a caller in Python gets its values.
        return RawCopy(
            event_id=copy.event_id,
            path=copy.path,
            received_ms=copy.received_ms,
            expires_ms=copy.expires_ms,
            item=msgspec.json.decode(copy.item),
        )

    def quality(
        self, tenant_id: str | None = None, *, days: int = 30, tz: str | None = None
    ) -> QualityReport:
        """Return the quality report of a tenant, this loop's own by default, over the last `days`, weighed by trust.

        Days begin at midnight in the time zone `tz` (IANA), the tenant's when not given.
        """
        tenant, zones = self._of(tenant_id), self._services.truth.catalog.zones
        insights = Insights(self._services.reports.warehouse, clock=self._services.truth.clock)
        return trusted_report(
            insights,
            self._services.reports.trust(),
            tenant,
            period(insights.now_ms(), days=days, tz=tz or zones.of(tenant)),
        )

    def trust(self, tenant_id: str | None = None, *, days: int = 30) -> TrustSummary:
        """Return how much of the last `days` counts by trust, why the rest does not, and the bursts."""
        tenant, zones = self._of(tenant_id), self._services.truth.catalog.zones
        now_ms = self._services.truth.clock.now_ms()
        return self._services.reports.trust().summary(
            tenant,
            period(now_ms, days=days, tz=zones.of(tenant)),
            now_ms=now_ms,
        )

    def release(
        self,
        tenant_id: str | None = None,
        *,
        from_ms: int,
        to_ms: int,
        experiment_id: str | None = None,
        arm_id: str | None = None,
        note: str = "",
    ) -> Clearance:
        """Let what was held back as a burst of this arm and time, both ends included, count from now on."""
        asked = checked(
            NewClearance,
            from_ms=from_ms,
            to_ms=to_ms,
            experiment_id=experiment_id,
            arm_id=arm_id,
            note=note,
        )
        return self._services.reports.clearing.clear(self._of(tenant_id), asked, actor="embedded")

    def withdraw(self, release_id: str, tenant_id: str | None = None) -> Clearance:
        """Take a release back: what it let count is held back again. Raises `NotFound`."""
        return self._services.reports.clearing.withdraw(
            self._of(tenant_id), text("release_id", release_id), actor="embedded"
        )

    def timezone(self) -> str:
        """Return the time zone (IANA) at whose midnights the days of reports begin when a call names none."""
        return self._services.truth.catalog.zones.of(self._tenant_id)

    def set_timezone(self, tz: str) -> str:
        """Let the days of reports, and the dates of exports, begin at midnight in `tz` (IANA); return its name."""
        return self._services.truth.catalog.zones.set(
            self._tenant_id, text("tz", tz), actor="embedded"
        )

    def _of(self, tenant_id: str | None) -> str:
        """Return the tenant that is meant, the loop's own when none is named; raises `NotFound`."""
        if tenant_id is None:
            return self._tenant_id
        return self._services.truth.catalog.tenants.get(text("tenant_id", tenant_id)).id

    def _take(self, path: str, items: Iterable[Mapping[str, Any]]) -> TypedReceipt:
        services = self._counted()
        intake = services.door.typed_intake
        prepared = intake.prepare(
            self._tenant_id, path, [plain_item(item) for item in mappings("items", items)]
        )
        committed = NOTHING_STORED
        if prepared.facts:
            committed = append(services, prepared.facts, prepared.keys)
        # Also without any fact to store: `settle` answers for the items that were refused.
        results = intake.settle(prepared, committed)
        assert isinstance(results.content, TypedBatch)
        return msgspec.convert(results.content, TypedReceipt, from_attributes=True)
