"""Rows of the warehouse as the items that were sent."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from tests.unit.feedback.world import THUMB, World

from loopwright.core.events import Erased, Fact, Received
from loopwright.core.feedback import Outcome
from loopwright.feedback.sent import AsSent, item_of


class Log:
    """The facts of a log by offset, and which were asked for."""

    def __init__(self, facts: dict[int, Fact]) -> None:
        self.facts = facts
        self.asked: list[set[int]] = []

    def __call__(self, offsets: Collection[int]) -> Iterator[Fact]:
        self.asked.append(set(offsets))
        return (self.facts[at] for at in sorted(offsets) if at in self.facts)


def rows(*offsets: int) -> list[dict[str, Any]]:
    return [{"log_offset": offset} for offset in offsets]


def test_items_come_back_in_the_order_of_the_log_and_others_are_left_out(world: World) -> None:
    facts: dict[int, Fact] = {
        n: world.fact({**THUMB, "output_id": f"o{n}"}) for n in (3, 4, 6, 7, 9, 12)
    }
    log = Log(facts)
    items = AsSent(log)(rows(4, 7, 9))
    assert [item["output_id"] for item in items] == ["o4", "o7", "o9"]
    assert all(item["value"] == 1 and item["created_at"] for item in items)
    assert log.asked == [{4, 7, 9}]


def test_no_rows_are_no_items_and_rows_that_are_gone_neither(world: World) -> None:
    log = Log({})
    assert AsSent(log)([]) == []
    assert AsSent(log)(rows(5, 9)) == []
    assert log.asked == [set(), {5, 9}]


def test_a_reward_has_its_decision_and_an_inner_fact_no_item_of_its_own(world: World) -> None:
    decision = world.decision()
    reward = Received("e1", 1_700_000_000_000, decision, Outcome("clicked", 0.5))
    item = item_of(reward)
    assert item is not None
    assert (item["decision_id"], item["metric"], item["reward"]) == (decision.id, "clicked", 0.5)
    assert item["created_at"].startswith("2023-11-14T22:13:20")
    assert item_of(Erased("x", 1, "acme", "p")) is None


def test_an_item_has_the_pseudonym_of_its_person_and_never_the_id_that_was_sent(
    world: World,
) -> None:
    item = item_of(world.fact({**THUMB, "user_id": "ann@example.com"}))
    assert item is not None
    assert "ann@example.com" not in str(item)
    assert world.people.find("acme", "ann@example.com").id in str(item)
