from __future__ import annotations

import pytest

from loopwright.catalog.tenant import slug
from loopwright.core.errors import Invalid


def test_an_id_is_returned_as_it_is() -> None:
    assert slug("acme-1.eu", "tenant id") == "acme-1.eu"


@pytest.mark.parametrize("value", ["", "-acme", "a b", "a" * 129])
def test_what_cannot_be_an_id_is_refused_by_name(value: str) -> None:
    with pytest.raises(Invalid, match="tenant id"):
        slug(value, "tenant id")
