"""The shell blocks of the README do what it says."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from bench.footprint import served

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
PROGRAM = Path(sys.executable).parent / "loopwright"


def test_the_curl_examples_go_once_round_the_loop_and_report(tmp_path: Path) -> None:
    if not shutil.which("curl"):
        assert not os.environ.get("CI"), "curl is missing"
        pytest.skip("needs curl")
    loop, others = (
        block for block in re.findall(r"```sh\n(.*?)```", README, re.DOTALL) if "curl" in block
    )
    with served(PROGRAM, tmp_path / "data") as (address, _, _):
        looped = ran(loop, tmp_path, address=address)
        reported = ran(loop[: loop.index("curl")] + others, tmp_path, address=address)
    answers = [json.loads(answer) for answer in re.sub(r"\}\s*\{", "}\n{", looped).splitlines()]
    created, started, selected, accepted = answers
    assert [arm["id"] for arm in created["arms"]] == ["short", "long"]
    assert started["state"] == "running"
    assert selected["arm"]["id"] in ("short", "long")
    assert accepted["decision_id"] == selected["decision_id"]
    assert accepted["duplicate"] is False
    assert "satisfaction" in reported
    assert "✗ missed" in reported
    assert "<svg" in (tmp_path / "report.html").read_text("utf-8")


def ran(script: str, folder: Path, *, address: str) -> str:
    """Return what a block of the README prints."""
    script = script.replace("http://127.0.0.1:8400", address)
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script.replace(".venv/bin/loopwright", str(PROGRAM))],
        cwd=folder,
        env={**os.environ, "LOOPWRIGHT__URL": address},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    ).stdout


def test_the_make_targets_that_the_readme_names_exist() -> None:
    makefile = (Path(__file__).parents[2] / "Makefile").read_text("utf-8")
    named = set(re.findall(r"`?make (\w+)`?", README))
    assert {"demo", "test", "bench", "docs"} <= named
    for target in named:
        assert f"\n{target}:" in makefile


@pytest.mark.parametrize(
    "path", re.findall(r"\]\(([^)#:]+)\)|`((?:docs/(?!_build)|src/)[\w./-]+)`", README)
)
def test_what_the_readme_points_to_is_there(path: tuple[str, str]) -> None:
    target = path[0] or path[1]
    assert (Path(__file__).parents[2] / target).exists(), target
