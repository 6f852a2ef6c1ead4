"""What memory lets in; rotation and revocation through the database are in test_keys."""

from __future__ import annotations

from typing import Any

import pytest

from loopwright.catalog.access import Access
from loopwright.catalog.secret import digest_of
from loopwright.core.errors import NotFound, Unauthenticated
from loopwright.core.principal import Key, StoredKey
from loopwright.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def access(clock: ManualClock) -> Access:
    return Access(clock)


def stored(
    secret: str, *, previous: str | None = None, id: str = "k1", revision: int = 1, **key: Any
) -> StoredKey:
    made = Key(
        **{
            "id": id,
            "tenant_id": "acme",
            "name": "",
            "scopes": ("read",),
            "prefix": "lw_",
            "created_at_ms": 0,
            **key,
        }
    )
    return StoredKey(
        made, digest_of(secret), None if previous is None else digest_of(previous), revision
    )


def test_text_and_bytes_of_a_secret_are_the_same_key(access: Access) -> None:
    access.put(stored("s1"))
    assert access.authenticate("s1") == access.authenticate(b"s1")
    assert access.authenticate("s1").tenant_id == "acme"
    for wrong in ("s2", "", b"\xff", "s1 "):
        with pytest.raises(Unauthenticated, match="not known here"):
            access.authenticate(wrong)


def test_a_cached_secret_ends_with_its_key(access: Access, clock: ManualClock) -> None:
    access.put(stored("s1", expires_at_ms=clock.now_ms() + 1000))
    access.authenticate("s1")  # is in the cache from now on
    clock.advance(seconds=1)
    with pytest.raises(Unauthenticated, match="expired"):
        access.authenticate("s1")


def test_a_grace_period_cannot_outlive_the_key(access: Access, clock: ManualClock) -> None:
    now = clock.now_ms()
    access.put(
        stored("new", previous="old", previous_valid_until_ms=now + 9000, expires_at_ms=now + 1000)
    )
    access.authenticate("old")
    clock.advance(seconds=1)
    with pytest.raises(Unauthenticated):
        access.authenticate("old")


def test_new_scopes_hold_at_once_for_a_secret_that_is_cached(access: Access) -> None:
    access.put(stored("s1"))
    before = access.authenticate("s1")
    access.put(stored("s1", scopes=("manage",), revision=2))
    assert access.authenticate("s1").scopes == {"manage"}
    assert before.scopes == {"read"}
    assert access.revision("k1") == 2


def test_a_replaced_or_revoked_key_lets_nobody_in_also_from_the_cache(access: Access) -> None:
    access.put(stored("s1"))
    access.authenticate("s1")
    access.put(stored("s2", revision=2))
    with pytest.raises(Unauthenticated):
        access.authenticate("s1")
    access.authenticate("s2")
    access.put(stored("s2", revoked_at_ms=5, revision=3))
    with pytest.raises(Unauthenticated):
        access.authenticate("s2")
    assert access.get("acme", "k1").key.revoked_at_ms == 5


def test_more_busy_secrets_than_the_cache_holds_are_all_let_in(access: Access) -> None:
    for n in range(1100):
        access.put(stored(f"s{n}", id=f"k{n}"))
    assert {access.authenticate(f"s{n}").key_id for n in range(1100)} == {
        f"k{n}" for n in range(1100)
    }
    assert len(access.all()) == 1100


def test_a_key_of_another_tenant_is_not_there(access: Access) -> None:
    access.put(stored("s1"))
    for tenant, id in (("globex", "k1"), ("acme", "k2")):
        with pytest.raises(NotFound):
            access.get(tenant, id)
    assert access.revision("k2") == 0


def test_the_last_use_is_the_later_one_of_memory_and_database(
    access: Access, clock: ManualClock
) -> None:
    access.put(stored("s1"))
    assert access.view(access.get("acme", "k1")).last_used_ms is None
    access.authenticate("s1")
    used = clock.now_ms()
    assert access.view(access.get("acme", "k1")).last_used_ms == used
    access.note_use("k1", used + 5)
    assert access.view(access.get("acme", "k1")).last_used_ms == used + 5
