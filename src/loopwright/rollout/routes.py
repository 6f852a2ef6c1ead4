"""Register versions and roll challengers out, over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, cast, get_args

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter, SkipValidation

from loopwright.core.errors import NotFound
from loopwright.core.rollout import NewRollout, Rollout, RolloutPage, RolloutReport
from loopwright.core.version import (
    Lineage,
    NewVersion,
    Version,
    VersionDiff,
    VersionKind,
    VersionPage,
)
from loopwright.web import Asking, needs, problems

from .rollouts import Rollouts
from .stages import Order
from .versions import Versions

Registry = NamedDependency[SkipValidation[Versions]]
Moving = NamedDependency[SkipValidation[Rollouts]]
Limit = Annotated[int, QueryParameter(ge=1, le=1000, description="Most items to return.")]

_PROMPT: Final = {
    "id": "answer-prompt-v2",
    "kind": "prompt",
    "content": "Answer in one sentence. Name your source.",
    "parents": ["answer-prompt-v1"],
    "reason": "shorter answers",
}
_ROLLOUT: Final = {
    "id": "shorter-answers",
    "experiment_id": "answers",
    "champion": "v1",
    "challenger": "v2",
}


class Reason(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Why somebody moves a rollout; it is kept with the move."""

    reason: Annotated[str, msgspec.Meta(max_length=2000)] = ""


class VersionController(Controller):
    """The registry of versions."""

    path = "/api/v1/versions"
    tags: Sequence[str] = ("rollouts",)

    @post(
        summary="Register a version",
        response_description="The version as it is kept.",
        responses=problems(404, 409, 422),
        sync_to_thread=True,
        **needs("manage"),
    )
    def add(
        self,
        data: Annotated[NewVersion, Body(examples=[Example(value=_PROMPT)])],
        principal: Asking,
        versions: Registry,
    ) -> Version:
        """Keep an immutable version. The same again is answered as it is kept; other content under its id is refused."""
        return versions.add(principal.tenant_id, data, actor=principal.key_id)

    @get(summary="List versions", responses=problems(422), sync_to_thread=True, **needs("read"))
    def list(
        self,
        principal: Asking,
        versions: Registry,
        kind: Annotated[
            VersionKind | None, QueryParameter(description="Versions of this kind only.")
        ] = None,
        limit: Limit = 100,
    ) -> VersionPage:
        """Return the newest versions."""
        return versions.list(principal.tenant_id, kind=kind, limit=limit)

    @get(
        "/{version_id:str}",
        summary="Get a version",
        responses=problems(404),
        sync_to_thread=True,
        **needs("read"),
    )
    def show(self, version_id: FromPath[str], principal: Asking, versions: Registry) -> Version:
        """Return a version with its content."""
        return versions.get(principal.tenant_id, version_id)

    @get(
        "/{version_id:str}/diff/{other_id:str}",
        summary="Compare two versions",
        responses=problems(404),
        sync_to_thread=True,
        **needs("read"),
    )
    def diff(
        self,
        version_id: FromPath[str],
        other_id: FromPath[str],
        principal: Asking,
        versions: Registry,
    ) -> VersionDiff:
        """Return what differs, the content line by line."""
        return versions.diff(principal.tenant_id, version_id, other_id)

    @get(
        "/{version_id:str}/lineage",
        summary="Where a version comes from, and what came of it",
        responses=problems(404),
        sync_to_thread=True,
        **needs("read"),
    )
    def lineage(self, version_id: FromPath[str], principal: Asking, versions: Registry) -> Lineage:
        """Return ancestors and descendants, each with its data set and the arms that serve it."""
        return versions.lineage(principal.tenant_id, version_id)


class RolloutController(Controller):
    """Challengers on their way."""

    path = "/api/v1/rollouts"
    tags: Sequence[str] = ("rollouts",)

    @post(
        summary="Begin a rollout",
        response_description="The rollout in its first stage.",
        responses=problems(404, 409, 422),
        sync_to_thread=True,
        **needs("manage"),
    )
    def begin(
        self,
        data: Annotated[NewRollout, Body(examples=[Example(value=_ROLLOUT)])],
        principal: Asking,
        rollouts: Moving,
    ) -> Rollout:
        """Give a challenger its first share of the traffic; from then on its gates move it.

        Without stages of its own it takes 5 % until it is shown to do no harm, and half until it is shown to be better.
        """
        return rollouts.begin(principal.tenant_id, data, actor=principal.key_id)

    @get(summary="List rollouts", responses=problems(422), sync_to_thread=True, **needs("read"))
    def list(
        self,
        principal: Asking,
        rollouts: Moving,
        experiment_id: Annotated[
            str | None, QueryParameter(description="Rollouts of this experiment only.")
        ] = None,
        limit: Limit = 100,
    ) -> RolloutPage:
        """Return rollouts, newest first, with every move."""
        return rollouts.list(principal.tenant_id, experiment_id=experiment_id, limit=limit)

    @get(
        "/{rollout_id:str}",
        summary="How a rollout stands",
        responses=problems(404),
        sync_to_thread=True,
        **needs("read"),
    )
    def report(
        self, rollout_id: FromPath[str], principal: Asking, rollouts: Moving
    ) -> RolloutReport:
        """Return a rollout, what its gate says of the evidence at this moment, and what happens next."""
        return rollouts.report(principal.tenant_id, rollout_id)

    @post(
        "/{rollout_id:str}/{order:str}",
        summary="Hold, resume, approve, roll back or cancel",
        response_description="The rollout as it now is.",
        responses=problems(404, 409, 422),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def move(
        self,
        rollout_id: FromPath[str],
        order: FromPath[str],
        data: Annotated[Reason, Body(examples=[Example(value={"reason": "complaints"})])],
        principal: Asking,
        rollouts: Moving,
    ) -> Rollout:
        """Move a rollout by hand: `hold`, `resume`, `approve`, `roll_back` or `cancel`.

        Approval needs a gate that passes at this moment. A rollback restores the shares from before the rollout, also
        after a promotion.
        """
        return rollouts.order(
            principal.tenant_id,
            rollout_id,
            _order(order),
            actor=principal.key_id,
            reason=data.reason,
        )


def _order(name: str) -> Order:
    for order in get_args(Order):
        if name == order:
            return cast(Order, order)
    raise NotFound(f"a rollout has no order {name!r}; it takes {', '.join(get_args(Order))}")
