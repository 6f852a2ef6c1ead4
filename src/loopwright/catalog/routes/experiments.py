"""Experiments and arms over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

import msgspec
from litestar import Controller, Response, get, patch, post
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter

from loopwright.catalog.rules import Move
from loopwright.catalog.service import Catalog
from loopwright.core.amendment import Amendment, ArmChange
from loopwright.core.experiment import (
    Arm,
    Caps,
    ContextSpec,
    Experiment,
    PolicyChoice,
    Share,
    Slug,
)
from loopwright.core.principal import Principal
from loopwright.core.reward import RewardSpec
from loopwright.core.targeting import Targeting
from loopwright.web.asking import EXPECTED, TENANT, Acting, Asking, Expected
from loopwright.web.guard import needs
from loopwright.web.problems import problems

from .catalogued import Catalogued


class NewExperiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an experiment is made of."""

    id: Slug
    name: str = ""
    arms: list[Arm]
    policy: PolicyChoice = msgspec.field(default_factory=PolicyChoice)
    reward: RewardSpec = RewardSpec()
    context: ContextSpec | None = None
    explore_floor: Share = 0.01
    targeting: Targeting | None = msgspec.field(name="gate", default=None)
    caps: Caps | None = msgspec.field(name="trust", default=None)


class ExperimentPage(msgspec.Struct, frozen=True):
    """Some experiments, by id; `next_cursor` asks for more."""

    items: list[Experiment]
    next_cursor: str | None = None


_GREETING: Final = {
    "id": "greeting",
    "arms": [
        {"id": "formal", "payload": "Good morning."},
        {"id": "casual", "payload": "Hi there!", "min_share": 0.1},
    ],
    "policy": {"name": "auto"},
    "reward": {"type": "binary", "metric": "clicked", "window_s": 1800, "default": 0},
}


def _tagged(experiment: Experiment, status: int = 200) -> Response[Experiment]:
    headers = {"ETag": f'"{experiment.revision}"'}
    return Response(experiment, status_code=status, headers=headers)


