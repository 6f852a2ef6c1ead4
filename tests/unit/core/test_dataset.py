from __future__ import annotations

import msgspec
import pytest

from loopwright.core.dataset import Recipe


def test_a_recipe_without_more_is_preference_pairs_of_thirty_days() -> None:
    recipe = msgspec.json.decode(b'{"name":"p"}', type=Recipe)
    assert (recipe.kind, recipe.days, recipe.splits) == (
        "preference",
        30,
        {"train": 0.9, "test": 0.1},
    )


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"name":"p","days":0}',
        b'{"name":"p","margin":0}',
        b'{"name":"p","splits":{"a b":1}}',
        b'{"name":"p","splits":{"a":2}}',
        b'{"name":"p","exclude":["x"]}',
        b'{"name":"p","per_input":0}',
    ],
)
def test_a_recipe_that_makes_no_sense_is_refused(body: bytes) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(body, type=Recipe)
