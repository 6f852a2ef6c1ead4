from __future__ import annotations

import pytest

from loopwright.core.errors import Forbidden, NotFound
from loopwright.core.principal import ROLES, SCOPES, Principal, Scope, role_of


def holder(*scopes: str) -> Principal:
    return Principal("acme", "key-1", frozenset(scopes))


@pytest.mark.parametrize("scope", SCOPES)
def test_a_key_may_do_what_its_scope_says_and_the_operator_everything(scope: Scope) -> None:
    holder(scope).require(scope)
    holder("operator").require(scope)
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


def test_an_admin_may_do_everything_in_its_own_tenant_and_nothing_of_the_installation() -> None:
    for scope in SCOPES:
        if scope != "operator":
            holder("admin").require(scope)
    with pytest.raises(Forbidden, match="scope 'operator'; the key has admin"):
        holder(*(scope for scope in SCOPES if scope != "operator")).require("operator")


def test_a_key_that_manages_may_also_review_as_it_could_before_there_was_that_scope() -> None:
    holder("manage").require("review")
    with pytest.raises(Forbidden):
        holder("review").require("manage")


def test_only_the_operator_acts_for_any_tenant_and_by_default_for_its_own() -> None:
    assert holder("operator").acting_for("other") == "other"
    assert holder("operator").acting_for(None) == "acme"
    with pytest.raises(NotFound, match="there is no tenant 'other'"):
        holder("admin").acting_for("other")


def test_a_role_is_known_by_its_scopes_in_any_order() -> None:
    for role, scopes in ROLES.items():
        assert role_of(scopes[::-1]) == role
    assert role_of(("select",)) is None


def test_every_role_but_the_operator_stays_in_its_tenant() -> None:
    for role, scopes in ROLES.items():
        assert holder(*scopes).is_operator == (role == "operator")
