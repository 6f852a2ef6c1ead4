"""Versions, rollouts and triggers, over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Final, cast, get_args

import msgspec
from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter, SkipValidation

from loopwright.core.errors import NotFound
from loopwright.core.rollout import NewRollout, Rollout, RolloutPage, RolloutReport
from loopwright.core.trigger import (
    DeliveryPage,
    DeliveryState,
    FiringPage,
    NewTrigger,
    Trigger,
    TriggerDelivery,
    TriggerPage,
    TriggerReport,
    TriggerSecret,
)
from loopwright.core.version import (
    Lineage,
    NewVersion,
    Version,
    VersionDiff,
    VersionKind,
    VersionPage,
)
from loopwright.web import Asking, needs, problems

from .deliveries import Deliveries
from .rollouts import Rollouts
from .stages import Order
from .standing import Triggers
from .versions import Versions

Registry = NamedDependency[SkipValidation[Versions]]
Moving = NamedDependency[SkipValidation[Rollouts]]
Standing = NamedDependency[SkipValidation[Triggers]]
Sending = NamedDependency[SkipValidation[Deliveries]]
SecretOf = Callable[[str, str], TriggerSecret]
"""From tenant and trigger to what its webhooks are signed with."""
Secrets = NamedDependency[SkipValidation[SecretOf]]
OfTrigger = Annotated[str | None, QueryParameter(description="Those of this trigger only.")]
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

_TRIGGER: Final = {
    "id": "quality-drops",
    "condition": {"kind": "retrain"},
    "window_days": 7,
    "actions": [{"kind": "webhook", "url": "https://train.example.com/hooks/retrain"}],
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


class TriggerController(Controller):
    """Standing conditions over feedback, and what they start."""

    path = "/api/v1"
    tags: Sequence[str] = ("triggers",)

    @post(
        "/triggers",
        summary="Add a trigger",
        response_description="The trigger as it is kept.",
        responses=problems(404, 409, 422),
        sync_to_thread=True,
        **needs("manage"),
    )
    def add(
        self,
        data: Annotated[NewTrigger, Body(examples=[Example(value=_TRIGGER)])],
        principal: Asking,
        triggers: Standing,
    ) -> Trigger:
        """Look at a condition from now on, fire once when it holds, and start the actions.

        After a firing the condition has to stop holding, and the cool-down has to pass, before it may fire again.
        """
        return triggers.add(principal.tenant_id, data, actor=principal.key_id)

    @get("/triggers", summary="List triggers", sync_to_thread=True, **needs("manage"))
    def list(self, principal: Asking, triggers: Standing) -> TriggerPage:
        """Return the triggers by their ids."""
        return triggers.list(principal.tenant_id)

    @get(
        "/triggers/{trigger_id:str}",
        summary="How a trigger stands",
        responses=problems(404),
        sync_to_thread=True,
        **needs("manage"),
    )
    def report(
        self, trigger_id: FromPath[str], principal: Asking, triggers: Standing
    ) -> TriggerReport:
        """Return a trigger, how its condition stands at this moment, and what happens next."""
        return triggers.report(principal.tenant_id, trigger_id)

    @delete(
        "/triggers/{trigger_id:str}",
        summary="Remove a trigger",
        response_description="The trigger as it was.",
        responses=problems(404),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def remove(self, trigger_id: FromPath[str], principal: Asking, triggers: Standing) -> Trigger:
        """Forget a trigger and cancel what of it still waits; its firings stay."""
        return triggers.remove(principal.tenant_id, trigger_id, actor=principal.key_id)

    @post(
        "/triggers/{trigger_id:str}/enable",
        summary="Enable a trigger",
        responses=problems(404, 409),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def enable(self, trigger_id: FromPath[str], principal: Asking, triggers: Standing) -> Trigger:
        """Let a trigger be looked at again, and addresses that answered 410 be sent to again."""
        return triggers.enable(
            principal.tenant_id, trigger_id, is_enabled=True, actor=principal.key_id
        )

    @post(
        "/triggers/{trigger_id:str}/disable",
        summary="Disable a trigger",
        responses=problems(404, 409),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def disable(self, trigger_id: FromPath[str], principal: Asking, triggers: Standing) -> Trigger:
        """Let a trigger be looked at no longer; what it started goes on."""
        return triggers.enable(
            principal.tenant_id, trigger_id, is_enabled=False, actor=principal.key_id
        )

    @get(
        "/triggers/{trigger_id:str}/secret",
        summary="Get the secret of a trigger's webhooks",
        responses=problems(404),
        sync_to_thread=True,
        **needs("manage"),
    )
    def secret(
        self, trigger_id: FromPath[str], principal: Asking, secret_of: Secrets
    ) -> TriggerSecret:
        """Return what the webhooks of a trigger are signed with, for the receiver to check them."""
        return secret_of(principal.tenant_id, trigger_id)

    @get(
        "/firings",
        summary="List firings",
        responses=problems(422),
        sync_to_thread=True,
        **needs("read"),
    )
    def firings(
        self,
        principal: Asking,
        triggers: Standing,
        trigger_id: OfTrigger = None,
        limit: Limit = 100,
    ) -> FiringPage:
        """Return firings, newest first, also of triggers that were removed."""
        return triggers.firings(principal.tenant_id, trigger_id=trigger_id, limit=limit)


class DeliveryController(Controller):
    """What firings started, on its way until it is done or given up."""

    path = "/api/v1/deliveries"
    tags: Sequence[str] = ("triggers",)

    @get(summary="List deliveries", responses=problems(422), sync_to_thread=True, **needs("manage"))
    def list(
        self,
        principal: Asking,
        deliveries: Sending,
        trigger_id: OfTrigger = None,
        # Under another name than its own: `state` is the framework's.
        in_state: Annotated[
            DeliveryState | None,
            QueryParameter(
                name="state", description="In this state only; `dead` ones were given up."
            ),
        ] = None,
        limit: Limit = 100,
    ) -> DeliveryPage:
        """Return deliveries, newest first, with their latest attempts."""
        return deliveries.list(
            principal.tenant_id, trigger_id=trigger_id, state=in_state, limit=limit
        )

    @post(
        "/{delivery_id:str}/again",
        summary="Send a delivery again",
        response_description="The delivery, which waits for its next attempt.",
        responses=problems(404, 409),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def again(
        self, delivery_id: FromPath[str], principal: Asking, deliveries: Sending
    ) -> TriggerDelivery:
        """Send a delivery that is dead or gone once more, under its old id."""
        return deliveries.again(principal.tenant_id, delivery_id, actor=principal.key_id)


def _order(name: str) -> Order:
    for order in get_args(Order):
        if name == order:
            return cast(Order, order)
    raise NotFound(f"a rollout has no order {name!r}; it takes {', '.join(get_args(Order))}")
