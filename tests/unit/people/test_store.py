from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.people.store import PeopleStore, Person


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[tuple[PeopleStore, PeopleStore]]:
    """Two connections to one file, as two processes have them."""
    with (
        closing(SqliteDatabase(tmp_path / "people.db")) as one,
        closing(SqliteDatabase(tmp_path / "people.db")) as two,
    ):
        yield PeopleStore(one), PeopleStore(two)


def test_two_processes_that_make_the_same_tenants_key_agree_on_one(
    stores: tuple[PeopleStore, PeopleStore],
) -> None:
    one, two = stores
    assert one.tenant_key("acme", b"1" * 32) == two.tenant_key("acme", b"2" * 32) == b"1" * 32
    assert two.tenant_key("other", b"2" * 32) == b"2" * 32


def test_two_processes_that_meet_the_same_user_agree_on_one_person(
    stores: tuple[PeopleStore, PeopleStore],
) -> None:
    one, two = stores
    made = one.add("acme", {"u": "lookup"}, new_id=lambda: "p", now_ms=7)
    assert made == {"u": Person("p", None, 7)}
    assert two.add("acme", {"u": "lookup"}, new_id=lambda: "q", now_ms=9) == made
    assert two.find("acme", lookup="lookup", person="") == made["u"]


def test_a_key_is_added_only_for_a_person_who_exists(
    stores: tuple[PeopleStore, PeopleStore],
) -> None:
    store, other = stores
    store.add("acme", {"u": "lookup"}, new_id=lambda: "p", now_ms=7)
    store.add_person_keys("acme", {"p": b"k", "nobody": b"k"})
    other.add_person_keys("acme", {"p": b"later"})
    assert store.person_key("acme", "p") == b"k"
    assert store.person_key("acme", "nobody") is None


def test_a_deleted_person_leaves_no_row_and_no_key(
    stores: tuple[PeopleStore, PeopleStore],
) -> None:
    store, _ = stores
    store.add("acme", {"u": "lookup"}, new_id=lambda: "p", now_ms=7)
    store.add_person_keys("acme", {"p": b"k"})
    assert store.delete("acme", "p")
    assert not store.delete("acme", "p")
    assert store.person_key("acme", "p") is None
    assert store.find("acme", lookup="lookup", person="p") is None


def test_a_consent_of_no_scope_is_not_the_same_as_none(
    stores: tuple[PeopleStore, PeopleStore],
) -> None:
    store, _ = stores
    store.add("acme", {"u": "lookup"}, new_id=lambda: "p", now_ms=7)
    store.set_consent("acme", "p", ())
    assert store.find("acme", lookup="lookup", person="") == Person("p", (), 7)
    store.set_consent("acme", "p", ("store", "train"))
    assert store.find("acme", lookup="", person="p") == Person("p", ("store", "train"), 7)
