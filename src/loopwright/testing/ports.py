"""Contract suites of the ports for logs, keys and blobs: what every backend has to do.

Each `check_…` takes a factory that makes an empty backend, runs all its checks on fresh ones and raises
`AssertionError` at the first promise that is not kept. They start threads but need no test framework.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Callable, Iterable, Mapping
from contextlib import closing

from loopwright.core.ports import (
    START,
    Batch,
    BlobStore,
    EventLog,
    Keys,
    KeyTaken,
    Offset,
    Revised,
)


def check_event_log(factory: Callable[[], EventLog]) -> None:
    """Check everything `EventLog` promises on logs made by `factory`."""
    for check in (
        _empty_log_has_head_zero,
        _offsets_are_gapless_from_one,
        _read_returns_whole_batches,
        _taken_keys_refuse_the_whole_append,
        _what_is_kept_beside_keys_comes_back,
        _what_is_kept_beside_keys_is_replaced_by_comparison,
        _one_of_many_revisions_wins,
        _trim_keeps_offsets_and_keys,
        _replaced_bodies_are_read_in_place_of_the_old,
        _appends_from_threads_do_not_interleave,
        _readers_see_only_whole_appends,
    ):
        with closing(factory()) as log:
            check(log)


def check_keys(factory: Callable[[], Keys]) -> None:
    """Check everything `Keys` promises on sets of keys made by `factory`."""
    for check in (
        _only_new_keys_are_claimed,
        _taken_returns_only_stored_keys,
        _one_of_many_claims_of_a_key_wins,
    ):
        check(factory())


def check_blob_store(factory: Callable[[], BlobStore]) -> None:
    """Check everything `BlobStore` promises on stores made by `factory`."""
    for check in (
        _blobs_come_back,
        _blobs_are_never_overwritten,
        _names_are_sorted_and_filtered,
        _deleted_blobs_are_gone,
        _one_of_many_writers_of_a_name_wins,
    ):
        check(factory())


def _append(log: EventLog, body: bytes, count: int = 1, *, keys: Iterable[bytes] = ()) -> int:
    return log.append(body, count=count, version=1, keys=list(keys))


def _refused(log: EventLog, keys: list[bytes]) -> frozenset[bytes]:
    """Return which of `keys` the log refuses an append for."""
    try:
        _append(log, b"refused", 2, keys=keys)
    except KeyTaken as error:
        return error.keys
    raise AssertionError("an append with a stored key must raise KeyTaken")


# Twenty-four bytes, the size of a real key, with zeros in the middle that an engine must not take for the end.
def _key(number: int) -> bytes:
    return struct.pack(">QQQ", number, 0, number)


def _empty_log_has_head_zero(log: EventLog) -> None:
    assert log.head() == 0
    assert log.read(START, limit=10) == []
    assert log.trim(Offset(100)) == 0


def _offsets_are_gapless_from_one(log: EventLog) -> None:
    assert [_append(log, b"a", 3), _append(log, b"b"), _append(log, b"c", 5)] == [1, 4, 5]
    assert log.head() == 9
    batches = log.read(START, limit=100)
    assert [(b.first, b.count, b.last, b.version, b.body) for b in batches] == [
        (1, 3, 3, 1, b"a"),
        (4, 1, 4, 1, b"b"),
        (5, 5, 9, 1, b"c"),
    ]


def _read_returns_whole_batches(log: EventLog) -> None:
    for body in (b"a", b"b", b"c"):
        _append(log, body, 10)

    def bodies(after: int, limit: int) -> list[bytes]:
        return [batch.body for batch in log.read(Offset(after), limit=limit)]

    assert bodies(0, 1) == [b"a"]
    assert bodies(0, 10) == [b"a"]
    assert bodies(0, 11) == [b"a", b"b"]
    assert bodies(9, 1) == [b"a"]
    # A limit counts the records beyond `after`: of the first batch only one is new here, so a second batch is
    # due.
    assert bodies(9, 2) == [b"a", b"b"]
    assert bodies(10, 1) == [b"b"]
    assert bodies(15, 100) == [b"b", b"c"]
    assert bodies(30, 1) == []
    # Beyond the head: a reader may hold an offset of a log that has been restored from an older backup.
    assert bodies(31, 1) == []


def _taken_keys_refuse_the_whole_append(log: EventLog) -> None:
    _append(log, b"a", 2, keys=[_key(1), _key(2)])
    assert _refused(log, [_key(3), _key(2)]) == {_key(2)}, "the error must say which are stored"
    assert log.head() == 2
    # The refused append must not have stored its new key, or this one would be a duplicate of nothing.
    assert _append(log, b"c", keys=[_key(3)]) == 3
    assert [batch.body for batch in log.read(START, limit=10)] == [b"a", b"c"]


Said = Mapping[bytes, bytes | None]


def _said(log: EventLog, keys: dict[bytes, bytes | None], revised: Revised) -> Said | None:
    """Append one record; return what `KeyTaken` says is kept beside taken keys, or None."""
    try:
        log.append(b"said", count=1, version=1, keys=keys, revised=revised)
    except KeyTaken as error:
        return error.said
    return None


def _what_is_kept_beside_keys_comes_back(log: EventLog) -> None:
    _append(log, b"a", 1, keys=[_key(1)])
    assert _said(log, {_key(2): b"two" * 8, _key(3): None}, {}) is None
    taken = _said(log, {_key(1): b"x", _key(2): b"y", _key(3): b"z", _key(4): b"w"}, {})
    assert taken == {_key(1): None, _key(2): b"two" * 8, _key(3): None}
    assert log.head() == 2


def _what_is_kept_beside_keys_is_replaced_by_comparison(log: EventLog) -> None:
    assert _said(log, {_key(1): b"old", _key(2): None}, {}) is None
    assert _said(log, {_key(3): b"3"}, {_key(1): (b"other", b"new")}) == {_key(1): b"old"}
    assert _said(log, {_key(3): b"3"}, {_key(1): (b"old", b"new"), _key(2): (None, b"2")}) is None
    assert _said(log, {_key(n): b"" for n in (1, 2, 3)}, {}) == {
        _key(1): b"new",
        _key(2): b"2",
        _key(3): b"3",
    }
    assert log.head() == 2, "a refused append stores nothing"


def _one_of_many_revisions_wins(log: EventLog) -> None:
    assert _said(log, {_key(1): b"old"}, {}) is None
    lost: list[Said | None] = []

    def revise(thread: int) -> None:
        lost.append(_said(log, {_key(10 + thread): b""}, {_key(1): (b"old", b"%d" % thread)}))

    in_threads(revise, 4)
    assert lost.count(None) == 1
    assert log.head() == 2


def _trim_keeps_offsets_and_keys(log: EventLog) -> None:
    for n in range(1, 4):
        _append(log, b"%d" % n, 10, keys=[_key(n)])
    assert log.trim(Offset(9)) == 0, "a batch goes only when all of it may go"
    assert log.trim(Offset(25)) == 20
    assert log.trim(Offset(25)) == 0
    assert [batch.first for batch in log.read(START, limit=100)] == [21]
    assert log.head() == 30
    # An empty log still knows its head: offsets that start again would be taken for facts already read.
    assert log.trim(Offset(1_000)) == 10
    assert (log.head(), log.read(START, limit=100)) == (30, [])
    assert _refused(log, [_key(1), _key(4), _key(3)]) == {_key(1), _key(3)}
    assert _append(log, b"next") == 31


def _replaced_bodies_are_read_in_place_of_the_old(log: EventLog) -> None:
    for n in range(1, 4):
        _append(log, b"%d" % n, 10, keys=[_key(n)])
    old = log.read(START, limit=100)
    changed = Batch(first=old[1].first, count=10, version=7, body=b"other")
    miscounted = Batch(first=old[0].first, count=9, version=7, body=b"no")
    elsewhere = Batch(first=Offset(5), count=6, version=7, body=b"no")
    assert log.replace([changed, miscounted, elsewhere])
    assert log.read(START, limit=100) == [old[0], changed, old[2]]
    assert log.head() == 30
    assert _refused(log, [_key(2)]) == {_key(2)}
    assert log.replace([])
    assert _append(log, b"next") == 31


def _appends_from_threads_do_not_interleave(log: EventLog) -> None:
    def write(thread: int) -> None:
        for n in range(25):
            _append(log, b"%d" % thread, 3, keys=[_key(thread * 1000 + n)])

    in_threads(write, 4)
    batches = log.read(START, limit=1_000_000)
    assert [batch.first for batch in batches] == list(range(1, 301, 3))
    assert sorted(batch.body for batch in batches) == sorted([b"0", b"1", b"2", b"3"] * 25)


def _readers_see_only_whole_appends(log: EventLog) -> None:
    is_done = threading.Event()
    torn: list[int] = []

    def read() -> None:
        while not is_done.is_set():
            head = log.head()
            # Each append has 7 records, so any other head is half an append.
            if head % 7 or sum(batch.count for batch in log.read(START, limit=10_000)) < head:
                torn.append(head)

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(60):
        _append(log, b"x" * 100, 7, keys=[_key(n)])
    is_done.set()
    reader.join()
    assert torn == []


def _only_new_keys_are_claimed(keys: Keys) -> None:
    assert keys.claim([_key(1), _key(2)]) == set()
    assert keys.claim([_key(2), _key(3), _key(3)]) == {_key(2)}
    assert keys.taken([_key(1), _key(2), _key(3), _key(4)]) == {_key(1), _key(2), _key(3)}
    assert keys.claim([]) == set()


def _taken_returns_only_stored_keys(keys: Keys) -> None:
    # More than the 999 parameters that one statement of SQLite before 3.32 takes.
    keys.claim([_key(n) for n in range(1, 1400)])
    asked = [_key(n) for n in range(700, 2800)]
    assert keys.taken(asked) == {_key(n) for n in range(700, 1400)}
    assert keys.taken([]) == set()


def _one_of_many_claims_of_a_key_wins(keys: Keys) -> None:
    won: list[int] = []

    # Looking first and inserting afterwards lets two claims of one key win.
    def claim(_: int) -> None:
        won.extend(n for n in range(20) if not keys.claim([_key(n)]))

    in_threads(claim, 4)
    assert sorted(won) == list(range(20))


def _blobs_come_back(store: BlobStore) -> None:
    assert store.get("folder/none") is None
    assert store.put("empty", b"") is True
    assert store.put("folder/deep/some.bin", b"\0\xff" * 100_000) is True
    assert store.get("empty") == b""
    assert store.get("folder/deep/some.bin") == b"\0\xff" * 100_000


def _blobs_are_never_overwritten(store: BlobStore) -> None:
    assert store.put("name", b"first") is True
    assert store.put("name", b"second") is False
    # Equal content is refused as well: the writer has to learn that it was not the first.
    assert store.put("name", b"first") is False
    assert store.get("name") == b"first"


def _names_are_sorted_and_filtered(store: BlobStore) -> None:
    # Sorted as texts: "b/10" before "b/2". Manifests pad their numbers because of it.
    for name in ("b/2", "b/10", "a", "b/c/d", "bb"):
        store.put(name, b"")
    assert list(store.names()) == ["a", "b/10", "b/2", "b/c/d", "bb"]
    assert list(store.names("b/")) == ["b/10", "b/2", "b/c/d"]
    assert list(store.names("b/1")) == ["b/10"]
    assert list(store.names("z")) == []


def _deleted_blobs_are_gone(store: BlobStore) -> None:
    store.put("a/b", b"old")
    store.delete("a/b")
    store.delete("a/b")
    assert store.get("a/b") is None
    assert list(store.names()) == []
    assert store.put("a/b", b"new") is True
    assert store.get("a/b") == b"new"


def _one_of_many_writers_of_a_name_wins(store: BlobStore) -> None:
    won: list[int] = []

    def write(thread: int) -> None:
        for n in range(10):
            if store.put(f"race/{n}", b"%d" % thread):
                won.append(n)

    in_threads(write, 4)
    assert sorted(won) == list(range(10))


def in_threads(work: Callable[[int], None], n: int) -> None:
    """Run `work(0)` to `work(n - 1)` at once; raise what the first failing one raised."""
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            work(number)
        # An assertion that fails in a thread would only be printed, and the check would pass.
        except BaseException as error:  # noqa: BLE001 - raised again below, where it is seen
            errors.append(error)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]
