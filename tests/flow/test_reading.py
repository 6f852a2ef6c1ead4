"""Whatever facts say, everything that people read is answered; and what it names is there."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.unit.warehouse.world import DOWN, UP, World, feedback

if TYPE_CHECKING:
    from tests.flow.conftest import Server

HUGE = 1.7e308
NUMBERS = (0.0, -0.0, 1.0, 4.0, -1.0, HUGE, -HUGE, 5e-324, 1e-308, 2.0**63, 1e999, float("nan"))
NAMES = (
    "rating",
    "",
    "\x00",
    "a" * 400,
    "=1+1",
    "\u202e",
    "<script>",
    "resolved",
    "correction_distance",
    "'; --",
)
SECTIONS = ("metrics", "breakdown", "versions", "failures", "corrected", "joins", "drift")


def extreme() -> list[dict[str, Any]]:
    """Facts of every kind with values at the edges of what their fields can hold, and beyond."""
    made: list[dict[str, Any]] = []
    edges = [(value, "rating") for value in NUMBERS]
    edges += [(value, name) for value in (4.0, HUGE) for name in NAMES]
    for value, name in edges:
        made += [
            {"kind": "measurement", "name": name, "value": value, "unit": name},
            {"kind": "signal", "name": name, "value": value},
            {"kind": "outcome", "metric": name, "value": value, "task": "sql"},
            {
                "kind": "annotation",
                "rubric": name,
                "rubric_version": 1,
                "label": name,
                "score": value,
            },
        ]
    for value, low, high in itertools.product(
        NUMBERS, (-HUGE, 0.0, 5.0, -1e999), (HUGE, 5.0, 5e-324)
    ):
        made.append(
            {"kind": "rating", "value": value, "scale": "numeric", "low": low, "high": high}
        )
    made += [
        {"kind": "rating", "value": v, "scale": s} for v in NUMBERS for s in ("thumbs", "stars")
    ]
    made += [
        {"kind": "correction", "before": a, "after": b, "explanation": name, "query": name}
        for a, b, name in itertools.product(("", "x" * 5000), ("", "y"), NAMES)
    ]
    for at, fact in enumerate(made):
        fact["user_id"] = f"u{at % 90}"
        fact["message"] = NAMES[at % len(NAMES)]
        fact["labels"] = {"prompt_version": f"p{at % 2}", "locale": NAMES[at % len(NAMES)]}
        fact["output_id"] = f"o{at % 40}"  # half of them name a call that never comes
    return made


def test_no_fact_takes_a_report_down(server: Server) -> None:
    calls = [
        {"output_id": f"o{k}", "prompt_version": f"p{k % 2}", "model_version": "m", "query": "q", "cost": HUGE,
         "output_tokens": 2**62, "server_latency_ms": HUGE}
        for k in range(20)
    ]  # fmt: skip
    server.post("/interactions", calls)
    taken: set[str] = set()
    for item in extreme():
        # Infinity and NaN are no JSON: a sender's library writes them all the same.
        answer = server.post(
            "/feedback", content=json.dumps(item), headers={"content-type": "application/json"}
        )
        assert answer.status_code < 500, (item, answer.text)
        if answer.status_code < 300:
            taken.add(item["kind"])
    assert taken == {"measurement", "signal", "outcome", "annotation", "rating", "correction"}
    for path in (
        "/feedback/stats", "/feedback/join-health", "/feedback/export", "/feedback/quality/default",
        "/feedback/trust/default", "/feedback/insights/default",
        *(f"/feedback/insights/default?include={name}" for name in SECTIONS),
        *(f"/feedback/{of}?tz=Europe/Berlin" for of in ("quality/default", "insights/default", "stats")),
    ):  # fmt: skip
        answer = server.get(path)
        assert answer.status_code == 200, (path, answer.text)
        for line in answer.text.splitlines():
            json.loads(line, parse_constant=pytest.fail)
    for path in ("/feedback/quality/default?format=html", "/feedback/export?format=csv"):
        answer = server.get(path)
        assert answer.status_code == 200, (path, answer.text)
        assert not re.search(r"\b(nan|inf)%", answer.text)
    failed = [
        found["sentence"]
        for found in server.get("/feedback/quality/default").json()["findings"]
        if found["kind"] == "left out"
    ]
    assert failed == []


def test_every_route_that_a_report_names_exists(server: Server) -> None:
    document = server.http.get("/docs/openapi.json").json()
    routes = {
        (verb.upper(), re.sub(r"\{[^}]*\}", "[^/]+", path))
        for path, verbs in document["paths"].items()
        for verb in verbs
    }
    source = Path(__file__).parents[2] / "src" / "loopwright"
    texts = [
        path.read_text("utf-8")
        for slice in ("insights", "trust")
        for path in (source / slice).rglob("*.py")
    ]
    texts.append(server.get("/feedback/quality/default").text)
    named = {
        (verb, re.sub(r"\{[^}]*\}+", "x", path))
        for text in texts
        for verb, path in re.findall(
            r"\b(GET|POST|PUT|DELETE) (/api/v1/[^\s\"';,]*[^\s\"';,.])", text
        )
    }
    assert len(named) >= 3
    for verb, path in named:
        path = path.split("{")[0] + "x" if "{" in path else path
        assert any(verb == v and re.fullmatch(route, path) for v, route in routes), (verb, path)


def test_a_user_of_decisions_alone_sees_no_alarm_about_versions(server: Server) -> None:
    server.experiment("greeting")
    for k in range(40):
        token = server.select("greeting")["request_id"]
        server.post("/agent/feedback", {"request_id": token, "reward": k % 2}).raise_for_status()
    report = server.get("/feedback/quality/default").json()

    assert report["joins"]["outcomes"] == 40
    assert (report["joins"]["has_alarm"], report["joins"]["rate"]) == (False, None)
    assert "join" not in [found["kind"] for found in report["findings"]]
    assert "model version" not in report["headline"]


DECLARATION = """
from loopwright.insights.targets import Metric, declare

