"""Compressed request bodies (`Content-Encoding`), decoded within the limit of a body.

The limit counts decoded bytes: a few kilobytes of gzip can hold gigabytes.
"""

from __future__ import annotations

import zlib
from typing import Final

from loopwright.core.errors import BodyMalformed, WrongMediaType

from .asgi import App, Message, Receive, Scope, Send, read_body, too_large

# zlib's window sizes: 16 more asks for the header of gzip (RFC 1952); deflate in HTTP is the zlib format (RFC 1950).
_WINDOWS: Final = {b"gzip": 31, b"x-gzip": 31, b"deflate": 15}

_PLAIN: Final = b"identity"


class Decoding:
    """Hands requests on with their bodies decoded."""

    def __init__(self, behind: App, *, limit: int) -> None:
        self._behind = behind
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            coding = next((v for name, v in scope["headers"] if name == b"content-encoding"), None)
            if coding is not None:
                # The length is the one of the compressed body.
                headers = [
                    (name, value)
                    for name, value in scope["headers"]
                    if name not in (b"content-encoding", b"content-length")
                ]
                scope = {**scope, "headers": headers}
                receive = self._decoding(coding, receive)
        await self._behind(scope, receive, send)

    def _decoding(self, coding: bytes, receive: Receive) -> Receive:
        is_read = False

        # Only when the handler reads its body, so that a request without a key is 401 before anything is decoded.
        async def decoding() -> Message:
            nonlocal is_read
            if is_read:
                return await receive()
            is_read = True
            body = await read_body(receive, limit=self._limit)
            whole = decoded_body(body, coding, limit=self._limit)
            return {"type": "http.request", "body": whole, "more_body": False}

        return decoding


def decoded_body(body: bytes, coding: bytes, *, limit: int) -> bytes:
    """Return a body without its content coding.

    Raises `WrongMediaType` for a coding that is not read, `BodyMalformed` for a body that is not in it, and
    `BodyTooLarge` when it decodes to more than `limit` bytes, having decoded no more than that.
    """
    coding = coding.strip().lower()
    if coding == _PLAIN:
        return body
    if coding not in _WINDOWS:
        raise WrongMediaType(
            f"content-encoding is {coding.decode('latin-1')!r}; send gzip, deflate or none",
            expected="gzip",
        )
    parts: list[bytes] = []
    size = 0
    try:
        # A gzip file may have several members, one behind the other (RFC 1952, section 2.2).
        while body or not parts:
            inflate = zlib.decompressobj(_WINDOWS[coding])
            parts.append(inflate.decompress(body, limit - size + 1))
            size += len(parts[-1])
            if size > limit:
                raise too_large(limit)
            if not inflate.eof:
                raise zlib.error("it ends early")
            body = inflate.unused_data
    except zlib.error as error:
        name = coding.decode()
        raise BodyMalformed(
            f"the body is not valid {name}, as content-encoding says: {error}"
        ) from None
    return b"".join(parts)
