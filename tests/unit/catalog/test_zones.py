"""The time zone of a tenant: set, kept, and refused when there is none of that name."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from loopwright.backends import resolve
from loopwright.backends.memory import memory_database
from loopwright.catalog import DEFAULT_TENANT, Catalog
from loopwright.catalog.zones import checked_zone
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.ids import Ids
from loopwright.core.ports import Database
from loopwright.testing import ManualClock


def catalog_of(database: Database) -> Catalog:
    clock = ManualClock()
    return Catalog(database, clock=clock, ids=Ids(clock, random.Random(1)))


def test_a_tenants_zone_is_utc_until_another_is_set() -> None:
    zones = catalog_of(memory_database()).zones
    assert zones.of(DEFAULT_TENANT) == "UTC"
    assert zones.set(DEFAULT_TENANT, "Europe/Berlin") == "Europe/Berlin"
    zones.set(DEFAULT_TENANT, "Asia/Kolkata")
    assert zones.of(DEFAULT_TENANT) == "Asia/Kolkata"


def test_tenants_have_zones_of_their_own() -> None:
    catalog = catalog_of(memory_database())
    catalog.tenants.create("acme")
    catalog.zones.set("acme", "Europe/Berlin")
    assert catalog.zones.of(DEFAULT_TENANT) == "UTC"
    with pytest.raises(NotFound, match="no tenant 'nobody'"):
        catalog.zones.set("nobody", "Europe/Berlin")


def test_a_zone_is_kept(tmp_path: Path) -> None:
    url = resolve.sqlite_url(tmp_path)
    for expected in ("UTC", "Europe/Berlin"):
        database = resolve.database(url, "catalog")
        zones = catalog_of(database).zones
        assert zones.of(DEFAULT_TENANT) == expected
        zones.set(DEFAULT_TENANT, "Europe/Berlin")
        database.close()


@pytest.mark.parametrize(
    "name",
    ["", "Mars/Phobos", "Europe", "../UTC", "/etc/passwd", "Europe/Berlin\x00", "CEST ", "é"],
)
def test_a_name_of_no_zone_is_refused(name: str) -> None:
    with pytest.raises(Invalid, match="expected a time zone of the IANA database"):
        checked_zone(name)
