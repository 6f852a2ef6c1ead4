"""What an embedded loop appends is durable, and a duplicate gives its room in a quota back."""

from __future__ import annotations

from pathlib import Path

import loopwright
from loopwright.app.appending import append
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services


def test_a_commit_with_and_without_quotas_stores_facts_once(tmp_path: Path) -> None:
    services = Services(load_settings(data_dir=tmp_path))
    services.start()
    try:
        before = services.truth.log.head()
        assert append(services, [], []).duplicates == []
        assert services.truth.log.head() == before
    finally:
        services.close()


def test_a_duplicate_uses_no_quota(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.tenants.set_quotas("default", events_per_day=2)
        thumb = {"kind": "rating", "scale": "thumbs", "value": 1, "event_id": "e", "output_id": "o"}
        assert [loop.feedback.send([thumb])[0].status for _ in range(3)] == [201, 200, 200]
        assert loop.tenants.usage().events_per_day.used == 1
