"""The contract suites of query engines, formats and leases catch what breaks a promise."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from loopwright.backends.duckdb import DuckDB
from loopwright.backends.leases import DatabaseLease
from loopwright.backends.memory import memory_database
from loopwright.core.ports import Lease
from loopwright.testing import ManualClock, check_lease, check_query_engine


@pytest.fixture
def fresh(tmp_path: Path) -> Callable[[], Path]:
    numbers = count()
    return lambda: tmp_path / str(next(numbers))


class Backwards(DuckDB):
    """Gives rows in the opposite order."""

    def query(
        self, sql: str, params: Any = (), *, threads: int | None = None
    ) -> list[tuple[Any, ...]]:
        return super().query(sql, params, threads=threads)[::-1]


class Careless(DuckDB):
    """Puts parameters into the statement as text."""

    def query(
        self, sql: str, params: Any = (), *, threads: int | None = None
    ) -> list[tuple[Any, ...]]:
        if isinstance(params, Sequence):
            for value in params:
                sql = sql.replace("?", f"'{value}'", 1)
            params = ()
        try:
            return super().query(sql, params, threads=threads)
        except Exception as error:
            raise AssertionError("a value was taken for a part of the statement") from error


@pytest.mark.parametrize("broken", [Backwards, Careless])
def test_an_engine_that_breaks_a_promise_is_caught(
    broken: type[DuckDB], fresh: Callable[[], Path]
) -> None:
    with pytest.raises(AssertionError):
        check_query_engine(lambda: broken(fresh(), keeps_order=True))


class Generous(DatabaseLease):
    """Gives a lease to everyone who asks."""

    def acquire(self, name: str, *, ttl_s: float) -> int | None:
        return super().acquire(name, ttl_s=ttl_s) or 1


class Forgetful(DatabaseLease):
    """Starts its epochs anew."""

    def acquire(self, name: str, *, ttl_s: float) -> int | None:
        epoch = super().acquire(name, ttl_s=ttl_s)
        return None if epoch is None else 1


@pytest.mark.parametrize("broken", [Generous, Forgetful])
def test_a_lease_that_breaks_a_promise_is_caught(broken: type[DatabaseLease]) -> None:
    def place() -> Callable[[], Lease]:
        database, clock, holders = memory_database(), ManualClock(), count()
        return lambda: broken(database, clock, holder=f"holder {next(holders)}")

    with pytest.raises(AssertionError):
        check_lease(place)
