from __future__ import annotations

from typing import Any

from loopwright.core.decision import Decision
from loopwright.core.digest import pseudonym
from loopwright.people.units import CACHED, Units, is_pseudonym

KEY = bytes(range(32))


def units() -> Units:
    return Units(lambda tenant_id: KEY if tenant_id == "acme" else bytes(32))


def decision(**changes: Any) -> Decision:
    return Decision("ab" * 16, "acme", "greeting", "a", 0.5, 1, 1, **changes)


def test_equal_ids_have_equal_pseudonyms_within_one_tenant() -> None:
    made = units()
    name = made.name("acme", "u-17")
    assert is_pseudonym(name)
    assert "u-17" not in name
    assert name == made.name("acme", "u-17") == units().name("acme", "u-17")
    assert len({name, made.name("acme", "u-18"), made.name("other", "u-17")}) == 3


def test_the_pseudonym_is_known_from_the_digest_that_people_are_found_by() -> None:
    made = units()
    assert made.of_lookup("acme", pseudonym(KEY, "u-17")) == made.name("acme", "u-17")


def test_more_units_than_the_cache_holds_keep_their_pseudonyms() -> None:
    made = units()
    first = made.name("acme", "u")
    for n in range(CACHED + 1):
        made.name("acme", f"u{n}")
    assert made.name("acme", "u") == first


def test_a_decision_from_an_earlier_token_is_stored_without_the_ids_in_it() -> None:
    made = units()
    metadata = {"user_id": "u-17", "reviewer": 4, "plan": "pro"}
    kept = made.decision(decision(unit_id="u-17", context_id="ü\ud800", metadata=metadata))
    assert kept.unit_id == made.name("acme", "u-17")
    assert kept.context_id == made.name("acme", "ü\ud800")
    assert kept.metadata == {
        "user_id": kept.unit_id,
        "reviewer": made.name("acme", "4"),
        "plan": "pro",
    }
    assert made.decision(kept) == kept
    bare = decision(metadata={"plan": "pro"})
    assert made.decision(bare) == bare
