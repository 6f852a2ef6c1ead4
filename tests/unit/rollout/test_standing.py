from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.rollout.conftest import Stand

from loopwright.core.errors import Conflict, Invalid, NotFound

HOUR_S = 3600


class Watched(Stand):
    """A loop whose ratings are sent, and whose triggers are looked at, by hand."""

    def rate(self, stars: int, n: int = 10) -> None:
        """Let `n` people give so many stars."""
        for _ in range(n):
            self.users += 1
            item = {
                "kind": "rating",
                "scale": "stars",
                "value": stars,
                "output_id": f"o{self.users}",
            }
            assert self.loop.feedback.send([item]).accepted == 1

    def watch(self, id: str = "t", **more: Any) -> None:
        self.loop.triggers.add(id, **({"condition": {"kind": "retrain"}} | more))

    def looked(self, *, seconds: float = 60) -> int:
        """Let time pass and the background work look; return how many firings there are."""
        self.clock.advance(seconds=seconds)
        self.services.truth.writer.flush()
        self.services.reacting.triggers.run()
        return len(self.loop.triggers.firings().items)


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    yield made
    made.close()


def test_the_rule_of_check_trigger_fires_with_its_own_sentence(stand: Watched) -> None:
    stand.watch()
    stand.rate(2, 9)
    assert stand.looked() == 0
    assert stand.loop.triggers.report("t").judged.reason == "insufficient_data (n=9)"
    stand.rate(2, 1)
    assert stand.looked() == 1
    (firing,) = stand.loop.triggers.firings(trigger_id="t").items
    assert firing.reason == "avg_rating=2.00 < threshold=3.0"
    assert firing.fired_at_ms - firing.from_ms == 7 * 24 * HOUR_S * 1000
    (created, fired) = stand.audit("trigger/t")
    assert (created.action, fired.action) == ("create", "fire")
    assert fired.detail["reason"] == firing.reason
    assert fired.detail["firing"] == firing.id


def test_one_cause_fires_once_until_it_is_over_and_the_cool_down_is_past(stand: Watched) -> None:
    stand.watch(window_days=0.5, cool_down_s=24 * HOUR_S)
    stand.rate(1)
    assert stand.looked() == 1
    stand.rate(1)
    assert stand.looked() == 1
    assert stand.loop.triggers.report("t").next.startswith("It has fired for this cause")
    # Thirteen hours on, the bad ratings are out of the window, and too few are in it to say anything.
    assert stand.looked(seconds=13 * HOUR_S) == 1
    assert stand.loop.triggers.report("t").trigger.is_firing
    stand.rate(5)
    assert stand.looked() == 1
    assert not stand.loop.triggers.report("t").trigger.is_firing
    stand.rate(1, 30)
    assert stand.looked() == 1
    assert "cools down" in stand.loop.triggers.report("t").next
    stand.looked(seconds=9 * HOUR_S)
    stand.rate(1, 30)
    assert stand.looked(seconds=2 * HOUR_S) == 2
    assert [fact.action for fact in stand.audit("trigger/t")] == ["create", "fire", "clear", "fire"]


def test_a_schedule_makes_up_for_missed_turns_once(stand: Watched) -> None:
    stand.watch(condition={"kind": "schedule", "every_s": HOUR_S})
    assert stand.looked() == 0
    assert stand.looked(seconds=HOUR_S) == 1
    assert stand.looked() == 1
    assert stand.looked(seconds=5 * HOUR_S) == 2
    assert stand.looked(seconds=HOUR_S) == 3


def test_a_kill_in_the_middle_of_a_firing_fires_once_after_the_restart(
    stand: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.watch(actions=[{"kind": "github"}])
    stand.rate(1)

    def killed(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(stand.services.truth.catalog.journal, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            stand.looked()
    assert stand.loop.triggers.deliveries().items == ()
    stand.loop.close()
    stand.open()
    assert stand.looked() == 1
    stand.loop.close()
    stand.open()
    assert stand.looked() == 1
    assert len(stand.loop.triggers.deliveries().items) == 1


def test_a_disabled_trigger_does_not_fire_and_a_removed_one_leaves_its_firings(
    stand: Watched,
) -> None:
    stand.watch(actions=[{"kind": "github"}])
    stand.loop.triggers.disable("t")
    stand.rate(1)
    assert stand.looked() == 0
    assert "disabled" in stand.loop.triggers.report("t").next
    assert stand.loop.triggers.enable("t").is_enabled
    assert stand.looked() == 1
    stand.loop.triggers.remove("t")
    assert [d.state for d in stand.loop.triggers.deliveries().items] == ["cancelled"]
    assert len(stand.loop.triggers.firings().items) == 1
    with pytest.raises(NotFound):
        stand.loop.triggers.report("t")
    stand.watch()
    assert stand.looked() == 2


def test_a_trigger_that_fails_does_not_keep_others_from_firing(
    stand: Watched, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand.watch("a", condition={"kind": "metric", "metric": "satisfaction", "below": 0.5})
    stand.watch("b")
    stand.rate(1)
    with monkeypatch.context() as patch:

        def broken(*_: object, **__: object) -> None:
            raise NotFound("gone")

        patch.setattr("loopwright.insights.service.Insights.report", broken)
        stand.clock.advance(seconds=60)
        with pytest.raises(NotFound):
            stand.services.reacting.triggers.run()
    assert [firing.trigger_id for firing in stand.loop.triggers.firings().items] == ["b"]


@pytest.mark.parametrize(
    ("more", "error", "said"),
    [
        ({"condition": {"kind": "metric", "metric": "nope", "below": 1}}, NotFound, "no metric"),
        ({"condition": {"kind": "metric", "metric": "nope"}}, Invalid, "either below or above"),
        ({"condition": {"kind": "volume"}}, Invalid, "give below, above or both"),
        ({"condition": {"kind": "volume", "below": 9, "above": 3}}, Invalid, "cannot lie both"),
        ({"condition": {"kind": "moon"}}, Invalid, "moon"),
        ({"actions": [{"kind": "command", "name": "rm"}]}, Invalid, "it has none"),
        ({"actions": [{"kind": "webhook", "url": "http://a.example"}]}, Invalid, "https"),
        ({"actions": [{"kind": "webhook", "url": "https://10.0.0.1/"}]}, Invalid, "private"),
        ({"window_days": 0}, Invalid, "window_days"),
    ],
    ids=["metric", "bound", "volume", "crossed", "kind", "command", "http", "private", "window"],
)
def test_what_cannot_be_is_refused(
    stand: Watched, more: dict[str, Any], error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        stand.watch(**more)


def test_an_id_is_taken_once(stand: Watched) -> None:
    stand.watch()
    with pytest.raises(Conflict, match="already a trigger 't'"):
        stand.watch()
