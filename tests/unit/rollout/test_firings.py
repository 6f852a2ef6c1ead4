from __future__ import annotations

from pathlib import Path

from loopwright.rollout.firings import Firing, Firings


def firing(reason: str) -> Firing:
    return Firing(
        at="2026-11-27T10:00:00+00:00",
        tenant_id="acme",
        reason=reason,
        since_days=7,
        record_count=12,
        avg_rating=2.9,
        thumbs_down_rate=None,
        dispatched="local",
    )


def test_firings_are_appended_and_read_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "firings.jsonl"
    assert Firings(path).read() == []
    Firings(path).append(firing("first"))
    Firings(path).append(firing("second"))
    assert [found.reason for found in Firings(path).read()] == ["first", "second"]
    assert path.stat().st_mode & 0o777 == 0o600
