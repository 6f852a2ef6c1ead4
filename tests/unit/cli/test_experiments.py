"""Definitions, and directories that no server holds; commands against a server are in tests/flow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.unit.client.conftest import Act, ScriptedServer

from .conftest import Ran

Cli = Callable[..., Ran]

MADE = {
    "id": "x",
    "tenant_id": "default",
    "arms": [{"id": "a"}, {"id": "b", "state": "disabled"}],
    "state": "running",
}


@pytest.fixture
def scripted() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    server.otherwise = Act(200, MADE)
    yield server
    server.close()


def test_a_directory_that_no_server_holds_lists_its_experiments_and_their_figures(
    cli: Cli, data: Path
) -> None:
    assert [one["id"] for one in cli("experiments", "list", "--data", data, "--json").json] == [
        "greeting"
    ]
    report = cli("experiments", "status", "greeting", "--data", data, "--json").json
    assert (report["status"]["decisions"], report["status"]["feedback"]) == (1, 1)
    assert report["feedback_rate"] == 1.0
    shown = cli("experiments", "show", "greeting", "--data", data)
    assert "greeting is running" in shown.out
    assert "feedback for 100.0%" in shown.out
    unknown = cli("experiments", "status", "nothing", "--data", data)
    assert (unknown.code, unknown.err.count("\n")) == (2, 1)


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("x.json", "[1]", "not a JSON object"),
        ("x.json", "{", "not a JSON object"),
        ("x.toml", "id = ", "not a TOML object"),
        ("x.toml", "id = 'x'", "needs an id and arms"),
        ("x.json", b"\xff\xfe", "not a JSON object"),
    ],
)
def test_a_definition_that_cannot_be_read_is_refused_before_a_server_is_asked(
    cli: Cli, tmp_path: Path, name: str, content: str | bytes, says: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    ran = cli("experiments", "create", path, "--url", "http://127.0.0.1:9", "--api-key", "k")
    assert ran.code == 2
    assert says in ran.err
    assert cli("experiments", "create", tmp_path / "no.json").code == 2


def test_options_go_before_the_file_and_a_byte_order_mark_is_no_part_of_it(
    cli: Cli, tmp_path: Path, scripted: ScriptedServer
) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(b'\xef\xbb\xbf{"id": "file", "arms": [{"id": "f"}], "name": "kept"}')
    to = ("--url", scripted.url, "--api-key", "k")
    ran = cli("experiments", "create", path, "--id", "x", "--arms", "a, b", "--no-start", *to)
    assert ran.code == 0, ran.err
    assert ran.out == "x is running: policy auto, arms a, b (disabled)\n"
    ((_, where, _, sent),) = scripted.seen
    assert where == "/api/v1/experiments"
    assert (sent["id"], sent["name"]) == ("x", "kept")
    assert [arm["id"] for arm in sent["arms"]] == ["a", "b"]


@pytest.mark.parametrize(
    ("given", "payload"), [('{"t": 1}', {"t": 1}), ("Hi there", "Hi there"), ("12", 12), ("", "")]
)
def test_a_payload_is_json_where_it_can_be_and_else_a_text(
    cli: Cli, scripted: ScriptedServer, given: str, payload: object
) -> None:
    to = ("--url", scripted.url, "--api-key", "k")
    assert cli("experiments", "arms", "add", "x", "c", "--payload", given, *to).code == 0
    assert scripted.seen[0][3]["payload"] == payload


def test_a_list_is_read_to_its_last_page(cli: Cli, scripted: ScriptedServer) -> None:
    scripted.script += [
        Act(200, {"items": [MADE], "next_cursor": "x"}),
        Act(200, {"items": [{**MADE, "id": "y"}], "next_cursor": None}),
    ]
    ran = cli("experiments", "list", "--url", scripted.url, "--api-key", "k", "--json")
    assert [one["id"] for one in ran.json] == ["x", "y"]
    assert "cursor=x" in scripted.seen[1][1]
