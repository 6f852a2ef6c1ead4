"""The retraining trigger as a cron job of the earlier rating service runs it, with a GitHub that is made up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from .conftest import Server

TOKEN = "made-up-token"


class GitHub:
    """Takes dispatches of workflows, or refuses them."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, Any]]] = []
        self.statuses: list[int] = []
        github = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers["content-length"])
                body = json.loads(self.rfile.read(length))
                github.asked.append((self.path, self.headers["authorization"], body))
                self.send_response(github.statuses.pop(0) if github.statuses else 204)
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def github() -> Iterator[GitHub]:
    made_up = GitHub()
    yield made_up
    made_up.close()


def told(server: Server, records: list[dict[str, Any]]) -> None:
    for n, record in enumerate(records):
        body = {"offer_id": f"O{n % 3}", "customer_id": f"C{n}", "generated_copy": "x", **record}
        assert server.http.post("/feedback", json=body).status_code == 201


def check(server: Server, *flags: str, **environment: str) -> subprocess.CompletedProcess[str]:
    known = {k: v for k, v in os.environ.items() if not k.startswith(("GITHUB", "LOOPWRIGHT"))}
    return subprocess.run(
        [
            *(sys.executable, "-m", "loopwright.cli", "check-trigger"),
            *(f"--data={server.data}", f"--url={server.url}", *flags),
        ],
        env={**known, **environment},
        cwd=server.data,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def firings(server: Server) -> list[dict[str, Any]]:
    path = Path(server.data) / "firings.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_too_little_data_and_good_figures_do_not_fire(server: Server) -> None:
    told(server, [{"rating": 1}] * 9)
    few = check(server, "--check", "--since-days", "7")
    assert (few.returncode, few.stdout) == (0, "not fired: insufficient_data (n=9)\n"), few.stderr
    told(server, [{"rating": 5}] * 9)
    good = check(server, "--check")
    assert (good.returncode, good.stdout) == (0, "not fired: metrics_healthy\n"), good.stderr
    assert firings(server) == []
    assert "critical" not in few.stderr + good.stderr


def test_a_low_rating_fires_logs_and_starts_the_workflow(server: Server, github: GitHub) -> None:
    told(server, [{"rating": 3}] * 9 + [{"rating": 2}])
    github_settings = {
        "GITHUB_TOKEN": TOKEN,
        "GITHUB_REPO": "acme/models",
        "LOOPWRIGHT__GITHUB_URL": github.url,
    }
    fired = check(server, "--check", **github_settings)
    reason = "avg_rating=2.90 < threshold=3.0"
    assert (fired.returncode, fired.stdout) == (1, f"fired: {reason}\n"), fired.stderr
    assert "critical" in fired.stderr
    assert reason in fired.stderr
    assert TOKEN not in fired.stderr + fired.stdout
    ((path, authorization, body),) = github.asked
    assert path == "/repos/acme/models/actions/workflows/retrain.yml/dispatches"
    assert authorization == f"Bearer {TOKEN}"
    assert body == {"ref": "main", "inputs": {"reason": reason}}
    (logged,) = firings(server)
    assert (logged["reason"], logged["record_count"]) == (reason, 10)
    assert logged["dispatched"].startswith("github:acme/models")

    github.statuses = [422]  # a workflow without that input
    assert check(server, **github_settings).returncode == 1
    assert github.asked[-1][2] == {"ref": "main"}
    github.statuses = [500]
    refused = check(server, **github_settings)
    assert refused.returncode == 1
    assert "failed" in firings(server)[-1]["dispatched"]
    assert len(firings(server)) == 3


def test_thumbs_fire_on_their_own_and_without_github_it_stays_local(server: Server) -> None:
    told(server, [{"thumbs": "down", "rating": None}] * 41 + [{"thumbs": "up"}] * 59)
    fired = check(server, "--json")
    assert fired.returncode == 1, fired.stderr
    reason = "thumbs_down_rate=41.0% > threshold=40%"
    assert json.loads(fired.stdout) == {"fired": True, "reason": reason, "dispatched": "local"}
    assert [logged["dispatched"] for logged in firings(server)] == ["local"]
    dry = check(server, "--dry-run")
    assert dry.returncode == 1
    assert len(firings(server)) == 1


def test_exactly_at_a_threshold_it_does_not_fire(server: Server) -> None:
    told(server, [{"thumbs": "down", "rating": 3}] * 4 + [{"thumbs": "up", "rating": 3}] * 6)
    at = check(server, "--check")
    assert (at.returncode, at.stdout) == (0, "not fired: metrics_healthy\n"), at.stderr
    old = check(server, "--check", "--since-days", "0")
    assert old.returncode == 2 or "days" in old.stderr
