from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import loopwright.app.embedded as embedded

from .conftest import Ran

Cli = Callable[..., Ran]


def test_keys_are_made_listed_rotated_and_revoked_without_a_server(cli: Cli, data: Path) -> None:
    local = ("--local", "--data", data, "--json")
    issued = cli("keys", "create", "--scope", "select", "--name", "shop", *local).json
    assert issued["secret"].startswith("lw_")
    key_id = issued["key"]["id"]
    listed = {key["id"]: key for key in cli("keys", "list", *local).json}
    assert listed[key_id]["name"] == "shop"
    assert issued["secret"] not in str(listed)
    rotated = cli("keys", "rotate", key_id, *local).json
    assert rotated["secret"] != issued["secret"]
    assert cli("keys", "revoke", key_id, *local).json["revoked_at_ms"]
    ring = cli("keys", "signing", "rotate", *local).json
    assert len(ring["ids"]) == 2


def test_a_scope_that_does_not_exist_is_refused(cli: Cli, data: Path) -> None:
    ran = cli("keys", "create", "--scope", "fly", "--local", "--data", data)
    assert ran.code == 2
    assert "fly" in ran.err


def test_local_keys_need_the_server_stopped(cli: Cli, data: Path) -> None:
    with embedded.open_loop(data):
        ran = cli("keys", "list", "--local", "--data", data)
    assert ran.code == 3
    assert "in use by process" in ran.err
