from __future__ import annotations

import json
from typing import Any

import pytest
from tests.unit.feedback.world import World

from loopwright.feedback import examples

PYTHON = ("NoneType", "`dict`", "`list`", "`str`", "`int`", "`float`", "`bool`", "None", "True")
ITEMS = [
    ("feedback", examples.NATIVE),
    ("feedback", examples.EVENT),
    ("feedback", examples.GENERATION),
    ("correction", examples.CORRECTION),
    ("rating", examples.RATING),
    ("signals", {**examples.SIGNAL, "request_id": None}),
    ("interaction", examples.INTERACTION),
    ("step", examples.STEP),
]


@pytest.mark.parametrize("wrong", [None, True, 7, 1.5, "x", [], [1], {}, {"a": 1}])
@pytest.mark.parametrize(("path", "item"), ITEMS)
def test_no_error_names_a_type_of_python(
    path: str, item: dict[str, Any], wrong: Any, world: World
) -> None:
    changed = [{**item, name: wrong} for name in item]
    for body in ({"items": changed}, {"items": [wrong]}):
        prepared = world.intake.prepare("acme", path, json.dumps(body).encode())
        for refusal in prepared.refusals.values():
            message = refusal.error.message
            assert not any(word in message for word in PYTHON), message
