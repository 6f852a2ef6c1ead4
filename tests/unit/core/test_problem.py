from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loopwright.core.problem import fault_of, in_json_types


class Shape(msgspec.Struct):
    text: str = ""
    count: int = 0
    share: float = 0.0
    done: bool = False


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"text": 1}, "Expected `string`, got `integer` - at `$.text`"),
        ({"count": "1"}, "Expected `integer`, got `string` - at `$.count`"),
        ({"share": True}, "Expected `number`, got `boolean` - at `$.share`"),
        ({"done": None}, "Expected `boolean`, got `null` - at `$.done`"),
        ({"text": []}, "Expected `string`, got `array` - at `$.text`"),
        ({"text": {}}, "Expected `string`, got `object` - at `$.text`"),
    ],
)
def test_a_fault_names_the_types_of_json(given: Any, sentence: str) -> None:
    for decode in (lambda: msgspec.convert(given, Shape), lambda: decoded(given)):
        with pytest.raises(msgspec.ValidationError) as caught:
            decode()
        assert fault_of(caught.value) == sentence


def decoded(given: Any) -> Shape:
    return msgspec.json.decode(msgspec.json.encode(given), type=Shape)


@pytest.mark.parametrize(
    ("sentence", "expected"),
    [
        ("Expected `str | null`, got `int`", "Expected `string | null`, got `integer`"),
        ("Expected `int` >= 0", "Expected `integer` >= 0"),
        ("Expected `dict | list`, got `NoneType`", "Expected `object | array`, got `null`"),
        ("Object contains unknown field `int`", "Object contains unknown field `int`"),
    ],
)
def test_every_place_of_a_type_names_it_as_json_does(sentence: str, expected: str) -> None:
    assert in_json_types(sentence) == expected
