from __future__ import annotations

import msgspec
import pytest

import loopwright
from loopwright.catalog import Quotas as CatalogQuotas
from loopwright.catalog import Tenant as CatalogTenant
from loopwright.core.tenancy import Quotas, Tenant, Usage


def test_both_doors_answer_with_the_same_classes(tmp_path) -> None:
    assert (CatalogTenant, CatalogQuotas) == (Tenant, Quotas)
    with loopwright.open(tmp_path) as loop:
        assert isinstance(loop.tenants.usage(), Usage)


@pytest.mark.parametrize("value", [-1, 2**53 + 1])
def test_a_quota_is_a_number_that_every_client_can_hold(value: int) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"experiments": value}, Quotas)


def test_an_older_client_reads_a_quota_that_it_does_not_know() -> None:
    body = b'{"id":"t","quotas":{"experiments":3,"moon_landings":1}}'
    assert msgspec.json.decode(body, type=Tenant).quotas == Quotas(experiments=3)
