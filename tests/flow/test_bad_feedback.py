"""Feedback as it should not come, through the real server: kept and flagged, or refused with a sentence, never lost."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pytest
from tests.unit.warehouse.world import NOW, feedback, loader, warehouse

from loopwright.backends.duckdb import Parquet
from loopwright.backends.files import FolderBlobStore
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core import upcast
from loopwright.core.errors import LogCorrupt
from loopwright.eventlog import Reader, Segments
from loopwright.testing import ManualClock
from loopwright.warehouse import Warehouse

from .conftest import Server

THUMB: Final = {"kind": "rating", "scale": "thumbs", "value": 1}
DAY_MS: Final = 86_400_000


def ago(ms: int) -> str:
    """Return a time before now, as products write it."""
    return datetime.fromtimestamp(time.time_ns() / 1e9 - ms / 1000, UTC).isoformat()


def say(server: Server, item: Any, path: str = "/feedback") -> tuple[int, dict[str, Any]]:
    answer = server.post(path, item)
    said: dict[str, Any] = answer.json()
    return answer.status_code, said


def exported(server: Server, *event_ids: str) -> list[dict[str, Any]]:
    """Return the rows of the export with these ids, in the order of arrival."""
    period = {"since": ago(5 * DAY_MS)[:10], "until": ago(-5 * DAY_MS)[:10]}
    lines = server.get("/feedback/export", params={**period, "format": "jsonl"})
    assert lines.status_code == 200, lines.text
    rows = [json.loads(line) for line in lines.text.splitlines()]
    return [row for row in rows if row["event_id"] in event_ids]


@pytest.fixture(scope="module")
def rival(shared: Server) -> str:
    """The key of another tenant."""
    shared.post("/tenants", {"id": "rival"}).raise_for_status()
    issued = shared.post("/keys?tenant_id=rival", {"scopes": ["feedback", "read"]})
    secret: str = issued.json()["secret"]
    return secret


@pytest.mark.parametrize(
    "target",
    [
        {"output_id": "never-heard-of"},
        {"decision_id": "0" * 32},
        {"decision_id": "not an id of ours"},
        {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7"},
        {"session_id": "s-unknown", "message_id": "m-unknown"},
    ],
)
def test_a_fact_about_an_unknown_target_is_kept_and_waits_visibly(
    shared: Server, target: dict[str, str]
) -> None:
    before = shared.get("/feedback/join-health").json()["waiting"]
    status, said = say(shared, {**THUMB, **target})

    assert status == 201, said
    assert shared.get("/feedback/join-health").json()["waiting"] == before + 1
    assert len(exported(shared, said["event_id"])) == 1


def test_a_fact_that_came_early_joins_when_its_call_arrives(shared: Server) -> None:
    outcome = {"kind": "outcome", "metric": "resolved", "value": 1, "output_id": "early"}
    assert say(shared, outcome)[0] == 201
    waiting = shared.get("/feedback/join-health").json()
    call = {"id": "early", "task": "support", "model_version": "m1", "started_at": ago(0)}
    assert say(shared, call, "/interactions")[0] == 201
    joined = shared.get("/feedback/join-health").json()

    assert joined["waiting"] == waiting["waiting"] - 1
    assert joined["joined"] == waiting["joined"] + 1


def test_a_fact_from_the_future_is_kept_and_flagged(shared: Server) -> None:
    item = {**THUMB, "output_id": "tomorrow", "occurred_at": ago(-DAY_MS)}
    status, said = say(shared, item)

    assert (status, said["flags"]) == (201, ["clock_ahead"])
    (row,) = exported(shared, said["event_id"])
    assert row["occurred_at_ms"] > row["at_ms"]


def test_a_fact_from_before_its_decision_is_kept_and_flagged(shared: Server) -> None:
    token = shared.select("greeting")["request_id"]
    status, said = say(shared, {**THUMB, "request_id": token, "occurred_at": ago(DAY_MS)})

    assert (status, said["flags"]) == (201, ["before_decision"])
    assert len(exported(shared, said["event_id"])) == 1


def test_facts_out_of_order_are_kept_and_only_the_late_one_is_flagged(shared: Server) -> None:
    item = {"kind": "signal", "name": "copy", "session_id": "s-order"}
    said = [
        say(shared, {**item, "message_id": f"m{n}", "occurred_at": ago(ms)})
        for n, ms in enumerate((9000, 1000, 5000, 0))
    ]

    assert [status for status, _ in said] == [201] * 4
    assert [told.get("flags", []) for _, told in said] == [[], [], ["out_of_order"], []]
    assert len(exported(shared, *[told["event_id"] for _, told in said])) == 4


@pytest.mark.parametrize("typed_first", [False, True])
def test_an_outcome_through_both_endpoints_counts_once(shared: Server, typed_first: bool) -> None:
    shared.experiment(f"twice-{typed_first}".lower())
    token = shared.select(f"twice-{typed_first}".lower())["request_id"]
    plain = ("/agent/feedback", {"request_id": token, "reward": 1})
    outcome = {"kind": "outcome", "metric": "reward", "value": 1, "request_id": token}
    typed = ("/feedback", outcome)
    ways = [typed, plain] if typed_first else [plain, typed]
    said = [say(shared, item, path) for path, item in ways]

    assert [(status, bool(told.get("duplicate"))) for status, told in said] == [
        (201, False),
        (200, True),
    ]
    other = shared.select(f"twice-{typed_first}".lower())["request_id"]
    shared.post("/agent/feedback", {"request_id": other, "reward": 0}).raise_for_status()
    status = shared.await_status(f"twice-{typed_first}".lower(), feedback=2)
    assert status["feedback"] == 2, "the duplicate would be the third"
    assert sum(arm["n"] for arm in status["arms"]) == 2


@pytest.mark.parametrize(
    ("member", "says"),
    [
        ({"rating": 0}, "rating is 0; send a whole number from 1 to 5"),
        ({"rating": 6}, "rating is 6; send a whole number from 1 to 5"),
        ({"rating": 4.5}, "rating is 4.5"),
        ({"thumbs": "sideways"}, "thumbs is 'sideways'; send 'up' or 'down'"),
    ],
)
def test_a_rating_that_is_none_is_refused_and_held(
    shared: Server, member: dict[str, Any], says: str
) -> None:
    status, said = say(shared, {"output_id": "o-odd", **member})

    assert (status, said["code"]) == (422, "invalid")
    assert says in said["detail"]
    held = shared.get(f"/quarantine/{said['quarantine_id']}").json()
    assert held["body"] == {"output_id": "o-odd", **member}


def test_unknown_words_are_kept_and_flagged(shared: Server) -> None:
    event = {
        "id": "evt-odd",
        "type": "telepathy",
        "source": "martian",
        "severity": "apocalyptic",
        "category": "vibes",
        "user_id": "u-odd",
        "session_id": "s-odd",
        "message_id": "m-odd",
        "timestamp": ago(0),
        "data": {"thumbs": "down"},
    }
    status, said = say(shared, event)

    assert status == 201
    assert set(said["flags"]) == {
        "unknown_type", "unknown_source", "unknown_severity", "unknown_category",
    }  # fmt: skip
    (row,) = exported(shared, said["event_id"])
    kept = json.dumps(row)
    assert all(word in kept for word in ("telepathy", "martian", "apocalyptic", "vibes"))


@pytest.mark.parametrize(("characters", "status"), [(1_000_000, 422), (1_100_000, 413)])
def test_a_comment_of_a_megabyte_is_refused_and_harms_nobody(
    shared: Server, characters: int, status: int
) -> None:
    answer = shared.post("/feedback", {**THUMB, "output_id": "o", "message": "x" * characters})

    assert answer.status_code == status
    assert "65536" in answer.text or status == 413
    assert say(shared, {**THUMB, "output_id": f"after-{characters}"})[0] == 201


@pytest.mark.parametrize("path", ["/feedback", "/ratings", "/interactions", "/steps"])
@pytest.mark.parametrize(
    "body", [b'{"kind":"signal","name":"\xff"}', b'{"items":[{"kind":"\xc3"}]}', b"\x00\xff"]
)
def test_invalid_utf_8_is_said_to_be_so(shared: Server, path: str, body: bytes) -> None:
    answer = shared.post(path, content=body, headers={"content-type": "application/json"})

    assert (answer.status_code, answer.json()["code"]) == (400, "body_malformed")


def test_facts_that_contradict_each_other_are_both_kept(shared: Server) -> None:
    about = {"output_id": "o-torn", "user_id": "torn"}
    up, down = (say(shared, {**THUMB, **about, "value": value}) for value in (1, 0))

    assert (up[0], down[0]) == (201, 201)
    assert (up[1].get("flags"), down[1]["flags"]) == (None, ["contradiction"])
    rows = exported(shared, up[1]["event_id"], down[1]["event_id"])
    assert [row["value"] for row in rows] == [1.0, 0.0]


def test_consent_withdrawn_after_the_fact_takes_it_out_of_the_report(shared: Server) -> None:
    status, said = say(shared, {**THUMB, "output_id": "o-consent", "user_id": "shy"})
    assert status == 201
    before = shared.get("/feedback/quality/default").json()["census"]
    shared.post("/people/shy/consent", {"scopes": ["store"]}).raise_for_status()
    after = shared.get("/feedback/quality/default").json()["census"]

    assert after["withheld"] == before["withheld"] + 1
    assert exported(shared, said["event_id"]) == [], "nor may it be shared"
    shared.post("/people/shy/consent", {"scopes": []}).raise_for_status()
    refused = say(shared, {**THUMB, "output_id": "o-consent-2", "user_id": "shy"})
    assert refused[0] == 422
    assert "quarantine_id" not in refused[1], "nothing of it is kept"


@pytest.mark.parametrize("path", ["/feedback/quality/default", "/feedback/insights/default"])
def test_another_tenants_report_does_not_exist(shared: Server, rival: str, path: str) -> None:
    headers = {"authorization": f"Bearer {rival}"}
    answer = shared.get(path, headers=headers)
    never = shared.get(path.replace("default", "nobody"), headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert answer.json()["detail"].replace("default", "nobody") == never.json()["detail"]
    own = shared.get("/feedback/quality/rival", headers=headers)
    assert (own.status_code, own.json()["census"]["facts"]) == (200, 0)
    assert shared.get("/feedback/export", headers=headers).json() == []


def test_a_report_over_an_empty_period_says_why(shared: Server, rival: str) -> None:
    assert say(shared, {**THUMB, "output_id": "some"})[0] == 201
    period = {"since": "2020-01-01", "until": "2020-02-01"}
    never = shared.get("/feedback/quality/default", params=period).json()["empty"]
    headers = {"authorization": f"Bearer {rival}"}
    nothing = shared.get("/feedback/quality/rival", headers=headers).json()["empty"]

    assert never["reason"] == "none in this period"
    assert "There is some from" in never["sentence"]
    assert nothing["reason"] != never["reason"]
    assert nothing["sentence"]


def write(folder: Path, body: bytes, *, version: int = upcast.SCHEMA_VERSION, n: int = 1) -> None:
    with closing(SqliteEventLog(folder / "log.db")) as log:
        log.append(body, count=n, version=version, keys=[])


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as made:
        yield made


def reporter(folder: Path, opened: ExitStack) -> Warehouse:
    log = opened.enter_context(closing(SqliteEventLog(folder / "log.db")))
    clock, reader = ManualClock(NOW), Reader(log)
    loading = loader(reader, folder / "warehouse", clock=clock, grace_ms=0)
    asked = warehouse(folder / "warehouse", reader, clock=clock, loader=loading)
    return opened.enter_context(closing(asked))


def ids(warehouse: Warehouse) -> list[str]:
    found = warehouse.query("export_rows", tenant_id="acme", limit=1000)
    return [row[found.columns.index("event_id")] for row in found.rows]


def test_facts_one_version_older_are_reported_through_their_upcaster(
    tmp_path: Path, opened: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As if the version before had called tenants by a prefix that this one has dropped.
    def newer(fact: list[Any]) -> list[Any]:
        return [*fact[:3], fact[3].removeprefix("tenant:"), *fact[4:]]

    old = msgspec.to_builtins(feedback("old", tenant_id="tenant:acme"))
    write(tmp_path, msgspec.msgpack.encode([old]), version=upcast.SCHEMA_VERSION - 1)
    write(tmp_path, upcast.encode([feedback("new")]))
    monkeypatch.setitem(upcast.UPCASTERS, upcast.SCHEMA_VERSION - 1, newer)

    assert ids(reporter(tmp_path, opened)) == ["old", "new"]


@pytest.mark.parametrize("is_newer", [True, False])
def test_what_a_newer_program_wrote_is_refused_and_not_skipped(
    tmp_path: Path, opened: ExitStack, is_newer: bool
) -> None:
    write(tmp_path, upcast.encode([feedback("known")]))
    if is_newer:
        write(tmp_path, upcast.encode([feedback("n")]), version=upcast.SCHEMA_VERSION + 1)
    else:  # a kind of fact that this program has never heard of, in a batch of its own version
        write(tmp_path, msgspec.msgpack.encode([["Dreamt", "e", NOW, "acme"]]))
    with pytest.raises(LogCorrupt) as refused:
        ids(reporter(tmp_path, opened))
    assert ("upgrade Loopwright" if is_newer else "Dreamt") in refused.value.message


def test_a_server_over_a_log_that_a_newer_one_wrote_is_not_ready_and_says_why(
    tmp_path: Path,
) -> None:
    server = Server(tmp_path / "data")
    assert say(server, {**THUMB, "output_id": "o"})[0] == 201
    assert server.stop() == 0
    write(tmp_path / "data", upcast.encode([feedback("n")]), version=upcast.SCHEMA_VERSION + 1)
    server.start()
    try:
        answer = server.get("/feedback/quality/default")
        assert answer.status_code >= 500
        assert "upgrade Loopwright" in answer.json()["detail"]
        assert answer.json()["code"] == "log_corrupt"
        ready = server.http.get("/health/ready")
        assert (ready.status_code, "upgrade Loopwright" in ready.text) == (503, True)
    finally:
        server.stop()


ROUNDS: Final = 4

SEALS: Final = """
import sys
from loopwright.backends.duckdb import Parquet
from loopwright.backends.files import FolderBlobStore
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core import upcast
from loopwright.core.events import Ticked
from loopwright.eventlog import Sealer, Segments

