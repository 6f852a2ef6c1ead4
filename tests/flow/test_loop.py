from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.flow.conftest import Server


def test_it_learns_which_arm_to_serve(server: Server) -> None:
    server.experiment("greeting")
    for _ in range(300):
        chosen = server.select("greeting")
        reward = 1 if chosen["arm"]["id"] == "b" else 0
        answer = server.post(
            "/agent/feedback", {"request_id": chosen["request_id"], "reward": reward}
        )
        assert answer.status_code == 201
    status = server.await_status("greeting", feedback=300)
    shares = {arm["arm_id"]: arm["share"] for arm in status["arms"]}
    assert shares["b"] > 0.95
    assert sum(arm["n"] for arm in status["arms"]) == 300
    assert server.select("greeting")["snapshot"] > 0


def test_the_same_feedback_again_is_said_to_be_a_duplicate_and_counts_once(server: Server) -> None:
    server.experiment("greeting")
    report = {"request_id": server.select("greeting")["request_id"], "reward": 1}
    first = server.post("/agent/feedback", report)
    again = server.post("/agent/feedback", report)
    assert (first.status_code, first.json()["duplicate"]) == (201, False)
    assert (again.status_code, again.json()["duplicate"]) == (200, True)
    status = server.await_status("greeting", feedback=1)
    assert sum(arm["n"] for arm in status["arms"]) == 1


def test_a_batch_answers_for_every_item(server: Server) -> None:
    server.experiment("greeting")
    tokens = [server.select("greeting")["request_id"] for _ in range(3)]
    items = [{"request_id": token, "reward": 1} for token in tokens]
    items += [items[0], {"request_id": "x" * 64, "reward": 1}]
    items += [{"request_id": tokens[0], "reward": 0.5}]
    answer = server.post("/agent/feedback/batch", {"items": items}).json()
    assert (answer["accepted"], answer["duplicates"], answer["rejected"]) == (3, 1, 2)
    assert [result["status"] for result in answer["results"]] == [201, 201, 201, 200, 400, 422]
    assert answer["results"][4]["problem"]["code"] == "token_malformed"


def test_a_restart_goes_on_with_all_that_was_learned(server: Server) -> None:
    server.experiment("greeting")
    for _ in range(40):
        token = server.select("greeting")["request_id"]
        server.post("/agent/feedback", {"request_id": token, "reward": 1}).raise_for_status()
    late = server.select("greeting")["request_id"]
    before = server.await_status("greeting", feedback=40)
    assert server.stop() == 0
    server.start()
    after = server.await_status("greeting", feedback=40)
    assert [arm["n"] for arm in after["arms"]] == [arm["n"] for arm in before["arms"]]
    assert server.post("/agent/feedback", {"request_id": late, "reward": 0}).status_code == 201


def test_acknowledged_feedback_survives_a_kill(server: Server) -> None:
    server.experiment("greeting")
    tokens = [server.select("greeting")["request_id"] for _ in range(50)]
    for token in tokens:
        assert server.post("/agent/feedback", {"request_id": token, "reward": 1}).status_code == 201
    server.kill()
    server.start()
    again = [server.post("/agent/feedback", {"request_id": t, "reward": 1}) for t in tokens]
    assert {answer.json()["duplicate"] for answer in again} == {True}
    assert server.await_status("greeting", feedback=50)["feedback"] == 50


def test_paused_feedback_is_kept_and_learned_on_resume(server: Server) -> None:
    server.experiment("greeting")
    tokens = [server.select("greeting")["request_id"] for _ in range(5)]
    server.post("/experiments/greeting/pause").raise_for_status()
    assert server.post("/agent/select", {"experiment_id": "greeting"}).status_code == 409
    for token in tokens:
        assert server.post("/agent/feedback", {"request_id": token, "reward": 1}).status_code == 201
    server.post("/experiments/greeting/resume").raise_for_status()
    status = server.await_status("greeting", feedback=5)
    assert sum(arm["n"] for arm in status["arms"]) == 5


def test_a_disabled_arm_is_not_served_again(server: Server) -> None:
    server.experiment("greeting")
    answer = server.http.patch("/api/v1/experiments/greeting/arms/a", json={"state": "disabled"})
    assert answer.status_code == 200
    assert {server.select("greeting")["arm"]["id"] for _ in range(30)} == {"b"}


def test_a_second_server_refuses_the_same_directory(server: Server) -> None:
    command = [sys.executable, "-m", "loopwright.cli", "serve", "--port=0", "--data"]
    second = subprocess.run(
        [*command, str(server.data)], capture_output=True, text=True, timeout=30
    )
    assert second.returncode == 3
    assert "in use by process" in second.stderr
    assert "Traceback" not in second.stderr


def test_a_taken_port_is_said_plainly(server: Server, tmp_path: Path) -> None:
    port = server.url.rsplit(":", 1)[1]
    command = [sys.executable, "-m", "loopwright.cli", "serve", f"--port={port}", "--data"]
    second = subprocess.run(
        [*command, str(tmp_path / "other")], capture_output=True, text=True, timeout=30
    )
    assert second.returncode == 3
    assert "cannot listen" in second.stderr


def test_a_corrupted_log_is_refused_and_left_as_it_is(server: Server) -> None:
    server.experiment("greeting")
    server.select("greeting")
    assert server.stop() == 0
    log = server.data / "log.db"
    damaged = b"garbage!" * 64 + log.read_bytes()[512:]
    log.write_bytes(damaged)
    command = [sys.executable, "-m", "loopwright.cli", "serve", "--port=0", "--data"]
    refused = subprocess.run(
        [*command, str(server.data)], capture_output=True, text=True, timeout=30
    )
    assert refused.returncode == 3
    assert "log.db" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert log.read_bytes() == damaged


def test_a_rotated_signing_key_still_takes_old_feedback_and_a_retired_one_does_not(
    server: Server,
) -> None:
    server.experiment("greeting")
    old, other = (server.select("greeting")["request_id"] for _ in range(2))
    server.post("/signing-keys/rotate").raise_for_status()
    assert server.post("/agent/feedback", {"request_id": old, "reward": 1}).status_code == 201
    assert server.http.delete("/api/v1/signing-keys/1").status_code in (200, 204)
    refused = server.post("/agent/feedback", {"request_id": other, "reward": 1})
    assert (refused.status_code, refused.json()["code"]) == (403, "token_key_retired")
    fresh = server.select("greeting")["request_id"]
    assert server.post("/agent/feedback", {"request_id": fresh, "reward": 1}).status_code == 201


def test_metrics_tell_what_happened(server: Server) -> None:
    server.experiment("greeting")
    token = server.select("greeting")["request_id"]
    server.post("/agent/feedback", {"request_id": token, "reward": 1}).raise_for_status()
    page = server.http.get("/metrics").text
    assert 'loopwright_decisions_total{experiment="greeting",tenant="default"} 1.0' in page
    assert 'loopwright_feedback_total{result="accepted"} 1.0' in page
    assert 'loopwright_http_requests_total{route="/api/v1/agent/feedback",status="201"} 1.0' in page
    assert server.http.get("/health/ready").json() == {"status": "ready", "reason": ""}
