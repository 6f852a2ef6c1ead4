"""The finding about trust in a report; what weights do to an attack is in tests/flow."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.unit.warehouse.world import DAY, DOWN, NOW, UP, World, feedback

from loopwright.core.feedback import Target
from loopwright.insights.findings import Finding
from loopwright.insights.service import Insights
from loopwright.insights.trusted import trusted_report
from loopwright.trust.view import Trust
from loopwright.warehouse.period import Period

MONTH = Period(from_ms=NOW - 30 * DAY, to_ms=NOW + 1)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def notes(world: World, tenant_id: str = "acme") -> list[Finding]:
    warehouse = world.warehouse()
    insights = Insights(warehouse, clock=world.clock)
    found = trusted_report(insights, Trust(warehouse), tenant_id, MONTH)
    assert found.trust is not None
    return [finding for finding in found.findings if finding.kind == "trust"]


def test_honest_ratings_all_count_and_nothing_is_to_be_done(world: World) -> None:
    world.say(
        *(
            feedback(f"f{k}", UP if k % 4 else DOWN, person=f"p{k}", at_ms=NOW - k * DAY // 8)
            for k in range(40)
        )
    )
    (note,) = notes(world)
    assert "counts 40 of 40 ratings." in note.sentence
    assert "left out" not in note.sentence
    assert "Satisfaction is 75.0% as it was said and" in note.sentence
    assert note.action == ""


def test_what_was_left_out_is_named_with_where_to_look(world: World) -> None:
    world.say(
        *(
            feedback(f"f{k}", UP, tenant_id="a/b", target=Target(output_id=f"o{k}"), person="one")
            for k in range(40)
        )
    )
    (note,) = notes(world, "a/b")
    assert "left out:" in note.sentence
    # A tenant's id with a slash stays one segment of the path.
    assert "/api/v1/feedback/trust/a%2Fb" in note.action


def test_a_period_without_ratings_has_no_finding_about_them(world: World) -> None:
    assert notes(world) == []
