"""From what people do to a surrogate: sessions in a real log, the warehouse, the calibration on the disk."""

from __future__ import annotations

import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.flow.conftest import Server

from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.backends.files import FolderBlobStore
from loopwright.cli import run
from loopwright.core.clock import DAY_MS, SystemClock
from loopwright.core.events import Changed, Fact, Interacted, Reported
from loopwright.core.feedback import Note, Outcome, Signal, Target
from loopwright.core.interaction import Interaction
from loopwright.core.ports import Committed
from loopwright.learning import replay
from loopwright.signals.calibration import calibrate
from loopwright.signals.registry import FOLDER, Surrogates
from loopwright.signals.sessions import CONSUMER
from loopwright.signals.surrogate import Row, Surrogate, fit
from loopwright.testing import ManualClock

START = 1_750_000_000_000
CALLS = 240


def kept(data: Path) -> Surrogates:
    return Surrogates(FolderBlobStore(data / FOLDER))


def visits() -> list[Fact]:
    """Calls whose answers are copied when they are good; a good one is mostly resolved, days later."""
    rng = random.Random(3)
    facts: list[Fact] = []
    for k in range(CALLS):
        at_ms = START + k * 60_000
        call = Interaction(
            id=f"o{k}", started_at_ms=at_ms, session_id=f"s{k}", task="support", query=f"q {k}"
        )
        facts.append(Interacted(f"i{k}", at_ms, "default", call))
        is_good = rng.random() < 0.5
        target = Target(output_id=f"o{k}", session_id=f"s{k}")
        note = Note(occurred_at_ms=at_ms + 5_000)
        if rng.random() < (0.8 if is_good else 0.2):
            facts.append(Reported(f"c{k}", at_ms, "default", target, Signal("copy"), note))
        outcome = Outcome("resolved", float(rng.random() < (0.9 if is_good else 0.1)))
        later = Note(occurred_at_ms=at_ms + DAY_MS)
        facts.append(Reported(f"r{k}", at_ms, "default", Target(output_id=f"o{k}"), outcome, later))
    return facts


def filled(data: Path) -> Services:
    clock = ManualClock(START + 2 * DAY_MS)
    services = Services(load_settings(data_dir=data), clock=clock, rng=random.Random(1))
    stored: list[Any] = []
    facts = visits()
    services.truth.writer.submit(facts, [None] * len(facts), stored.append)
    services.truth.writer.flush()
    assert isinstance(stored[0], Committed)
    for _ in range(3):
        services.keeper.sessions.run()
        services.truth.writer.flush()
        clock.advance(seconds=3_600)
    return services


