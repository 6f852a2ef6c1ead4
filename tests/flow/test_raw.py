"""Raw copies in a real server: what redaction took out can be looked at, by few, for a while, and never unseen."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest

import loopwright
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.cli.doctor import doctor
from loopwright.core.errors import RawNotKept
from loopwright.core.events import Changed
from loopwright.core.ports import START
from loopwright.core.upcast import decode

from .conftest import Server

MAIL = "jane.roe@example.com"
FORGED = "UPDATE raw_copies SET ciphertext = zeroblob(length(ciphertext)) WHERE event_id = ?"
MOVED = "UPDATE raw_copies SET person = '' WHERE event_id = ?"
ENDED = "UPDATE raw_copies SET expires_ms = 1 WHERE event_id = ?"


def item(event_id: str, user_id: str = "u-17", **more: Any) -> dict[str, Any]:
    return {
        "kind": "rating",
        "scale": "stars",
        "value": 4,
        "output_id": "o",
        "event_id": event_id,
        "user_id": user_id,
        "message": f"mail {MAIL}",
        **more,
    }


@pytest.fixture
def keeping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server that keeps raw copies; the tests may start it again without."""
    monkeypatch.setenv("LOOPWRIGHT__RAW_COPIES", "true")
    running = Server(tmp_path / "data")
    yield running
    assert running.stop() == 0, running.said


def code(answer: httpx.Response) -> tuple[int, str]:
    assert MAIL not in answer.text
    return answer.status_code, answer.json()["code"]


def figures(server: Server) -> dict[str, int]:
    lines = server.http.get("/metrics").text.splitlines()
    pairs = (
        line.split('result="')[1].split('"} ') for line in lines if "_raw_copies_total{" in line
    )
    return {result: int(float(n)) for result, n in pairs}


def change(server: Server, sql: str, event_id: str) -> None:
    with closing(sqlite3.connect(server.data / "raw.db")) as database, database:
        assert database.execute(sql, (event_id,)).rowcount == 1


def looks(server: Server) -> list[tuple[str, str, str]]:
    """Who looked at what, as the log has it; the server may run."""
    with closing(SqliteEventLog(server.data / "log.db")) as log:
        facts = [fact for batch in log.read(START, limit=100_000) for fact in decode(batch.body)]
    return [
        (fact.tenant_id, fact.actor, fact.subject)
        for fact in facts
        if isinstance(fact, Changed) and fact.action == "read"
    ]


def key_of(server: Server, *scopes: str, tenant: str = "default") -> tuple[str, dict[str, str]]:
    asked = {"scopes": scopes, "name": "a key"}
    answer = server.post("/keys", asked, params={"tenant_id": tenant})
    assert answer.status_code == 201, answer.text
    issued = answer.json()
    return issued["key"]["id"], {"authorization": f"Bearer {issued['secret']}"}


def test_an_administrator_sees_what_came_and_the_log_says_who_looked(keeping: Server) -> None:
    assert keeping.post("/feedback", item("e1")).status_code == 201
    batch = [item("e2", ip_address="203.0.113.9"), item("e3", scale="sideways"), item("e1")]
    results = keeping.post("/feedback", {"items": batch}).json()["results"]
    assert [result["status"] for result in results] == [201, 422, 200]
    assert keeping.post("/feedback", item("e4", message="fine")).status_code == 201
    keeping.kill()  # what is answered is kept
    keeping.start()

    id, admin = key_of(keeping, "admin")
    answer = keeping.get("/feedback/raw/e1", headers=admin)
    assert answer.status_code == 200, answer.text
    copy = answer.json()
    assert (copy["event_id"], copy["path"], copy["item"]) == ("e1", "feedback", item("e1"))
    assert copy["expires_ms"] - copy["received_ms"] == 30 * 86_400_000
    assert answer.headers["cache-control"] == "no-store"
    # The log knows it by the time of the answer, not later.
    assert looks(keeping) == [("default", id, "raw/e1")]
    assert keeping.get("/feedback/raw/e2").json()["item"] == batch[0]
    # Refused, or stored word for word: there is nothing to look at.
    for event_id in ("e3", "e4", "e5"):
        assert code(keeping.get(f"/feedback/raw/{event_id}")) == (404, "raw_not_kept")

    _, weak = key_of(keeping, "select", "feedback", "read", "manage")
    assert code(keeping.get("/feedback/raw/e1", headers=weak)) == (403, "forbidden")
    assert code(keeping.get("/feedback/raw/e5", headers=weak)) == (403, "forbidden")
    assert keeping.post("/tenants", {"id": "other"}).status_code == 201
    _, foreign = key_of(keeping, "admin", tenant="other")
    assert code(keeping.get("/feedback/raw/e1", headers=foreign)) == (404, "raw_not_kept")
    assert len(looks(keeping)) == 2
    assert figures(keeping) == {"kept": 0, "failed": 0, "read": 2, "swept": 0, "erased": 0}
    content = b"".join(path.read_bytes() for path in keeping.data.glob("*.db*"))
    assert b"jane.roe" not in content


