"""Ids in paths: the raw path is split into segments before it is decoded, and each segment is decoded once.

ASGI's `path` is decoded already. There `corp%2Fjane` has become two segments, and the router folds `walter%2F` into
`walter`: an erasure would reach another person than the one that was named.
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import quote, unquote, unquote_to_bytes

from litestar import Request

from loopwright.core.errors import Invalid, LoopError, NotFound

from .asgi import App, Receive, Scope, Send, problem, send_reply

# What RFC 3986 allows in a segment without an escape; equal segments are then spelt equally.
_PLAIN: Final = "!$&'()*+,;=:@"


class RawPaths:
    """Hands requests on with the raw path in place of the decoded one, so that the router splits where slashes are."""

    def __init__(self, behind: App) -> None:
        self._behind = behind

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "http":
            # ASGI makes `raw_path` optional; without it the decoded path is all there is.
            raw = scope.get("raw_path") or quote(scope["path"]).encode()
            try:
                path = spelt(raw)
            except LoopError as error:
                await send_reply(send, problem(error))
                return
            scope = {**scope, "path": path}
        await self._behind(scope, receive, send)


def spelt(raw: bytes) -> str:
    """Return a raw path with every segment escaped in one way; raises `Invalid` or `NotFound`."""
    segments = raw.split(b"/")
    if b"" in segments[1:-1]:
        # The router drops it, and the segment behind it would be taken for the id.
        raise NotFound(
            "the path has an empty segment; an id is not empty, and a slash in it is spelt %2F"
        )
    try:
        return "/".join(
            quote(unquote_to_bytes(segment).decode(), safe=_PLAIN) for segment in segments
        )
    except UnicodeDecodeError:
        # Replacement characters would make one id of many.
        raise Invalid("the path is not valid UTF-8; escape ids as UTF-8") from None


def decode_ids(request: Request[Any, Any, Any]) -> None:
    """Decode the path parameters of a request that came through `RawPaths`, before its handler runs."""
    # A new dictionary: the router caches the one it gives out.
    request.scope["path_params"] = {
        name: unquote(value) for name, value in request.path_params.items()
    }