def test_signals_of_sessions_become_the_surrogate_of_a_late_outcome(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    services = filled(tmp_path)
    abandoned = services.reports.warehouse.query(
        "values_of", tenant_id="default", metric="abandonment"
    )
    copied = services.reports.warehouse.query("values_of", tenant_id="default", metric="copy")
    assert len(abandoned.rows) + len(copied.rows) == CALLS
    sessions = services.reports.warehouse.query("sessions", tenant_id="default").dicts()
    assert sum(row["abandoned"] for row in sessions) == len(abandoned.rows)
    found = calibrate(
        services.reports.warehouse,
        "default",
        "support",
        metric="resolved",
        window_ms=DAY_MS,
        now_ms=START + 9 * DAY_MS,
    )
    assert (found.n, found.unmatured, found.missing) == (CALLS, 0, 0)
    young = calibrate(
        services.reports.warehouse,
        "default",
        "support",
        metric="resolved",
        window_ms=DAY_MS,
        now_ms=START + DAY_MS + 100 * 60_000,
    )
    assert (young.n, young.unmatured) == (100, CALLS - 100)
    services.close()

    command = ["calibrate", "support", "--metric=resolved", "--window-days=1", f"--data={tmp_path}"]
    assert run([*command, "--json"]) == 0
    told = msgspec.json.decode(capsys.readouterr().out)
    current = kept(tmp_path).current("default", "support")
    assert told["surrogate"]["version"] == current.version
    assert current.calibration == found.calibration
    assert current.calibration.auc is not None
    assert current.calibration.auc > 0.7
    assert current.predict({"copy": 1.0}) > 0.6 > 0.4 > current.predict({"abandonment": 1.0})

    assert run(command) == 0
    out = capsys.readouterr().out
    assert "240 matured decisions with an outcome" in out
    assert "Brier score" in out
    assert kept(tmp_path).current("default", "support").version != current.version
    assert len(list((tmp_path / "surrogates/default/support").glob("*.json"))) == 2

    assert run(["calibrate", "other", "--metric=resolved", "--window-days=1", f"--data={tmp_path}"])
    assert "50 are needed" in capsys.readouterr().err
    assert run([*command[:2], "--metric=resolved", "--window-days=0", f"--data={tmp_path}"]) == 2
    assert run([*command[:4], f"--data={tmp_path / 'none'}"]) == 3


def test_a_running_server_calibrates_and_keeps_a_record_of_who_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("LOOPWRIGHT__URL", raising=False)
    filled(tmp_path).close()
    asked = {"task": "support", "metric": "resolved", "window_days": 1}
    server = Server(tmp_path)
    try:
        assert server.get("/surrogates", params={"task": "support"}).json()["code"] == "not_found"
        made = server.post("/surrogates", asked)
        assert made.status_code == 201, made.text
        assert made.json()["n"] == CALLS
        assert server.get("/surrogates", params={"task": "support"}).json() == made.json()
        few = server.post("/surrogates", {**asked, "task": "other"})
        assert (few.status_code, few.json()["code"]) == (422, "invalid")
        assert server.post("/surrogates", {**asked, "window_days": 0}).status_code == 422
        reader = server.post("/keys", {"scopes": ["read"]}).json()["secret"]
        refused = server.post("/surrogates", asked, headers={"authorization": f"Bearer {reader}"})
        assert refused.status_code == 403

        command = ["calibrate", "support", "--metric=resolved", "--window-days=1"]
        assert run([*command, f"--data={tmp_path}", f"--url={server.url}", "--json"]) == 0
        told = msgspec.json.decode(capsys.readouterr().out)
        current = server.get("/surrogates", params={"task": "support"}).json()
        assert told["surrogate"]["version"] == current["version"] != made.json()["version"]
        assert run([*command, f"--data={tmp_path}", f"--url={server.url}", "--tenant=x"]) == 2
        assert "tenant of the API key" in capsys.readouterr().err
    finally:
        server.stop()
    services = Services(load_settings(data_dir=tmp_path))
    facts = services.truth.reader.facts(0, limit=10_000)
    changes = [f for _, f in facts if isinstance(f, Changed) and f.action == "calibrate"]
    services.close()
    assert [change.subject for change in changes] == ["surrogate/support"] * 2
    assert [change.detail["version"] for change in changes] == [
        made.json()["version"],
        current["version"],
    ]


def await_open_session(path: Path) -> None:
    deadline = time.monotonic() + 20
    with closing(sqlite3.connect(path)) as state:
        while not state.execute("SELECT * FROM open_sessions").fetchall():
            assert time.monotonic() < deadline, "the server does not read along"
            time.sleep(0.1)


def test_a_real_server_reads_along_and_a_restart_keeps_open_sessions(tmp_path: Path) -> None:
    server = Server(tmp_path)
    call = {"id": "o1", "session_id": "s1", "task": "support", "query": "how many"}
    try:
        server.post("/interactions", call).raise_for_status()
        await_open_session(tmp_path / "state.db")
    finally:
        server.stop()
    services = Services(load_settings(data_dir=tmp_path), clock=ManualClock(2**42))
    services.keeper.sessions.run()
    services.truth.writer.flush()
    services.keeper.sessions.run()
    services.truth.writer.flush()
    services.keeper.sessions.run()
    found = services.reports.warehouse.query("values_of", tenant_id="default", metric="abandonment")
    assert [value for _, value in found.rows] == [1.0]
    assert services.keeper.consumers.position(CONSUMER) == services.truth.log.head()
    services.close()


SHAPED = {
    "type": "bounded",
    "metric": "resolved",
    "duplicates": "latest",
    "shaping": "support",
}


def fitted(*, metric: str = "resolved", now_ms: int = START) -> Surrogate:
    """A surrogate by which a copied answer is mostly resolved and an abandoned one mostly not."""
    rng = random.Random(5)
    rows = []
    for _ in range(400):
        is_copied = rng.random() < 0.5
        outcome = float(rng.random() < (0.9 if is_copied else 0.1))
        rows.append(Row(0, {"copy": 1.0} if is_copied else {"abandonment": 1.0}, outcome))
    return fit(rows, task="support", metric=metric, now_ms=now_ms, window_ms=DAY_MS)


def settled(services: Services) -> None:
    """Let everything that follows from the log by now be written and learned."""
    for _ in range(4):
        services.keeper.sessions.run()
        services.truth.writer.flush()
    while services.learner.step():
        pass


def test_a_reward_is_expected_when_the_session_is_over_and_replaced_by_the_outcome(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path)
    try:
        server.experiment("greeting", reward=SHAPED)
        kept(tmp_path).store("default", fitted())
        chosen = server.select("greeting", context={"metadata": {"session_id": "s1"}})
        left = server.select("greeting", context={"metadata": {"session_id": "s2"}})
        signal = {"kind": "signal", "name": "copy", "request_id": chosen["request_id"]}
        server.post("/feedback", {**signal, "session_id": "s1"}).raise_for_status()
        assert server.await_status("greeting", decisions=2)["expected"] == 0
    finally:
        assert server.stop() == 0

    clock = ManualClock(SystemClock().now_ms() + 3_600_000)
    services = Services(load_settings(data_dir=tmp_path), clock=clock)
    settled(services)
    found = services.reports.warehouse.query("values_of", tenant_id="default", metric="resolved")
    assert found.rows == []  # an expectation is no outcome, in no report
    services.close()

    server = Server(tmp_path)
    try:
        status = server.await_status("greeting", expected=2)
        assert (status["feedback"], status["expectations"]) == (0, 2)
        means = {arm["arm_id"]: arm["mean"] for arm in status["arms"] if arm["n"]}
        if chosen["arm"]["id"] != left["arm"]["id"]:
            assert means[chosen["arm"]["id"]] > 0.6 > 0.4 > means[left["arm"]["id"]]
        advice = server.get("/experiments/greeting/status").json()["advice"]
        assert "2 of 2 rewards are not outcomes" in advice[0]["sentence"]
        scraped = server.http.get("/metrics").text
        sample = 'loopwright_learner_expected_rewards{experiment="greeting",tenant="default"} 2.0'
        assert sample in scraped

        outcome = {"request_id": chosen["request_id"], "metric": "resolved", "reward": 0}
        server.post("/agent/feedback", outcome).raise_for_status()
        status = server.await_status("greeting", feedback=1)
        assert (status["expected"], sum(arm["n"] for arm in status["arms"])) == (1, 2)
        outcome = {"kind": "outcome", "metric": "resolved", "value": 1}
        typed = {**outcome, "request_id": left["request_id"]}
        server.post("/feedback", typed).raise_for_status()
        status = server.await_status("greeting", feedback=2)
        assert status["expected"] == 0
        assert sorted(arm["mean"] for arm in status["arms"] if arm["n"]) in ([0.0, 1.0], [0.5])

        refused = server.post(
            "/experiments",
            {"id": "x", "arms": [{"id": "a"}], "reward": {"shaping": "support"}},
        )
        assert refused.status_code == 422
        assert "declare the reward 'bounded'" in refused.json()["detail"]
    finally:
        assert server.stop() == 0

    services = Services(load_settings(data_dir=tmp_path), clock=clock)
    key = ("default", "greeting")
    assert services.learner.dump(*key) == replay(services.truth.reader)[key]
    services.close()
