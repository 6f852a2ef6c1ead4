"""`loopwright timezone` in a directory that no server holds; tests/flow asks a server."""

from __future__ import annotations

from pathlib import Path

import pytest

import loopwright
from loopwright.cli import run


def test_the_zone_of_a_directory_is_shown_and_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loopwright.open(tmp_path).close()
    data = str(tmp_path)
    for asked in ([], ["Europe/Berlin"], []):
        assert run(["timezone", *asked, "--data", data]) == 0
    assert capsys.readouterr().out.split() == ["UTC", "Europe/Berlin", "Europe/Berlin"]
    assert run(["timezone", "Mars/Phobos", "--data", data]) == 2
    assert run(["timezone", "UTC", "--tenant", "nobody", "--data", data]) == 2
