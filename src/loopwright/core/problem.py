"""The problem document: how an error looks on the wire."""

from __future__ import annotations

import msgspec


class Problem(msgspec.Struct, frozen=True):
    """An error (RFC 9457). `code` is stable; `detail` says what was found, what was expected, what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str
