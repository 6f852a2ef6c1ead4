from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.limiting.stand import Stand

from loopwright.limiting.windows import control_of, replayed


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    made.loop.limits.put("chat", prior=100, least=10, most=200, burst=1000)
    yield made
    made.close()


def rate(stand: Stand) -> float:
    return stand.loop.limits.status("chat").rate


def test_overload_cuts_the_rate_and_its_end_lets_it_grow_again(stand: Stand) -> None:
    stand.window(overloaded=0.8)
    assert rate(stand) == pytest.approx(85)
    stand.window(overloaded=0.8)
    assert rate(stand) == pytest.approx(85 * 0.85)
    low = rate(stand)
    stand.window(overloaded=0.0, used=1000)
    assert rate(stand) == pytest.approx(low * 1.01)
    assert stand.loop.limits.status("chat").why == "probe"


def test_ratings_move_the_rate_by_a_tenth_at_most(stand: Stand) -> None:
    for _ in range(6):
        stand.window(stars=5, overloaded=0.0)
    for _ in range(60):
        stand.window(stars=1, overloaded=0.0)
    status = stand.loop.limits.status("chat")
    assert status.guard == 100
    assert 0.9 <= status.trim < 1
    assert status.rate == pytest.approx(100 * status.trim)


def test_a_flood_of_ratings_moves_nothing(stand: Stand) -> None:
    for _ in range(6):
        stand.window(stars=5, overloaded=0.0)
    before = stand.loop.limits.status("chat").trim
    stand.window(stars=1, voices=300, overloaded=0.0)
    status = stand.loop.limits.status("chat")
    assert status.is_suspicious
    assert status.trim == pytest.approx(before, abs=0.02)


def test_only_ratings_of_the_limits_feature_count(stand: Stand) -> None:
    stand.loop.limits.put("search", prior=50, feature_id="search")
    stand.limits.run()
    stand.rate(1, who="ada", feature="chat")
    stand.rate(1, who="bob", feature="search")
    stand.limits.run()
    assert stand.loop.limits.status("search").waiting == 1
    assert stand.loop.limits.status("chat").waiting == 2


def test_a_repeated_rating_counts_once_and_a_changed_one_is_refused(stand: Stand) -> None:
    id = "11111111-1111-4111-8111-111111111111"
    stand.rate(5, who="ada", id=id)
    again = stand.rate(5, who="ada", id=id)
    assert again.content.results[0].duplicate
    assert stand.rate(1, who="ada", id=id).content.results[0].status == 409
    stand.limits.run()
    assert stand.loop.limits.status("chat").waiting == 1


@pytest.mark.parametrize("stars", [0, 6, 3.5, "5", float("nan"), None], ids=str)
def test_what_is_no_rating_is_refused_counted_and_moves_nothing(stand: Stand, stars: Any) -> None:
    item = {"event_id": "11111111-1111-4111-8111-111111111111", "user_id": "u", "session_id": "s",
            "timestamp": "2025-06-15T15:06:40Z", "rating": stars}  # fmt: skip
    prepared = stand.services.door.typed_intake.prepare("default", "rating", [item])
    assert prepared.facts == []
    assert stand.services.door.typed_intake.ratings == {"accepted": 0, "error": 1}


def test_a_replay_of_the_log_gives_the_same_windows_bit_for_bit(stand: Stand) -> None:
    for n in range(12):
        stand.window(stars=1 + n % 5, overloaded=(n % 3) / 2, used=40 * n)
    stand.loop.limits.put("chat", prior=100, least=20, most=150, burst=500)
    for n in range(6):
        stand.window(stars=5 - n % 5, overloaded=0.0, used=10)
    facts = stand.facts()
    told = [(offset, control_of(fact)) for offset, fact in facts if fact in stand.moves()]
    assert len(told) == 18
    assert replayed("default", "chat", facts) == told


def test_a_restart_goes_on_where_the_log_left_off(stand: Stand, tmp_path: Path) -> None:
    other = tmp_path.parent / f"{tmp_path.name}-whole"
    whole = Stand(other)
    whole.loop.limits.put("chat", prior=100, least=10, most=200, burst=1000)
    for n in range(8):
        for each in (stand, whole):
            each.window(stars=1 + n % 5, overloaded=(n % 4) / 3)
        stand.close()
        stand.open()
    one, two = (each.loop.limits.status("chat") for each in (stand, whole))
    assert msgspec.structs.replace(one, limit=two.limit) == two
    whole.close()


def test_a_window_that_a_kill_left_in_the_log_alone_is_taken_over_and_not_made_twice(
    stand: Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.window(overloaded=0.8)
    stand.limits.run()
    stand.loop.limits.report("chat", overloaded=0.9)
    stand.clock.advance(seconds=10)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        # The fact is in the log, and the process dies before it has read it back.
        patch.setattr("loopwright.limiting.store.keep_state", killed)
        with pytest.raises(KeyboardInterrupt):
            stand.limits.run()
    stand.close()
    stand.open()
    stand.limits.run()
    assert rate(stand) == pytest.approx(100 * 0.85 * 0.85)
    versions = [fact.control["version"] for fact in stand.moves()]
    assert versions == [1, 2]


def test_without_anything_seen_for_a_minute_the_prior_is_served(stand: Stand) -> None:
    stand.window(overloaded=1.0)
    assert rate(stand) == pytest.approx(85)
    stand.clock.advance(seconds=61)
    stand.limits.run()
    assert rate(stand) == 100
    assert len(stand.moves()) == 1


def test_a_clock_that_goes_back_ends_no_window_and_stops_none(stand: Stand) -> None:
    stand.window(overloaded=1.0)
    stand.clock.advance(seconds=-3600)
    stand.window(overloaded=1.0)
    assert len(stand.moves()) == 1
    stand.clock.advance(seconds=7200)
    stand.window(overloaded=1.0)
    assert len(stand.moves()) == 2
