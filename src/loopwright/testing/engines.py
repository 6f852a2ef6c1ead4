"""Contract suites of the ports for queries, columns and leases: what every backend has to do.

Each `check_…` takes a factory that makes an empty backend, runs all its checks on fresh ones and raises
`AssertionError` at the first promise that is not kept.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from loopwright.core.errors import PartCorrupt
from loopwright.core.ports import Columnar, Lease, QueryEngine

from .ports import in_threads


def check_query_engine(factory: Callable[[], QueryEngine]) -> None:
    """Check everything `QueryEngine` promises on engines over empty places made by `factory`."""
    for check in (
        _loaded_rows_come_back_in_their_order,
        _loaded_rows_end_with_their_block,
        _tables_last_as_long_as_the_engine,
        _parts_are_what_was_written,
        _a_select_without_rows_makes_no_part,
        _several_parts_are_read_as_one,
        _missing_parts_are_refused,
        _parameters_are_values,
        _digests_are_the_same_in_every_engine,
    ):
        with closing(factory()) as engine:
            check(engine)


def check_columnar(factory: Callable[[], Columnar]) -> None:
    """Check everything `Columnar` promises on formats made by `factory`."""
    _rows_come_back_typed(factory())
    _lines_come_back_typed(factory())
    _rows_beyond_a_position_are_found(factory())
    _other_files_are_refused(factory())


def check_lease(factory: Callable[[], Callable[[], Lease]]) -> None:
    """Check everything `Lease` promises. Each call of `factory` makes a place and returns a maker of holders in it."""
    for check in (
        _one_holder_has_the_lease,
        _a_released_lease_is_free,
        _epochs_grow_with_every_holder,
        _leases_of_other_names_are_apart,
        _a_lost_lease_is_not_renewed,
        _one_of_many_holders_wins,
    ):
        holders = _Holders(factory())
        check(holders)
        holders.release()


_COLUMNS = {"name": "VARCHAR", "number": "BIGINT", "weight": "DOUBLE", "is_good": "BOOLEAN"}
# A number that no double holds, quotes and text outside ASCII, and members left out, which stand for NULL.
_LINES = (
    b'{"name": "b", "number": 9007199254740993, "weight": 0.1, "is_good": true}',
    b'{"name": "a \\u2603 \'", "is_good": false}',
    b'{"number": -1}',
)
_READ = [("b", 2**53 + 1, 0.1, True), ("a ☃ '", None, None, False), (None, -1, None, None)]


def _loaded_rows_come_back_in_their_order(engine: QueryEngine) -> None:
    with engine.load(_COLUMNS, _LINES) as rows:
        assert engine.query(rows) == _READ
        assert engine.query(f"SELECT count(*) FROM ({rows}) AS r", threads=1) == [(3,)]  # noqa: S608
    with engine.load(_COLUMNS, ()) as rows:
        assert engine.query(rows) == []


def _loaded_rows_end_with_their_block(engine: QueryEngine) -> None:
    with engine.load(_COLUMNS, _LINES) as rows:
        pass
    try:
        found = engine.query(rows)
    except PartCorrupt:
        return
    raise AssertionError(f"rows are left of a block that has ended: {found}")


def _tables_last_as_long_as_the_engine(engine: QueryEngine) -> None:
    engine.query(
        "CREATE TABLE things (name VARCHAR, number BIGINT, weight DOUBLE, is_good BOOLEAN)"
    )
    # Twice, as scratch files of one block must not be those of the next.
    for _ in range(2):
        with engine.load(_COLUMNS, _LINES) as rows:
            engine.query(f"INSERT INTO things {rows}")
    assert engine.query("SELECT count(*), sum(number) FROM things WHERE number < 0") == [(2, -2)]


def _parts_are_what_was_written(engine: QueryEngine) -> None:
    with engine.load(_COLUMNS, _LINES) as rows:
        stored = engine.write(rows, "folder/day/part.parquet")
    assert stored is not None
    assert stored.rows == 3
    assert stored.size > 0
    assert engine.digest("folder/day/part.parquet") == stored.digest
    assert engine.query(engine.read(["folder/day/part.parquet"], tuple(_COLUMNS))) == _READ
    assert engine.digest("folder/day/none.parquet") is None


def _a_select_without_rows_makes_no_part(engine: QueryEngine) -> None:
    with engine.load(_COLUMNS, _LINES) as rows:
        assert engine.write(f"SELECT * FROM ({rows}) AS r WHERE number = 0", "none.parquet") is None  # noqa: S608
    assert engine.digest("none.parquet") is None


def _several_parts_are_read_as_one(engine: QueryEngine) -> None:
    with engine.load(_COLUMNS, _LINES) as rows:
        for name in ("one.parquet", "two.parquet"):
            engine.write(rows, name)
    both = engine.read(["one.parquet", "two.parquet"], ["number"])
    assert engine.query(f"SELECT count(number) FROM ({both}) AS r") == [(4,)]  # noqa: S608


def _missing_parts_are_refused(engine: QueryEngine) -> None:
    try:
        engine.query(engine.read(["missing.parquet"], ["number"]))
    except PartCorrupt:
        return
    raise AssertionError("a part that is missing must raise PartCorrupt")


def _parameters_are_values(engine: QueryEngine) -> None:
    # Text that would change the statement if it were pasted into it.
    odd = "x' OR 1 = 1 --"
    assert engine.query("SELECT ? AS a, CAST(? AS BIGINT) AS b", (odd, 2)) == [(odd, 2)]
    assert engine.query("SELECT $name AS a, $name AS b", {"name": odd}) == [(odd, odd)]


def _digests_are_the_same_in_every_engine(engine: QueryEngine) -> None:
    # Fixed values: keys are stored in files, so another engine has to join to them.
    assert engine.query("SELECT digest63('abc'), digest63('')") == [
        (4125280303191149419, 4549053946144276596)
    ]


_FACT_COLUMNS = {"offset": "BIGINT", "version": "INTEGER", "body": "BLOB", "json": "VARCHAR"}
# Bodies hold NUL and bytes that are no UTF-8, as MessagePack does.
_FACT_ROWS = [(n, 1, b"\0\xff%d" % n, None if n % 2 else "{}") for n in range(1, 6)]


def _rows_come_back_typed(columnar: Columnar) -> None:
    content = columnar.encode(_FACT_COLUMNS, _FACT_ROWS)
    assert columnar.decode(content, tuple(_FACT_COLUMNS), after=0) == _FACT_ROWS


def _lines_come_back_typed(columnar: Columnar) -> None:
    columns = {"number": "BIGINT", "name": "VARCHAR", "weight": "DOUBLE", "is_good": "BOOLEAN"}
    content = columnar.encode_lines(columns, (line for line in _LINES if b"number" in line))
    assert columnar.decode(content, tuple(columns), after=-2) == [
        (-1, None, None, None),
        (2**53 + 1, "b", 0.1, True),
    ]
    assert columnar.decode(columnar.encode_lines(columns, ()), tuple(columns), after=0) == []


def _rows_beyond_a_position_are_found(columnar: Columnar) -> None:
    content = columnar.encode(_FACT_COLUMNS, _FACT_ROWS)
    assert columnar.decode(content, ("offset", "version"), after=3) == [(4, 1), (5, 1)]
    assert columnar.decode(content, ("offset",), after=5) == []


def _other_files_are_refused(columnar: Columnar) -> None:
    try:
        columnar.decode(b"no such file", ("offset",), after=0)
    except PartCorrupt:
        return
    raise AssertionError("a file of another format must raise PartCorrupt")


class _Holders:
    """Makes holders, and lets go of what they held when a check is over."""

    def __init__(self, make: Callable[[], Lease]) -> None:
        self._make = make
        self._made: list[Lease] = []

    def __call__(self) -> Lease:
        self._made.append(self._make())
        return self._made[-1]

    def release(self) -> None:
        for lease in self._made:
            for name in ("load", "seal"):
                # More epochs than any check makes, because a holder does not say which it has.
                for epoch in range(1, 9):
                    lease.release(name, epoch)


def _one_holder_has_the_lease(holder: Callable[[], Lease]) -> None:
    one, other = holder(), holder()
    epoch = one.acquire("load", ttl_s=60)
    assert epoch is not None
    assert other.acquire("load", ttl_s=60) is None
    assert one.renew("load", epoch, ttl_s=60)
    assert not other.renew("load", epoch, ttl_s=60), "an epoch is of no use to another holder"


def _a_released_lease_is_free(holder: Callable[[], Lease]) -> None:
    one, other = holder(), holder()
    epoch = one.acquire("load", ttl_s=60)
    assert epoch is not None
    other.release("load", epoch)
    assert other.acquire("load", ttl_s=60) is None, "only its holder can release a lease"
    one.release("load", epoch)
    one.release("load", epoch)
    assert other.acquire("load", ttl_s=60) is not None


def _epochs_grow_with_every_holder(holder: Callable[[], Lease]) -> None:
    last = 0
    for lease in (holder(), holder(), holder()):
        epoch = lease.acquire("load", ttl_s=60)
        assert epoch is not None
        assert epoch > last
        lease.release("load", epoch)
        last = epoch


def _leases_of_other_names_are_apart(holder: Callable[[], Lease]) -> None:
    assert holder().acquire("load", ttl_s=60) is not None
    assert holder().acquire("seal", ttl_s=60) is not None


def _a_lost_lease_is_not_renewed(holder: Callable[[], Lease]) -> None:
    one, other = holder(), holder()
    epoch = one.acquire("load", ttl_s=60)
    assert epoch is not None
    one.release("load", epoch)
    assert not one.renew("load", epoch, ttl_s=60)
    assert other.acquire("load", ttl_s=60) is not None
    one.release("load", epoch)
    assert holder().acquire("load", ttl_s=60) is None, "a lost lease releases nothing"


def _one_of_many_holders_wins(holder: Callable[[], Lease]) -> None:
    holders, won = [holder() for _ in range(4)], list[int]()

    def acquire(number: int) -> None:
        if holders[number].acquire("load", ttl_s=60) is not None:
            won.append(number)

    # Holders of their own, as in different processes: a lock within one object would pass.
    in_threads(acquire, 4)
    assert len(won) == 1
