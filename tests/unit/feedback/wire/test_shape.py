from __future__ import annotations

from typing import Any

import pytest

from loopwright.feedback import examples
from loopwright.feedback.routes import ENDPOINTS
from loopwright.feedback.wire import SHAPES

EXAMPLES = [
    ("feedback", examples.NATIVE, "native"),
    ("feedback", examples.EVENT, "event"),
    ("feedback", examples.GENERATION, "generation"),
    ("feedback", examples.CORRECTION, "correction"),
    ("feedback", examples.RATING, "rating"),
    ("feedback", examples.SIGNAL, "browser"),
]


@pytest.mark.parametrize(("path", "item", "name"), EXAMPLES)
def test_the_first_shape_that_tells_an_item_is_its_own(
    path: str, item: dict[str, Any], name: str
) -> None:
    telling = [shape.name for shape in SHAPES if path in shape.paths and shape.tells(item)]
    assert telling[0] == name


def test_every_shape_has_a_name_of_its_own_and_a_path() -> None:
    assert len({shape.name for shape in SHAPES}) == len(SHAPES)
    assert all(shape.paths for shape in SHAPES)


def test_every_endpoint_takes_a_shape() -> None:
    paths = {path for shape in SHAPES for path in shape.paths}
    assert {endpoint.path for endpoint in ENDPOINTS} == paths
