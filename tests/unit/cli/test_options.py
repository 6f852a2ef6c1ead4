from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.client.conftest import Act, ScriptedServer

from loopwright.app.keyring import ADMIN_KEY_FILE
from loopwright.cli.options import DEFAULT_URL, Server
from loopwright.client import Unreachable
from loopwright.core.errors import NotFound, SettingsInvalid

from .conftest import Ran


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


def test_the_local_key_is_used_for_this_machine_only(tmp_path: Path) -> None:
    (tmp_path / ADMIN_KEY_FILE).write_text("lw_local\n")
    assert Server(data=tmp_path).key() == "lw_local"
    assert Server("http://localhost:1", data=tmp_path).key() == "lw_local"
    assert Server("http://[::1]:1", data=tmp_path).key() == "lw_local"
    assert Server("http://10.0.0.1:8400", data=tmp_path).key() is None
    assert Server("http://localhost.example.com", data=tmp_path).key() is None


def test_a_key_that_was_given_goes_before_the_local_one(tmp_path: Path) -> None:
    (tmp_path / ADMIN_KEY_FILE).write_text("lw_local\n")
    assert Server(api_key="lw_given", data=tmp_path).key() == "lw_given"


@pytest.mark.parametrize(
    ("url", "address"),
    [
        (None, DEFAULT_URL),
        ("http://loop:1/", "http://loop:1"),
        ("http://loop:1/api/v1", "http://loop:1"),
        ("http://loop:1/api/v1/", "http://loop:1"),
        ("http://loop:1/under", "http://loop:1/under"),
    ],
)
def test_an_address_is_used_without_the_prefix_of_the_api(
    url: str | None, address: str, tmp_path: Path
) -> None:
    assert Server(url, data=tmp_path).address == address


def test_without_any_key_nothing_is_asked(tmp_path: Path, scripted: ScriptedServer) -> None:
    with pytest.raises(SettingsInvalid, match="no API key"):
        Server(scripted.url, data=tmp_path).ask("GET", "/api/v1/x", timeout_s=5)
    assert scripted.seen == []


def test_a_question_carries_key_query_and_body_and_a_refusal_keeps_its_kind(
    tmp_path: Path, scripted: ScriptedServer
) -> None:
    scripted.script += [
        Act(200, {"ok": True}),
        Act(404, {"code": "not_found", "detail": "there is no tenant 'rival'", "status": 404}),
    ]
    server = Server(scripted.url, "lw_k", tmp_path)
    got = server.ask("POST", "/api/v1/x", timeout_s=5, params={"days": "7"}, body={"a": 1})
    assert got == b'{"ok": true}'
    method, path, headers, body = scripted.seen[0]
    assert (method, path, body) == ("POST", "/api/v1/x?days=7", {"a": 1})
    assert headers["authorization"] == "Bearer lw_k"
    with pytest.raises(NotFound, match="rival"):
        server.ask("GET", "/api/v1/x", timeout_s=5)


def test_a_server_that_hangs_up_or_an_address_that_is_none_is_unreachable(
    tmp_path: Path, scripted: ScriptedServer
) -> None:
    scripted.script += [Act(hang_up=True)]
    with pytest.raises(Unreachable, match="is the server running"):
        Server(scripted.url, "lw_k", tmp_path).ask("GET", "/x", timeout_s=5)
    with pytest.raises(Unreachable):
        Server("http://[", "lw_k", tmp_path).ask("GET", "/x", timeout_s=5)


def test_half_an_address_is_refused_in_a_sentence_and_gets_no_local_key(
    cli: Callable[..., Ran], tmp_path: Path
) -> None:
    (tmp_path / ADMIN_KEY_FILE).write_text("lw_local\n")
    assert Server("http://[", data=tmp_path).key() is None
    for command in (("report",), ("calibrate", "t", "--metric=m", "--window-days=1")):
        ran = cli(*command, "--url", "http://[", "--data", tmp_path)
        assert (ran.code, ran.err.count("\n")) == (3, 1), ran
        assert ran.err.startswith("error: no API key")
