"""A loop with limits, ratings and a clock that is moved by hand."""

from __future__ import annotations

import random
import uuid
from pathlib import Path
from typing import Any

from loopwright.app.embedded import Loop
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.events import Fact, RateMoved
from loopwright.testing import ManualClock

NOW = 1_750_000_000_000


class Stand:
    """Nothing runs in the background: `tick` is one look of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock(NOW)
        self.rng = random.Random(3)
        self.open()

    def open(self) -> None:
        self.services = Services(
            load_settings(data_dir=self.folder), clock=self.clock, rng=random.Random(1)
        )
        self.loop = Loop(self.services, DEFAULT_TENANT)
        self.limits = self.services.door.limits

    def rate(self, stars: int, *, who: str, feature: str = "chat", id: str | None = None) -> Any:
        """Send one rating in the shape of the rating route."""
        item = {
            "event_id": id or str(uuid.UUID(int=self.rng.getrandbits(128), version=4)),
            "user_id": who,
            "session_id": f"s-{who}",
            "timestamp": "2025-06-15T15:06:40Z",
            "rating": stars,
            "context": {"feature_id": feature, "device_type": "web", "locale": "en"},
        }
        intake, writer = self.services.door.typed_intake, self.services.truth.writer
        prepared = intake.prepare(DEFAULT_TENANT, "rating", [item])
        committed = writer.append(prepared.facts, prepared.keys, timeout_s=30.0)
        return intake.settle(prepared, committed)

    def window(
        self,
        *,
        stars: int | None = None,
        voices: int = 10,
        overloaded: float | None = None,
        used: int = 0,
    ) -> None:
        """Let one window of ten seconds pass, with what happens in it."""
        self.limits.run()
        for n in range(voices if stars is not None else 0):
            self.rate(stars or 0, who=f"u{n}")
        if overloaded is not None:
            self.loop.limits.report("chat", overloaded=overloaded)
        for n in range(used):
            self.loop.limits.acquire("chat", key=f"k{n % 50}")
        self.clock.advance(seconds=10)
        self.limits.run()

    def facts(self) -> list[tuple[int, Fact]]:
        self.services.truth.writer.flush()
        return list(self.services.truth.reader.replay())

    def moves(self) -> list[RateMoved]:
        return [fact for _, fact in self.facts() if isinstance(fact, RateMoved)]

    def close(self) -> None:
        self.loop.close()
