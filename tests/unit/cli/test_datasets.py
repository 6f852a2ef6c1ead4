"""`loopwright datasets`, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.cli import run
from loopwright.cli.digits import server
from loopwright.client import Client


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(tmp_path_factory.mktemp("data"), port=0) as served:
        with Client(served.url, served.api_key) as client:
            said = {"kind": "rating", "scale": "thumbs", "query": "How?", "user_id": "ada"}
            client.feedback.send(
                [
                    said | {"response": "This way.", "value": 1, "output_id": "a"},
                    said | {"response": "No idea.", "value": 0, "output_id": "b"},
                ]
            )
        yield f"--data={served.key_file.parent}"


def test_a_set_is_built_from_a_file_shown_exported_verified_and_expired(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = tmp_path / "answers.toml"
    recipe.write_text('name = "answers"\nkind = "preference"\n[splits]\ntrain = 1.0\n')
    assert run(["datasets", "build", str(recipe), data, "--json"]) == 0
    id = json.loads(capsys.readouterr().out)["id"][:12]
    assert run(["datasets", "show", id, data]) == 0
    shown = capsys.readouterr().out
    assert f"data set {id} (answers, preference): 1 rows of 2 facts" in shown
    assert "train: 1 rows" in shown
    assert run(["datasets", "list", data]) == 0
    assert id in capsys.readouterr().out
    assert run(["datasets", "sample", id, data]) == 0
    assert '"chosen": "This way."' in capsys.readouterr().out
    out = tmp_path / "rows.jsonl"
    assert run(["datasets", "export", id, "--format", "simple", "--out", str(out), data]) == 0
    assert json.loads(out.read_text()) == {
        "prompt": "How?",
        "chosen": "This way.",
        "rejected": "No idea.",
    }
    assert run(["datasets", "verify", id, data]) == 0
    assert "byte for byte" in capsys.readouterr().out
    assert run(["datasets", "diff", id, id, data]) == 0
    assert "1 -> 1, 1 in both" in capsys.readouterr().out
    assert run(["datasets", "expire", id, data]) == 0
    assert run(["datasets", "export", id, data]) == 2
    assert "has expired" in capsys.readouterr().err


def test_a_recipe_that_cannot_be_read_is_an_error(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text("name = ")
    assert run(["datasets", "build", str(file), data]) == 2
    assert "cannot read" in capsys.readouterr().err
    file.write_text('name = "p"\nkind = "poem"\n')
    assert run(["datasets", "build", str(file), data]) == 2
