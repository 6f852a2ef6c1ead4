"""Write the tables of the reference from the code: `python docs/generate.py [--check]`.

A page under `docs/reference/` marks where a table goes:

    <!-- begin generated: settings -->
    <!-- end generated: settings -->

Everything between the two lines is written by the function of that name in `TABLES`. The pages are committed;
`tests/docs` fails when one is stale. With `--check` nothing is written and the exit code is 1 when one is.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import io
import pkgutil
import re
import sys
import tempfile
import types
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import msgspec

import loopwright
from loopwright.core import ports
from loopwright.core.errors import LoopError
from loopwright.core.events import Fact
from loopwright.core.feedback import Feedback
from loopwright.core.principal import Scope

REFERENCE: Final = Path(__file__).parent / "reference"
SECTION: Final = re.compile(
    r"(<!-- begin generated: (?P<name>\w+) -->\n).*?(<!-- end generated: (?P=name) -->)", re.DOTALL
)
API: Final = "/api/v1"
PUBLIC: Final = (
    "loopwright",
    "loopwright.client",
    "loopwright.limiting",
    "loopwright.policies",
    "loopwright.testing",
    "loopwright.testing.simulation",
)
"""Packages whose names users import; the rest of the house may change between minor versions."""


def errors() -> list[type[LoopError]]:
    """Return every error that carries a code, wherever it is defined."""
    for module in pkgutil.walk_packages(loopwright.__path__, "loopwright."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
    return sorted(_descendants(LoopError), key=lambda error: (error.status, error.code))


def kinds(union: Any) -> list[type[msgspec.Struct]]:
    """Return the members of a tagged union, or the one type that it still is."""
    return list(typing.get_args(union)) or [union]


def protocols() -> list[type]:
    """Return the ports."""
    return [
        value
        for value in vars(ports).values()
        if isinstance(value, type)
        and value.__module__ == ports.__name__
        and getattr(value, "_is_protocol", False)
    ]


def methods(owner: type) -> dict[str, Callable[..., Any]]:
    """Return the public methods that a class and its bases define, in order of definition."""
    from loopwright.client.groups import method

    found: dict[str, Callable[..., Any]] = {}
    for base in reversed(owner.__mro__):
        for name, value in vars(base).items():
            value = value.build if isinstance(value, method) else value
            if not name.startswith("_") and inspect.isfunction(value):
                found[name] = value
    return found


def openapi() -> dict[str, Any]:
    """Return the OpenAPI document as a running server gives it."""
    from loopwright.app.server import application
    from loopwright.app.settings import load_settings
    from loopwright.app.wiring import Services

    async def ask(services: Services) -> dict[str, Any]:
        transport = httpx.ASGITransport(application(services, asyncio.get_running_loop()))
        async with httpx.AsyncClient(transport=transport, base_url="http://docs") as client:
            answer = await client.get("/docs/openapi.json")
            return dict(answer.raise_for_status().json())

    with tempfile.TemporaryDirectory() as folder:
        services = Services(load_settings(data_dir=Path(folder)))
        try:
            return asyncio.run(ask(services))
        finally:
            services.close()


def commands() -> list[str]:
    """Return the full name of every command of the CLI; groups that do nothing themselves are left out."""
    from loopwright.cli import app

    return list(_commands(app, "loopwright"))


def public_names() -> dict[str, dict[str, Any]]:
    """Return what each public package offers, and under a dotted name what its objects carry."""
    from loopwright.app import embedded
    from loopwright.app.exporting import Exports
    from loopwright.app.keyholding import Keys
    from loopwright.app.tenancy import Tenancy
    from loopwright.client import groups

    carried: dict[str, dict[str, Any]] = {
        "loopwright": {
            "Loop.agent": embedded.Agent,
            "Loop.experiments": embedded.Experiments,
            "Loop.feedback": embedded.Feedback,
            "Loop.keys": Keys,
            "Loop.tenants": Tenancy,
            "Loop.exports": Exports,
        },
        "loopwright.client": {
            "Client.agent": groups.Agent,
            "Client.experiments": groups.Experiments,
            "Client.feedback": groups.Feedback,
            "Client.keys": groups.Keys,
            "Client.tenants": groups.Tenants,
            "Client.exports": groups.Exports,
        },
    }
    return {
        name: {**_offered(importlib.import_module(name)), **carried.get(name, {})}
        for name in PUBLIC
    }


def settings_table() -> str:
    """Name, environment variable, type, default and meaning of each setting."""
    from loopwright.app.settings import PREFIX, Settings

    def row(name: str, field: Any) -> tuple[str, ...]:
        default = "none" if field.default is None else str(field.default)
        kind = _type_name(field.annotation)
        limits = "".join(f", {_limit(rule)}" for rule in field.metadata)
        return (
            code(name),
            code(PREFIX + name.upper()),
            kind + limits,
            code(default),
            field.description,
        )

    rows = [row(name, field) for name, field in Settings.model_fields.items()]
    return table(("Setting", "Environment", "Type", "Default", "What"), rows)


def cli_sections() -> str:
    """The help text of each command."""
    return "\n\n".join(f"## {name}\n\n```text\n{_help(name)}\n```" for name in commands())


def http_table() -> str:
    """Method, path, summary and statuses of each route."""
    rows = []
    for path, item in sorted(openapi()["paths"].items()):
        for method, operation in item.items():
            statuses = " ".join(sorted(operation["responses"]))
            rows.append((code(f"{method.upper()} {path}"), operation["summary"], statuses))
    return table(("Route", "What", "Statuses"), rows)


def needed_scopes() -> list[tuple[str, Scope | None]]:
    """Return each route with the scope that it needs; None for those that need no key."""
    found = []
    for path, item in sorted(openapi()["paths"].items()):
        for method, operation in item.items():
            [requirement] = operation["security"]
            found.append((f"{method.upper()} {path}", requirement.get("key", [None])[0]))
    return found


def roles_table() -> str:
    """The scopes of each role."""
    from loopwright.core.principal import ROLES, SCOPES, granted

    rows = [
        (
            code(role),
            ", ".join(map(code, scopes)),
            ", ".join(code(scope) for scope in SCOPES if granted(scope, scopes)),
        )
        for role, scopes in ROLES.items()
    ]
    return table(("Role", "Scopes of its key", "Scopes it may use"), rows)


def access_table() -> str:
    """Which role may call each route, from the scopes that the routes declare."""
    from loopwright.core.principal import ROLES, granted

    def cell(needed: Any, held: Sequence[str]) -> str:
        return "yes" if needed is None or granted(needed, held) else "no"

    rows = [
        (
            code(route),
            "no key" if needed is None else code(needed),
            *(cell(needed, held) for held in ROLES.values()),
        )
        for route, needed in needed_scopes()
    ]
    return table(("Route", "Scope", *ROLES), rows)


def metrics_table() -> str:
    """Name, kind and meaning of each metric."""
    from loopwright.app.metrics import CATALOGUE

    rows = [(code(name), what) for name, what in CATALOGUE.items()]
    return table(("Metric", "What"), rows)


def errors_table() -> str:
    """Code, HTTP status, Python class and meaning of each error."""
    rows = [
        (code(error.code), str(error.status), code(error.__name__), first_line(error))
        for error in errors()
    ]
    return table(("Code", "Status", "Python", "When"), rows)


def events_table() -> str:
    """Kind, fields and meaning of each fact of the log."""
    return _tagged(kinds(Fact))


def feedback_table() -> str:
    """Kind, fields and meaning of each kind of feedback."""
    return _tagged(kinds(Feedback))


def ports_sections() -> str:
    """The verbs of each port."""
    parts = []
    for port in protocols():
        rows = [
            (code(name + _signature(verb)), first_line(verb))
            for name, verb in methods(port).items()
        ]
        parts.append(f"## {port.__name__}\n\n{first_line(port)}\n\n{table(('Verb', 'What'), rows)}")
    return "\n\n".join(parts)


def policies_table() -> str:
    """Names, fit, parameters and paper of each built-in policy."""
    from loopwright.policies.catalog import BUILT_IN

    rows = []
    for policy in BUILT_IN:
        spec = policy.spec
        params = ", ".join(
            code(
                f"{field.name}={field.default:g}"
                if isinstance(field.default, float)
                else f"{field.name}={field.default}"
            )
            for field in msgspec.structs.fields(policy)  # type: ignore[arg-type]
        )
        names = ", ".join(code(name) for name in (spec.name, *spec.aliases))
        fits = ", ".join(spec.reward_types)
        rows.append(
            (names, first_line(policy), fits, spec.context, spec.law, params or "none", spec.paper)
        )
    return table(("Names", "What", "Rewards", "Context", "Law", "Parameters", "Paper"), rows)


def queries_sections() -> str:
    """Every named query with its parameters and columns, and every table with its columns."""
    from loopwright.insights.tallies import days_query, rates_query, units_query
    from loopwright.insights.targets import CATALOGUE
    from loopwright.warehouse.queries import QUERIES
    from loopwright.warehouse.tables import LINKED, WIDE
    from loopwright.warehouse.tables import TABLES as KEPT

    def columns(found: Iterable[Any]) -> str:
        return table(
            ("Column", "Type", "What"), ((code(c.name), c.type, c.sentence) for c in found)
        )

    parts = ["## Queries"]
    declared = [make(CATALOGUE) for make in (rates_query, days_query, units_query)]
    for query in [*QUERIES.values(), *declared]:
        parts.append(f"### {query.name}\n\n{query.sentence}")
        if query.parameters:
            rows = [
                (
                    code(p.name),
                    p.type,
                    "required" if p.default is None else code(repr(p.default)),
                    p.sentence + (f" One of {', '.join(map(code, p.among))}." if p.among else ""),
                )
                for p in query.parameters
            ]
            parts.append(table(("Parameter", "Type", "Default", "What"), rows))
        parts.append(columns(query.columns))
    parts.append("## Tables")
    for found in KEPT.values():
        parts.append(f"### {found.name}\n\n{found.sentence}\n\n{columns(found.columns)}")
    parts.append("## Relations\n\nMade of the tables when they are read.")
    for found in (LINKED, WIDE):
        own = found.columns[len(KEPT["feedback" if found is LINKED else "interactions"].columns) :]
        parts.append(
            f"### {found.name}\n\n{found.sentence}\n\nAdds to the table's columns:\n\n{columns(own)}"
        )
    return "\n\n".join(parts)


def targets_table() -> str:
    """The metrics of a quality report: what each counts, among what, by whom, and its target."""
    from loopwright.insights.targets import CATALOGUE

    rows = [
        (code(m.name), m.sentence, m.unit, f"{m.direction} {m.target:.0%}".replace("%", " %"))
        for m in CATALOGUE
    ]
    return table(("Metric", "Counts", "One observation is", "Target"), rows)


def python_sections() -> str:
    """The names of each public package, with the methods of its classes."""
    parts = []
    for module, names in public_names().items():
        rows = [row for name, value in names.items() for row in _described(module, name, value)]
        parts.append(f"## {module}\n\n{table(('Name', 'What'), rows)}")
    return "\n\n".join(parts)


TABLES: Final[Mapping[str, Callable[[], str]]] = {
    "settings": settings_table,
    "cli": cli_sections,
    "http": http_table,
    "roles": roles_table,
    "access": access_table,
    "metrics": metrics_table,
    "errors": errors_table,
    "events": events_table,
    "feedback": feedback_table,
    "ports": ports_sections,
    "policies": policies_table,
    "queries": queries_sections,
    "targets": targets_table,
    "python": python_sections,
}


def render(page: str) -> str:
    """Return `page` with every marked section written anew."""
    return SECTION.sub(lambda found: f"{found[1]}\n{TABLES[found['name']]()}\n\n{found[3]}", page)


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)


def code(text: str) -> str:
    """Return `text` as a literal."""
    return f"`{text}`"


def first_line(documented: Any) -> str:
    """Return the first paragraph of a docstring as one line."""
    doc = inspect.getdoc(documented) or ""
    return " ".join(doc.split("\n\n")[0].split())


def main(argv: Sequence[str]) -> int:
    """Write the pages, or only say which are stale."""
    stale = []
    for path in sorted(REFERENCE.glob("*.md")):
        page = path.read_text("utf-8")
        fresh = render(page)
        if fresh != page:
            stale.append(path.name)
            if "--check" not in argv:
                path.write_text(fresh, "utf-8")
    verb = "stale" if "--check" in argv else "written"
    sys.stdout.write(f"{verb}: {', '.join(stale) or 'none'}\n")
    return 1 if stale and "--check" in argv else 0


def _descendants(root: type[LoopError]) -> set[type[LoopError]]:
    children = {
        child for child in root.__subclasses__() if child.__module__.startswith("loopwright.")
    }
    return children.union(*(_descendants(child) for child in children))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _type_name(annotation: Any) -> str:
    if typing.get_origin(annotation) is typing.Literal:
        return ", ".join(code(str(value)) for value in typing.get_args(annotation))
    if isinstance(annotation, types.UnionType):
        named = [_type_name(part) for part in typing.get_args(annotation) if part is not type(None)]
        return " or ".join(named)
    return {
        "int": "whole number",
        "float": "number",
        "str": "text",
        "bool": "yes or no",
        "Path": "path",
    }.get(annotation.__name__, str(annotation.__name__))


def _limit(rule: Any) -> str:
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return ", ".join(
        f"{word} {getattr(rule, name)}" for name, word in words.items() if hasattr(rule, name)
    )


def _tagged(members: Iterable[type[msgspec.Struct]]) -> str:
    rows = [
        (
            code(str(member.__struct_config__.tag)),
            ", ".join(code(field.name) for field in msgspec.structs.fields(member)),
            first_line(member),
        )
        for member in members
    ]
    return table(("Kind", "Fields", "What"), rows)


class _Bare(str):
    """An annotation that prints as it stands in the source, without quotes."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _signature(function: Callable[..., Any]) -> str:
    """Return the parameters and result as they stand in the source, without `self`.

    A method of the client is made from a function that builds a call: its first parameter is the client's own,
    and what it returns is the call's result.
    """
    found = inspect.signature(function)
    parameters = [
        p.replace(annotation=_Bare(p.annotation)) if isinstance(p.annotation, str) else p
        for p in found.parameters.values()
        if p.name not in ("self", "cls", "terms")
    ]
    result = found.return_annotation
    if isinstance(result, str):
        result = _Bare(re.sub(r"^Call\[(\w+)\].*", r"\1", result))
    return str(found.replace(parameters=parameters, return_annotation=result))


