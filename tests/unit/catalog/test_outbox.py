"""A change and the fact about it are one: whatever crashes in between, the event log has each fact once."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.catalog import Catalog
from loopwright.catalog.outbox import Outbox
from loopwright.core.amendment import ArmChange
from loopwright.core.errors import DiskFull, NotInForce, Unauthenticated
from loopwright.core.events import Changed, ExperimentChanged, Fact, KeyChanged
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.ids import Ids
from loopwright.core.ports import Committed
from loopwright.eventlog import Reader, Writer
from loopwright.testing import ManualClock


class Log:
    """A real event log to relay to; `refuses` stands for a full disk, `dies` for a crash after the append."""

    def __init__(self, folder: Path, clock: ManualClock) -> None:
        self.engine = SqliteEventLog(folder / "log.db")
        self.writer = Writer(self.engine, clock)
        self.refuses = self.dies = False

    def append(self, facts: Sequence[Fact], keys: Sequence[bytes]) -> int:
        if self.refuses:
            raise DiskFull("no space left")
        outcomes: list[object] = []
        self.writer.submit(facts, keys, outcomes.append)
        assert self.writer.flush()
        assert isinstance(outcomes[0], Committed)
        if self.dies:
            raise KeyboardInterrupt
        return self.engine.head()

    def facts(self, kind: type) -> list[Any]:
        return [fact for _, fact in Reader(self.engine).replay() if isinstance(fact, kind)]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def log(tmp_path: Path, clock: ManualClock) -> Iterator[Log]:
    log = Log(tmp_path, clock)
    yield log
    log.writer.close()
    log.engine.close()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "catalog.db")
    yield database
    database.close()


def opened(database: SqliteDatabase, clock: ManualClock, log: Log | None, seed: int = 1) -> Catalog:
    append = None if log is None else log.append
    return Catalog(database, clock=clock, ids=Ids(clock, random.Random(seed)), append=append)


def draft(id: str = "greeting") -> Experiment:
    return Experiment(id=id, tenant_id="default", arms=(Arm(id="a"), Arm(id="b")))


def states(log: Log) -> list[tuple[str, int, str]]:
    changes = log.facts(ExperimentChanged)
    return [(c.experiment.id, c.experiment.revision, c.experiment.state) for c in changes]


def test_a_crash_between_append_and_delete_appends_once(database, clock, log):
    catalog = opened(database, clock, log)
    log.dies = True
    with pytest.raises(KeyboardInterrupt):
        catalog.experiments.create(draft())
    log.dies = False
    again = opened(database, clock, log, seed=2)
    assert again.relay() == log.engine.head() == 2
    again.experiments.move("default", "greeting", "start")
    assert states(log) == [("greeting", 1, "draft"), ("greeting", 2, "running")]
    assert database.query("SELECT * FROM outbox") == []


def test_a_change_that_the_log_refuses_is_kept_and_appended_in_order_later(database, clock, log):
    catalog = opened(database, clock, log)
    log.refuses = True
    with pytest.raises(NotInForce, match=r"revision 1.*no space left"):
        catalog.experiments.create(draft())
    with pytest.raises(NotInForce):
        catalog.experiments.move("default", "greeting", "start")
    assert log.facts(ExperimentChanged) == []
    log.refuses = False
    again = opened(database, clock, log, seed=2)
    again.relay()
    assert states(log) == [("greeting", 1, "draft"), ("greeting", 2, "running")]
    assert [change.action for change in log.facts(Changed)] == ["create", "start"]


def test_a_key_is_in_force_even_when_the_log_is_full_and_the_log_hears_of_it_later(
    database, clock, log
):
    catalog = opened(database, clock, log)
    log.refuses = True
    issued = catalog.keys.create("default", ["read"], actor="ann")
    assert catalog.authenticate(issued.secret).key_id == issued.key.id
    log.refuses = False
    catalog.relay()
    (told,) = log.facts(KeyChanged)
    assert (told.stored.key, told.actor) == (issued.key, "ann")
    assert issued.secret.encode() not in repr(told).encode()


def test_another_process_follows_experiments_and_keys_by_their_facts(tmp_path, clock, log):
    first = SqliteDatabase(tmp_path / "first.db")
    second = SqliteDatabase(tmp_path / "second.db")
    writing, following = opened(first, clock, log), opened(second, clock, None)
    writing.experiments.create(draft())
    writing.experiments.move("default", "greeting", "start")
    writing.experiments.change_arm("default", "greeting", "a", ArmChange(state="disabled"))
    old = writing.keys.create("default", ["read"])
    new = writing.keys.rotate("default", old.key.id)
    gone = writing.keys.create("default", ["read"])
    writing.keys.revoke("default", gone.key.id)
    facts = [fact for _, fact in Reader(log.engine).replay()]
    # Read twice, as after a crash: what is known already changes nothing.
    for fact in (*facts, *facts):
        following.follow(fact)
    assert following.experiments.all("default") == writing.experiments.all("default")
    assert following.keys.all("default") == writing.keys.all("default")
    assert following.authenticate(new.secret).key_id == old.key.id
    for secret in (old.secret, gone.secret):
        with pytest.raises(Unauthenticated):
            following.authenticate(secret)
    first.close()
    second.close()


def test_what_was_there_before_the_log_held_control_facts_is_adopted_once(database, clock, log):
    catalog = opened(database, clock, None)
    catalog.experiments.create(draft("old"))
    catalog.keys.create("default", ["read"])
    with database.transaction() as session:  # as an older version left it
        session.execute("DELETE FROM outbox")
        session.execute("UPDATE experiments SET told = 0")
        session.execute("UPDATE keys SET revision = 0")
    again = opened(database, clock, log, seed=2)
    assert again.adopt({("default", "old"): 7}) == 2
    again.relay()
    assert opened(database, clock, log, seed=3).adopt({}) == 0
    (adopted,) = log.facts(ExperimentChanged)
    assert (adopted.experiment.id, adopted.adopted, adopted.stands_at) == ("old", True, 7)
    assert log.facts(KeyChanged)[0].stored.revision == 1


def test_numbers_of_the_outbox_grow_for_ever(database, clock, log):
    catalog = opened(database, clock, log)
    outbox = Outbox(database, ids=Ids(clock, random.Random(9)))
    for id in ("one", "two"):
        catalog.experiments.create(draft(id))
        with database.transaction() as session:
            outbox.put(session, Changed(1, "default", "", f"experiment/{id}", "look"))
    assert database.query("SELECT seq FROM outbox") == [(6,)]
