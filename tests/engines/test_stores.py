"""Every store that lives in a `Database` gives the same answers on SQLite and on PostgreSQL.

Each story drives a service through its public verbs and returns what it saw, errors included. It runs once on each
engine, with the same clock and random numbers, on databases that are closed and opened again half way.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from tests.engines.postgres_server import PostgresServer

from loopwright.backends.memory import MemoryEventLog
from loopwright.backends.postgres import PostgresDatabase
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.catalog import Catalog
from loopwright.core import upcast
from loopwright.core.errors import Conflict, LoopError, StaleVersion
from loopwright.core.events import Fact, Interacted
from loopwright.core.experiment import Arm, Experiment
from loopwright.core.ids import Ids
from loopwright.core.interaction import Interaction
from loopwright.core.ports import Committed, Database
from loopwright.eventlog import Consumers, Reader, Writer
from loopwright.feedback import Quarantine
from loopwright.feedback.quarantine import RefusedItem
from loopwright.learning.memory import Remembered
from loopwright.learning.store import Checkpoint, Saved, Snapshot, Store
from loopwright.people import People, RawCopies
from loopwright.people.consent import change_consent
from loopwright.people.erasure import erase_person
from loopwright.people.raw import Original, census
from loopwright.signals import Sessions
from loopwright.testing import ManualClock
from loopwright.trust import Clearances, Clearing, NewClearance

NOW = 1_750_000_000_000
EXPERIMENT = Experiment(id="greeting", tenant_id="acme", arms=(Arm(id="a"), Arm(id="b")))
OPEN = Callable[[str], Any]
"""Opens the database of a name; the one opened before under that name is closed."""


class Engines:
    """Opens the databases of one story on one engine."""

    def __init__(self, make: Callable[[str], Database]) -> None:
        self._make, self._open = make, dict[str, Database]()

    def __call__(self, name: str) -> Database:
        if name in self._open:
            self._open[name].close()
        self._open[name] = self._make(name)
        return self._open[name]

    def close(self) -> None:
        for database in self._open.values():
            database.close()


@pytest.fixture
def engines(postgres: PostgresServer, tmp_path: Path) -> Iterator[list[Engines]]:
    prefix = postgres.schema()
    with ExitStack() as stack:
        sqlite = Engines(lambda name: SqliteDatabase(tmp_path / f"{name}.db"))
        server = Engines(lambda name: PostgresDatabase(postgres.url(), schema=f"{prefix}_{name}"))
        stack.callback(sqlite.close)
        stack.callback(server.close)
        yield [sqlite, server]


def tried(verb: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Return what a verb returned, or the error; engines word a violated constraint differently."""
    try:
        return verb(*args, **named)
    except LoopError as error:
        return type(error), None if type(error) is Conflict else error.message


def rows(database: Database, *tables: str) -> list[list[tuple[Any, ...]]]:
    found = [database.query(f"SELECT * FROM {table}") for table in tables]  # noqa: S608 - named in this file
    return [sorted(table, key=repr) for table in found]


def catalog_story(open: OPEN) -> list[Any]:
    clock = ManualClock(NOW)
    seen: list[Any] = []

    def fresh() -> Catalog:
        return Catalog(open("catalog"), clock=clock, ids=Ids(clock, random.Random(1)))

    catalog = fresh()
    seen += [
        tried(catalog.tenants.create, id, name=f"{id} ☃ 100%?") for id in ("acme", "Zeta", "acme")
    ]
    secrets = [catalog.keys.create("acme", ["read", "select"], name="k") for _ in range(3)]
    ids = [issued.key.id for issued in secrets]
    assert catalog.authenticate(secrets[0].secret).key_id == ids[0]
    rotated = catalog.keys.rotate("acme", ids[0], grace_s=60)
    catalog.keys.revoke("acme", ids[1])
    clock.advance(seconds=30)
    catalog.authenticate(rotated.secret)
    seen += [catalog.keys.flush_last_used()]
    seen += [tried(catalog.experiments.create, EXPERIMENT) for _ in range(2)]
    again = fresh()
    names = [key.name for key in again.keys.all("acme")]
    times = [
        (k.created_at_ms, k.rotated_at_ms, k.revoked_at_ms, k.last_used_ms)
        for k in again.keys.all("acme")
    ]
    seen += [again.tenants.all(), names, sorted(times, key=repr), again.experiments.all("acme")]
    seen += [again.authenticate(issued.secret).tenant_id for issued in (secrets[0], rotated)]
    return seen


