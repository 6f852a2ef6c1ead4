from __future__ import annotations

from dataclasses import dataclass

import pytest

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.principal import Principal
from loopwright.web.asking import acting_tenant, expected_revision


@dataclass
class Tenant:
    id: str


class Known:
    """Knows the tenants acme and other."""

    def get(self, tenant_id: str) -> Tenant:
        if tenant_id not in ("acme", "other"):
            raise NotFound(f"there is no tenant '{tenant_id}'")
        return Tenant(tenant_id)


class Holder:
    """A catalog with those tenants."""

    tenants = Known()


def asked(scope: str, tenant_id: str | None = None) -> str:
    return acting_tenant(Principal("acme", "k", frozenset({scope})), Holder(), tenant_id)


def test_a_request_is_about_the_keys_tenant_unless_the_operator_names_another() -> None:
    assert asked("read") == "acme"
    assert asked("operator", "other") == "other"
    for scope in ("read", "admin"):
        with pytest.raises(NotFound):
            asked(scope, "other")


def test_a_tenant_that_is_not_there_is_not_found_even_for_the_operator() -> None:
    with pytest.raises(NotFound, match="no tenant 'gone'"):
        asked("operator", "gone")


@pytest.mark.parametrize("tag", ['"3"', 'W/"3"', "3", ' "3" '])
def test_a_revision_may_be_tagged_in_any_usual_way(tag: str) -> None:
    assert expected_revision(tag) == 3
    assert expected_revision(tag, 3) == 3


@pytest.mark.parametrize("tag", ["", "abc", '"-1"', '"3", "4"', '"3.0"', '"' + "9" * 19 + '"'])
def test_a_tag_that_names_no_revision_is_refused(tag: str) -> None:
    with pytest.raises(Invalid, match="send the ETag"):
        expected_revision(tag)


def test_any_revision_is_expected_by_a_star_and_by_nothing() -> None:
    assert (expected_revision("*"), expected_revision(" * ", 4)) == (None, 4)
    assert (expected_revision(None), expected_revision(None, 7)) == (None, 7)


def test_two_revisions_that_differ_are_refused() -> None:
    with pytest.raises(Invalid, match="If-Match says revision 3, the query says 4"):
        expected_revision('"3"', 4)