def test_an_erased_person_is_gone_from_the_copies_and_from_every_file(keeping: Server) -> None:
    sent = [item("e1"), item("e2"), item("e3", "other"), item("e4", "third")]
    assert keeping.post("/feedback", {"items": sent}).json()["accepted"] == 4
    with closing(sqlite3.connect(keeping.data / "people.db")) as database:
        rows = database.execute("SELECT person, secret FROM person_keys").fetchall()
    assert len(rows) == 3
    gone = keeping.post("/people/u-17/erase").json()
    assert (gone["raw_copies"], gone["quarantined"]) == (2, 0)
    for event_id in ("e1", "e2"):
        assert code(keeping.get(f"/feedback/raw/{event_id}")) == (404, "raw_erased")
    said = keeping.post("/people/third/consent", {"scopes": ["analyze"]})
    assert said.status_code == 200, said.text
    assert code(keeping.get("/feedback/raw/e4")) == (404, "raw_erased")
    assert keeping.get("/feedback/raw/e3").json()["item"]["user_id"] == "other"
    assert figures(keeping)["erased"] == 3
    files = b"".join(path.read_bytes() for path in keeping.data.glob("people.db*"))
    found = {person: secret.encode() in files for person, secret in rows}
    assert [is_there for person, is_there in found.items() if person == gone["person"]] == [False]
    assert sum(found.values()) == 2


def test_a_forged_moved_or_ended_copy_is_not_shown(keeping: Server) -> None:
    for event_id in ("forged", "moved", "ended", "sound"):
        assert keeping.post("/feedback", item(event_id)).status_code == 201
    assert keeping.stop() == 0
    change(keeping, FORGED, "forged")
    change(keeping, MOVED, "moved")
    change(keeping, ENDED, "ended")
    keeping.start()
    for event_id in ("forged", "moved"):
        assert code(keeping.get(f"/feedback/raw/{event_id}")) == (503, "raw_damaged")
    assert code(keeping.get("/feedback/raw/ended"))[0] == 404
    assert looks(keeping) == []
    deadline = time.monotonic() + 15
    while figures(keeping)["swept"] == 0:
        assert time.monotonic() < deadline, "the sweep did not come"
        time.sleep(0.1)
    assert code(keeping.get("/feedback/raw/ended")) == (404, "raw_not_kept")
    assert keeping.get("/feedback/raw/sound").status_code == 200


def test_copies_outlive_the_switch_but_no_new_ones_are_made(
    keeping: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert keeping.post("/feedback", item("e1")).status_code == 201
    assert keeping.stop() == 0
    doctor(data=keeping.data)
    monkeypatch.setenv("LOOPWRIGHT__RAW_COPIES", "false")
    keeping.start()
    assert keeping.post("/feedback", item("e2")).status_code == 201
    assert keeping.get("/feedback/raw/e1").json()["item"] == item("e1")
    assert code(keeping.get("/feedback/raw/e2")) == (404, "raw_not_kept")
    assert keeping.post("/people/u-17/erase").json()["raw_copies"] == 1
    doctor(data=keeping.data)
    told = [line for line in capsys.readouterr().out.splitlines() if "raw copies" in line]
    assert ["on, for 30 days; 1 kept" in told[0], "off; 0 kept" in told[1]] == [True, True], told


def test_a_server_that_keeps_no_raw_copies_has_no_file_for_them(server: Server) -> None:
    assert server.post("/feedback", item("e1")).status_code == 201
    assert code(server.get("/feedback/raw/e1")) == (404, "raw_not_kept")
    assert server.post("/people/u-17/erase").json()["raw_copies"] == 0
    assert not list(server.data.glob("raw*"))
    assert figures(server) == {}


def test_a_loop_in_the_same_process_keeps_them_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOOPWRIGHT__RAW_COPIES", "true")
    with loopwright.open(tmp_path / "data") as loop:
        results = loop.feedback.send([item("e1"), item("e1"), item("e2", message="fine")])
        assert [result.status for result in results] == [201, 200, 201]
        assert loop.feedback.raw("e1").item == item("e1")
        with pytest.raises(RawNotKept):
            loop.feedback.raw("e2")
    with closing(SqliteEventLog(tmp_path / "data" / "log.db")) as log:
        last = decode(log.read(START, limit=100)[-1].body)[-1]
    assert isinstance(last, Changed)
    assert (last.actor, last.subject, last.action) == ("embedded", "raw/e1", "read")
    with closing(sqlite3.connect(tmp_path / "data" / "raw.db")) as database:
        assert database.execute("SELECT event_id FROM raw_copies").fetchall() == [("e1",)]


def test_erasing_a_person_reaches_the_steps_that_an_agent_took_for_them(server: Server) -> None:
    taken = {"session_id": "s-9", "kind": "sql_generation", "data": {"table": "sales"}}
    steps = [{**taken, "id": "x1", "user_id": "u-9"}, {**taken, "id": "x2"}]
    assert server.post("/steps", {"items": steps}).status_code == 200
    outcome = {**taken, "id": "x1", "user_id": "u-9", "outcome": "success"}
    assert server.post("/steps", outcome).status_code == 201
    assert len(server.get("/feedback/decisions/s-9").json()["steps"]) == 2
    assert server.post("/people/u-9/erase").json()["rows"]["steps"] == 1
    deadline = time.monotonic() + 10  # what was just read is shared for a moment
    while len(left := server.get("/feedback/decisions/s-9").json()["steps"]) > 1:
        assert time.monotonic() < deadline, left
    assert left[0]["id"] == "x2"