class Log:
    """Takes facts and remembers them."""

    def __init__(self) -> None:
        self.facts: list[Fact] = []

    def append(self, facts: Any, keys: Any) -> Committed:
        self.facts += facts
        return Committed(len(self.facts), [False] * len(keys))


def people_story(open: OPEN) -> list[Any]:
    clock, log, randoms = ManualClock(NOW), Log(), random.Random(9)
    seen: list[Any] = []

    def fresh() -> People:
        return People(open("people"), clock=clock, random_bytes=randoms.randbytes)

    people = fresh()
    seen += [people.resolve("acme", ["u", "v", "naïve ☃"]), people.resolve("other", ["u"])]
    ids = [person.id for person in people.resolve("acme", ["u", "v"]).values()]
    seen += [people.person_keys("acme", [*ids, "nobody"]), people.person_key("acme", "nobody")]
    clock.advance(seconds=5)
    people = fresh()
    seen += [
        people.resolve("acme", ["u", "w"]),
        people.find("acme", ids[0]),
        tried(people.find, "acme", "x"),
    ]
    seen += [people.since("acme", [*ids, *map(str, range(1200))]), people.first_since("acme")]
    seen += [people.first_since("nobody"), people.key("acme"), people.person_keys("acme", ids)]
    consent: dict[str, Any] = {"people": people, "append": log.append, "tenant_id": "acme"}
    consent["at_ms"] = NOW
    seen += [change_consent(id="u", scopes=["store"], **consent)]
    seen += [change_consent(id="new", scopes=[], **consent)]
    forget: dict[str, Any] = {"count_rows": lambda *_: {"t": 1}, "forget_quarantined": lambda *_: 2}
    seen += [erase_person(id="u", **consent, **forget)]
    seen += [
        tried(people.find, "acme", "u"),
        people.person_key("acme", ids[0]),
        people.erase("acme", "no"),
    ]
    seen += [people.resolve("acme", ["u"]), fresh().find("acme", "new"), log.facts]
    return [
        *seen,
        rows(open("people"), "people", "person_keys", "tenant_secrets", "schema_versions"),
    ]


def quarantine_story(open: OPEN) -> list[Any]:
    quarantine = Quarantine(open("quarantine"), capacity=7)
    body = {"text": "100% 'naïve' ☃ \0 ?", "deep": [1, 2.5, None, True, 10**30]}

    def held(n: int) -> RefusedItem:
        return RefusedItem(
            id=("aB_" * n) + str(n), received_ms=NOW + n, path="feedback", stage="validate", code="invalid",
            reason="it's 5 % off?", is_whole=bool(n % 2), persons=(f"person{n}", "all"), body=body,
        )  # fmt: skip

    seen: list[Any] = [
        quarantine.hold("acme", [held(n) for n in range(5)]),
        quarantine.hold("other", []),
    ]
    seen += [
        tried(quarantine.hold, "acme", [held(0)]),
        quarantine.hold("acme", [held(n) for n in range(5, 9)]),
    ]
    quarantine = Quarantine(open("quarantine"), capacity=7)
    page = quarantine.list("acme", limit=3)
    seen += [
        page,
        quarantine.list("acme", after=page.next_cursor or "", limit=3),
        quarantine.list("other"),
    ]
    seen += [quarantine.read("acme", held(1).id), tried(quarantine.read, "other", held(1).id)]
    seen += [tried(quarantine.discard, "acme", held(1).id) for _ in range(2)]
    seen += [quarantine.forget("acme", "person2"), quarantine.forget("acme", "nobody")]
    return [
        *seen,
        quarantine.list("acme"),
        quarantine.hold("acme", [held(n) for n in range(9, 20)]),
    ]


