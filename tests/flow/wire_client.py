"""What a client of one of the earlier systems does: sends its own bodies, and reads back what became of them.

Nothing here knows our own shape. Reading back goes through the log, whatever route reports it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any, Final

import pytest

from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core.events import Interacted, Reported, Stepped
from loopwright.core.ports import START
from loopwright.core.upcast import decode
from loopwright.feedback import restore

from .conftest import Server

Body = Mapping[str, Any]

BATCH: Final = 500


def sent(server: Server, path: str, bodies: Sequence[Body]) -> list[dict[str, Any]]:
    """Send bodies in batches; return what became of each."""
    results: list[dict[str, Any]] = []
    for start in range(0, len(bodies), BATCH):
        answer = server.post(path, {"items": list(bodies[start : start + BATCH])})
        assert answer.status_code == 200, answer.text
        results += answer.json()["results"]
    return results


def accepted(server: Server, path: str, bodies: Sequence[Body]) -> list[str]:
    """Send bodies; return their event ids once every one of them is stored."""
    results = sent(server, path, bodies)
    refused = [
        (dict(body), result["problem"]["detail"])
        for body, result in zip(bodies, results, strict=True)
        if result["status"] != 201 and "problem" in result
    ]
    assert not refused, f"{len(refused)} of {len(bodies)} refused, the first: {refused[0]}"
    return [result["event_id"] for result in results]


def read_back(server: Server) -> dict[str, dict[str, Any]]:
    """Return every stored item in the shape in which it was sent, by its event id."""
    return {_id(group): restore(group) for group in _groups(server)}


def facts_by_id(server: Server) -> dict[str, Any]:
    """Return the facts of the log by event id."""
    return {_id([fact]): fact for fact in _facts(server)}


def _facts(server: Server) -> list[Any]:
    with closing(SqliteEventLog(server.data / "log.db")) as log:
        batches = log.read(START, limit=100_000)
        return [
            fact
            for batch in batches
            for fact in decode(batch.body)
            if isinstance(fact, Reported | Interacted | Stepped)
        ]


def _groups(server: Server) -> Iterator[list[Any]]:
    """Yield the facts that came in one item together."""
    facts = _facts(server)
    group: list[Any] = []
    for fact in facts:
        if group and not _id([fact]).startswith(f"{_id(group)}."):
            yield group
            group = []
        group.append(fact)
    if group:
        yield group


def _id(group: Sequence[Any]) -> str:
    return str(group[0].event_id)


def same(back: Body, body: Body) -> bool:
    """Say whether everything that was said is there again; null says nothing, and people are pseudonyms."""
    return _said(body) == {
        name: value for name, value in _said(back).items() if name in _said(body)
    }


def lost(back: Body, body: Body) -> dict[str, tuple[Any, Any]]:
    """Return what was sent and what came back, where they differ."""
    before, after = _said(body), _said(back)
    return {
        name: (value, after.get(name)) for name, value in before.items() if after.get(name) != value
    }


_PEOPLE: Final = frozenset({"user_id", "customer_id", "ip_address"})


def _said(body: Body) -> dict[str, Any]:
    return {
        name: _said(value) if isinstance(value, dict) else value
        for name, value in body.items()
        if value is not None and name not in _PEOPLE
    }


def variants(body: Body, *, needed: Sequence[str] = ()) -> list[dict[str, Any]]:
    """Return the body with each member that is not needed left out, and with it null."""
    optional = [name for name in body if name not in needed]
    return [
        *({k: v for k, v in body.items() if k != name} for name in optional),
        *({**body, name: None} for name in optional),
    ]


@pytest.fixture(scope="module")
def wired(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """One server for the tests of a module."""
    running = Server(tmp_path_factory.mktemp("wired") / "data")
    yield running
    assert running.stop() == 0, running.said
