"""A data folder of November 2026, opened by the code at hand: same answers, and the loop goes on.

`tests/data/make_folder_2026_11.py` made the folder with the code of commit 96c98c3, and with it the answers that are
expected here. Every period is explicit, so the tests do not depend on the day they run.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import loopwright

from .conftest import Server
from .old_folder import (
    PERIOD,
    derived,
    differences,
    expected,
    exported,
    over_http,
    questions,
    unpack,
)

KNOWN = expected()
OLD: dict[str, Any] = KNOWN["answers"]
METRICS = {"delayed": "clicked", "shaped": "resolved"}


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the code at hand answers for the folder."""
    return questions(tmp_path_factory.mktemp("asked") / "data", KNOWN)


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Server]:
    """A server over a fresh copy of the folder."""
    running = Server(unpack(tmp_path / "data"))
    yield running
    assert running.stop() == 0, running.said


def bearing(name: str) -> dict[str, str]:
    return {"authorization": f"Bearer {KNOWN['secrets'][name]}"}


def old_status(id: str, tenant: str = "default") -> dict[str, Any]:
    found: dict[str, Any] = OLD["http"][tenant]["status"][id]["status"]
    return found


def send(server: Server, id: str, token: str, key: str = "admin") -> httpx.Response:
    body = {
        "request_id": token,
        "reward": 1,
        "metric": METRICS.get(id, "reward"),
        "event_id": f"{id} {token[-16:]}",
    }
    return server.post("/agent/feedback", body, headers=bearing(key))


def await_feedback(server: Server, id: str, tenant: str, wanted: int) -> dict[str, Any]:
    """Return the status once that many decisions of the experiment have taught it."""
    deadline = time.monotonic() + 10
    while True:
        answer = server.get(f"/experiments/{id}/status", params={"tenant_id": tenant})
        status: dict[str, Any] = answer.json()["status"]
        if status["feedback"] >= wanted:
            return status
        assert time.monotonic() < deadline, status
        time.sleep(0.02)


def learned(server: Server, id: str) -> int:
    """Return how many rewards an experiment's arms hold."""
    status = server.get(f"/experiments/{id}/status").json()["status"]
    return sum(arm["n"] for arm in status["arms"])


