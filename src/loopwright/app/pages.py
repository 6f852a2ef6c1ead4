"""Static files for browsers: the feedback snippet, and the pages that show the API's documentation.

Every file comes from this server: the documentation opens without internet, and no third party sees its readers.
"""

from __future__ import annotations

import gzip
from functools import lru_cache
from importlib import resources
from typing import Any, Final

from litestar import Request, Response, get
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.params import FromPath

from loopwright.core.errors import NotFound
from loopwright.web import needs

DOCS: Final = "/docs"
STATIC: Final = "/static"

_JS: Final = "text/javascript; charset=utf-8"
_FILES: Final = {
    "loopwright-feedback.js": ("loopwright-feedback.js", _JS),
    "swagger-ui-bundle.js": ("swagger-ui/swagger-ui-bundle.js.gz", _JS),
    "swagger-ui.css": ("swagger-ui/swagger-ui.css.gz", "text/css; charset=utf-8"),
}
_BUNDLE: Final = f"{STATIC}/swagger-ui-bundle.js"

RENDERERS: Final = (
    SwaggerRenderPlugin(
        path="/",
        js_url=_BUNDLE,
        # The page loads this script and never calls it, so it gets the one that is loaded anyway.
        standalone_preset_js_url=_BUNDLE,
        css_url=f"{STATIC}/swagger-ui.css",
        favicon="<link rel='icon' href='data:,'>",
    ),
    JsonRenderPlugin(),
)
"""How the API's documentation is shown."""


@get(f"{STATIC}/{{name:str}}", include_in_schema=False, sync_to_thread=False, **needs(None))
def static(name: FromPath[str], request: Request[Any, Any, Any]) -> Response[bytes]:
    """Return one of the files that browsers need."""
    if name not in _FILES:
        raise NotFound(f"there is no file {name!r}; there are {', '.join(sorted(_FILES))}")
    path, media_type = _FILES[name]
    content = _content(path)
    headers = {"cache-control": "public, max-age=3600", "x-content-type-options": "nosniff"}
    if path.endswith(".gz"):
        # A cache on the way must keep the packed and the unpacked answer apart.
        headers["vary"] = "accept-encoding"
        if "gzip" in request.headers.get("accept-encoding", ""):
            headers["content-encoding"] = "gzip"
        else:
            content = gzip.decompress(content)
    return Response(content, media_type=media_type, headers=headers)


@lru_cache
def _content(path: str) -> bytes:
    return resources.files("loopwright.app").joinpath("static", path).read_bytes()
