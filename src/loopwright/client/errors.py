"""The client's own errors, and the server's problem documents read as errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Final

import msgspec

from loopwright.core import errors
from loopwright.core.errors import LoopError, Overloaded


class Unreachable(LoopError):
    """No answer came from the server within the deadline."""

    code: ClassVar[str] = "unreachable"
    status: ClassVar[int] = 503


class ApiError(LoopError):
    """The server answered with an error this client has no class for; `detail` has status and body."""

    code: ClassVar[str] = "api_error"
    status: ClassVar[int] = 502


class BufferFull(Overloaded):
    """The feedback buffer holds as many items as it may; the server is slower than the product."""

    code = "buffer_full"


_STANDARD: Final = frozenset({"type", "title", "status", "detail", "code", "instance"})
_EXCERPT: Final = 200


def _family(cls: type[LoopError]) -> Iterator[type[LoopError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _family(child)


# Only classes of the core: one of ours may inherit the code of its parent, and would take its place.
_BY_CODE: Final = {cls.code: cls for cls in _family(LoopError) if cls.__module__ == errors.__name__}


def read_problem(status: int, body: bytes) -> LoopError:
    """Return the error that an answer of `status` carries: the core class of its `code`, else `ApiError`."""
    try:
        problem = msgspec.json.decode(body, type=dict[str, Any])
    except msgspec.DecodeError:
        excerpt = body[:_EXCERPT].decode("utf-8", "replace").strip()
        return ApiError(
            f"the server answered {status} without a problem document; is this a Loopwright server, "
            f"or a proxy before it? It said: {excerpt or 'nothing'}",
            status=status,
            body=excerpt,
        )
    return from_problem(problem, status=status)


def from_problem(problem: dict[str, Any], *, status: int) -> LoopError:
    """Return the error that a problem document (RFC 9457) describes."""
    members = {name: value for name, value in problem.items() if name not in _STANDARD}
    message = str(problem.get("detail") or problem.get("title") or f"status {status}")
    # A newer server may name a code that this client has no class for.
    cls = _BY_CODE.get(str(problem.get("code")))
    if cls is None:
        return ApiError(message, status=status, problem=problem)
    error = cls(message)
    error.detail = members
    return error
