from __future__ import annotations

from typing import Any

import pytest
from tests.unit.feedback.world import World
from tests.unit.people.log import Log

from loopwright.core.errors import NotFound
from loopwright.core.events import Erased
from loopwright.people import erase_person

THUMB = {"kind": "rating", "scale": "thumbs", "value": 1, "output_id": "o", "user_id": "u"}


def erase(world: World, log: Log, id: str) -> Any:
    return erase_person(
        world.people,
        log.append,
        tenant_id="acme",
        id=id,
        count_rows=lambda tenant, person, ids: {"feedback": 3 if person else 0, "decisions": 0},
        forget_quarantined=world.quarantine.forget,
        at_ms=world.clock.now_ms(),
    )


def test_erasing_cuts_the_link_for_good(world: World) -> None:
    log = Log()
    before = world.fact(THUMB).note.person
    world.refused({**THUMB, "value": 3})
    world.refused({**THUMB, "value": 3, "user_id": "v"})
    report = erase(world, log, "u")
    assert (report.person, report.rows, report.quarantined) == (
        before,
        {"decisions": 0, "feedback": 3},
        1,
    )
    (fact,) = log.facts
    assert isinstance(fact, Erased)
    assert (fact.person, fact.report) == (before, {"rows": {"decisions": 0, "feedback": 3}})
    with pytest.raises(NotFound):
        world.people.find("acme", "u")
    again = world.fact({**THUMB, "output_id": "p"}).note.person
    assert again not in (None, before)
    assert world.quarantine.list("acme").held == 1


def test_erasing_again_after_a_crash_says_it_once(world: World) -> None:
    log = Log()
    person = world.people.resolve("acme", ["u"])["u"]

    class Power(Exception):
        pass

    def fail(tenant: str, person: str) -> int:
        raise Power

    with pytest.raises(Power):
        erase_person(
            world.people,
            log.append,
            tenant_id="acme",
            id="u",
            count_rows=lambda tenant, person, ids: {},
            forget_quarantined=fail,
            at_ms=1,
        )
    assert world.people.find("acme", "u").id == person.id
    report = erase(world, log, person.id)
    assert report.offset is None
    assert len(log.facts) == 1
    with pytest.raises(NotFound):
        erase(world, log, "u")