class ExperimentsController(Controller):
    """Experiments and their life."""

    path = "/api/v1/experiments"
    tags: Sequence[str] = ("experiments",)
    dependencies = {**TENANT, **EXPECTED}

    @post(
        summary="Create an experiment",
        response_description="The draft.",
        responses=problems(404, 409, 422),
        sync_to_thread=True,
        **needs("manage"),
    )
    def create(
        self,
        data: Annotated[NewExperiment, Body(examples=[Example(value=_GREETING)])],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
    ) -> Response[Experiment]:
        """Create a draft. It serves nothing until it is started."""
        experiment = Experiment(
            id=data.id,
            tenant_id=tenant,
            name=data.name,
            arms=tuple(data.arms),
            policy=data.policy,
            reward=data.reward,
            context=data.context,
            explore_floor=data.explore_floor,
            targeting=data.targeting,
            caps=data.caps,
        )
        return _tagged(catalog.experiments.create(experiment, actor=principal.key_id), 201)

    # On the event loop, as it reads memory only. What writes gets a thread: it waits for the disk, and so
    # would all requests.
    @get(summary="List experiments", responses=problems(404), sync_to_thread=False, **needs("read"))
    def list(
        self,
        catalog: Catalogued,
        tenant: Acting,
        limit: Annotated[
            int, QueryParameter(ge=1, le=1000, description="Most items to return.")
        ] = 100,
        cursor: Annotated[
            str | None, QueryParameter(description="`next_cursor` of the page before.")
        ] = None,
    ) -> ExperimentPage:
        """Return experiments by id, ended ones too."""
        # By id and not by number: what is created between two pages shifts nothing.
        rest = [e for e in catalog.experiments.all(tenant) if cursor is None or e.id > cursor]
        more = len(rest) > limit
        return ExperimentPage(rest[:limit], rest[limit - 1].id if more else None)

    @get(
        "/{experiment_id:str}",
        summary="Read an experiment",
        responses=problems(404),
        sync_to_thread=False,
        **needs("read"),
    )
    def read(
        self, experiment_id: FromPath[str], catalog: Catalogued, tenant: Acting
    ) -> Response[Experiment]:
        """Return the experiment; its ETag is its revision."""
        return _tagged(catalog.experiments.get(tenant, experiment_id))

    @patch(
        "/{experiment_id:str}",
        summary="Change an experiment",
        responses=problems(404, 409, 422),
        sync_to_thread=True,
        **needs("manage"),
    )
    def update(
        self,
        experiment_id: FromPath[str],
        data: Annotated[
            Amendment,
            Body(
                examples=[
                    Example(value={"name": "Greeting, autumn", "explore_floor": 0.05}),
                    Example(value={"arms": {"casual": {"max_share": 0.5}}}),
                    Example(value={"gate": {"rollout": 25, "default_arm": "formal"}}),
                ]
            ),
        ],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
        expected: Expected,
    ) -> Response[Experiment]:
        """Change what is named and leave the rest. Policy, reward and context are frozen once it has started."""
        return _tagged(
            catalog.experiments.update(
                tenant, experiment_id, data, revision=expected, actor=principal.key_id
            )
        )

    @post(
        "/{experiment_id:str}/start",
        summary="Start an experiment",
        responses=problems(404, 409),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def start(
        self,
        experiment_id: FromPath[str],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
        expected: Expected,
    ) -> Response[Experiment]:
        """Let a draft run. Its policy, reward and context are settled from now on."""
        return _move(catalog, principal, (tenant, experiment_id), move="start", expected=expected)

    @post(
        "/{experiment_id:str}/pause",
        summary="Pause an experiment",
        responses=problems(404, 409),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def pause(
        self,
        experiment_id: FromPath[str],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
        expected: Expected,
    ) -> Response[Experiment]:
        """Stop selecting and learning. Feedback is still accepted, and learned from after resume."""
        return _move(catalog, principal, (tenant, experiment_id), move="pause", expected=expected)

    @post(
        "/{experiment_id:str}/resume",
        summary="Resume an experiment",
        responses=problems(404, 409),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def resume(
        self,
        experiment_id: FromPath[str],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
        expected: Expected,
    ) -> Response[Experiment]:
        """Let a paused experiment run again."""
        return _move(catalog, principal, (tenant, experiment_id), move="resume", expected=expected)

    @post(
        "/{experiment_id:str}/end",
        summary="End an experiment",
        responses=problems(404, 409),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def end(
        self,
        experiment_id: FromPath[str],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
        expected: Expected,
    ) -> Response[Experiment]:
        """End it for good. What it learned can still be read."""
        return _move(catalog, principal, (tenant, experiment_id), move="end", expected=expected)

    @post(
        "/{experiment_id:str}/arms",
        summary="Add an arm",
        response_description="The experiment with the new arm.",
        responses=problems(404, 409, 422),
        sync_to_thread=True,
        **needs("manage"),
    )
    def add_arm(
        self,
        experiment_id: FromPath[str],
        data: Annotated[
            Arm, Body(examples=[Example(value={"id": "playful", "payload": "Hey hey!"})])
        ],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
        expected: Expected,
    ) -> Response[Experiment]:
        """Add an arm in the last position; a running experiment serves it at once."""
        experiment = catalog.experiments.add_arm(
            tenant, experiment_id, data, revision=expected, actor=principal.key_id
        )
        return _tagged(experiment, 201)

    @patch(
        "/{experiment_id:str}/arms/{arm_id:str}",
        summary="Change an arm",
        responses=problems(404, 409, 422),
        sync_to_thread=True,
        **needs("manage"),
    )
    def change_arm(
        self,
        experiment_id: FromPath[str],
        arm_id: FromPath[str],
        data: Annotated[
            ArmChange,
            Body(
                examples=[Example(value={"state": "disabled"}), Example(value={"min_share": 0.2})]
            ),
        ],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
        expected: Expected,
    ) -> Response[Experiment]:
        """Enable, disable or retire an arm, or set its shares, payload or metadata. Retiring is for good."""
        return _tagged(
            catalog.experiments.change_arm(
                tenant, experiment_id, arm_id, data, revision=expected, actor=principal.key_id
            )
        )


def _move(
    catalog: Catalog,
    principal: Principal,
    at: tuple[str, str],
    *,
    move: Move,
    expected: int | None,
) -> Response[Experiment]:
    return _tagged(catalog.experiments.move(*at, move, revision=expected, actor=principal.key_id))
