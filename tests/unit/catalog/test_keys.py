from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.catalog import Catalog, store
from loopwright.catalog.secret import digest_of
from loopwright.core.errors import Conflict, Forbidden, Invalid, NotFound, Unauthenticated
from loopwright.core.events import Changed, Fact, KeyChanged
from loopwright.core.ids import Ids
from loopwright.core.principal import Principal
from loopwright.core.schema import apply_schema
from loopwright.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "catalog.db")
    yield database
    database.close()


def catalog_on(database: SqliteDatabase, clock: ManualClock) -> Catalog:
    return Catalog(database, clock=clock, ids=Ids(clock, random.Random(1)))


@pytest.fixture
def catalog(database: SqliteDatabase, clock: ManualClock) -> Catalog:
    catalog = catalog_on(database, clock)
    catalog.tenants.create("acme")
    catalog.tenants.create("globex")
    return catalog


def test_a_new_key_authenticates_as_text_and_as_bytes(catalog: Catalog):
    issued = catalog.keys.create("acme", ["select", "feedback"], name="shop")
    expected = Principal("acme", issued.key.id, frozenset({"select", "feedback"}))
    assert catalog.authenticate(issued.secret) == expected
    assert catalog.authenticate(issued.secret.encode()) == expected


def test_a_key_begins_with_its_prefix_and_carries_256_random_bits(catalog: Catalog):
    first, second = (catalog.keys.create("acme", ["read"]) for _ in range(2))
    assert first.secret.startswith(first.key.prefix + "_")
    assert first.key.prefix.startswith("lw_")
    assert first.key.prefix != second.key.prefix
    secrets = [i.secret.removeprefix(i.key.prefix) for i in (first, second)]
    assert len(secrets[0]) >= 43
    assert secrets[0] != secrets[1]


def test_no_secret_reaches_the_disk(catalog: Catalog, tmp_path: Path):
    issued = catalog.keys.create("acme", ["read"])
    rotated = catalog.keys.rotate("acme", issued.key.id, grace_s=60)
    with sqlite3.connect(tmp_path / "catalog.db") as peek:
        stored = "\n".join(peek.iterdump())
    peek.close()
    assert issued.key.id in stored
    for secret in (issued.secret, rotated.secret):
        assert secret.removeprefix(issued.key.prefix + "_") not in stored


@pytest.mark.parametrize("raw", ["", "lw_", b"\xff\xfe", "lw_000000000000_guess", "\ud800"])
def test_an_unknown_key_is_refused(catalog: Catalog, raw: str | bytes):
    with pytest.raises(Unauthenticated, match="not known"):
        catalog.authenticate(raw)


def test_a_key_ends_at_its_expiry(catalog: Catalog, clock: ManualClock):
    issued = catalog.keys.create("acme", ["read"], expires_at_ms=clock.now_ms() + 1000)
    clock.advance(seconds=0.999)
    catalog.authenticate(issued.secret)
    clock.advance(seconds=0.001)
    with pytest.raises(Unauthenticated, match="expired"):
        catalog.authenticate(issued.secret)


def test_an_expiry_in_the_past_is_refused(catalog: Catalog, clock: ManualClock):
    with pytest.raises(Invalid, match="has passed"):
        catalog.keys.create("acme", ["read"], expires_at_ms=clock.now_ms())


@pytest.mark.parametrize("scopes", [[], ["select", "fly"]])
def test_scopes_must_be_known_and_at_least_one(catalog: Catalog, scopes: list[str]):
    with pytest.raises(Invalid, match=r"empty|fly"):
        catalog.keys.create("acme", scopes)


def test_a_key_needs_a_tenant_that_exists(catalog: Catalog):
    with pytest.raises(NotFound, match="nobody"):
        catalog.keys.create("nobody", ["read"])


def test_rotation_without_grace_ends_the_old_secret_at_once(catalog: Catalog):
    old = catalog.keys.create("acme", ["read"])
    new = catalog.keys.rotate("acme", old.key.id)
    assert catalog.authenticate(new.secret).key_id == old.key.id
    assert new.key.prefix == old.key.prefix
    with pytest.raises(Unauthenticated):
        catalog.authenticate(old.secret)


def test_rotation_with_grace_keeps_the_old_secret_for_that_long(
    catalog: Catalog, clock: ManualClock
):
    old = catalog.keys.create("acme", ["read"])
    new = catalog.keys.rotate("acme", old.key.id, grace_s=60)
    assert new.key.previous_valid_until_ms == clock.now_ms() + 60_000
    clock.advance(seconds=59)
    assert catalog.authenticate(old.secret) == catalog.authenticate(new.secret)
    clock.advance(seconds=1)
    with pytest.raises(Unauthenticated, match="expired"):
        catalog.authenticate(old.secret)
    catalog.authenticate(new.secret)


