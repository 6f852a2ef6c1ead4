"""The reference is fresh, and everything public is in it."""

from __future__ import annotations

import ast
import inspect
import typing
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from docs import generate
from loopwright.app.metrics import CATALOGUE
from loopwright.app.settings import PREFIX, Settings
from loopwright.core import ports
from loopwright.core.errors import LoopError
from loopwright.core.events import Fact
from loopwright.policies.catalog import BUILT_IN

ROOT = Path(__file__).parents[2]
SECTIONS = {
    found["name"]: found[0]
    for path in generate.REFERENCE.glob("*.md")
    for found in generate.SECTION.finditer(path.read_text("utf-8"))
}


def page(name: str) -> str:
    return (generate.REFERENCE / f"{name}.md").read_text("utf-8")


@cache
def openapi() -> dict[str, typing.Any]:
    return generate.openapi()


def test_every_table_has_its_place() -> None:
    assert set(SECTIONS) == set(generate.TABLES)


@pytest.mark.parametrize("name", sorted(generate.TABLES))
def test_a_table_says_what_the_code_says(name: str) -> None:
    assert generate.render(SECTIONS[name]) == SECTIONS[name], "stale: run `python docs/generate.py`"


def test_every_setting_is_documented() -> None:
    for name, field in Settings.model_fields.items():
        assert f"`{PREFIX}{name.upper()}`" in page("settings")
        assert field.description, f"{name} says nothing about itself"


def test_every_command_is_documented() -> None:
    names = generate.commands()
    assert {"serve", "demo", "replay", "simulate", "doctor"} <= {n.split()[1] for n in names}
    for name in names:
        assert f"## {name}\n" in page("cli")


def test_every_route_is_documented() -> None:
    for path, item in openapi()["paths"].items():
        for method in item:
            assert f"`{method.upper()} {path}`" in page("http")


def test_every_route_says_what_it_does_and_which_body_it_takes() -> None:
    for path, item in openapi()["paths"].items():
        for method, operation in item.items():
            assert operation.get("summary"), (method, path)
            assert operation.get("description") or path.startswith("/api/v1/agent"), (method, path)


def test_every_metric_is_documented() -> None:
    for name, what in CATALOGUE.items():
        assert f"`{name}`" in page("metrics")
        assert what.endswith(".")


def descendants(root: type[LoopError]) -> Iterator[type[LoopError]]:
    for child in root.__subclasses__():
        yield child
        yield from descendants(child)


def test_every_error_code_is_documented() -> None:
    generate.errors()  # imports every module, so that every error exists
    ours = {e for e in descendants(LoopError) if e.__module__.startswith("loopwright.")}
    for error in ours:
        assert f"| `{error.code}` | {error.status} |" in page("errors")
    assert len({error.code for error in ours}) == len(ours), "two errors share a code"


def test_every_kind_of_event_is_documented() -> None:
    for kind in typing.get_args(Fact):
        assert f"| `{kind.__struct_config__.tag}` |" in page("events")


def test_every_port_is_documented_and_has_at_most_six_verbs() -> None:
    names = [
        name
        for name, value in vars(ports).items()
        if inspect.isclass(value) and typing.Protocol in value.__bases__
    ]
    assert names
    for name in names:
        assert f"## {name}\n" in page("ports")
        assert len(generate.methods(getattr(ports, name))) <= 6


def test_every_policy_and_every_name_of_it_is_documented() -> None:
    for policy in BUILT_IN:
        spec = policy.spec
        for name in (spec.name, *spec.aliases):
            assert f"`{name}`" in page("policies")


@pytest.mark.parametrize("module", generate.PUBLIC)
def test_every_public_name_is_documented_and_says_what_it_is(module: str) -> None:
    offered = generate.public_names()[module]
    assert offered
    for name, value in offered.items():
        assert f"`{name}" in page("python")
        if inspect.isclass(value) or inspect.isfunction(value):
            assert generate.first_line(value).endswith((".", ":")), (
                f"{module}.{name} has no sentence"
            )


def test_no_page_is_left_out_of_the_navigation() -> None:
    index = (ROOT / "docs" / "index.md").read_text("utf-8")
    for path in generate.REFERENCE.glob("*.md"):
        assert f"reference/{path.stem}\n" in index


def test_literals_of_the_same_values_name_them_in_one_order() -> None:
    """`typing` caches unions of literals without regard to order: help texts would depend on which was imported first."""
    orders: dict[frozenset[str], set[tuple[str, ...]]] = {}
    for path in (ROOT / "src").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Literal":
                inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
                values = tuple(ast.unparse(value) for value in inner)
                orders.setdefault(frozenset(values), set()).add(values)
    assert orders
    assert [found for found in orders.values() if len(found) > 1] == []
