from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path

import pytest
from tests.unit.feedback.world import World

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.errors import NotFound
from loopwright.people import People
from loopwright.people.pseudonyms import address_pseudonym
from loopwright.testing import ManualClock

THUMB = {"kind": "rating", "scale": "thumbs", "value": 1, "output_id": "o", "user_id": "u"}


def test_equal_users_of_one_tenant_are_one_person(world: World) -> None:
    found = world.people.resolve("acme", ["u", "v", "u"])
    assert found["u"] != found["v"]
    assert world.people.resolve("acme", ["u"])["u"] == found["u"]
    assert world.people.resolve("other", ["u"])["u"] != found["u"]


def test_a_pseudonym_says_nothing_about_the_user_id(world: World) -> None:
    person = world.people.resolve("acme", ["jane@example.com"])["jane@example.com"]
    rows = world.people_database.query("SELECT * FROM people")
    assert "jane" not in str(rows)
    assert len(person.id) == 32


def test_people_survive_a_restart_and_so_does_the_key(tmp_path: Path) -> None:
    seen = []
    for _ in range(2):
        database = SqliteDatabase(tmp_path / "people.db")
        people = People(database, clock=ManualClock())
        seen.append((people.key("acme"), people.resolve("acme", ["u"])["u"].id))
        database.close()
    assert seen[0] == seen[1]


def test_every_tenant_has_a_key_of_its_own(world: World) -> None:
    assert world.people.key("acme") != world.people.key("other")
    assert len(world.people.key("acme")) == 32
    one, other = (address_pseudonym(world.people.key(t), "203.0.113.9") for t in ("acme", "other"))
    assert one != other


def test_a_person_is_found_by_user_id_and_by_pseudonym(world: World) -> None:
    person = world.people.resolve("acme", ["u"])["u"]
    assert world.people.find("acme", "u").id == person.id
    assert world.people.find("acme", person.id).id == person.id
    for tenant, id in (("acme", "nobody"), ("other", "u"), ("other", person.id)):
        with pytest.raises(NotFound):
            world.people.find(tenant, id)


def test_when_people_were_first_seen_is_told_of_many_at_once(world: World) -> None:
    assert world.people.first_since("acme") is None
    began = world.clock.now_ms()
    made = []
    for k in range(3):
        found = world.people.resolve("acme", [f"u{k}-{n}" for n in range(400)])
        made.append([person.id for person in found.values()])
        world.clock.advance(seconds=1)
    world.people.resolve("other", ["u"])
    world.people.erase("acme", made[0][0])
    everybody = [id for ids in made for id in ids]
    since = world.people.since("acme", [*everybody, *everybody, "nobody"])
    assert since == {
        id: began + 1000 * k for k, ids in enumerate(made) for id in ids if id != made[0][0]
    }
    assert world.people.since("other", everybody) == {}
    assert world.people.first_since("acme") == began
    assert world.people.first_since("other") == began + 3000


def test_a_key_is_made_once_and_only_for_people_who_are_there(world: World) -> None:
    u, v = (person.id for person in world.people.resolve("acme", ["u", "v"]).values())
    keys = world.people.person_keys("acme", [u, v, "nobody"])
    assert set(keys) == {u, v}
    assert keys[u] != keys[v]
    assert {len(key) for key in keys.values()} == {32}
    assert world.people.person_keys("acme", [u])[u] == keys[u]
    assert world.people.person_key("acme", u) == keys[u]
    assert world.people.person_key("other", u) is None
    assert world.people.person_keys("other", [u]) == {}


@pytest.mark.parametrize("seed", [107, 137, 188])  # where overwriting alone leaves something
def test_erasing_leaves_no_byte_of_the_key_in_any_file(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "people.db"
    with closing(SqliteDatabase(path, is_private=True)) as database:
        people = People(
            database,
            clock=ManualClock(),
            random_bytes=random.Random(seed).randbytes,
            rewrite=database.rewrite,
        )
        found = people.resolve("acme", [f"u{n}" for n in range(400)])
        ids = [person.id for person in found.values()]
        keys = people.person_keys("acme", ids)

        def count(secrets: list[str]) -> int:
            files = [file.read_bytes() for file in tmp_path.iterdir()]
            return sum(any(s.encode() in file for file in files) for s in secrets)

        secrets = [keys[id].hex() for id in ids]
        assert count(secrets) == 400
        for id in ids[::2]:
            people.erase("acme", id)
        assert count(secrets[::2]) == count(ids[::2]) == 0
        assert count(secrets[1::2]) == count(ids[1::2]) == 200
        assert people.person_key("acme", ids[0]) is None
    assert count(secrets[::2]) == 0
