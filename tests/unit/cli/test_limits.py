"""`loopwright limits`, against a real server."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from loopwright.cli import run
from loopwright.cli.digits import server


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with server(tmp_path_factory.mktemp("data"), port=0) as served:
        yield f"--data={served.key_file.parent}"


def test_a_limit_is_set_shown_asked_and_deleted(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["limits", "set", "chat", "--prior", "1", "--burst", "1", data]) == 0
    assert (
        "limit chat (enforce): 1.00 tokens/s between 0.1 and 1, burst 1" in capsys.readouterr().out
    )
    assert run(["limits", "acquire", "chat", "--key", "ada", data]) == 0
    assert "allowed: 0.0 tokens left" in capsys.readouterr().out
    assert run(["limits", "acquire", "chat", "--key", "ada", data]) == 1
    assert "denied" in capsys.readouterr().out
    assert run(["limits", "list", data]) == 0
    assert "enforce" in capsys.readouterr().out
    assert run(["limits", "show", "chat", data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["limit"]["burst"] == 1
    assert run(["limits", "delete", "chat", data]) == 0
    assert run(["limits", "show", "chat", data]) == 2
    assert "there is no limit 'chat'" in capsys.readouterr().err
