"""`loopwright versions`, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from loopwright.cli import run
from loopwright.cli.digits import server


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(tmp_path_factory.mktemp("data"), port=0) as served:
        yield f"--data={served.key_file.parent}"


def test_versions_are_registered_from_files_compared_and_traced(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "one.txt", tmp_path / "two.txt"
    first.write_text("Be brief.\nBe kind.\n")
    second.write_text("Be brief.\nName sources.\n")
    assert run(["versions", "add", "v1", str(first), "--reason", "first", data]) == 0
    assert "version v1 is registered: prompt" in capsys.readouterr().out
    assert run(["versions", "add", "v2", str(second), "--parent", "v1", data]) == 0
    capsys.readouterr()
    assert run(["versions", "diff", "v1", "v2", data]) == 0
    assert "+Name sources." in capsys.readouterr().out
    assert run(["versions", "lineage", "v2", data]) == 0
    assert "<- v1" in capsys.readouterr().out
    assert run(["versions", "list", data]) == 0
    assert "first" in capsys.readouterr().out
    assert run(["versions", "show", "v1", data]) == 0
    assert "Be kind." in capsys.readouterr().out


def test_json_is_content_and_not_text(
    data: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "config.json"
    file.write_text('{"k": 5}')
    assert (
        run(["versions", "add", "c1", str(file), "--kind", "retrieval_config", data, "--json"]) == 0
    )
    assert json.loads(capsys.readouterr().out)["content"] == {"k": 5}
    file.write_text("{")
    assert run(["versions", "add", "c2", str(file), data]) == 2
    assert "is no JSON" in capsys.readouterr().err
    assert run(["versions", "add", "c2", str(tmp_path / "nothing"), data]) == 2