declare(
    Metric(
        name="thumbs_up",
        title="Thumbs <up>",
        phrase="the share of thumbs up",
        sentence="Thumbs that point up, among all thumbs.",
        unit="the person, else the rating itself",
        direction="above",
        target=0.8,
        reads=("linked",),
        events="SELECT coalesce(person, event_id) AS unit, occurred_at_ms AS moment_ms, "
        "CASE WHEN satisfaction >= 0.5 THEN 1 ELSE 0 END AS is_hit FROM linked WHERE scale = 'thumbs'",
    )
)
"""
PROGRAM = """
import sys
import thumbs  # the scratch module with the declaration

from loopwright.cli import run

sys.exit(run(sys.argv[1:]))
"""
STATISTICS = """
import sys
import msgspec
import thumbs
from pathlib import Path
from tests.unit.warehouse.world import NOW, World
from loopwright.insights import Insights, Period

world = World(Path(sys.argv[1]))
insights = Insights(world.warehouse(), clock=world.clock)
print(msgspec.json.encode(insights.stats("acme", Period(from_ms=0, to_ms=NOW + 1))).decode())
world.close()
"""


def test_one_declaration_outside_the_source_is_a_metric_everywhere(tmp_path: Path) -> None:
    (tmp_path / "thumbs.py").write_text(DECLARATION)
    data = tmp_path / "data"
    world = World(data)
    ups = [feedback(f"u{k}", UP, person=f"p{k}") for k in range(10)]
    world.say(*ups, *(feedback(f"d{k}", DOWN, person=f"q{k}") for k in range(90)))
    world.close()

    def ran(program: str, *args: str) -> str:
        found = subprocess.run(
            [sys.executable, "-c", program, *args],
            capture_output=True,
            text=True,
            env={"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[2]}", "PATH": ""},
        )
        assert found.returncode == 0, found.stderr
        return found.stdout

    period = ("acme", "--since=2024-09-01", "--until=2024-11-01", f"--data={data}")
    report = json.loads(ran(PROGRAM, "report", *period, "--json"))
    page = ran(PROGRAM, "report", *period, "--format=html")
    table = ran(PROGRAM, "report", *period)
    stats = json.loads(ran(STATISTICS, str(data)))

    line = report["metrics"][-1]
    assert (line["name"], line["value"], line["n"], line["verdict"]) == (
        "thumbs_up",
        0.1,
        100,
        "missed",
    )
    assert any(
        f["sentence"].startswith("The share of thumbs up is 10.0%") for f in report["findings"]
    )
    assert "Thumbs &lt;up&gt;" in page
    assert "Thumbs that point up" in page
    assert "thumbs_up" in table
    assert {"name": "thumbs_up", "hits": 10, "n": 100, "rate": 0.1} in stats["metrics"]
