"""Reports from the command line, of a directory and of a server."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from tests.unit.insights.site import Site, a_product
from tests.unit.warehouse.world import DOWN, World, feedback, step

from loopwright.cli import run


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


@pytest.fixture
def site(world: World, tmp_path: Path) -> Iterator[Site]:
    world.say(*a_product(), step("x1", outcome="success"))
    made = Site(world, tmp_path)
    yield made
    made.database.close()


def test_the_command_reads_a_directory_that_nobody_serves(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOOPWRIGHT__URL", "LOOPWRIGHT__API_KEY", "LOOPWRIGHT__DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    world.say(*a_product(), *(feedback(f"d{k}", DOWN, person=f"v{k}") for k in range(100)))
    period = ["--since", "2024-09-01", "--until", "2024-11-01", "--data", str(tmp_path)]

    assert run(["report", "acme", *period, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["census"]["facts"] == 228
    assert run(["report", "acme", *period, "--check"]) == 1
    shown = capsys.readouterr().out
    assert "satisfaction" in shown
    assert "✗ missed" in shown
    page = tmp_path / "report.html"
    assert run(["report", "acme", *period, "--format", "html", "--out", str(page)]) == 0
    assert "Quality report: acme" in page.read_text("utf-8")
    assert run(["report", "--data", str(tmp_path / "nowhere")]) == 3
    assert run(["report", "acme", "--url", "http://127.0.0.1:1", "--api-key", "k"]) == 4


def test_the_command_asks_a_server_and_passes_its_refusals_on(
    site: Site, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOOPWRIGHT__API_KEY", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(site.app, lifespan="off", log_config=None))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            url = f"--url=http://127.0.0.1:{listener.getsockname()[1]}"
            key = f"--api-key={site.key('read')}"
            period = ["--since=2024-09-01", "--until=2024-11-01"]
            assert run(["report", "acme", url, key, *period, "--json"]) == 0
            found = json.loads(capsys.readouterr().out)
            assert run(["report", "rival", url, key]) == 2
            refused = capsys.readouterr().err
            assert run(["report", "acme", url, "--api-key=lw_nonsense"]) == 3
        finally:
            server.should_exit = True
            thread.join()

    assert found["census"]["facts"] == 128
    assert "there is no tenant 'rival'" in refused