def test_a_second_rotation_ends_the_first_grace_period(catalog: Catalog):
    first = catalog.keys.create("acme", ["read"])
    second = catalog.keys.rotate("acme", first.key.id, grace_s=600)
    third = catalog.keys.rotate("acme", first.key.id, grace_s=600)
    catalog.authenticate(second.secret)
    catalog.authenticate(third.secret)
    with pytest.raises(Unauthenticated):
        catalog.authenticate(first.secret)


def test_grace_never_outlives_the_key(catalog: Catalog, clock: ManualClock):
    old = catalog.keys.create("acme", ["read"], expires_at_ms=clock.now_ms() + 1000)
    catalog.keys.rotate("acme", old.key.id, grace_s=60)
    clock.advance(seconds=1)
    with pytest.raises(Unauthenticated, match="expired"):
        catalog.authenticate(old.secret)


@pytest.mark.parametrize("grace_s", [-1.0, float("nan"), float("inf"), 1e9])
def test_a_grace_period_has_bounds(catalog: Catalog, grace_s: float):
    issued = catalog.keys.create("acme", ["read"])
    with pytest.raises(Invalid, match="grace_s"):
        catalog.keys.rotate("acme", issued.key.id, grace_s=grace_s)
    catalog.authenticate(issued.secret)


def test_revoking_ends_every_secret_of_a_key_for_good(catalog: Catalog, clock: ManualClock):
    old = catalog.keys.create("acme", ["read"])
    new = catalog.keys.rotate("acme", old.key.id, grace_s=60)
    revoked = catalog.keys.revoke("acme", old.key.id)
    assert revoked.revoked_at_ms == clock.now_ms()
    for secret in (old.secret, new.secret):
        with pytest.raises(Unauthenticated):
            catalog.authenticate(secret)
    with pytest.raises(Conflict, match="revoked"):
        catalog.keys.rotate("acme", old.key.id)
    clock.advance(seconds=5)
    assert catalog.keys.revoke("acme", old.key.id) == revoked


def test_keys_of_another_tenant_do_not_exist(catalog: Catalog):
    issued = catalog.keys.create("acme", ["read"])
    for attempt in (catalog.keys.get, catalog.keys.rotate, catalog.keys.revoke):
        with pytest.raises(NotFound):
            attempt("globex", issued.key.id)
    assert catalog.keys.all("globex") == []
    catalog.authenticate(issued.secret)


def test_keys_survive_a_restart_with_their_grace_and_their_end(
    catalog: Catalog, database: SqliteDatabase, clock: ManualClock
):
    old = catalog.keys.create("acme", ["read"], name="shop")
    new = catalog.keys.rotate("acme", old.key.id, grace_s=60)
    gone = catalog.keys.create("acme", ["read"])
    catalog.keys.revoke("acme", gone.key.id)
    again = catalog_on(database, clock)
    assert again.keys.all("acme") == catalog.keys.all("acme")
    again.authenticate(old.secret)
    again.authenticate(new.secret)
    with pytest.raises(Unauthenticated):
        again.authenticate(gone.secret)
    clock.advance(seconds=60)
    with pytest.raises(Unauthenticated):
        again.authenticate(old.secret)


def test_last_use_is_seen_at_once_and_stored_when_flushed(
    catalog: Catalog, database: SqliteDatabase, clock: ManualClock
):
    issued = catalog.keys.create("acme", ["read"])
    assert catalog.keys.get("acme", issued.key.id).last_used_ms is None
    clock.advance(seconds=5)
    catalog.authenticate(issued.secret)
    used_ms = clock.now_ms()
    assert catalog.keys.get("acme", issued.key.id).last_used_ms == used_ms
    assert catalog_on(database, clock).keys.get("acme", issued.key.id).last_used_ms is None
    assert catalog.keys.flush_last_used() == 1
    assert catalog.keys.flush_last_used() == 0
    assert catalog_on(database, clock).keys.get("acme", issued.key.id).last_used_ms == used_ms


def test_last_use_survives_rotation_and_revocation(
    catalog: Catalog, database: SqliteDatabase, clock: ManualClock
):
    issued = catalog.keys.create("acme", ["read"])
    catalog.authenticate(issued.secret)
    used_ms = clock.now_ms()
    clock.advance(seconds=5)
    assert catalog.keys.rotate("acme", issued.key.id).key.last_used_ms == used_ms
    assert catalog.keys.revoke("acme", issued.key.id).last_used_ms == used_ms
    assert catalog_on(database, clock).keys.get("acme", issued.key.id).last_used_ms == used_ms


def test_a_missing_scope_is_refused_with_what_was_found_and_expected():
    principal = Principal("acme", "k", frozenset({"read", "select"}))
    principal.require("select")
    with pytest.raises(Forbidden, match="'manage'; the key has read, select") as refused:
        principal.require("manage")
    assert refused.value.detail == {"found": ["read", "select"], "expected": "manage"}


