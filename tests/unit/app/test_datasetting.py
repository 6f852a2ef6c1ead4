from __future__ import annotations

from pathlib import Path

import pytest

import loopwright
from loopwright.core.dataset import Recipe
from loopwright.core.errors import Invalid, NotFound


def test_an_embedded_loop_builds_and_exports_data_sets(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.feedback.send(
            [
                {"kind": "correction", "query": "How?", "before": "this way", "after": "This way, please.", "output_id": "o"}
            ]
        )  # fmt: skip
        made = loop.datasets.build(Recipe(name="p", splits={"train": 1.0}))
        assert made.rows == 1
        assert b"This way, please." in loop.datasets.export(made.id, format="openai")
        assert loop.datasets.verify(made.id).is_equal
        assert loop.datasets.list(name="p").items == (made,)
        assert loop.datasets.diff(made.id, made.id).common == 1
        assert loop.datasets.expire(made.id).expired_at_ms is not None
        with pytest.raises(NotFound):
            loop.datasets.export(made.id)
        with pytest.raises(Invalid):
            loop.datasets.build({"name": "p", "kind": "poem"})
        with pytest.raises(Invalid):
            loop.datasets.list(limit=0)
