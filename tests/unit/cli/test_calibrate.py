"""What the command decides; fits on real sessions are in tests/flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest
from tests.unit.client.conftest import Act, ScriptedServer
from tests.unit.signals.world import fitted

from .conftest import Ran

Cli = Callable[..., Ran]

ASKED = ("calibrate", "support", "--metric", "resolved", "--window-days", "1")


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    server.otherwise = Act(201, msgspec.to_builtins(fitted()))
    yield server
    server.close()


def test_a_server_fits_and_its_quality_is_shown(cli: Cli, scripted: ScriptedServer) -> None:
    to = ("--url", scripted.url, "--api-key", "k")
    ran = cli(*ASKED, *to)
    assert ran.code == 0, ran.err
    assert "100 matured decisions with an outcome" in ran.out
    assert "Brier score" in ran.out
    assert "abandonment" in ran.out
    ((method, path, _, body),) = scripted.seen
    assert (method, path) == ("POST", "/api/v1/surrogates")
    assert body == {"task": "support", "metric": "resolved", "window_days": 1.0}
    told = cli(*ASKED, *to, "--json").json
    assert told["surrogate"]["version"] == fitted().version


def test_a_server_fits_for_the_tenant_of_the_key_only(cli: Cli, scripted: ScriptedServer) -> None:
    ran = cli(*ASKED, "--url", scripted.url, "--api-key", "k", "--tenant", "acme")
    assert ran.code == 2
    assert "leave --tenant out" in ran.err
    assert scripted.seen == []


def test_a_directory_with_too_little_is_refused_with_how_much_it_takes(
    cli: Cli, data: Path
) -> None:
    ran = cli(*ASKED, "--data", data)
    assert ran.code == 2
    assert "50 are needed" in ran.err
    assert not list(data.glob("surrogates/**/*.json"))
    assert cli(*ASKED, "--data", data / "nothing").code == 3
