"""The stores that every role shares."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from loopwright.app.keyring import ADMIN_KEY_FILE
from loopwright.app.roles import Truth
from loopwright.app.settings import load_settings
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.events import Changed
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.ids import Ids
from loopwright.testing import ManualClock


class Folder:
    """Opens the stores of one directory, as often as asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._clock = ManualClock()

    def open(self, opened: ExitStack, **settings: Any) -> Truth:
        ids = Ids(self._clock, random.Random(1))
        made = load_settings(data_dir=self._path, **settings)
        return Truth(made, opened, clock=self._clock, ids=ids)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


@pytest.fixture
def opened() -> Iterator[ExitStack]:
    with ExitStack() as opened:
        yield opened


def test_the_first_start_makes_one_key_that_only_its_owner_reads(
    folder: Folder, tmp_path: Path
) -> None:
    with ExitStack() as opened:
        truth = folder.open(opened)
        key = (tmp_path / ADMIN_KEY_FILE).read_bytes().strip()
        assert truth.catalog.authenticate(key).tenant_id == DEFAULT_TENANT
    assert (tmp_path / ADMIN_KEY_FILE).stat().st_mode & 0o077 == 0
    with ExitStack() as opened:
        assert len(folder.open(opened).catalog.keys.all(DEFAULT_TENANT)) == 1
    assert (tmp_path / ADMIN_KEY_FILE).read_bytes().strip() == key


def test_a_change_of_the_catalog_is_in_the_log(folder: Folder, opened: ExitStack) -> None:
    truth = folder.open(opened)
    truth.catalog.experiments.create(
        Experiment(id="x", tenant_id=DEFAULT_TENANT, arms=(Arm(id="a"), Arm(id="b")))
    )
    truth.writer.flush()
    changes = [fact for _, fact in truth.reader.facts(0, limit=100) if type(fact) is Changed]
    assert any("experiment" in str(change) for change in changes)


def test_an_experiment_that_is_not_there_is_none(folder: Folder, opened: ExitStack) -> None:
    truth = folder.open(opened)
    assert truth.find(DEFAULT_TENANT, "nothing") is None
    assert truth.find("nobody", "nothing") is None


def test_raw_copies_are_kept_only_when_asked(folder: Folder, tmp_path: Path) -> None:
    with ExitStack() as opened:
        assert folder.open(opened).raw is None
    assert not (tmp_path / "raw.db").exists()
    with ExitStack() as opened:
        assert folder.open(opened, raw_copies=True).raw is not None
    # Off again: what was kept still expires, so it stays open.
    with ExitStack() as opened:
        assert folder.open(opened).raw is not None
