from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from tests.engines.postgres_server import MISSING, PostgresServer, programs, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A server for all tests, each of which takes a schema of its own."""
    if programs() is None:
        if os.environ.get("CI"):
            pytest.fail(MISSING)
        pytest.skip(MISSING)
    with running() as server:
        yield server
