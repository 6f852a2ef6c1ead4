from __future__ import annotations

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.app.embedded import Loop
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.people import erase_person
from loopwright.people.consent import change_consent
from loopwright.testing import ManualClock

NOW = 1_750_000_000_000


class Desk:
    """A loop that feedback is said to; nothing runs in the background."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(NOW)
        self.n = 0
        self.open()

    def open(self) -> None:
        self.services = Services(
            load_settings(data_dir=self.folder), clock=self.clock, rng=random.Random(1)
        )
        self.loop = Loop(self.services, DEFAULT_TENANT)
        self.datasets = self.services.reports.datasets

    def say(self, *items: dict[str, Any]) -> None:
        """Send native feedback items."""
        for start in range(0, len(items), 500):
            batch = list(items[start : start + 500])
            intake, writer = self.services.door.typed_intake, self.services.truth.writer
            prepared = intake.prepare(DEFAULT_TENANT, "feedback", batch)
            refused = [str(refusal.error) for refusal in prepared.refusals.values()]
            assert not refused, refused[:3]
            writer.append(prepared.facts, prepared.keys, timeout_s=30.0)

    def rating(
        self, query: str, response: str, stars: int, *, who: str, **more: Any
    ) -> dict[str, Any]:
        self.n += 1
        return {
            "kind": "rating",
            "scale": "stars",
            "value": stars,
            "query": query,
            "response": response,
            "user_id": who,
            "event_id": f"r{self.n}",
            "output_id": f"o{self.n}",
        } | more

    def correction(
        self, query: str, before: str, after: str, *, who: str, **more: Any
    ) -> dict[str, Any]:
        self.n += 1
        return {
            "kind": "correction",
            "query": query,
            "before": before,
            "after": after,
            "user_id": who,
            "event_id": f"c{self.n}",
            "output_id": f"o{self.n}",
        } | more

    def erase(self, user: str) -> None:
        services = self.services
        erase_person(
            services.truth.people,
            partial(services.truth.writer.append, timeout_s=30.0),
            tenant_id=DEFAULT_TENANT,
            id=user,
            count_rows=services.reports.rows_of,
            forget_quarantined=services.door.quarantine.forget,
            at_ms=self.clock.now_ms(),
            scrub=services.eraser.scrub,
        )

    def consent(self, user: str, *scopes: str) -> None:
        change_consent(
            self.services.truth.people,
            partial(self.services.truth.writer.append, timeout_s=30.0),
            tenant_id=DEFAULT_TENANT,
            id=user,
            scopes=scopes,
            at_ms=self.clock.now_ms(),
        )

    def rows(self, dataset_id: str, **options: Any) -> list[dict[str, Any]]:
        content = self.loop.datasets.export(dataset_id, **options)
        return [msgspec.json.decode(line) for line in content.splitlines()]

    def close(self) -> None:
        self.loop.close()


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()
