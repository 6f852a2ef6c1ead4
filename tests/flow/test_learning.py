"""Learning in a real server process, over a real data directory."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.flow.conftest import Server

from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.learning import replay

SHAPES: dict[str, dict[str, Any]] = {
    "plain": {},
    "routing": {"context": {"dimension": 2}, "policy": {"name": "LinUCB"}},
    "windowed": {"reward": {"window_s": 0.1, "default": 0}},
    "revised": {"reward": {"type": "bounded", "duplicates": "latest"}},
}


def some_traffic(server: Server, rounds: int) -> None:
    """Decisions of every experiment; two of three earn feedback, some of it twice."""
    items = []
    for i in range(rounds):
        for id in SHAPES:
            context = {"vector": [i / rounds, 1.0]} if id == "routing" else {}
            chosen = server.select(id, context=context)
            if i % 3:
                item = {"request_id": chosen["request_id"], "reward": i % 2}
                items += [item, item] if id == "revised" else [item]
    answer = server.post("/agent/feedback/batch", {"items": items})
    assert answer.status_code == 200, answer.text


def test_a_server_killed_again_and_again_learns_what_a_clean_replay_learns(tmp_path: Path) -> None:
    server = Server(tmp_path / "data")
    for id, shape in SHAPES.items():
        server.experiment(id, **shape)
    for pause_s in (0.0, 0.15):
        some_traffic(server, 30)
        time.sleep(pause_s)  # killed before, while and after the learner writes its checkpoint
        server.kill()
        server.start()
    some_traffic(server, 5)
    assert server.stop() == 0, server.said
    services = Services(load_settings(data_dir=tmp_path / "data"))
    services.start()
    try:
        assert services.learner.wait_until(services.truth.log.head(), 20)
        services.learner.stop()  # so that no window closes between the two looks
        clean = replay(services.truth.reader, through=services.learner.offset)
        assert len(clean) == len(SHAPES)
        for (tenant_id, id), state in clean.items():
            assert services.learner.dump(tenant_id, id) == state
        assert services.learner.status("default", "plain").feedback == 2 * 20 + 3
    finally:
        services.close()


def test_a_window_closes_by_itself_when_no_traffic_comes(server: Server) -> None:
    server.experiment("windowed", reward={"window_s": 0.2, "default": 0})
    for _ in range(3):
        server.select("windowed")
    status = server.await_status("windowed", defaults=3)
    assert sum(arm["n"] for arm in status["arms"]) == 3
    assert all(arm["mean"] in (None, 0) for arm in status["arms"])


def test_feedback_during_a_pause_is_learned_after_it(server: Server) -> None:
    server.experiment("greeting")
    chosen = [server.select("greeting") for _ in range(10)]
    server.post("/experiments/greeting/pause").raise_for_status()
    items = [{"request_id": one["request_id"], "reward": 1} for one in chosen]
    server.post("/agent/feedback/batch", {"items": items}).raise_for_status()
    paused = server.await_status("greeting", head=10)
    assert (paused["learner"], paused["feedback"]) == ("paused", 0)
    server.post("/experiments/greeting/resume").raise_for_status()
    status = server.await_status("greeting", feedback=10)
    assert sum(arm["n"] for arm in status["arms"]) == 10
