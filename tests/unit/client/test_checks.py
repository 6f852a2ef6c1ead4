from __future__ import annotations

from typing import Any

import pytest

from loopwright.client import checks
from loopwright.core.errors import SettingsInvalid


@pytest.mark.parametrize(
    "given", ["http://x:1", "http://x:1/", "http://x:1/api/v1", "http://x:1/api/v1/"]
)
def test_an_address_may_end_in_a_slash_or_in_the_prefix_of_the_api(given: str) -> None:
    assert checks.address(given) == "http://x:1"


@pytest.mark.parametrize(
    ("check", "wrong"),
    [
        (checks.address, "x:1"), (checks.address, "ftp://x"), (checks.address, 7),
        (checks.patience, "5"), (checks.patience, 0), (checks.patience, float("inf")), (checks.patience, True),
        (checks.tries, -1), (checks.tries, 1.5), (checks.tries, True),
        (checks.defaults, ["a"]), (checks.header, "käy"), (checks.header, "a\nb"), (checks.header, b"key"),
    ],
)  # fmt: skip
def test_what_no_client_can_be_made_of_is_refused(check: Any, wrong: Any) -> None:
    with pytest.raises(SettingsInvalid):
        check(wrong)


def test_what_a_client_can_be_made_of_comes_back() -> None:
    assert (checks.patience(2), checks.tries(0), checks.header("lw_x")) == (2.0, 0, "lw_x")
    assert (checks.defaults(None), checks.defaults({"x": "a"})) == ({}, {"x": "a"})
