from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

import loopwright
from loopwright.cli import _COMMANDS, app

from .conftest import Ran

Cli = Callable[..., Ran]


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_names_every_command(cli: Cli, arguments: tuple[str, ...]) -> None:
    ran = cli(*arguments)
    assert ran.code == 0
    for name, (_, line) in _COMMANDS.items():
        assert f"{name} " in ran.out
        assert line in ran.out


def test_version_is_the_packages(cli: Cli) -> None:
    assert cli("--version").out.strip() == loopwright.__version__


@pytest.mark.parametrize("name", sorted(_COMMANDS))
def test_each_command_has_help(cli: Cli, name: str) -> None:
    ran = cli(name, "--help")
    assert ran.code == 0
    assert f"loopwright {name}" in ran.out


@pytest.mark.parametrize("name", sorted(set(_COMMANDS) - {"serve"}))
def test_each_command_can_speak_json(name: str) -> None:
    command = app[name]
    leaves = [command[child] for child in command if not child.startswith("-")] or [command]
    while any(not leaf.default_command for leaf in leaves):
        leaves = [
            deeper
            for leaf in leaves
            for deeper in (
                [leaf]
                if leaf.default_command
                else [leaf[child] for child in leaf if not child.startswith("-")]
            )
        ]
    for leaf in leaves:
        names = [
            name for argument in leaf.assemble_argument_collection() for name in argument.names
        ]
        assert "--json" in names


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("serv",), 'Did you mean "serve"'),
        (("serve", "--prot", "1"), "--prot"),
        (("simulate",), "--arms"),
        (("simulate", "--arms", "0.1,x"), "0.1,x"),
        (("simulate", "--arms", "0.1,0.2", "--rounds", "0"), "at least 1"),
        (("simulate", "--arms", "0.1,0.2", "--policy", "Nope"), "Nope"),
        (("simulate", "--arms", "0.1,0.2", "--policy", "LinUCB"), "context"),
        (("replay", "nowhere.csv"), "nowhere.csv"),
        (("replay", "digits", "--limit", "0"), "at least one row"),
        (("replay", "digits", "--kind", "logged"), "full-information"),
        (("experiments", "create", "--id", "x"), "--arms"),
        (("demo", "--rounds", "0"), "at least one"),
    ],
)
def test_wrong_use_exits_with_2_and_one_sentence(
    cli: Cli, arguments: tuple[str, ...], said: str
) -> None:
    ran = cli(*arguments)
    assert ran.code == 2
    assert said in ran.err
    assert ran.err.startswith("error: ")
    assert ran.err.count("\n") == 1
    assert ran.out == ""


@pytest.mark.parametrize(
    "arguments",
    [
        ("serve", "--port", "99999"),
        ("serve", "--config", "missing.toml"),
        ("doctor",),
        ("keys", "list", "--local"),
        ("experiments", "list", "--url", "nonsense"),
    ],
)
def test_a_wrong_setup_exits_with_3(cli: Cli, arguments: tuple[str, ...]) -> None:
    ran = cli(*arguments)
    assert ran.code == 3
    assert ran.err.startswith("error: ")


def test_an_error_is_json_when_json_was_asked_for(cli: Cli) -> None:
    ran = cli("simulate", "--arms", "1,2", "--json")
    assert '"code":"invalid"' in ran.err
    assert ran.code == 2


def test_help_imports_nothing_heavy() -> None:
    program = (
        "import sys\n"
        "from loopwright.cli import run\n"
        "run(['--help'])\n"
        "heavy = {'numpy', 'duckdb', 'litestar', 'httpx', 'uvicorn', 'pydantic', 'msgspec'}\n"
        "sys.stderr.write(', '.join(heavy & set(sys.modules)))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert ran.stderr == ""
    assert ran.returncode == 0
