from __future__ import annotations

import itertools
import random
import stat
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.unit.feedback.world import World

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.clock import DAY_MS
from loopwright.core.errors import (
    LoopError,
    NotFound,
    Overloaded,
    RawDamaged,
    RawErased,
    RawExpired,
    RawNotKept,
)
from loopwright.core.events import Changed, Fact
from loopwright.core.ports import Committed
from loopwright.core.token import Signer
from loopwright.feedback import Prepared
from loopwright.people import change_consent, erase_person
from loopwright.people.raw import (
    RawCopies,
    census,
)

DAY_S = DAY_MS // 1000
MAIL = "jane.roe@example.com"
ITEM = {
    "kind": "rating",
    "scale": "thumbs",
    "value": 1,
    "output_id": "o",
    "event_id": "e",
    "user_id": "u",
    "message": f"write to {MAIL}",
}
ANNOTATION = {
    "kind": "annotation",
    "rubric": "tone",
    "rubric_version": 1,
    "label": "rude",
    "output_id": "o",
    "event_id": "a",
    "user_id": "u",
    "reviewer": "r",
    "rationale": f"it says {MAIL}",
}
SIGNAL = {"kind": "signal", "name": "x", "output_id": "o", "message": MAIL, "event_id": "n"}
STEP = {
    "id": "s1",
    "session_id": "s",
    "kind": "intent",
    "taken_at": 1_795_000_000_000,
    "event_id": "step",
    "data": {"query": MAIL},
}


class Kept:
    """Raw copies in a file of their own, beside a world's intake."""

    def __init__(self, world: World, folder: Path, *, ttl_days: int = 30) -> None:
        self.world, self.path = world, folder / "raw.db"
        self.database = SqliteDatabase(self.path, is_private=True)
        self.copies = world.intake.raw = RawCopies(
            self.database,
            people=world.people,
            clock=world.clock,
            ttl_days=ttl_days,
            random_bytes=random.Random(3).randbytes,
            scrub=self.database.scrub,
        )

    def send(self, *items: Any, path: Any = "feedback", known: Sequence[int] = ()) -> Prepared:
        """Take items in; the facts whose places are `known` are duplicates."""
        prepared = self.world.take(*items, path=path)
        flags = [n in known for n in range(len(prepared.facts))]
        self.copies.keep("acme", prepared.originals, duplicates=flags)
        return prepared

    def read(self, event_id: str, tenant_id: str = "acme") -> Any:
        return msgspec.json.decode(self.copies.read(tenant_id, event_id).item)

    def rows(self, columns: str = "*") -> list[tuple[Any, ...]]:
        order = "FROM raw_copies ORDER BY event_id"
        return self.database.query(f"SELECT {columns} {order}")

    def change(self, sql: str, *params: Any) -> None:
        with self.database.transaction() as session:
            session.execute(sql, params)

    def bytes(self) -> bytes:
        return on_disk(self.path)


def on_disk(path: Path) -> bytes:
    """Everything that is in the files of a database."""
    return b"".join(file.read_bytes() for file in path.parent.glob(f"{path.name}*"))


@pytest.fixture
def kept(world: World, tmp_path: Path) -> Iterator[Kept]:
    made = Kept(world, tmp_path)
    yield made
    made.database.close()


def append(facts: Sequence[Fact], keys: Sequence[bytes | None]) -> Committed:
    return Committed(1, [False] * len(facts))


def erase(world: World, copies: RawCopies, id: str = "u") -> Any:
    return erase_person(
        world.people,
        append,
        tenant_id="acme",
        id=id,
        count_rows=lambda tenant, person, ids: {},
        forget_quarantined=world.quarantine.forget,
        forget_raw=copies.forget,
        at_ms=1,
    )


def test_what_redaction_changed_is_kept_as_it_came(kept: Kept) -> None:
    fact = kept.send(ITEM).facts[0]
    assert MAIL not in str(fact)
    copy = kept.copies.read("acme", "e")
    now_ms = kept.world.clock.now_ms()
    assert (copy.path, copy.received_ms) == ("feedback", now_ms)
    assert copy.expires_ms == now_ms + 30 * DAY_MS
    assert kept.read("e") == ITEM
    assert kept.copies.counts["kept"] == 1


def test_a_batch_is_kept_to_the_byte(kept: Kept) -> None:
    spelt = (
        b'{"kind": "signal",  "name": "copy", "output_id": "o", "event_id": "e",\n"message": "%s"}'
    )
    item = spelt % MAIL.encode()
    prepared = kept.world.intake.prepare("acme", "feedback", b'{"items": [%s]}' % item)
    kept.copies.keep("acme", prepared.originals, duplicates=[False])
    assert bytes(kept.copies.read("acme", "e").item) == item