def releases_story(open: OPEN) -> list[Any]:
    clock = ManualClock(NOW)
    releases = Clearances(open("releases"))
    heard: list[Any] = []
    releasing = Clearing(
        releases, clock=clock, ids=Ids(clock, random.Random(3)), find=lambda *_: EXPERIMENT, audit=heard.append
    )  # fmt: skip
    rush = NewClearance(
        experiment_id="greeting", arm_id="a", from_ms=NOW - 90, to_ms=NOW - 10, note="TV?"
    )
    anywhere = NewClearance(from_ms=NOW - 90, to_ms=NOW - 10)
    made = [releasing.clear("acme", asked, actor="k") for asked in (rush, anywhere)]
    seen: list[Any] = [made, tried(releasing.clear, "acme", rush, actor="other")]
    seen += [tried(releasing.withdraw, "acme", made[0].id, actor="x") for _ in range(2)]
    seen += [tried(releasing.withdraw, "other", made[1].id, actor="x")]
    clock.advance(seconds=1)
    releases = Clearances(open("releases"))
    seen += [list(releases.in_force("acme", from_ms=0, to_ms=NOW)), releases.list("acme", limit=9)]
    return [*seen, releases.list("acme", limit=1), releases.list("other", limit=1), heard]


def learner_story(open: OPEN) -> list[Any]:
    key, other = ("acme", "greeting"), ("acme", "other")

    def checkpoint(through: int, **parts: Any) -> Checkpoint:
        empty: dict[str, Any] = {n: {} for n in ("states", "remembered", "forgotten", "spent")}
        return Checkpoint(
            through=through,
            event_ms=NOW + through,
            **{**empty, "controls": {}, "snapshots": [], **parts},
        )

    def waiting(due_ms: int | None, forget_ms: int | None = None) -> Remembered:
        return Remembered(1, 0.1 + 0.2, b"\0\xff" * 8, 7, forget_ms=forget_ms, due_ms=due_ms)

    def snapshot(version: int) -> Snapshot:
        return Snapshot.of(
            b"\xff" * version, version=version, taken_at_ms=NOW, n=9, policy="BetaThompson"
        )

    store = Store(open("state"))
    seen: list[Any] = [store.position(), store.states()]
    remembered = {f"d{n:04}": waiting(NOW + n // 2 if n % 3 else None, NOW + n) for n in range(900)}
    store.save(
        checkpoint(
            4,
            states={key: Saved(b"state\0", b"tally", 3, 2, (1, 10)), other: Saved(b"", b"", 0, 0)},
            remembered={key: remembered, other: {"d0001": waiting(None)}},
            spent={key: (3, {b"\0a": 1, b"\xff": 2})},
            snapshots=[(key, snapshot(version)) for version in range(1, 61)],
        )
    )
    store = Store(open("state"))
    shelf = store.shelf(key)
    seen += [store.position(), store.states(), store.snapshots(key), store.snapshot(key, 60)]
    seen += [
        sorted(shelf.get(list(remembered))),
        shelf.waiting(NOW + 40, after=(NOW + 7, "d0014"), limit=20),
    ]
    seen += [
        shelf.next_due_ms(NOW + 3),
        shelf.next_due_ms(NOW * 2),
        sorted(shelf.spent([b"\0a", b"\xff", b"x"])),
    ]
    gone = {"d0001": None, "d0002": waiting(None, NOW)}
    store.save(
        checkpoint(
            5, remembered={key: gone}, forgotten={key: NOW + 99}, spent={key: (4, {b"\xff": 5})}
        )
    )
    seen += [
        tried(store.save, checkpoint(4)),
        store.position(),
        sorted(shelf.get(list(remembered))),
    ]
    return [*seen, sorted(shelf.spent([b"\0a", b"\xff"])), store.snapshots(other)]


def consumers_story(open: OPEN) -> list[Any]:
    def advanced(database: Database, consumers: Consumers, name: str, offset: int) -> None:
        with database.transaction() as session:
            consumers.advance(session, name, offset)

    database = open("state")
    consumers = Consumers(database)
    seen: list[Any] = [consumers.slowest(), consumers.register("a"), consumers.position("b")]
    seen += [
        tried(advanced, database, consumers, name, n)
        for name, n in (("a", 2**40), ("a", 2**40), ("b", 7))
    ]
    database = open("state")
    consumers = Consumers(database)
    seen += [
        tried(advanced, database, consumers, "a", 3),
        consumers.register("a"),
        consumers.slowest(),
    ]
    consumers.forget("b")
    assert seen[-3][0] is StaleVersion
    return [*seen, consumers.slowest(), consumers.position("b"), rows(database, "consumers")]


def raw_story(open: OPEN) -> list[Any]:
    clock, randoms = ManualClock(NOW), random.Random(3)
    people = People(open("people"), clock=clock, random_bytes=randoms.randbytes)
    ids = [person.id for person in people.resolve("acme", ["u", "v"]).values()]

    def fresh() -> tuple[Database, RawCopies]:
        database = open("raw")
        options: Any = {"clock": clock, "ttl_days": 1, "random_bytes": randoms.randbytes}
        return database, RawCopies(database, people=people, scrub=database.scrub, **options)

    def original(n: int, person: str = "") -> Original:
        item = {"text": f"mail {n}\0"}
        return Original(
            first=n, event_id=f"e{n}", path="feedback", person=person, received_ms=NOW, item=item
        )

    database, copies = fresh()
    items = [original(0, ids[0]), original(1, ids[1]), original(2), original(3, "gone")]
    for _ in range(2):
        copies.keep("acme", items, duplicates=[False] * 4)
    database, copies = fresh()
    seen: list[Any] = [tried(copies.read, "acme", f"e{n}") for n in range(5)]
    seen += [
        copies.forget("acme", ids[0]),
        tried(copies.read, "acme", "e0"),
        census(database, now_ms=NOW),
    ]
    seen += [copies.sweep(), census(database, now_ms=NOW * 2)]
    clock.advance(seconds=90_000)
    return [
        *seen,
        tried(copies.read, "acme", "e1"),
        copies.sweep(limit=2),
        copies.sweep(),
        copies.counts,
    ]


def sessions_story(open: OPEN) -> list[Any]:
    clock, log = ManualClock(NOW), MemoryEventLog()
    writer = Writer(log, clock)

    def put(*facts: Fact) -> None:
        body = upcast.encode(list(facts))
        log.append(body, count=len(facts), version=upcast.SCHEMA_VERSION, keys=[])

    def fresh() -> Sessions:
        database = open("state")
        consumers = Consumers(database)
        return Sessions(Reader(log), writer, database=database, consumers=consumers, clock=clock)

    def call(n: int, session: str) -> Interacted:
        asked = Interaction(
            id=f"o{n}", started_at_ms=NOW + n, session_id=session, query=f"sales {n}"
        )
        return Interacted(f"call-{n}-{session}", NOW + n, "acme", asked)

    put(*[call(n, session) for n in (1, 2, 3) for session in ("s", "s\0", "S ☃")])
    fresh().run()
    put(call(4, "s\0"))
    sessions = fresh()
    sessions.run()
    clock.advance(seconds=86_400)
    for _ in range(2):
        sessions.run()
        writer.flush()
    seen = [fact for _, fact in Reader(log).facts(0, limit=1000)]
    writer.close()
    tables = ("open_sessions", "session_times", "session_facts", "consumers")
    return [*seen, rows(open("state"), *tables)]


@pytest.mark.parametrize(
    "story",
    [
        catalog_story,
        people_story,
        quarantine_story,
        releases_story,
        learner_story,
        consumers_story,
        raw_story,
        sessions_story,
    ],
)
def test_a_store_gives_the_same_answers_on_every_engine(
    engines: list[Engines], story: Callable[[OPEN], list[Any]]
) -> None:
    on_sqlite, on_postgres = map(story, engines)
    assert len(on_sqlite) > 5
    for one, other in zip(on_sqlite, on_postgres, strict=True):
        assert one == other
