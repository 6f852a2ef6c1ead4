"""Reports by trust over a real log: an attack moves what was said, and hardly what it counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.flow.conftest import Server
from tests.unit.warehouse.world import DAY, DOWN, NOW, UP, World, call, feedback

from loopwright.app.embedded import Loop
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.cli import run
from loopwright.core.clock import SystemClock
from loopwright.core.events import Changed, Fact
from loopwright.core.feedback import Target
from loopwright.insights.report import QualityReport
from loopwright.insights.service import Insights
from loopwright.insights.trusted import trusted_report
from loopwright.learning import replay
from loopwright.testing import ManualClock
from loopwright.trust.view import Trust
from loopwright.warehouse.period import Period, period

MONTH = Period(from_ms=NOW - 30 * DAY, to_ms=NOW + 1)
MINUTE = 60_000
PEOPLE, PER_PERSON, ATTACKS = 60, 8, 40


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def honest() -> list[Fact]:
    """60 people rate the answers to 40 questions over twenty days; three answers in four are good."""
    rng = np.random.default_rng(7)
    facts: list[Fact] = []
    for person in range(PEOPLE):
        for k in range(PER_PERSON):
            question = int(rng.integers(40))
            is_praised = (question % 4 != 0) != (rng.random() < 0.05)
            id = f"h{person}-{k}"
            at_ms = NOW - int(rng.integers(20 * DAY)) - DAY
            facts += [
                call(id, at_ms=at_ms, query=f"question {question}", response=f"{question}"),
                feedback(f"f{id}", UP if is_praised else DOWN, target=Target(output_id=id),
                         at_ms=at_ms, person=f"p{person}"),
            ]  # fmt: skip
    return facts


def attack() -> list[Fact]:
    """Ten accounts damn everything: half of it in one rush of a minute, half over a day."""
    rng = np.random.default_rng(8)
    facts: list[Fact] = []
    for account in range(10):
        for k in range(ATTACKS):
            question = int(rng.integers(40))
            id = f"a{account}-{k}"
            within = int(rng.integers(MINUTE if k % 2 else DAY // 2))
            at_ms = NOW - 3 * DAY + within
            facts += [
                call(id, at_ms=at_ms, query=f"question {question}", response=f"{question}"),
                feedback(f"f{id}", DOWN, target=Target(output_id=id), at_ms=at_ms,
                         person=f"x{account}", message="awful, all of it"),
            ]  # fmt: skip
    return facts


def report(world: World) -> QualityReport:
    warehouse = world.warehouse()
    return trusted_report(Insights(warehouse, clock=world.clock), Trust(warehouse), "acme", MONTH)


def satisfaction(found: QualityReport) -> tuple[float, float]:
    """Return the share of positive ratings as it was said, and by trust."""
    line = next(line for line in found.metrics or () if line.name == "satisfaction")
    assert line.value is not None
    assert line.weighted is not None
    return line.value, line.weighted.estimate


def test_ten_attacking_accounts_move_what_was_said_and_not_what_counts(world: World) -> None:
    world.say(*honest())
    truth, _ = satisfaction(report(world))
    world.say(*attack())
    world.clock.advance(seconds=5)
    attacked = report(world)
    off, on = satisfaction(attacked)

    assert truth - off > 0.2
    assert abs(on - truth) <= abs(off - truth) / 2
    assert abs(on - truth) < 0.05
    assert attacked.trust is not None
    ratings = attacked.trust.of("rating")
    assert ratings is not None
    assert ratings.facts == PEOPLE * PER_PERSON + 10 * ATTACKS
    assert ratings.quarantined >= 150
    assert ratings.capped + ratings.adversarial >= 150
    assert attacked.is_weighted


def test_a_report_says_by_which_rules_it_weighs_and_what_they_left_out(world: World) -> None:
    world.say(*honest(), *attack())
    found = report(world)
    note = next(finding for finding in found.findings if finding.kind == "trust")
    line = next(line for line in found.metrics or () if line.name == "satisfaction")

    assert found.trust is not None
    assert note.sentence.startswith("Trust view 2 counts ")
    assert "held back as part of a burst" in note.sentence
    assert line.weighted is not None
    assert 1 < line.weighted.n <= PEOPLE + 10
    assert line.n == PEOPLE * PER_PERSON + 10 * ATTACKS


def test_the_same_question_gives_the_same_numbers(world: World) -> None:
    world.say(*honest(), *attack())
    first = report(world)
    world.clock.advance(seconds=1)
    again = report(world)

    assert first.trust == again.trust
    assert first.metrics == again.metrics
    assert first.failures == again.failures


def test_an_attack_is_seen_through_the_same_from_files_as_from_the_log(world: World) -> None:
    world.say(*honest(), *attack())
    from_log = report(world)
    world.loader().run()

    assert report(world).trust == from_log.trust


def test_an_empty_period_has_an_empty_view(world: World) -> None:
    world.say(feedback("old", at_ms=NOW - 90 * DAY))
    found = report(world)

    assert found.trust is not None
    assert (found.trust.facts, found.trust.reasons, found.trust.kinds) == (0, (), ())
    assert found.empty is not None
    assert all(finding.kind != "trust" for finding in found.findings)


def test_the_command_weighs_unless_it_is_told_not_to(
    world: World,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("LOOPWRIGHT__URL", "LOOPWRIGHT__API_KEY", "LOOPWRIGHT__DATA_DIR"):
        monkeypatch.delenv(name, raising=False)
    world.say(*honest(), *attack())
    asked = ["report", "acme", "--since", "2024-09-01", "--until", "2024-11-01"]
    asked += ["--data", str(tmp_path)]

    assert run([*asked, "--json"]) == 0
    on = json.loads(capsys.readouterr().out)
    assert run([*asked, "--no-trust", "--json"]) == 0
    off = json.loads(capsys.readouterr().out)
    assert run(asked) == 0
    shown = capsys.readouterr().out
    assert on["trust"]["version"] == 2
    assert on["trust"]["quarantined"] > 0
    assert on["is_weighted"]
    assert not off["is_weighted"]
    assert off["trust"] is None
    assert "Trust view 2 counts" in " ".join(shown.split())


def test_a_server_weighs_tells_why_and_refuses_what_it_does_not_know(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    def rate(k: int) -> dict[str, Any]:
        rating = {"kind": "rating", "scale": "thumbs", "value": k % 2}
        return {**rating, "output_id": f"o{k}", "user_id": f"u{k % 3}", "event_id": f"event-{k}"}

    sent = server.post("/feedback", {"items": [rate(k) for k in range(30)]})
    assert sent.status_code < 300, sent.text
    of = {"since": "2020-01-01"}
    on = server.get("/feedback/quality/default", params=of).json()
    off = server.get("/feedback/quality/default", params={**of, "trust": "off"}).json()
    view = server.get("/feedback/trust/default", params=of)
    odd = server.get("/feedback/quality/default", params={"trust": "maybe"})
    lines = {name: found["metrics"][0] for name, found in (("on", on), ("off", off))}

    assert on["trust"]["facts"] == 30
    assert on["trust"]["capped"] == 15
    assert lines["on"]["value"] == lines["off"]["value"] == 0.5
    assert lines["on"]["weighted"] is not None
    assert lines["off"]["weighted"] is None
    assert view.status_code == 200, view.text
    assert view.json()["capped"] == 15
    assert {reason["reason"] for reason in view.json()["reasons"]} >= {"capped_user"}
    assert odd.status_code == 422
    assert "expected one of on, off" in odd.json()["detail"]
    assert server.get("/feedback/trust/nobody").status_code == 404
    asked = ["report", "--url", server.url, "--api-key", server.key, "--json"]
    assert run(asked) == 0
    assert json.loads(capsys.readouterr().out)["trust"]["capped"] == 15


def thumbs(value: int, *, by: str, about: str, at_ms: int) -> dict[str, Any]:
    rating = {"kind": "rating", "scale": "thumbs", "value": value, "occurred_at": at_ms}
    return {**rating, "output_id": about, "user_id": by, "event_id": f"event-{about}"}


def rush(server: Server) -> int:
    """200 people praise over two days, and in one minute of it 60 others damn; return when that minute began."""
    now = SystemClock().now_ms()
    minute = (now - DAY) // MINUTE * MINUTE
    praise = [
        thumbs(1, by=f"u{k}", about=f"o{k}", at_ms=now - 2 * DAY + k * 840_000) for k in range(200)
    ]
    damn = [thumbs(0, by=f"x{k}", about=f"x{k}", at_ms=minute + k * 900) for k in range(60)]
    answer = server.post("/feedback", {"items": praise + damn})
    assert answer.json()["accepted"] == 260, answer.text
    return minute


def weighted(server: Server) -> float:
    found = server.get("/feedback/quality/default", params={"days": 7}).json()
    line = next(line for line in found["metrics"] if line["name"] == "satisfaction")
    estimate: float = line["weighted"]["estimate"]
    return estimate


def test_a_burst_is_shown_released_and_held_back_again(server: Server) -> None:
    minute = rush(server)
    week = {"days": 7}
    held = server.get("/feedback/trust/default", params=week).json()
    [burst] = held["bursts"]
    assert (burst["experiment_id"], burst["arm_id"], burst["kind"]) == (None, None, "rating")
    assert minute <= burst["first_ms"] <= burst["last_ms"] < minute + MINUTE
    assert burst["facts"] == burst["held"] == held["quarantined"] >= 60
    assert burst["facts"] - burst["praise"] == burst["people"] - burst["praise"] == 60
    assert (burst["release"], held["released"], held["more_bursts"]) == (None, 0, 0)
    assert weighted(server) == 1.0

    asked = {"from_ms": burst["first_ms"], "to_ms": burst["last_ms"], "note": "<b>a newsletter</b>"}
    made = server.post("/feedback/trust/default/releases", asked)
    assert made.status_code == 201, made.text
    release = made.json()
    again = server.post("/feedback/trust/default/releases", asked)
    assert (again.status_code, again.json()["release_id"]) == (409, release["id"])
    view = server.get("/feedback/trust/default", params=week).json()
    assert (view["quarantined"], view["released"]) == (0, burst["facts"])
    assert view["bursts"][0]["held"] == 0
    known = view["bursts"][0]["release"]
    assert (known["id"], known["note"]) == (release["id"], "<b>a newsletter</b>")
    assert known["released_by"] == release["released_by"] != ""
    assert 0.7 < weighted(server) < 0.8
    page = server.get("/feedback/quality/default", params={**week, "format": "html"}).text
    assert "&lt;b&gt;a newsletter&lt;/b&gt;" in page
    assert "came in a burst that was released" in page

    # Who released what outlives the process.
    assert server.stop() == 0
    server.start()
    assert server.get("/feedback/trust/default", params=week).json()["released"] == burst["facts"]
    path = f"/api/v1/feedback/trust/default/releases/{release['id']}"
    assert server.http.delete(path).json()["withdrawn_by"] == release["released_by"]
    assert server.http.delete(path).status_code == 404
    assert weighted(server) == 1.0
    [kept] = server.get("/feedback/trust/default/releases").json()["items"]
    assert kept["withdrawn_at_ms"] >= kept["released_at_ms"]

    assert server.stop() == 0
    with closing(Services(load_settings(data_dir=server.data))) as services:
        changes = [
            (fact.action, fact.actor, fact.detail.get("note"))
            for _, fact in services.truth.reader.facts(0, limit=10_000)
            if isinstance(fact, Changed) and fact.subject == f"release/{release['id']}"
        ]
    by = release["released_by"]
    assert changes == [("release", by, "<b>a newsletter</b>"), ("withdraw", by, None)]
    server.start()


def test_a_report_without_a_server_knows_releases_and_accounts_too(
    server: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    minute = rush(server)
    asked = {"from_ms": minute, "to_ms": minute + MINUTE}
    assert server.post("/feedback/trust/default/releases", asked).status_code == 201
    assert server.stop() == 0
    assert run(["report", "--data", str(server.data), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["trust"]
    assert (found["quarantined"], found["released"] >= 60) == (0, True)
    server.start()


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        ({"from_ms": 9, "to_ms": 8}, 422, "before from_ms"),
        ({"from_ms": 0, "to_ms": 8 * DAY}, 422, "at most 7 days"),
        ({"from_ms": 4 * 10**12, "to_ms": 4 * 10**12}, 422, "cannot have been looked at"),
        ({"from_ms": 1, "to_ms": 2, "arm_id": "a"}, 422, "give experiment_id too"),
        ({"from_ms": 1, "to_ms": 2, "experiment_id": "nope"}, 404, "no experiment 'nope'"),
        (
            {"from_ms": 1, "to_ms": 2, "experiment_id": "greeting", "arm_id": "z"},
            404,
            "no arm 'z'",
        ),
        ({"from_ms": 1}, 422, "to_ms"),
        ({"from_ms": -1, "to_ms": 2}, 422, "from_ms"),
        ({"from_ms": 1, "to_ms": 2, "note": "x" * 501}, 422, "note"),
        ({"from_ms": 1, "to_ms": 2, "kind": "rating"}, 422, "kind"),
    ],
)
def test_a_release_that_makes_no_sense_is_refused(
    shared: Server, body: dict[str, Any], status: int, says: str
) -> None:
    answer = shared.post("/feedback/trust/default/releases", body)
    assert answer.status_code == status, answer.text
    assert says in answer.json()["detail"]
    assert shared.get("/feedback/trust/default/releases").json()["items"] == []


def test_who_may_release_and_for_whom(shared: Server) -> None:
    made = shared.post("/tenants", {"id": "rival"})
    assert made.status_code == 201, made.text

    def headers(scope: str, tenant: str) -> dict[str, str]:
        key = shared.post("/keys", {"scopes": [scope], "name": scope}, params={"tenant_id": tenant})
        return {"authorization": f"Bearer {key.json()['secret']}"}

    asked, path = {"from_ms": 1, "to_ms": 2}, "/feedback/trust/rival/releases"
    reader = shared.post(path, asked, headers=headers("read", "rival"))
    foreign = shared.post(path, asked, headers=headers("manage", "default"))
    own = shared.post(path, asked, headers=headers("manage", "rival"))
    assert (reader.status_code, foreign.status_code, own.status_code) == (403, 404, 201)
    id = own.json()["id"]
    for tenant, scope, status in (
        ("default", "manage", 404),
        ("rival", "manage", 404),
        ("rival", "read", 403),
    ):
        at = f"/api/v1/feedback/trust/{tenant}/releases/{id}"
        owner = "default" if scope == "manage" else "rival"
        answer = shared.http.delete(at, headers=headers(scope, owner))
        assert answer.status_code == status, (tenant, scope)
    assert shared.get("/feedback/trust/default/releases").json()["items"] == []
    listed = shared.get(path, headers=headers("read", "rival")).json()["items"]
    assert [(item["id"], item["withdrawn_by"]) for item in listed] == [(id, None)]


def test_the_api_document_shows_the_shape_of_the_trust_answer(shared: Server) -> None:
    document = shared.http.get("/docs/openapi.json").json()

    def shape(schema: dict[str, Any]) -> dict[str, Any]:
        name = schema["$ref"].rpartition("/")[2]
        found: dict[str, Any] = document["components"]["schemas"][name]["properties"]
        return found

    path = document["paths"]["/api/v1/feedback/trust/{of_tenant}"]["get"]
    summary = shape(path["responses"]["200"]["content"]["application/json"]["schema"])
    assert {"counted", "quarantined", "released", "reasons", "kinds", "version"} <= set(summary)
    burst = shape(summary["bursts"]["items"])
    assert {"first_ms", "last_ms", "held", "praise", "new_accounts", "release"} <= set(burst)
    quality = document["paths"]["/api/v1/feedback/quality/{of_tenant}"]["get"]
    report = shape(quality["responses"]["200"]["content"]["application/json"]["schema"])
    assert "TrustSummary" in json.dumps(report["trust"])
    releases = document["paths"]["/api/v1/feedback/trust/{of_tenant}/releases"]
    assert {"get", "post"} <= set(releases)


def test_a_rush_of_accounts_made_today_is_held_back_and_regulars_of_that_minute_count(
    tmp_path: Path,
) -> None:
    clock = ManualClock(NOW // DAY * DAY)
    services = Services(load_settings(data_dir=tmp_path), clock=clock)
    loop = Loop(services, "default")

    def send(items: list[dict[str, Any]]) -> None:
        assert {result.status for result in loop.feedback.send(items)} == {201}

    with closing(services):
        for day in range(20):
            start = clock.now_ms()
            clock.advance(seconds=86_400)
            usual = [
                thumbs(1, by=f"u{k}", about=f"{day}-{k}", at_ms=start + k * 1_200_000)
                for k in range(60)
            ]
            send([*usual, thumbs(1, by=f"new{day}", about=f"n{day}", at_ms=clock.now_ms() - 9)])
        clock.advance(seconds=3_600)
        minute = clock.now_ms() // MINUTE * MINUTE
        clock.advance(seconds=120)
        made_today = [thumbs(0, by=f"x{k}", about=f"x{k}", at_ms=minute + k) for k in range(40)]
        regular = [thumbs(1, by=f"u{k}", about=f"r{k}", at_ms=minute + 99 * k) for k in range(6)]
        send(made_today + regular)

        found = loop.feedback.trust(days=30)
        [burst] = found.bursts
        assert (burst.held, burst.new_accounts, burst.people, burst.praise) == (40, 40, 40, 0)
        assert (found.facts, found.counted) == (20 * 61 + 46, 20 * 61 + 6)
        line = next(line for line in loop.feedback.quality().metrics or () if line.weighted)
        assert line.weighted is not None
        assert line.weighted.estimate == 1.0
        # Nobody could tell the regulars apart without knowing when an account was first seen.
        blind = Trust(services.reports.warehouse).summary(
            "default", period(clock.now_ms(), days=30), now_ms=clock.now_ms()
        )
        assert blind.quarantined == 46

        release = loop.feedback.release(from_ms=burst.first_ms, to_ms=burst.last_ms, note="a fair")
        assert loop.feedback.trust().released == 40
        assert loop.feedback.withdraw(release.id).withdrawn_by == "embedded"
        assert loop.feedback.trust().quarantined == 40

        # Of who is erased nothing is known, and so not when they came either.
        for k in range(40):
            services.truth.people.erase(
                "default", services.truth.people.find("default", f"x{k}").id
            )
        assert loop.feedback.trust().quarantined == 46


def test_the_trust_view_needs_the_scope_to_read(server: Server) -> None:
    made = server.post("/keys", {"scopes": ["feedback"], "name": "sender"})
    assert made.status_code == 201, made.text
    headers = {"authorization": f"Bearer {made.json()['secret']}"}

    assert server.get("/feedback/trust/default", headers=headers).status_code == 403


def test_a_server_caps_what_one_person_teaches_when_the_experiment_says_so(
    server: Server,
) -> None:
    spec = {"arms": [{"id": "a"}], "reward": {"type": "bounded", "metric": "rating"}}
    server.experiment("free", **spec)
    server.experiment("careful", **spec, trust={})
    for id in ("free", "careful"):
        for k in range(8):
            chosen = server.select(id, unit_id="eve")
            plain = {"request_id": chosen["request_id"], "metric": "rating", "reward": 1}
            server.post("/agent/feedback", plain).raise_for_status()
            rating = {"kind": "rating", "scale": "thumbs", "value": 0, "user_id": "ann"}
            token = server.select(id, unit_id=f"u{k}")["request_id"]
            server.post("/feedback", {**rating, "request_id": token}).raise_for_status()
    free = server.await_status("free", feedback=16)
    careful = server.await_status("careful", feedback=10)
    assert (free["skipped"], free["arms"][0]["mean"]) == ({}, 0.5)
    assert careful["skipped"] == {"capped_person": 6}
    assert careful["arms"][0]["n"] == 10
    scraped = server.http.get("/metrics").text
    assert 'loopwright_learner_skipped_total{reason="capped_person"} 6.0' in scraped

    odd = server.post("/experiments", {"id": "x", **spec, "trust": {"per_person": 0}})
    assert odd.status_code == 422
    assert "per_person" in odd.json()["detail"]
    late = server.http.patch("/api/v1/experiments/careful", json={"trust": None})
    assert late.status_code == 409
    assert "its trust can no longer change" in late.json()["detail"]

    assert server.stop() == 0
    services = Services(load_settings(data_dir=server.data))
    experiments = services.truth.catalog.experiments.all("default")
    assert replay(services.truth.reader) == {
        (e.tenant_id, e.id): services.learner.dump(e.tenant_id, e.id) for e in experiments
    }
    services.close()
    server.start()