@pytest.mark.parametrize(
    ("item", "path", "event_id"),
    [
        (STEP, "step", "step"),
        ({"id": "c", "event_id": "i", "query": MAIL, "user_id": "u"}, "interaction", "i"),
        ({**ANNOTATION, "user_id": None}, "feedback", "a"),
        (SIGNAL, "feedback", "n"),
    ],
)
def test_every_kind_can_be_kept_of_whomever_it_is(
    item: Any, path: str, event_id: str, kept: Kept
) -> None:
    kept.send(item, path=path)
    assert kept.read(event_id) == item


def test_an_item_whose_text_is_stored_as_it_came_needs_no_copy(kept: Kept) -> None:
    kept.send({**ITEM, "message": "good, but slow"}, {**ITEM, "message": None, "event_id": "f"})
    assert kept.rows() == []


def test_refused_items_are_quarantined_and_not_kept(kept: Kept) -> None:
    prepared = kept.send({**ITEM, "value": 3}, {**ITEM, "event_id": "f"}, {"message": MAIL})
    assert sorted(prepared.refusals) == [0, 2]
    assert kept.rows("event_id") == [("f",)]
    held = kept.world.quarantine.list("acme").items
    assert len(held) == 2
    assert MAIL not in str([kept.world.quarantine.read("acme", h.id).body for h in held])


def test_a_replay_keeps_no_copy_because_the_quarantine_has_redacted_it(kept: Kept) -> None:
    world = kept.world
    old = Signer({2: bytes(32)}, active=2)
    token = old.sign(world.decision())
    refused = kept.send({**ITEM, "request_id": token}).refusals[0].quarantine_id or ""
    world.pipeline.signer = old
    again = world.intake.replay("acme", refused)
    assert (len(again.facts), again.originals) == (1, [])


def test_nothing_is_asked_for_while_they_are_off(world: World) -> None:
    assert world.take(ITEM).originals == []


def test_a_duplicate_leaves_the_first_copy_alone(kept: Kept) -> None:
    kept.send(ITEM)
    before = kept.rows()
    again = {**ITEM, "message": f"{MAIL} again"}
    kept.send(again, {**again, "event_id": "f"}, known=[0])
    kept.send(again)
    assert kept.rows()[0] == before[0]
    assert kept.copies.counts["kept"] == 2
    assert kept.read("e") == ITEM


def test_the_file_is_private_and_says_nothing(kept: Kept) -> None:
    kept.send(ITEM)
    assert kept.bytes().count(b"jane.roe") == 0
    assert b"user_id" not in kept.bytes()
    files = list(kept.path.parent.glob("raw.db*"))
    assert len(files) == 3
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


def test_no_nonce_comes_twice_and_equal_items_look_different(kept: Kept) -> None:
    kept.send(*({**ITEM, "event_id": str(n)} for n in range(200)))
    rows = kept.rows("nonce, ciphertext")
    assert len(set(rows)) == len({nonce for nonce, _ in rows}) == 200
    assert all(len(nonce) == 24 for nonce, _ in rows)


def test_a_broken_generator_still_gives_every_copy_a_key_of_its_own(
    world: World, tmp_path: Path
) -> None:
    with closing(SqliteDatabase(tmp_path / "raw.db")) as database:
        stuck = RawCopies(
            database, people=world.people, clock=world.clock, ttl_days=1, random_bytes=bytes
        )
        world.intake.raw = stuck
        prepared = world.take(ITEM, {**ITEM, "event_id": "f", "user_id": "v"})
        stuck.keep("acme", prepared.originals, duplicates=[False, False])
        (one,), (other,) = database.query("SELECT ciphertext FROM raw_copies ORDER BY event_id")
        # Under one key and nonce, the texts' differences would show as they are.
        assert bytes(a ^ b for a, b in zip(one[:20], other[:20], strict=True)) != bytes(20)


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE raw_copies SET ciphertext = zeroblob(length(ciphertext)) WHERE event_id = 'e'",
        "UPDATE raw_copies SET ciphertext = x'00' WHERE event_id = 'e'",
        "UPDATE raw_copies SET ciphertext = 'text' WHERE event_id = 'e'",
        "UPDATE raw_copies SET nonce = 'no hex' WHERE event_id = 'e'",
        "UPDATE raw_copies SET nonce = '00' || substr(nonce, 3) WHERE event_id = 'e'",
        "UPDATE raw_copies SET version = 2 WHERE event_id = 'e'",
        "UPDATE raw_copies SET path = 'rating' WHERE event_id = 'e'",
        "UPDATE raw_copies SET expires_ms = expires_ms + 1 WHERE event_id = 'e'",
        "UPDATE raw_copies SET received_ms = 0 WHERE event_id = 'e'",
        "UPDATE raw_copies SET person = '' WHERE event_id = 'e'",
        "UPDATE raw_copies SET person = (SELECT person FROM raw_copies WHERE event_id = 'f') "
        "WHERE event_id = 'e'",
    ],
)
def test_a_changed_row_does_not_open(change: str, kept: Kept) -> None:
    kept.send(ITEM, {**ITEM, "event_id": "f", "user_id": "v"})
    kept.change(change)
    with pytest.raises(RawDamaged) as caught:
        kept.read("e")
    assert (caught.value.status, MAIL in caught.value.message) == (503, False)
    assert kept.read("f")["user_id"] == "v"