def _offered(module: types.ModuleType) -> dict[str, Any]:
    """Return the names in `__all__`, or those that the module itself defines."""
    names = getattr(module, "__all__", None)
    if names is None:
        names = [
            name
            for name, value in vars(module).items()
            if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
        ]
    return {name: getattr(module, name) for name in names}


def _described(module: str, name: str, value: Any) -> Iterator[tuple[str, str]]:
    home = getattr(value, "__module__", module)
    if home.startswith("loopwright.client") and module == "loopwright":
        yield code(name), f"{first_line(value)} See `loopwright.client`."
    elif inspect.isfunction(value):
        yield code(name + _signature(value)), first_line(value)
    elif isinstance(value, type):
        if "." not in name:
            yield code(name), first_line(value)
        # A policy's own methods are the policy's affair: users meet them through `Policy`.
        if not issubclass(value, Exception) and not hasattr(value, "spec"):
            for method, function in methods(value).items():
                yield code(f"{name}.{method}{_signature(function)}"), first_line(function)
    else:
        yield code(name), code(str(value))


def _commands(app: Any, name: str) -> Iterator[str]:
    inner = [command for command in app if not command.startswith("-")]
    if not inner or app.default_command is not None:
        yield name
    for command in inner:
        yield from _commands(app[command], f"{name} {command}")


def _help(name: str) -> str:
    """Return what `loopwright ... --help` prints on a plain terminal of 100 columns."""
    from rich.console import Console

    from loopwright.cli import app

    plain = Console(file=io.StringIO(), width=100, force_terminal=False, color_system=None)
    app.help_print(name.split()[1:], console=plain)
    assert isinstance(plain.file, io.StringIO)
    return "\n".join(line.rstrip() for line in plain.file.getvalue().strip().splitlines())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
