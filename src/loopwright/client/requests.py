"""The two forms of request of the control plane: reads and changes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeVar
from urllib.parse import quote

from loopwright.core.errors import Invalid

from . import arguments
from .exchange import IDEMPOTENT, Call

API: Final = "/api/v1"

T = TypeVar("T")


def get(path: str, read: Callable[[bytes], T]) -> Call[T]:
    """Return a call that reads; it is repeated after anything that may pass."""
    return Call(method="GET", path=API + path, read=read, retry_on=IDEMPOTENT)


def change(method: str, path: str, *, body: Any, read: Callable[[bytes], T]) -> Call[T]:
    """Return a call that changes something; it is repeated only when it cannot have arrived."""
    encoded = None if body is None else arguments.encoded(body)
    return Call(method=method, path=API + path, body=encoded, read=read)


def segment(name: str) -> str:
    """Return an id as one segment of a path, whatever it contains; raises `Invalid`."""
    if not arguments.text("id", name):
        raise Invalid("the id is empty; it would name the list that it is in")
    # Nothing is safe: an id with a slash would else be two segments and name another resource. Dots are escaped where
    # they are all there is: URLs drop the segments `.` and `..` (RFC 3986, section 5.2.4).
    escaped = quote(name, safe="")
    return escaped.replace(".", "%2E") if escaped in (".", "..") else escaped
