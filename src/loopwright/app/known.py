"""Query parameters that no route understands are refused.

A parameter that is ignored changes what a request does: `?tenant_id=other` would write to the caller's own tenant,
and `?limits=5` return everything.
"""

from __future__ import annotations

import re
from typing import Any, Final

from litestar import Request
from litestar.openapi.spec import OpenAPI, Parameter

from loopwright.core.errors import Invalid

_METHODS: Final = ("get", "post", "put", "patch", "delete")
_PROBES: Final = ("/health/", "/metrics")
"""Asked by load balancers and scrapers, which add parameters of their own."""
_TYPE: Final = re.compile(r":\w+}")


class KnownParameters:
    """Knows the parameters of every documented route; call it with a request before its handler runs."""

    def __init__(self) -> None:
        self._names: dict[tuple[str, str], frozenset[str]] = {}

    def learn(self, document: OpenAPI) -> None:
        """Take over what the description of the API says."""
        for path, item in (document.paths or {}).items():
            if path.startswith(_PROBES):
                continue
            for method in _METHODS:
                if (operation := getattr(item, method)) is not None:
                    self._names[path, method] = frozenset(
                        parameter.name
                        for parameter in operation.parameters or ()
                        if isinstance(parameter, Parameter) and parameter.param_in == "query"
                    )

    def __call__(self, request: Request[Any, Any, Any]) -> None:
        """Raise `Invalid` when the request has a query parameter that its route does not have."""
        if not request.scope["query_string"]:
            return
        # A template names the type of a parameter, `{id:str}`; the description does not.
        path = _TYPE.sub("}", request.scope["path_template"])
        known = self._names.get((path, request.method.lower()))
        # Not in the description, as the pages of the documentation: no list to compare with.
        if known is None:
            return
        unknown = sorted(set(request.query_params) - known)
        if unknown:
            there = f"there are {', '.join(sorted(known))}" if known else "there are none"
            named = ", ".join(map(repr, unknown))
            raise Invalid(f"there is no query parameter {named} here; {there}")