def test_a_row_that_was_moved_does_not_open(kept: Kept) -> None:
    kept.send(ITEM, {**ITEM, "event_id": "f"})
    kept.change("DELETE FROM raw_copies WHERE event_id = 'e'")
    kept.change("UPDATE raw_copies SET event_id = 'e'")
    with pytest.raises(RawDamaged):
        kept.read("e")
    kept.change("UPDATE raw_copies SET event_id = 'f', tenant_id = 'other', person = ''")
    with pytest.raises(RawDamaged):
        kept.read("f", tenant_id="other")


def test_another_tenant_learns_nothing_of_a_copy(kept: Kept) -> None:
    kept.send(ITEM)
    told = []
    for tenant, event_id in (("other", "e"), ("acme", "x")):
        with pytest.raises(RawNotKept) as caught:
            kept.copies.read(tenant, event_id)
        told.append(caught.value.message.replace(repr(event_id), "…"))
    assert told[0] == told[1]


def test_an_expired_copy_is_not_answered_even_before_the_sweep(
    world: World, tmp_path: Path
) -> None:
    kept = Kept(world, tmp_path, ttl_days=2)
    with closing(kept.database):
        kept.send(ITEM)
        world.clock.advance(seconds=2 * DAY_S - 0.001)
        assert kept.read("e") == ITEM
        world.clock.advance(seconds=0.001)
        with pytest.raises(RawExpired) as caught:
            kept.read("e")
        assert caught.value.status == 404
        assert census(kept.database, now_ms=world.clock.now_ms()).expired == 1
        assert kept.copies.sweep() == 1
        with pytest.raises(RawNotKept):
            kept.read("e")


def test_a_sweep_takes_the_oldest_and_no_more_than_it_may(kept: Kept) -> None:
    for day in range(5):
        kept.send(*({**ITEM, "event_id": f"{day}{n}"} for n in range(2)))
        kept.world.clock.advance(seconds=DAY_S)
    assert kept.copies.sweep() == 0
    kept.world.clock.advance(seconds=28 * DAY_S)
    assert [kept.copies.sweep(limit=3), kept.copies.sweep(limit=3)] == [3, 3]
    assert [id for (id,) in kept.rows("event_id")] == ["30", "31", "40", "41"]
    assert kept.copies.sweep(limit=3) == 2
    assert kept.copies.counts["swept"] == 8


def test_swept_and_erased_content_is_in_no_file(kept: Kept) -> None:
    kept.send(ITEM, {**ITEM, "event_id": "f", "user_id": "v"})
    secrets = [bytes(ciphertext) for (ciphertext,) in kept.rows("ciphertext")]
    assert all(secret in kept.bytes() for secret in secrets)
    erase(kept.world, kept.copies)
    assert [secret in kept.bytes() for secret in secrets] == [False, True]
    kept.world.clock.advance(seconds=30 * DAY_S)
    kept.copies.sweep()
    assert kept.database.scrub()
    assert not any(secret in kept.bytes() for secret in secrets)


def test_erasing_a_person_takes_their_copies_and_counts_them(kept: Kept) -> None:
    kept.send(ITEM, {**ITEM, "event_id": "f"}, {**ITEM, "event_id": "g", "user_id": "v"})
    assert erase(kept.world, kept.copies).raw_copies == 2
    for event_id in "ef":
        with pytest.raises(RawErased):
            kept.read(event_id)
    assert kept.read("g")["user_id"] == "v"
    assert census(kept.database, now_ms=0).kept == 1
    assert kept.copies.counts["erased"] == 2
    kept.world.clock.advance(seconds=30 * DAY_S)
    assert kept.copies.sweep() == 3


