from __future__ import annotations

import pytest

from loopwright.core.errors import Forbidden, NotFound
from loopwright.core.principal import SCOPES, Principal, Scope


def holder(*scopes: str) -> Principal:
    return Principal("acme", "key-1", frozenset(scopes))


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_may_do_what_its_scope_says_and_an_admin_everything(scope: Scope) -> None:
    holder(scope).require(scope)
    holder("admin").require(scope)
    with pytest.raises(Forbidden, match=f"scope '{scope}'; the key has none") as refused:
        holder().require(scope)
    assert refused.value.detail == {"found": [], "expected": scope}


def test_a_refusal_names_the_scopes_that_the_key_has() -> None:
    with pytest.raises(Forbidden, match="the key has feedback, select"):
        holder("select", "feedback").require("manage")


def test_a_key_acts_for_its_own_tenant_and_learns_nothing_about_others() -> None:
    assert holder("read").acting_for(None) == "acme"
    assert holder("read").acting_for("acme") == "acme"
    with pytest.raises(NotFound, match="there is no tenant 'other'"):
        holder("select", "feedback", "read", "manage").acting_for("other")


def test_an_admin_acts_for_any_tenant_and_by_default_for_its_own() -> None:
    assert holder("admin").acting_for("other") == "other"
    assert holder("admin").acting_for(None) == "acme"