def cli(*arguments: str) -> Any:
    program = Path(sys.executable).with_name("loopwright")
    ran = subprocess.run([str(program), *arguments, "--json"], capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr
    return json.loads(ran.stdout)


@pytest.mark.parametrize("tenant", ["default", "acme"])
@pytest.mark.parametrize("what", sorted(OLD["http"]["default"]))
def test_the_routes_answer_for_each_tenant_as_the_old_code_did(
    asked: dict[str, Any], tenant: str, what: str
) -> None:
    assert differences(OLD["http"][tenant][what], asked["http"][tenant][what]) == []


@pytest.mark.parametrize("what", ["tenants", "signing_keys", "surrogate", "quarantine"])
def test_the_routes_of_no_one_tenant_answer_as_the_old_code_did(
    asked: dict[str, Any], what: str
) -> None:
    assert differences(OLD["http"][what], asked["http"][what]) == []


@pytest.mark.parametrize("what", sorted(OLD["inside"]))
def test_log_states_people_and_queries_are_what_they_were(asked: dict[str, Any], what: str) -> None:
    assert differences(OLD["inside"][what], asked["inside"][what]) == []


def test_every_state_is_what_a_clean_replay_of_the_log_learns(asked: dict[str, Any]) -> None:
    assert asked["inside"]["dumps"] == asked["inside"]["replayed"]
    assert asked["inside"]["positions"]["default/resting"] < asked["inside"]["head"]


def test_a_paused_experiment_learns_its_backlog_when_it_is_resumed(old: Server) -> None:
    before = old_status("resting")
    assert old.get("/experiments/resting/status").json()["status"]["feedback"] == before["feedback"]
    old.post("/experiments/resting/resume").raise_for_status()
    learned = await_feedback(old, "resting", "default", before["feedback"] + 10)
    assert learned["feedback"] == before["feedback"] + 10
    assert sum(arm["n"] for arm in learned["arms"]) == sum(arm["n"] for arm in before["arms"]) + 10
    for token in KNOWN["tokens"]["resting"]:
        assert send(old, "resting", token).status_code == 201
    await_feedback(old, "resting", "default", before["feedback"] + 14)


def test_tokens_that_were_out_are_accepted_and_learned_from(old: Server) -> None:
    for id, tokens in KNOWN["tokens"].items():
        tenant, key = ("acme", "acme") if id.startswith("with-") else ("default", "admin")
        answers = [send(old, id, token, key) for token in tokens]
        assert {answer.status_code for answer in answers} == {201}, (id, answers[0].text)
        assert send(old, id, tokens[0], key).json()["duplicate"] is True
        if id in ("resting", "delayed"):
            continue  # the one is paused, the other's window is over
        wanted = old_status(id, tenant)["feedback"] + len(tokens)
        assert await_feedback(old, id, tenant, wanted)["feedback"] == wanted
    late = old_status("delayed")["late"] + len(KNOWN["tokens"]["delayed"])
    assert old.await_status("delayed", late=late)["feedback"] == old_status("delayed")["feedback"]


def test_a_loop_opens_the_folder_twice_and_the_second_time_finds_what_the_first_left(
    tmp_path: Path,
) -> None:
    folder = unpack(tmp_path / "data")
    wanted = old_status("greeting")["feedback"]
    for token in KNOWN["tokens"]["greeting"][:2]:
        with loopwright.open(folder) as loop:
            assert loop.wait_until_learned()
            assert loop.experiments.status("greeting").feedback == wanted
            loop.agent.feedback(token, 1)
            assert loop.wait_until_learned()
            wanted += 1
            assert loop.experiments.status("greeting").feedback == wanted
    with loopwright.open(folder, tenant_id="acme") as loop:
        assert len(loop.experiments.list()) == len(OLD["http"]["acme"]["experiments"]["items"])


def test_a_server_that_stops_and_starts_answers_the_same(old: Server) -> None:
    first = over_http(old)
    assert old.stop() == 0, old.said
    old.start()
    assert differences(first, over_http(old)) == []


def test_api_keys_still_open_what_they_opened_and_nothing_more(old: Server) -> None:
    def reads(name: str, tenant: str = "default") -> int:
        params = {"tenant_id": tenant}
        return old.get("/experiments", params=params, headers=bearing(name)).status_code

    chosen = {"experiment_id": "greeting"}
    assert {name: reads(name) for name in KNOWN["secrets"] if name not in ("old", "acme")} == {
        "admin": 200, "selecting": 403, "sending": 403, "reading": 200, "managing": 200, "rotated": 200,
        "revoked": 401,
    }  # fmt: skip
    assert reads("acme", "acme") == 200
    rotated = next(key for key in OLD["http"]["default"]["keys"]["items"] if key["name"] == "old")
    in_grace = time.time_ns() // 1_000_000 < rotated["previous_valid_until_ms"]
    assert reads("old") == (200 if in_grace else 401)
    assert old.post("/agent/select", chosen, headers=bearing("selecting")).status_code == 200
    assert old.post("/agent/select", chosen, headers=bearing("sending")).status_code == 403
    assert send(old, "greeting", KNOWN["tokens"]["greeting"][0], "sending").status_code == 201
    paused = old.post("/experiments/greeting/pause", headers=bearing("managing"))
    assert (paused.status_code, paused.json()["state"]) == (200, "paused")


def test_the_first_admin_key_is_the_operators_and_those_of_other_tenants_keep_to_their_tenant(
    old: Server,
) -> None:
    mine = old.get("/tenants").json()["items"]
    assert [tenant["id"] for tenant in mine] == ["acme", "default"]
    made = old.post("/keys", {"role": "admin"}, params={"tenant_id": "acme"}).json()["secret"]
    theirs = {"authorization": f"Bearer {made}"}
    assert old.get("/experiments", headers=theirs).status_code == 200
    params = {"tenant_id": "default"}
    assert old.get("/experiments", headers=theirs, params=params).status_code == 404
    assert old.post("/tenants", {"id": "new"}, headers=theirs).status_code == 403


def test_units_keep_their_arms(old: Server) -> None:
    for unit, (arm, mode, rule) in KNOWN["sticky"].items():
        chosen = old.select("gated", unit_id=unit)
        assert (chosen["arm"]["id"], chosen["mode"], chosen["rule"]) == (arm, mode, rule), unit


def test_an_experiment_goes_back_to_a_snapshot_that_the_old_code_kept(old: Server) -> None:
    kept = OLD["http"]["default"]["snapshots"]["greeting"]["items"][-1]
    answer = old.post(f"/experiments/greeting/snapshots/{kept['version']}/rollback")
    assert answer.status_code == 200, answer.text
    deadline = time.monotonic() + 10
    while learned(old, "greeting") != kept["n"]:
        assert time.monotonic() < deadline, (learned(old, "greeting"), kept)
        time.sleep(0.02)


def test_raw_copies_are_read_and_those_of_the_erased_are_gone(old: Server) -> None:
    for user, item in KNOWN["raw"].items():
        copy = old.get(f"/feedback/raw/raw-{user}")
        assert (copy.status_code, copy.json().get("item")) == (200, item)
    gone = old.get(f"/feedback/raw/{KNOWN['erased']['event_id']}")
    assert (gone.status_code, gone.json()["code"]) == (404, "raw_erased")


def test_nobody_finds_the_person_who_was_erased(old: Server) -> None:
    for name in (KNOWN["erased"]["person"], KNOWN["erased"]["user_id"]):
        assert old.post(f"/people/{name}/erase").status_code == 404
    asked = {"consent": "analyze", **PERIOD}
    text = old.get("/feedback/export", params={**asked, "format": "jsonl"}).text
    assert KNOWN["erased"]["person"] not in text
    assert KNOWN["answers"]["inside"]["people"]["u-17"][0] in text
    assert exported(old, "default") == OLD["http"]["default"]["exported"]


def test_people_can_still_be_erased_by_the_id_that_the_product_uses(old: Server) -> None:
    answer = old.post("/people/u-17/erase")
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["person"] == KNOWN["answers"]["inside"]["people"]["u-17"][0]
    assert told["raw_copies"] == 1
    assert told["rows"]["feedback"] > 5
    assert KNOWN["answers"]["inside"]["people"]["u-17"][0] not in json.dumps(exported(old, "acme"))


def test_a_fact_that_the_folder_has_counts_once_when_it_is_sent_again(old: Server) -> None:
    again = old.post("/feedback", KNOWN["raw"]["u-30"])
    assert (again.status_code, again.json()["duplicate"]) == (200, True)


def test_consents_given_to_the_old_code_hold(old: Server) -> None:
    stored = {"kind": "rating", "scale": "stars", "value": 4, "output_id": "o-9", "user_id": "u-18"}
    assert old.post("/feedback", stored).status_code == 201
    found = old.get(
        "/feedback/export", params={"consent": "analyze", "format": "jsonl", **PERIOD}
    ).text
    assert KNOWN["consents"]["u-18"]["person"] not in found
    assert KNOWN["consents"]["u-20"]["person"] in found


def test_refused_items_can_be_replayed_and_discarded(old: Server) -> None:
    held = [item["id"] for item in OLD["http"]["quarantine"][0]["items"]]
    assert len(held) >= 4
    assert old.post(f"/quarantine/{held[0]}/replay").status_code in (403, 422)
    assert old.http.delete(f"/api/v1/quarantine/{held[1]}").status_code == 204
    assert old.get("/quarantine").json()["held"] == len(held) - 1


def test_a_release_can_be_taken_back(old: Server) -> None:
    (release,) = [
        r for r in OLD["http"]["default"]["releases"]["items"] if r["withdrawn_by"] is None
    ]
    path = "/feedback/trust/default"
    assert old.http.delete(f"/api/v1{path}/releases/{release['id']}").status_code == 200
    deadline = time.monotonic() + 10
    while (found := old.get(path, params=PERIOD).json())["released"] > 0:
        assert time.monotonic() < deadline, found
        time.sleep(0.1)
    assert found["quarantined"] > 0


def test_sessions_that_were_open_end_and_show_what_they_showed_the_old_code(tmp_path: Path) -> None:
    assert derived(tmp_path / "data") == KNOWN["derived"]


def test_the_commands_read_the_folder(tmp_path: Path) -> None:
    folder = unpack(tmp_path / "data")
    data = f"--data={folder}"
    # The code of November left files that others could read; opening the folder closes them.
    with loopwright.open(folder):
        pass
    assert cli("doctor", data)["ok"] is True
    since, until = (f"--{name}={value}" for name, value in PERIOD.items())
    report = cli("report", since, until, data)
    wanted = OLD["http"]["default"]["quality"]["metrics"]
    assert differences([m["value"] for m in wanted], [m["value"] for m in report["metrics"]]) == []
    keys = cli("keys", "list", "--local", data)
    names = {key["name"] for key in OLD["http"]["default"]["keys"]["items"]}
    assert names <= {key["name"] for key in keys}
