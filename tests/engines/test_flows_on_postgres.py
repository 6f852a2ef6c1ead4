"""Flows that other files run over SQLite, once more with every table on a PostgreSQL server.

The tests are the same functions; only where their fixtures keep the tables differs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg
import pytest
from tests.engines.postgres_server import PostgresServer
from tests.flow.test_erasure import (  # noqa: F401 - collected here as well
    test_a_pseudonym_erases_the_units_decisions_as_the_user_id_does,
    test_a_unit_without_feedback_is_a_person_too,
    test_others_keep_all_their_rows,
)
from tests.flow.test_gates import (  # noqa: F401 - collected here as well
    loop,
    test_a_rule_lets_a_team_through_before_anybody_else,
    test_an_arm_that_the_gate_gives_cannot_be_taken_out_of_service,
    test_only_what_the_bandit_drew_is_learned_from,
    test_sticky_units_keep_their_arm_across_a_restart,
    test_the_gate_of_a_running_experiment_may_change,
)
from tests.flow.test_roles import (  # noqa: F401 - collected here as well
    Site,
    needed,
    test_an_admin_finds_nothing_of_another_tenant_on_any_route_with_an_id,
    test_every_route_but_the_probes_needs_a_key_that_is_known,
)
from tests.receiver import receiving
from tests.unit.datasets.conftest import Desk
from tests.unit.datasets.test_datasets import (  # noqa: F401 - collected here as well
    test_a_pair_is_two_answers_to_one_input,
    test_an_expired_set_keeps_its_manifest_and_loses_its_rows,
)
from tests.unit.limiting.stand import Stand as Limited
from tests.unit.rollout import test_deliveries
from tests.unit.rollout.conftest import Stand
from tests.unit.rollout.test_rollouts import (  # noqa: F401 - collected here as well
    test_a_kill_between_a_move_and_its_shares_is_mended_at_the_next_look,
    test_a_rollout_goes_on_after_a_restart_in_every_stage,
    test_every_move_is_a_fact_with_its_verdict,
    test_harm_is_taken_back_and_the_shares_are_as_before,
    test_one_rollout_at_a_time_for_an_experiment,
)
from tests.unit.rollout.test_versions import (  # noqa: F401 - collected here as well
    test_lineage_answers_both_ways_with_data_sets_and_arms,
    test_the_same_again_is_the_same_and_other_content_is_a_conflict,
)

from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services

NAME = "LOOPWRIGHT__DATABASE"


def made_in(postgres: PostgresServer) -> str:
    """Return the address of a new database: the schemas of a loop have fixed names."""
    name = postgres.schema()
    with closing(psycopg.connect(postgres.url(), autocommit=True)) as link:
        link.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    return postgres.url(database=name)


@pytest.fixture(autouse=True)
def on_postgres(postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch) -> str:
    address = made_in(postgres)
    monkeypatch.setenv(NAME, address)
    return address


def test_these_tests_keep_no_table_in_a_file(tmp_path: Path) -> None:
    Services(load_settings(data_dir=tmp_path)).close()
    assert sorted(path.name for path in tmp_path.glob("*.db")) == ["log.db"]


@pytest.fixture
def stand(on_postgres: str, tmp_path: Path) -> Iterator[Stand]:
    made = Stand(tmp_path)
    assert not (tmp_path / "catalog.db").exists()
    yield made
    made.close()


@pytest.fixture(scope="module")
def site(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("roles")
    settings = load_settings(data_dir=folder, raw_copies=True, database=made_in(postgres))
    services = Services(settings)
    services.start()
    for tenant in ("acme", "globex"):
        services.truth.catalog.tenants.create(tenant)
    yield Site(services)
    services.close()


@pytest.fixture
def desk(on_postgres: str, tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.close()


def test_a_limit_moves_and_goes_on_after_a_restart(tmp_path: Path) -> None:
    made = Limited(tmp_path)
    made.loop.limits.put("chat", prior=100, least=10, most=200, burst=1000)
    made.window(overloaded=0.8, stars=4)
    made.close()
    made.open()
    made.window(overloaded=0.8, stars=4)
    status = made.loop.limits.status("chat")
    assert (status.version, round(status.guard, 3)) == (2, 72.25)
    made.loop.limits.delete("chat")
    assert made.loop.limits.list().items == ()
    made.close()


def test_a_delivery_outlives_a_receiver_that_is_down_for_a_day_and_410_ends_it(
    tmp_path: Path,
) -> None:
    with (
        receiving() as receiver,
        closing(test_deliveries.Sending(tmp_path, receiver.url)) as stand,
    ):
        test_deliveries.test_a_receiver_that_is_down_for_a_day_gets_it_after_restarts_under_one_id(
            stand, receiver
        )
        receiver.got.clear()
        stand.loop.triggers.remove("t")
        test_deliveries.test_410_ends_what_goes_to_an_address_until_the_trigger_is_enabled_again(
            stand, receiver
        )
