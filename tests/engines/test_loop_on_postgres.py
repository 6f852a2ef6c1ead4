"""The whole loop with its tables in PostgreSQL: it learns, restarts, erases and reports as it does over SQLite."""

from __future__ import annotations

import random
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.engines.postgres_server import PostgresServer

from loopwright.app.embedded import Loop
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.errors import DatabaseUnavailable, LoopError
from loopwright.core.reward import RewardSpec
from loopwright.testing import ManualClock


@pytest.fixture
def address(postgres: PostgresServer) -> str:
    """A database of its own on the server: the schemas of a loop have fixed names."""
    name = postgres.schema()
    with closing(psycopg.connect(postgres.url(), autocommit=True)) as link:
        link.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    return postgres.url(database=name)


def opened(folder: Path, clock: ManualClock, database: str | None) -> Loop:
    named: dict[str, Any] = {} if database is None else {"database": database}
    settings = load_settings(data_dir=folder, **named)
    services = Services(settings, clock=clock, rng=random.Random(5))
    services.start()
    return Loop(services, DEFAULT_TENANT)


def lived(folder: Path, database: str | None) -> dict[str, Any]:
    """One life of a loop, with a restart in it; what can be read at its end."""
    clock = ManualClock(1_750_000_000_000)
    rng = random.Random(7)
    with opened(folder, clock, database) as loop:
        loop.experiments.create("plain", arms=["a", "b"], policy="epsilon_greedy")
        loop.experiments.create(
            "windowed", arms=["a", "b"], reward=RewardSpec(window_s=60.0, default=0.0)
        )
        tokens = []
        for _ in range(40):
            clock.advance(seconds=1)
            for id in ("plain", "windowed"):
                chosen = loop.agent.select(id, {"id": f"user-{rng.randrange(5)}"})
                tokens.append(chosen.request_id)
        loop.agent.feedback_batch(
            [{"request_id": token, "reward": n % 2} for n, token in enumerate(tokens[:50])]
        )
        loop.feedback.send(
            [
                {
                    "kind": "rating",
                    "scale": "thumbs",
                    "value": 1,
                    "output_id": "o1",
                    "user_id": "jane",
                },
                {
                    "kind": "rating",
                    "scale": "stars",
                    "value": 9,
                    "output_id": "o2",
                    "user_id": "joe",
                },
            ]
        )
        assert loop.wait_until_learned()
        loop.experiments.pause("plain")
        loop.experiments.add_arm("windowed", "c")
    with opened(folder, clock, database) as loop:
        loop.experiments.resume("plain")
        answer = loop.agent.feedback_batch([{"request_id": tokens[0], "reward": 1}])
        clock.advance(seconds=120)
        loop.agent.feedback(tokens[70], 1)
        assert loop.wait_until_learned()
        report = loop.feedback.quality(days=30)
        return {
            "duplicate": answer.duplicates,
            "arms": {
                id: [(arm.arm_id, arm.n, arm.mean) for arm in loop.experiments.status(id).arms]
                for id in ("plain", "windowed")
            },
            "experiments": [
                (found.id, found.state, len(found.arms)) for found in loop.experiments.list()
            ],
            "metrics": [(line.name, line.value, line.n) for line in report.metrics or ()],
        }


def test_a_loop_on_postgres_lives_as_one_on_sqlite(address: str, tmp_path: Path) -> None:
    on_sqlite = lived(tmp_path / "sqlite", None)
    assert lived(tmp_path / "postgres", address) == on_sqlite
    assert on_sqlite["duplicate"] == 1
    assert not list((tmp_path / "postgres").glob("catalog.db"))


def test_a_server_that_is_away_at_the_start_is_one_sentence(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    with pytest.raises(LoopError) as refused:
        opened(tmp_path, ManualClock(), postgres.url(port=1))
    assert "127.0.0.1" in refused.value.message
    with pytest.raises(LoopError) as refused:
        opened(tmp_path, ManualClock(), postgres.url(password="wrong"))
    assert "password" in refused.value.message
    assert "wrong" not in refused.value.message


def test_a_second_data_directory_on_the_same_database_is_refused(
    address: str, tmp_path: Path
) -> None:
    opened(tmp_path / "one", ManualClock(), address).close()
    with pytest.raises(LoopError, match="the tables of another data directory"):
        opened(tmp_path / "two", ManualClock(), address)
    opened(tmp_path / "one", ManualClock(), address).close()


def test_a_server_that_goes_away_and_comes_back_costs_errors_and_no_fact(
    postgres: PostgresServer, address: str, tmp_path: Path
) -> None:
    clock = ManualClock()
    with opened(tmp_path, clock, address) as loop:
        loop.experiments.create("plain", arms=["a", "b"])
        first = loop.agent.select("plain")
        postgres.crash()
        try:
            # Selects and rewards need no table: the log is a file, and the snapshot is in memory.
            second = loop.agent.select("plain")
            loop.agent.feedback(first.request_id, 1)
            with pytest.raises(DatabaseUnavailable):
                loop.experiments.pause("plain")
        finally:
            postgres.start()
        loop.agent.feedback(second.request_id, 1)
        assert loop.wait_until_learned(30.0)
        assert sum(arm.n for arm in loop.experiments.status("plain").arms) == 2
        loop.experiments.pause("plain")