def test_a_judge_who_is_erased_takes_the_copy_too(kept: Kept) -> None:
    kept.send(ANNOTATION)
    assert kept.read("a") == ANNOTATION
    assert erase(kept.world, kept.copies, "r").raw_copies == 1
    with pytest.raises(RawErased):
        kept.read("a")


def test_a_backup_of_the_copies_cannot_be_read_once_the_person_is_erased(
    kept: Kept, tmp_path: Path
) -> None:
    kept.send(ITEM, {**ITEM, "event_id": "g", "user_id": "v"})
    kept.database.scrub()
    (tmp_path / "backup.db").write_bytes(kept.path.read_bytes())
    erase(kept.world, kept.copies)
    kept.world.people.resolve("acme", ["u"])  # who comes again is a new person, with a new key
    with closing(SqliteDatabase(tmp_path / "backup.db")) as database:
        world = kept.world
        restored = RawCopies(database, people=world.people, clock=world.clock, ttl_days=30)
        with pytest.raises(RawErased):
            restored.read("acme", "e")
        assert MAIL.encode() in bytes(restored.read("acme", "g").item)


def test_who_was_erased_on_the_way_is_not_kept(kept: Kept) -> None:
    prepared = kept.world.take(ITEM)
    erase(kept.world, kept.copies)
    kept.copies.keep("acme", prepared.originals, duplicates=[False])
    assert kept.rows() == []
    assert kept.world.people_database.query("SELECT * FROM person_keys") == []


@pytest.mark.parametrize(
    ("scopes", "is_kept"), [((), False), (("analyze",), False), (("store",), True)]
)
def test_who_withdraws_storing_has_no_copies_left(
    scopes: tuple[str, ...], is_kept: bool, kept: Kept
) -> None:
    kept.send(ITEM)
    change_consent(
        kept.world.people,
        append,
        tenant_id="acme",
        id="u",
        scopes=scopes,
        at_ms=1,
        forget_raw=kept.copies.forget,
    )
    assert census(kept.database, now_ms=0).kept == is_kept
    if not is_kept:
        assert kept.send({**ITEM, "event_id": "f"}).originals == []


def test_a_copy_that_cannot_be_kept_is_counted_and_said_once(
    kept: Kept, caplog: pytest.LogCaptureFixture
) -> None:
    kept.database.query("PRAGMA max_page_count = 1")  # the disk is full
    for n in itertools.count():
        big = {**ITEM, "event_id": str(n), "message": MAIL + "x" * 60_000}
        kept.send(big)
        if kept.copies.counts["failed"] == 2:
            break
    assert [record.message for record in caplog.records] == ["raw copies cannot be kept"]
    assert "disk" in caplog.records[0].__dict__["reason"]
    kept.database.query("PRAGMA max_page_count = 100000")
    kept.send(ITEM)
    assert kept.read("e") == ITEM


def test_a_look_is_in_the_log_before_anybody_sees_it(kept: Kept) -> None:
    kept.send(ITEM)
    logged: list[Fact] = []

    def refuse(facts: Sequence[Fact], keys: Sequence[bytes | None]) -> Committed:
        raise Overloaded("full", retry_after_s=1)

    def listen(facts: Sequence[Fact], keys: Sequence[bytes | None]) -> Committed:
        assert kept.copies.counts["read"] == 0
        logged.extend(facts)
        return append(facts, keys)

    def look(append: Any, event_id: str = "e") -> Any:
        return kept.copies.look(append, tenant_id="acme", event_id=event_id, actor="key-1")

    with pytest.raises(Overloaded):
        look(refuse)
    with pytest.raises(NotFound):
        look(listen, "f")
    assert (logged, kept.copies.counts["read"]) == ([], 0)
    assert msgspec.json.decode(look(listen).item) == ITEM
    now_ms = kept.world.clock.now_ms()
    assert logged == [Changed(now_ms, "acme", "key-1", "raw/e", "read")]
    assert kept.copies.counts["read"] == 1


def test_reading_says_which_rule_applies() -> None:
    errors: list[type[LoopError]] = [RawNotKept, RawExpired, RawErased, RawDamaged]
    assert len({error.code for error in errors}) == 4
    assert [error.status for error in errors] == [404, 404, 404, 503]
