"""`loopwright tenants`, against a server in this process's own data directory."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from loopwright.cli import run
from loopwright.cli.digits import Served, server


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("data")
    served: Served
    with server(folder, port=0) as served:
        yield f"--data={served.key_file.parent}"


def test_a_tenant_is_created_limited_and_listed(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tenants", "create", "acme", "--name", "Acme", data]) == 0
    assert "keys create --tenant acme --role admin" in capsys.readouterr().out
    assert run(["tenants", "quotas", "acme", "--experiments", "2", data, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["quotas"]["experiments"] == 2
    assert run(["tenants", "list", data]) == 0
    listed = capsys.readouterr().out
    assert "Acme" in listed
    assert "unlimited" in listed


def test_usage_shows_used_and_limit_of_every_tenant(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tenants", "quotas", "default", "--events-per-day", "1000", data]) == 0
    assert "events per day 1,000" in capsys.readouterr().out
    assert run(["tenants", "usage", data]) == 0
    assert "0 of 1,000" in capsys.readouterr().out


def test_a_tenant_that_is_not_there_is_an_error(
    data: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(["tenants", "quotas", "nowhere", data]) == 2
    assert "there is no tenant 'nowhere'" in capsys.readouterr().err
