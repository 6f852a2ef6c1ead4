"""An erased person is in no file: not in the log, its segments, the tables, the state, nor the quarantine."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
from bench.erase import left_in

from loopwright.app.embedded import Loop
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.core.context import Context
from loopwright.core.errors import NotFound
from loopwright.eventlog import Sealer
from loopwright.learning.replay import replay
from loopwright.people import erase_person
from loopwright.people.erasure import Erasure, Scrub
from loopwright.people.scrubbing import Erasing

TENANT = "default"
JANE = "jane-4711"
NEEDLES = (JANE, "jane", "sunflower", "conv-of-j", "trace-of-j")
"""Ids, units and words of one person."""


@contextmanager
def running(folder: Path) -> Iterator[Services]:
    services = Services(load_settings(data_dir=folder, seal_after_events=1000))
    services.learner.start()
    try:
        yield services
    finally:
        services.close()


def talk(services: Services, user: str, *, word: str, suffix: str) -> None:
    """Let a user select, answer in every way, and send what is refused."""
    loop = Loop(services, TENANT)
    context = Context(id=user, metadata={"user_id": user, "session_id": f"conv-of-{suffix}"})
    chosen = loop.agent.select("greeting", context, unit_id=user)
    loop.agent.feedback(chosen.request_id, 1.0)
    about = {
        "user_id": user,
        "session_id": f"conv-of-{suffix}",
        "trace_id": f"trace-of-{suffix}",
    }
    items = [
        {"kind": "correction", "before": word, "after": f"{word}s", **about},
        {"kind": "rating", "scale": "stars", "value": 4, "message": word, **about},
        {"kind": "rating", "scale": "stars", "value": 99, "note": word, **about},
    ]
    prepared = services.door.typed_intake.prepare(TENANT, "feedback", items)
    services.truth.writer.append(prepared.facts, prepared.keys, timeout_s=30.0)


def fill(services: Services) -> None:
    loop = Loop(services, TENANT)
    loop.experiments.create("greeting", arms=["a", "b"])
    loop.wait_until_learned()
    for n in range(10):
        talk(services, f"user-{n}", word="tulip", suffix=str(n))
    talk(services, JANE, word="sunflower", suffix="j")
    services.truth.writer.flush()
    services.keeper.sessions.run()
    # As many segments as the facts give, and a live log for the rest.
    sealer = Sealer(
        services.truth.log,
        services.truth.segments,
        consumed=lambda: services.truth.log.head(),
        segment_rows=20,
        keep=5,
    )
    services.keeper.loader.run()
    sealer.seal()
    sealer.trim()
    talk(services, JANE, word="sunflower", suffix="j")
    services.reports.rows_of(TENANT, "nobody")


def erase(services: Services, id: str = JANE, *, scrub: Scrub | None = None) -> Erasure:
    return erase_person(
        services.truth.people,
        partial(services.truth.writer.append, timeout_s=30.0),
        tenant_id=TENANT,
        id=id,
        count_rows=services.reports.rows_of,
        forget_quarantined=services.door.quarantine.forget,
        at_ms=services.truth.clock.now_ms(),
        scrub=scrub or services.eraser.scrub,
    )


def learned(services: Services) -> bytes:
    Loop(services, TENANT).wait_until_learned()
    return services.learner.dump(TENANT, "greeting")


def replayed(services: Services) -> bytes:
    return replay(services.truth.reader)[TENANT, "greeting"]


def test_nothing_of_an_erased_person_is_in_any_file(tmp_path: Path) -> None:
    with running(tmp_path) as services:
        fill(services)
        assert left_in(tmp_path, NEEDLES)
        before = learned(services)
        report = erase(services)
        assert report.rows["decisions"] == 2
        assert report.rows["feedback"] == 4  # the second correction and rating equal the first
        assert report.quarantined == 2
        assert report.facts >= 6
        assert left_in(tmp_path, NEEDLES) == {}
        assert services.reports.rows_of(TENANT, report.person) == {
            "decisions": 0,
            "feedback": 0,
            "interactions": 0,
            "steps": 0,
        }
        assert learned(services) == before == replayed(services)
        with pytest.raises(NotFound):
            erase(services)
    assert left_in(tmp_path, NEEDLES) == {}
    with running(tmp_path) as services:
        assert learned(services) == before
        services.keeper.loader.rebuild()
        assert left_in(tmp_path, NEEDLES) == {}
        rows = services.reports.warehouse.query("export_rows", tenant_id=TENANT, after=0, limit=99)
        assert len(rows.rows) == 30


def test_others_keep_all_their_rows(tmp_path: Path) -> None:
    with running(tmp_path) as services:
        fill(services)
        other = services.truth.people.find(TENANT, "user-3").id
        ids = (services.truth.people.units.name(TENANT, "user-3"),)
        before = services.reports.rows_of(TENANT, other, ids)
        erase(services)
        assert services.reports.rows_of(TENANT, other, ids) == before
        assert left_in(tmp_path, ["tulip"])


class Power(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("half", ["before", "log", "all"])
def test_an_erasure_that_a_crash_interrupted_is_finished(tmp_path: Path, half: str) -> None:
    def stop(services: Services) -> Callable[[Erasing], int]:
        def scrub(erasing: Erasing) -> int:
            if half == "log":
                services.truth.segments.rewrite(lambda batch: (batch, 0))
            elif half == "all":
                services.eraser.scrub(erasing)
            raise Power

        return scrub

    with running(tmp_path) as services:
        fill(services)
        with pytest.raises(Power):
            erase(services, scrub=stop(services))
    with running(tmp_path) as services:
        services.eraser.resume()
        assert left_in(tmp_path, NEEDLES) == {}
        assert learned(services) == replayed(services)
        assert services.truth.people.erasures() == []


def test_a_unit_without_feedback_is_a_person_too(tmp_path: Path) -> None:
    with running(tmp_path) as services:
        fill(services)
        loop = Loop(services, TENANT)
        loop.agent.select("greeting", Context(metadata={"page": "lilac"}), unit_id="silent-9")
        with pytest.raises(NotFound):
            erase(services, "nobody-9")
        report = erase(services, "silent-9")
        assert report.rows["decisions"] == 1
        assert left_in(tmp_path, ["silent-9", "lilac"]) == {}


def test_a_pseudonym_erases_the_units_decisions_as_the_user_id_does(tmp_path: Path) -> None:
    with running(tmp_path) as services:
        fill(services)
        report = erase(services, services.truth.people.find(TENANT, JANE).id)
        assert report.rows["decisions"] == 2
        assert left_in(tmp_path, NEEDLES) == {}
