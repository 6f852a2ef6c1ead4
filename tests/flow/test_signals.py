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

from loopwright.app.cli import run
from loopwright.app.settings import load_settings
from loopwright.app.surrogates import answers, calibrate, load_current, store
from loopwright.app.wiring import Services
from loopwright.core.errors import Broken, Invalid, NotFound
from loopwright.core.events import Fact, Interacted, Reported
from loopwright.core.feedback import Note, Outcome, Signal, Target
from loopwright.core.interaction import Interaction
from loopwright.eventlog import Committed
from loopwright.feedback.sessions import CONSUMER
from loopwright.feedback.surrogate import Row
from loopwright.testing import ManualClock

DAY_MS = 86_400_000
START = 1_750_000_000_000
CALLS = 240


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
    services.writer.submit(facts, [None] * len(facts), stored.append)
    services.writer.flush()
    assert isinstance(stored[0], Committed)
    for _ in range(3):
        services.sessions.run()
        services.writer.flush()
        clock.advance(seconds=3_600)
    return services


def test_signals_of_sessions_become_the_surrogate_of_a_late_outcome(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    services = filled(tmp_path)
    abandoned = services.warehouse.query("values_of", tenant_id="default", metric="abandonment")
    copied = services.warehouse.query("values_of", tenant_id="default", metric="copy")
    assert len(abandoned.rows) + len(copied.rows) == CALLS
    sessions = services.warehouse.query("sessions", tenant_id="default").dicts()
    assert sum(row["abandoned"] for row in sessions) == len(abandoned.rows)
    found = calibrate(
        services.warehouse,
        "default",
        "support",
        metric="resolved",
        window_ms=DAY_MS,
        now_ms=START + 9 * DAY_MS,
    )
    assert (found.n, found.unmatured, found.missing) == (CALLS, 0, 0)
    young = calibrate(
        services.warehouse,
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
    current = load_current(tmp_path, "default", "support")
    assert told["file"].endswith(f"surrogates/default/support/{current.version}.json")
    assert current.calibration == found.calibration
    assert current.calibration.auc is not None
    assert current.calibration.auc > 0.7
    assert current.predict({"copy": 1.0}) > 0.6 > 0.4 > current.predict({"abandonment": 1.0})

    assert run(command) == 0
    out = capsys.readouterr().out
    assert "240 matured decisions with an outcome" in out
    assert "Brier score" in out
    assert load_current(tmp_path, "default", "support").version != current.version
    assert len(list((tmp_path / "surrogates/default/support").glob("*.json"))) == 2

    assert run(["calibrate", "other", "--metric=resolved", "--window-days=1", f"--data={tmp_path}"])
    assert "50 are needed" in capsys.readouterr().err
    assert run([*command[:2], "--metric=resolved", "--window-days=0", f"--data={tmp_path}"]) == 2
    assert run([*command[:4], f"--data={tmp_path / 'none'}"]) == 3


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
    services.sessions.run()
    services.writer.flush()
    services.sessions.run()
    services.writer.flush()
    services.sessions.run()
    found = services.warehouse.query("values_of", tenant_id="default", metric="abandonment")
    assert [value for _, value in found.rows] == [1.0]
    assert services._consumers.position(CONSUMER) == services.log.head()
    services.close()


def fact(**members: Any) -> dict[str, Any]:
    blank = dict.fromkeys(
        ("decision_id", "trace_id", "span_id", "session_id", "message_id", "output_id", "flags")
    )
    return {
        **blank,
        "kind": "signal",
        "metric": "copy",
        "value": 1.0,
        "occurred_at_ms": START,
        "quarantined": None,
        **members,
    }


def test_facts_that_share_a_reference_are_about_one_answer() -> None:
    ours = f"{START - 5_000:012x}7" + "0" * 19
    rows = answers(
        [
            fact(output_id="o1"),
            fact(decision_id=ours, metric="dwell", value=300_000.0),
            fact(
                decision_id=ours,
                output_id="o1",
                metric="dwell_scaled",
                value=0.5,
                flags='["derived"]',
            ),
            fact(output_id="o1", kind="outcome", metric="resolved", value=0.0),
            fact(output_id="o1", kind="outcome", metric="resolved", value=1.0),
            fact(output_id="o2", metric="first_action", value=300_000.0),
            fact(output_id="o3", quarantined="shape"),
            fact(trace_id="t"),
            fact(output_id="o4", kind="rating", metric="rating"),
        ],
        metric="resolved",
    )
    assert rows == [
        Row(START - 5_000, {"copy": 1.0, "dwell_scaled": 0.5}, 1.0),
        Row(START, {"first_action_scaled": 1.0}, None),
    ]


def test_a_surrogate_on_the_disk_is_whole_or_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="loopwright calibrate"):
        load_current(tmp_path, "default", "support")
    services = filled(tmp_path)
    made = calibrate(
        services.warehouse,
        "default",
        "support",
        metric="resolved",
        window_ms=DAY_MS,
        now_ms=START + 9 * DAY_MS,
    )
    services.close()
    odd = msgspec.structs.replace(made, task="../a/b")
    path = store(tmp_path, "..", odd)
    assert path.parent == tmp_path / "surrogates" / "%2E%2E" / "%2E%2E%2Fa%2Fb"
    assert load_current(tmp_path, "..", "../a/b") == odd
    store(tmp_path, "..", odd)
    path.write_bytes(b"{}")
    with pytest.raises(Broken, match="calibrate again"):
        load_current(tmp_path, "..", "../a/b")
    path.write_bytes(msgspec.json.encode(made))
    with pytest.raises(Broken, match="holds"):
        load_current(tmp_path, "..", "../a/b")
    with pytest.raises(Invalid, match="folder"):
        load_current(tmp_path, "default", "ж" * 100)
