"""The requests of data sets, as they leave."""

from __future__ import annotations

import msgspec
import pytest

from loopwright.client import datasets
from loopwright.client.exchange import Terms
from loopwright.core.dataset import Recipe
from loopwright.core.errors import Invalid

TERMS = Terms(base_url="http://loop")


def test_a_recipe_is_sent_as_a_mapping_or_whole() -> None:
    short = datasets.build_dataset(TERMS, {"name": "p", "kind": "kto"})
    assert (short.method, short.path) == ("POST", "/api/v1/datasets")
    assert msgspec.json.decode(short.body or b"") == {"name": "p", "kind": "kto"}
    whole = datasets.build_dataset(TERMS, Recipe(name="p"))
    assert msgspec.json.decode(whole.body or b"")["per_input"] == 8
    with pytest.raises(Invalid):
        datasets.build_dataset(TERMS, "p")  # type: ignore[arg-type]


def test_the_other_calls_name_their_set() -> None:
    assert datasets.get_dataset(TERMS, "ab").path == "/api/v1/datasets/ab"
    assert datasets.list_datasets(TERMS, name="p").path == "/api/v1/datasets?limit=100&name=p"
    export = datasets.export_dataset(TERMS, "ab", format="trl", split="train")
    assert export.path == "/api/v1/datasets/ab/rows?format=trl&split=train"
    assert export.read(b"x") == b"x"
    assert datasets.verify_dataset(TERMS, "ab").path == "/api/v1/datasets/ab/verify"
    assert datasets.diff_datasets(TERMS, "ab", "cd").path == "/api/v1/datasets/ab/diff/cd"
    assert datasets.expire_dataset(TERMS, "ab").method == "DELETE"
