"""Alerts fire when they should, every expression is one that Prometheus reads, and every metric is one of ours."""

from __future__ import annotations

import json
import os
import re
import runpy
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from loopwright.app.metrics import CATALOGUE

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
GRAFANA = ROOT / "deploy" / "grafana"


@pytest.fixture(scope="module")
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        missing = "promtool is missing. On Debian: apt install prometheus"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def ran(promtool: str, *arguments: str, cwd: Path) -> str:
    done = subprocess.run([promtool, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def board() -> dict[str, Any]:
    found: dict[str, Any] = json.loads((GRAFANA / "rating-loop.json").read_text())
    return found


def expressions() -> list[str]:
    return [target["expr"] for panel in board()["panels"] for target in panel["targets"]]


def test_alerts_fire_when_they_should_and_not_before(promtool: str) -> None:
    assert "4 rules found" in ran(promtool, "check", "rules", "rules.yml", cwd=PROMETHEUS)
    assert "SUCCESS" in ran(promtool, "test", "rules", "tests.yml", cwd=PROMETHEUS)


def test_the_configuration_of_prometheus_is_sound(promtool: str) -> None:
    ran(promtool, "check", "config", "prometheus.yml", cwd=PROMETHEUS)


def test_every_expression_of_the_dashboard_is_one(promtool: str, tmp_path: Path) -> None:
    rules = [{"record": f"panel:{n}", "expr": text} for n, text in enumerate(expressions())]
    # JSON is YAML.
    (tmp_path / "panels.yml").write_text(json.dumps({"groups": [{"name": "g", "rules": rules}]}))
    ran(promtool, "check", "rules", "panels.yml", cwd=tmp_path)


def test_the_dashboard_is_as_its_maker_writes_it_and_no_panel_covers_another() -> None:
    made = runpy.run_path(str(GRAFANA / "make.py"))["dashboard"]()
    assert board() == made
    places = [panel["gridPos"] for panel in board()["panels"]]
    cells = [(p["x"] + x, p["y"] + y) for p in places for x in range(p["w"]) for y in range(p["h"])]
    assert len(cells) == len(set(cells))
    assert all(p["x"] + p["w"] <= 24 for p in places)


def test_every_metric_that_is_asked_for_is_one_of_the_catalogue() -> None:
    text = "\n".join([(PROMETHEUS / "rules.yml").read_text(), *expressions()])
    named = set(re.findall(r"\b(?:loopwright|rating|token_bucket|rl_policy)_[a-z_]+\b", text))
    ours = set(CATALOGUE) | {f"{name}_bucket" for name in CATALOGUE}
    assert named - ours == set()
    assert len(named) > 6
