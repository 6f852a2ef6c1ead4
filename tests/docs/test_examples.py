"""Every program in `examples/` runs and does what it says."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType

from loopwright.cli.digits import server

EXAMPLES = Path(__file__).parents[2] / "examples"
TRIED = {"adaptive_api", "embedded", "http_client", "preference_pairs", "prompt_choice"}


def example(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"examples_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_example_is_tried_here() -> None:
    assert {path.stem for path in EXAMPLES.glob("*.py")} == TRIED


def test_embedded_finds_the_greeting_that_people_like(tmp_path: Path) -> None:
    shares = example("embedded").main(str(tmp_path / "data"))
    assert shares["short"] > 0.8


def test_http_client_learns_which_search_suits_a_question(tmp_path: Path) -> None:
    with server(tmp_path / "data", port=0) as served:
        assert example("http_client").main(served.url, served.api_key) > 0.75


def test_prompt_choice_finds_the_prompt_despite_late_and_missing_verdicts(tmp_path: Path) -> None:
    assert example("prompt_choice").main(str(tmp_path / "data")) == "cited"


def test_preference_pairs_become_feedback_once(tmp_path: Path) -> None:
    counts = example("preference_pairs").main(str(tmp_path / "data"), 50)
    assert (counts["pairs"], counts["new"], counts["again"]) == (50, 200, 0)
    assert (counts["Rating"], counts["Annotation"]) == (100, 100)
    assert len((tmp_path / "data" / "pairs.jsonl").read_text("utf-8").splitlines()) == 50


def test_adaptive_api_comes_down_to_what_is_served_in_time(tmp_path: Path) -> None:
    tried = example("adaptive_api")
    looks = asyncio.run(tried.main(str(tmp_path / "data"), seconds=5.0))
    assert looks[0].rate == tried.OFFERED
    assert looks[-1].rate < 0.6 * tried.OFFERED
    assert looks[-1].denied > 0
    late = [
        sum(latency > tried.OBJECTIVE_S for latency in seen.latencies) / max(len(seen.latencies), 1)
        for seen in looks
    ]
    assert late[-1] < 0.5 < max(late)
