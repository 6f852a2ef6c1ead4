"""The contract suite of databases catches a database that breaks a promise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest

from loopwright.backends.memory import memory_database
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.errors import Conflict
from loopwright.core.ports import Session
from loopwright.testing import check_database


class Around:
    """A sound database, for subclasses to break one promise of."""

    def __init__(self) -> None:
        self.sound = memory_database()

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        return self.sound.query(sql, params)

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        with self.sound.transaction() as session:
            yield session

    def rewrite(self) -> bool:
        return self.sound.rewrite()

    def scrub(self) -> bool:
        return self.sound.scrub()

    def close(self) -> None:
        self.sound.close()


def test_a_sound_database_passes() -> None:
    check_database(Around)


def test_a_database_that_commits_what_failed_is_caught() -> None:
    class Careless(Around):
        @contextmanager
        def transaction(self) -> Iterator[Session]:
            failure: Exception | None = None
            with self.sound.transaction() as session:
                try:
                    yield session
                except ZeroDivisionError as error:
                    failure = error
            if failure is not None:
                raise failure

    with pytest.raises(AssertionError):
        check_database(Careless)


def test_a_database_that_swallows_the_error_of_a_transaction_is_caught() -> None:
    class Silent(Around):
        @contextmanager
        def transaction(self) -> Iterator[Session]:
            try:
                with self.sound.transaction() as session:
                    yield session
            except ZeroDivisionError:
                pass

    with pytest.raises(AssertionError, match="must come through"):
        check_database(Silent)


def test_a_database_that_hides_a_violated_constraint_is_caught() -> None:
    class Lenient(Around):
        @contextmanager
        def transaction(self) -> Iterator[Session]:
            try:
                with self.sound.transaction() as session:
                    yield session
            except Conflict:
                pass

    with pytest.raises(AssertionError, match="must raise Conflict"):
        check_database(Lenient)


def test_a_database_that_takes_texts_for_equal_whatever_their_case_is_caught() -> None:
    class Folding(SqliteDatabase):
        def query(self, sql: str, params: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
            return super().query(sql.replace("ORDER BY name", "ORDER BY lower(name)"), params)

    with pytest.raises(AssertionError):
        check_database(lambda: Folding(":memory:"))