def test_a_key_is_not_stored_when_its_secret_cannot_be_handed_over(
    catalog: Catalog, database: SqliteDatabase, clock: ManualClock
) -> None:
    seen: list[str] = []

    def refuse(secret: str) -> None:
        seen.append(secret)
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        catalog.keys.create("acme", ["read"], hand_over=refuse)
    for opened in (catalog, catalog_on(database, clock)):
        assert opened.keys.all("acme") == []
        with pytest.raises(Unauthenticated):
            opened.authenticate(seen[0])


def before_roles(database: SqliteDatabase, *keys: tuple[str, str, str, int | None]) -> None:
    """Make the tables of before roles, with keys as (id, tenant, scopes, when revoked)."""
    apply_schema(database, "catalog", store.SCHEMA[:2])
    with database.transaction() as session:
        session.executemany("INSERT INTO tenants VALUES (?, '', 0)", [("acme",), ("default",)])
        for id, tenant, scopes, revoked_ms in keys:
            session.execute(
                "INSERT INTO keys (id, tenant_id, name, scopes, digest, created_at_ms, revoked_at_ms, revision) "
                "VALUES (?, ?, '', ?, ?, 0, ?, 1)",
                (id, tenant, scopes, digest_of(f"secret of {id}").hex(), revoked_ms),
            )


EVERYTHING = "select feedback read manage admin"


def test_of_the_keys_from_before_roles_the_first_admin_of_the_default_tenant_is_the_operators(
    database: SqliteDatabase, clock: ManualClock
) -> None:
    before_roles(
        database,
        ("00", "acme", EVERYTHING, None),
        ("01", "default", "read", None),
        ("02", "default", EVERYTHING, 5),
        ("03", "default", EVERYTHING, None),
        ("04", "default", "admin", None),
    )
    for _ in range(2):
        catalog = catalog_on(database, clock)
        found = {
            id: catalog.authenticate(f"secret of {id}").is_operator
            for id in ("00", "01", "03", "04")
        }
        assert found == {"00": False, "01": False, "03": True, "04": False}
        assert catalog.authenticate("secret of 04").scopes == {"admin"}


def test_the_log_is_told_of_the_key_that_became_the_operators(
    database: SqliteDatabase, clock: ManualClock
) -> None:
    before_roles(database, ("03", "default", EVERYTHING, None))
    told: list[Fact] = []

    def append(facts: Sequence[Fact], keys: Sequence[bytes]) -> int:
        told.extend(facts)
        return len(told)

    Catalog(database, clock=clock, ids=Ids(clock, random.Random(1)), append=append).relay()
    changed = [fact for fact in told if isinstance(fact, KeyChanged)]
    assert [(f.stored.key.id, f.stored.revision, f.actor) for f in changed] == [
        ("03", 2, "upgrade")
    ]
    assert "operator" in changed[0].stored.key.scopes
    assert [f.action for f in told if isinstance(f, Changed)] == ["appoint"]


def test_an_operator_key_that_is_revoked_is_not_replaced_by_the_next_start(
    database: SqliteDatabase, clock: ManualClock
) -> None:
    before_roles(database, ("03", "default", EVERYTHING, None), ("04", "default", "admin", None))
    catalog_on(database, clock).keys.revoke("default", "03")
    assert not catalog_on(database, clock).authenticate("secret of 04").is_operator


def test_a_tenant_id_is_taken_once_and_must_be_a_slug(catalog: Catalog):
    with pytest.raises(Conflict, match="acme"):
        catalog.tenants.create("acme")
    for bad in ("", "a/b", "-a", "a" * 129, "a\n"):
        with pytest.raises(Invalid, match="tenant id"):
            catalog.tenants.create(bad)
    assert [tenant.id for tenant in catalog.tenants.all()] == ["acme", "default", "globex"]
    with pytest.raises(NotFound):
        catalog.tenants.get("nobody")


def test_a_key_that_was_just_used_ends_at_once_when_it_is_rotated_or_revoked(
    catalog: Catalog, clock: ManualClock
) -> None:
    issued = catalog.keys.create("default", ["select"])
    assert catalog.authenticate(issued.secret).key_id == issued.key.id
    rotated = catalog.keys.rotate("default", issued.key.id, grace_s=60)
    assert catalog.authenticate(issued.secret).key_id == issued.key.id
    assert catalog.authenticate(rotated.secret).key_id == issued.key.id
    clock.advance(seconds=61)
    with pytest.raises(Unauthenticated):
        catalog.authenticate(issued.secret)
    catalog.keys.revoke("default", issued.key.id)
    with pytest.raises(Unauthenticated):
        catalog.authenticate(rotated.secret)
