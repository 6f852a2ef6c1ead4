"""The table of dependencies fits what the handlers expect, name by name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints

import pytest
from litestar.handlers import HTTPRouteHandler

from loopwright.app.given import Given, GivenLate, given_by
from loopwright.app.http import CONTROLLERS
from loopwright.app.wiring import Services


def bare(hint: Any) -> Any:
    """The type that an annotation means, without what Litestar adds to it."""
    while get_origin(hint) is Annotated:
        hint = get_args(hint)[0]
    return hint


def table() -> dict[str, Any]:
    made = {name: get_args(bare(hint))[1] for name, hint in get_type_hints(GivenLate).items()}
    return get_type_hints(Given) | made


def handlers() -> Iterator[tuple[str, HTTPRouteHandler]]:
    for entry in CONTROLLERS:
        if isinstance(entry, HTTPRouteHandler):
            yield str(entry), entry
            continue
        for name, handler in vars(entry).items():
            if isinstance(handler, HTTPRouteHandler):
                yield f"{entry.__name__}.{name}", handler


def asked_for() -> Iterator[tuple[str, str, Any]]:
    for place, handler in handlers():
        for parameter, hint in get_type_hints(handler.fn, include_extras=True).items():
            if parameter in table():
                yield place, parameter, bare(hint)


def is_protocol(kind: Any) -> bool:
    return bool(getattr(kind, "_is_protocol", False))


@pytest.mark.parametrize(("handler", "name", "expected"), list(asked_for()))
def test_a_handler_gets_the_type_that_it_names(handler: str, name: str, expected: Any) -> None:
    assert table()[name] == expected or is_protocol(expected)


def test_what_is_given_has_every_member_of_a_protocol(services: Services) -> None:
    async def append(*_: object) -> Any: ...

    given, _ = given_by(services, append)
    wanted = {(name, kind) for _, name, kind in asked_for() if is_protocol(kind)}
    assert wanted
    for name, kind in wanted:
        members = {member for member in vars(kind) if not member.startswith("_")}
        assert members <= set(dir(getattr(given, name)))


def test_every_entry_of_the_table_is_asked_for() -> None:
    assert {name for _, name, _ in asked_for()} == table().keys()
