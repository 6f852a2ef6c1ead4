from __future__ import annotations

from typing import Any

import pytest
from tests.unit.feedback.world import World
from tests.unit.people.log import Log

from loopwright.core.errors import Invalid
from loopwright.core.events import Consented
from loopwright.core.feedback import CONSENT_SCOPES
from loopwright.people import change_consent
from loopwright.people.consent import checked, require_store, said_consent, scopes_of


def test_nothing_said_grants_everything() -> None:
    assert scopes_of(None) == (CONSENT_SCOPES, ())


def test_an_unknown_scope_grants_nothing_and_is_told() -> None:
    assert scopes_of(["train", "frame", "store"]) == (("store", "train"), ("frame",))


def test_a_person_may_only_grant_what_there_is() -> None:
    assert checked(["share", "store"]) == ("store", "share")
    assert checked([]) == ()
    with pytest.raises(Invalid, match="frame"):
        checked(["frame"])


def test_without_store_nothing_may_be_kept() -> None:
    require_store(None, ("store",))
    with pytest.raises(Invalid, match="nothing of this was kept"):
        require_store(None, ("analyze",))


def test_a_consent_is_said_again_only_when_it_was_said() -> None:
    assert said_consent({}, CONSENT_SCOPES) is None
    assert said_consent({}, ("store",)) == ["store"]
    assert said_consent({"consent": ["store", "frame"]}, ("store",)) == ["store", "frame"]


@pytest.mark.parametrize(
    "item",
    [
        {"kind": "signal", "name": "copy", "output_id": "o", "consent": ["analyze"]},
        {"kind": "signal", "name": "copy", "output_id": "o", "consent": []},
        {"type": "query", "message_id": "m", "consent": []},
    ],
)
def test_a_fact_without_consent_to_store_leaves_no_trace(
    item: dict[str, object], world: World
) -> None:
    assert "'store'" in world.refused({**item, "user_id": "shy"})
    assert world.intake.without_consent == 1
    assert world.quarantine.list("acme").held == 0
    assert world.people_database.query("SELECT * FROM people") == []


def test_the_consent_of_a_fact_is_kept_with_it(world: World) -> None:
    item = {"kind": "signal", "name": "copy", "output_id": "o", "consent": ["store", "train"]}
    assert world.fact(item).note.consent == ("store", "train")


THUMB = {"kind": "rating", "scale": "thumbs", "value": 1, "output_id": "o", "user_id": "u"}


def consent(world: World, log: Log, id: str, *scopes: str) -> Any:
    return change_consent(
        world.people,
        log.append,
        tenant_id="acme",
        id=id,
        scopes=scopes,
        at_ms=world.clock.now_ms(),
    )


def test_consent_is_logged_and_overrides_what_facts_say(world: World) -> None:
    log = Log()
    world.fact(THUMB)
    person, offset = consent(world, log, "u", "analyze", "store")
    assert (person.consent, offset) == (("store", "analyze"), 1)
    fact = log.facts[0]
    assert isinstance(fact, Consented)
    assert (fact.person, fact.scopes) == (person.id, ("store", "analyze"))
    assert world.fact({**THUMB, "output_id": "p"}).note.person == person.id


def test_who_withdraws_storing_is_not_stored_any_more(world: World) -> None:
    log = Log()
    world.fact(THUMB)
    consent(world, log, "u")
    assert "'store'" in world.refused({**THUMB, "output_id": "p"})
    assert world.fact({**THUMB, "user_id": "v"}).note.person is not None
    assert world.intake.without_consent == 1
    assert world.quarantine.list("acme").held == 0
    consent(world, log, "u", "store")
    world.fact({**THUMB, "output_id": "q"})


def test_consent_may_come_before_the_first_fact(world: World) -> None:
    consent(world, Log(), "new", "store")
    assert world.people.find("acme", "new").consent == ("store",)


@pytest.mark.parametrize(("id", "scopes"), [("u", ["fly"]), ("", ["store"])])
def test_a_consent_that_makes_no_sense_is_refused(id: str, scopes: list[str], world: World) -> None:
    with pytest.raises(Invalid):
        consent(world, Log(), id, *scopes)
