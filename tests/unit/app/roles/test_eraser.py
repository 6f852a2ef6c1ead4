from __future__ import annotations

from pathlib import Path

from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services


def test_an_erasure_that_was_begun_and_not_finished_is_finished_by_the_task(tmp_path: Path) -> None:
    services = Services(load_settings(data_dir=tmp_path))
    try:
        people = services.truth.people
        people.resolve("default", ["jane"])
        begun = people.begin_erasure("default", "jane", is_unit=lambda *_: False, at_ms=1)
        assert people.erasures() == [begun]
        services.eraser.task().run()
        assert people.erasures() == []
        assert list(people.since("default", [begun.person])) == []
        services.eraser.task().run()
    finally:
        services.close()
