"""Set limits, ask them and report overload, over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from litestar import Controller, Response, delete, get, post, put
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, SkipValidation

from loopwright.core.errors import Invalid
from loopwright.core.experiment import Slug
from loopwright.core.limit import Admission, LimitPage, LimitStatus, NewLimit, headers_of
from loopwright.web import Asking, needs, problems

from .limits import Limits

Known = NamedDependency[SkipValidation[Limits]]
_LIMIT: Final = {"prior": 80, "least": 10, "most": 120, "burst": 160}
_ASK: Final = {"key": "ada", "cost": 1}


class AskFor(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A request for tokens of one key's bucket."""

    key: Annotated[str, msgspec.Meta(max_length=256)] = ""
    cost: Annotated[float, msgspec.Meta(gt=0, le=1e9)] = 1.0


class Load(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How overloaded the service is, by a signal of the caller's choice: 0 is not at all, 1 is wholly."""

    overloaded: Annotated[float, msgspec.Meta(ge=0, le=1)]


class LimitController(Controller):
    """Limits whose rates follow overload, and that ratings trim."""

    path = "/api/v1/limits"
    tags: Sequence[str] = ("limits",)

    @get(summary="List limits", sync_to_thread=False, **needs("read"))
    def list(self, principal: Asking, limits: Known) -> LimitPage:
        """Return every limit with the rate in force, by id."""
        return limits.list(principal.tenant_id)

    @put(
        "/{limit_id:str}",
        summary="Set a limit",
        response_description="The limit and where its rate stands.",
        responses=problems(409, 422),
        sync_to_thread=True,
        **needs("manage"),
    )
    def put(
        self,
        limit_id: FromPath[str],
        data: Annotated[NewLimit, Body(examples=[Example(value=_LIMIT)])],
        principal: Asking,
        limits: Known,
    ) -> LimitStatus:
        """Set a limit, new or in the place of what it was. Buckets keep their tokens, whatever changes."""
        return limits.put(principal.tenant_id, slug(limit_id), data, actor=principal.key_id)

    @get(
        "/{limit_id:str}",
        summary="Where a limit stands",
        responses=problems(404),
        sync_to_thread=False,
        **needs("read"),
    )
    def status(self, limit_id: FromPath[str], principal: Asking, limits: Known) -> LimitStatus:
        """Return a limit, its rate in force, and what moved it last."""
        return limits.status(principal.tenant_id, limit_id)

    @delete(
        "/{limit_id:str}",
        summary="Delete a limit",
        responses=problems(404),
        sync_to_thread=True,
        **needs("manage"),
    )
    def delete(self, limit_id: FromPath[str], principal: Asking, limits: Known) -> None:
        """Remove a limit and its buckets."""
        limits.delete(principal.tenant_id, limit_id, actor=principal.key_id)

    @post(
        "/{limit_id:str}/acquire",
        summary="Ask for tokens",
        response_description="Whether the request may go on; the RateLimit fields say the same.",
        responses=problems(404, 422),
        status_code=200,
        sync_to_thread=False,
        **needs("select"),
    )
    def acquire(
        self,
        limit_id: FromPath[str],
        data: Annotated[AskFor, Body(examples=[Example(value=_ASK)])],
        principal: Asking,
        limits: Known,
    ) -> Response[Admission]:
        """Take tokens of a key's bucket if they are there; a denial takes nothing, and is answered with 200 as well."""
        told = limits.acquire(principal.tenant_id, limit_id, key=data.key, cost=data.cost)
        limit = limits.status(principal.tenant_id, limit_id).limit
        return Response(told, headers=headers_of(limit_id, limit, told))

    @post(
        "/{limit_id:str}/load",
        summary="Report overload",
        responses=problems(404, 422),
        status_code=204,
        sync_to_thread=False,
        **needs("feedback"),
    )
    def load(
        self,
        limit_id: FromPath[str],
        data: Annotated[Load, Body(examples=[Example(value={"overloaded": 0.3})])],
        principal: Asking,
        limits: Known,
    ) -> None:
        """Tell the guard how overloaded the service is. It cuts the rate above a fifth, and looks for more below."""
        limits.report(principal.tenant_id, limit_id, overloaded=data.overloaded)


def slug(id: str) -> str:
    """Return `id` if it may name a limit; raises `Invalid`."""
    try:
        found: str = msgspec.convert(id, Slug)
    except msgspec.ValidationError:
        raise Invalid(
            f"{id!r} cannot name a limit; use letters, digits and . _ : -, at most 128"
        ) from None
    return found
