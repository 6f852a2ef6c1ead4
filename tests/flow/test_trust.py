"""Reports by trust over a real log: an attack moves what was said, and hardly what it counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.flow.conftest import Server
from tests.unit.warehouse.world import DAY, DOWN, NOW, UP, World, call, feedback

from loopwright.app.cli import run
from loopwright.app.settings import load_settings
from loopwright.app.trust import Trust, TrustedReport
from loopwright.app.wiring import Services
from loopwright.core.events import Fact
from loopwright.core.feedback import Target
from loopwright.insights.period import Period
from loopwright.insights.service import Insights
from loopwright.learning import replay

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


def report(world: World) -> TrustedReport:
    warehouse = world.warehouse()
    return Trust(warehouse).report(Insights(warehouse, clock=world.clock), "acme", MONTH)


def satisfaction(found: TrustedReport) -> tuple[float, float]:
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
    assert note.sentence.startswith("Trust view 1 counts ")
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
    assert on["trust"]["version"] == 1
    assert on["trust"]["quarantined"] > 0
    assert on["is_weighted"]
    assert not off["is_weighted"]
    assert "trust" not in off
    assert "Trust view 1 counts" in " ".join(shown.split())


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
    experiments = services.catalog.experiments("default")
    assert replay(services.reader, experiments) == {
        (e.tenant_id, e.id): services.learner.dump(e.tenant_id, e.id) for e in experiments
    }
    services.close()
    server.start()