folder = sys.argv[1]
log = SqliteEventLog(folder + "/log.db")
segments = Segments(FolderBlobStore(folder + "/segments"), Parquet())
sealer = Sealer(log, segments, consumed=log.head, segment_rows=200, keep=300)
has_sealed = False
while True:
    head = log.head()
    facts = [Ticked(head + k) for k in range(1, 101)]
    log.append(upcast.encode(facts), count=100, version=upcast.SCHEMA_VERSION, keys=[])
    if sealer.seal() and not has_sealed:
        has_sealed = True
        print("ready", flush=True)
    sealer.trim()
"""


def test_a_killed_seal_loses_no_fact_and_doubles_none(tmp_path: Path) -> None:
    rng, sealed = random.Random(3), []
    segments = Segments(FolderBlobStore(tmp_path / "segments"), Parquet())
    for _ in range(ROUNDS):
        command = [sys.executable, "-c", SEALS, str(tmp_path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "ready\n"
            time.sleep(rng.uniform(0.1, 0.4))
            assert child.poll() is None, "the child is to end by being killed"
            child.kill()
        with closing(SqliteEventLog(tmp_path / "log.db")) as log:
            head = log.head()
            facts = list(Reader(log, segments).replay())
        assert [offset for offset, _ in facts] == list(range(1, head + 1))
        assert [fact.at_ms for _, fact in facts] == list(range(1, head + 1))
        sealed.append(segments.manifest().last)
    assert sealed == sorted(sealed)
    assert sealed[-1] > sealed[0] > 0
