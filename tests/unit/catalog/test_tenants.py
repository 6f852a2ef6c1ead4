from __future__ import annotations

import random

import pytest

from loopwright.backends.memory import memory_database
from loopwright.catalog import DEFAULT_TENANT, Catalog
from loopwright.core.errors import Conflict, NotFound
from loopwright.core.ids import Ids
from loopwright.testing import ManualClock


@pytest.fixture
def catalog() -> Catalog:
    clock = ManualClock()
    return Catalog(memory_database(), clock=clock, ids=Ids(clock, random.Random(1)))


def test_an_installation_begins_with_the_default_tenant(catalog: Catalog) -> None:
    assert [tenant.id for tenant in catalog.tenants.all()] == [DEFAULT_TENANT]


def test_tenants_are_listed_by_id(catalog: Catalog) -> None:
    for id in ("zoo", "acme"):
        catalog.tenants.create(id, name=id.upper())
    assert [tenant.id for tenant in catalog.tenants.all()] == ["acme", DEFAULT_TENANT, "zoo"]
    assert catalog.tenants.get("zoo").name == "ZOO"


def test_an_id_that_is_taken_or_unknown_is_refused(catalog: Catalog) -> None:
    with pytest.raises(Conflict, match="already"):
        catalog.tenants.create(DEFAULT_TENANT)
    with pytest.raises(NotFound, match="no tenant 'acme'"):
        catalog.tenants.get("acme")
