from __future__ import annotations

import hashlib

import pytest

from loopwright.catalog.secret import checked_scopes, digest_of, mint, prefix_of, scopes_of
from loopwright.core.errors import Invalid


def test_a_key_begins_with_the_random_end_of_its_id() -> None:
    prefix = prefix_of("0193aabbccdd7eee8fff001122334455")
    assert prefix == "lw_001122334455"
    assert mint(prefix).startswith(f"{prefix}_")


def test_no_two_keys_share_a_secret() -> None:
    assert mint("lw_0") != mint("lw_0")


def test_text_and_bytes_of_a_key_have_one_digest() -> None:
    assert digest_of("lw_1_x") == digest_of(b"lw_1_x") == hashlib.sha256(b"lw_1_x").digest()


def test_text_that_is_no_unicode_has_a_digest_too() -> None:
    assert len(digest_of("\ud800")) == 32


def test_scopes_are_kept_once_each_in_their_fixed_order() -> None:
    assert checked_scopes(["feedback", "select", "feedback"]) == checked_scopes(
        ["select", "feedback"]
    )


@pytest.mark.parametrize("scopes", [[], ["fly"], ["read", "fly"]])
def test_no_scope_and_an_unknown_one_are_refused(scopes: list[str]) -> None:
    with pytest.raises(Invalid, match="at least one"):
        checked_scopes(scopes)


def test_a_role_stands_for_its_scopes() -> None:
    assert scopes_of(None, "viewer") == ("read",)
    assert scopes_of(["read"], None) == ("read",)


def test_a_key_gets_either_a_role_or_scopes() -> None:
    for scopes, role in ((None, None), (["read"], "viewer")):
        with pytest.raises(Invalid, match="either `role` or `scopes`"):
            scopes_of(scopes, role)
    with pytest.raises(Invalid, match="role is 'king'; there are product, viewer"):
        scopes_of(None, "king")
