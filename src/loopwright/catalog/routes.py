"""The control plane over HTTP: experiments and arms, policies, tenants, API keys, signing keys.

Handlers ask for what they need by name: `catalog`, `principal` and `signing_ring` are provided by the
application, `tenant` and `expected` here. A key sees only its own tenant: the rest does not exist for it.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import Annotated, Any, Final, Protocol, get_args

import msgspec
from litestar import Controller, Response, delete, get, patch, post
from litestar.di import NamedDependency
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, QueryParameter, SkipValidation
from msgspec import Meta

from loopwright import policies
from loopwright.core.errors import NotFound
from loopwright.core.experiment import (
    Arm,
    Caps,
    ContextSpec,
    Experiment,
    PolicyChoice,
    Share,
    Slug,
)
from loopwright.core.principal import Key, Principal, Scope
from loopwright.core.reward import RewardSpec, RewardType
from loopwright.core.targeting import Targeting
from loopwright.web.asking import EXPECTED, TENANT, Acting, Asking, Expected
from loopwright.web.problems import problems

from .experiments import Amendment, ArmChange, Move
from .keys import MAX_GRACE_S, IssuedKey
from .service import Catalog
from .tenants import Tenant


class SigningRing(Protocol):
    """The keys that sign tokens."""

    def ids(self) -> Sequence[int]:
        """Return the ids of the keys in the ring; the last one signs."""
        ...

    def rotate(self) -> int:
        """Add a fresh key, make it the one that signs, and return its id."""
        ...

    def retire(self, key_id: int) -> None:
        """Take a key out of the ring; raises `NotFound`, or `Conflict` for the one that signs."""
        ...


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


class NewTenant(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a tenant is made of."""

    id: Slug
    name: str = ""


class TenantList(msgspec.Struct, frozen=True):
    """Tenants, by id."""

    items: list[Tenant]


class NewKey(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What an API key may do, and for how long."""

    scopes: list[Scope]
    name: str = ""
    expires_at_ms: Annotated[int, Meta(ge=0, le=2**53)] | None = None


class Rotation(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How long the present secret stays valid beside the new one."""

    grace_s: Annotated[float, Meta(ge=0, le=MAX_GRACE_S)] = 0.0


class KeyList(msgspec.Struct, frozen=True):
    """API keys, oldest first; never their secrets."""

    items: list[Key]


class SigningKeys(msgspec.Struct, frozen=True):
    """The ring that signs tokens: `active` signs, all of `ids` verify."""

    ids: list[int]
    active: int


class PolicyInfo(msgspec.Struct, frozen=True):
    """A policy, what it fits and what may be set."""

    name: str
    summary: str
    aliases: list[str]
    reward_types: list[str]
    context: str
    """`required`, `optional`, or `ignored`."""
    law: str
    """How its probabilities come about: `closed`, `quadrature` or `argmax`."""
    params: dict[str, Any]
    """Parameters with their defaults."""
    paper: str


class PolicyList(msgspec.Struct, frozen=True):
    """Every policy that can be chosen here, by name, and what `auto` stands for."""

    items: list[PolicyInfo]
    auto: dict[str, str]
    """By reward type; `context` for an experiment with one."""


Catalogued = NamedDependency[SkipValidation[Catalog]]
Ring = NamedDependency[SkipValidation[SigningRing]]


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
    )
    def create(
        self,
        data: Annotated[NewExperiment, Body(examples=[Example(value=_GREETING)])],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
    ) -> Response[Experiment]:
        """Create a draft. It serves nothing until it is started."""
        principal.require("manage")
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
        return _tagged(catalog.create_experiment(experiment, actor=principal.key_id), 201)

    @get(summary="List experiments", responses=problems(404), sync_to_thread=False)
    def list(
        self,
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
        limit: Annotated[
            int, QueryParameter(ge=1, le=1000, description="Most items to return.")
        ] = 100,
        cursor: Annotated[
            str | None, QueryParameter(description="`next_cursor` of the page before.")
        ] = None,
    ) -> ExperimentPage:
        """Return experiments by id, ended ones too."""
        principal.require("read")
        rest = [e for e in catalog.experiments(tenant) if cursor is None or e.id > cursor]
        more = len(rest) > limit
        return ExperimentPage(rest[:limit], rest[limit - 1].id if more else None)

    @get(
        "/{experiment_id:str}",
        summary="Read an experiment",
        responses=problems(404),
        sync_to_thread=False,
    )
    def read(
        self, experiment_id: FromPath[str], catalog: Catalogued, principal: Asking, tenant: Acting
    ) -> Response[Experiment]:
        """Return the experiment; its ETag is its revision."""
        principal.require("read")
        return _tagged(catalog.experiment(tenant, experiment_id))

    @patch(
        "/{experiment_id:str}",
        summary="Change an experiment",
        responses=problems(404, 409, 422),
        sync_to_thread=True,
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
        principal.require("manage")
        return _tagged(
            catalog.update_experiment(
                tenant, experiment_id, data, revision=expected, actor=principal.key_id
            )
        )

    @post(
        "/{experiment_id:str}/start",
        summary="Start an experiment",
        responses=problems(404, 409),
        status_code=200,
        sync_to_thread=True,
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
        principal.require("manage")
        experiment = catalog.add_arm(
            tenant, experiment_id, data, revision=expected, actor=principal.key_id
        )
        return _tagged(experiment, 201)

    @patch(
        "/{experiment_id:str}/arms/{arm_id:str}",
        summary="Change an arm",
        responses=problems(404, 409, 422),
        sync_to_thread=True,
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
        principal.require("manage")
        return _tagged(
            catalog.change_arm(
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
    principal.require("manage")
    return _tagged(catalog.move_experiment(*at, move, revision=expected, actor=principal.key_id))


class PoliciesController(Controller):
    """Policies to choose from."""

    path = "/api/v1/policies"
    tags: Sequence[str] = ("experiments",)

    @get(summary="List policies", responses=problems(), sync_to_thread=False)
    def list(self, principal: Asking) -> PolicyList:
        """Return every policy with its aliases, what it fits, and its parameters with their defaults."""
        principal.require("read")
        auto = {
            kind: policies.resolve("auto", reward_type=kind, has_context=False)
            for kind in get_args(RewardType)
        }
        auto["context"] = policies.resolve("auto", reward_type="bounded", has_context=True)
        items = sorted(map(_policy_info, policies.specs()), key=lambda info: info.name)
        return PolicyList(items, auto)


def _policy_info(spec: policies.Spec) -> PolicyInfo:
    policy = policies.make(spec.name, {})
    return PolicyInfo(
        name=spec.name,
        summary=(inspect.getdoc(type(policy)) or "").partition("\n")[0],
        aliases=[*spec.aliases],
        reward_types=[*spec.reward_types],
        context=spec.context,
        law=spec.law,
        params=policies.params_of(policy),
        paper=spec.paper,
    )


class TenantsController(Controller):
    """Tenants."""

    path = "/api/v1/tenants"
    tags: Sequence[str] = ("tenants",)

    @post(
        summary="Create a tenant",
        response_description="The tenant.",
        responses=problems(409, 422),
        sync_to_thread=True,
    )
    def create(
        self,
        data: Annotated[NewTenant, Body(examples=[Example(value={"id": "acme", "name": "Acme"})])],
        catalog: Catalogued,
        principal: Asking,
    ) -> Tenant:
        """Create a domain of isolation."""
        principal.require("admin")
        return catalog.create_tenant(data.id, name=data.name, actor=principal.key_id)

    @get(summary="List tenants", responses=problems(), sync_to_thread=False)
    def list(self, catalog: Catalogued, principal: Asking) -> TenantList:
        """Return every tenant to an admin, to anybody else the key's own."""
        principal.require("read")
        if "admin" in principal.scopes:
            return TenantList(catalog.tenants())
        return TenantList([catalog.tenant(principal.tenant_id)])

    @get("/{tenant:str}", summary="Read a tenant", responses=problems(404), sync_to_thread=False)
    def read(self, tenant: FromPath[str], catalog: Catalogued, principal: Asking) -> Tenant:
        """Return a tenant."""
        principal.require("read")
        return catalog.tenant(principal.acting_for(tenant))


class KeysController(Controller):
    """API keys."""

    path = "/api/v1/keys"
    tags: Sequence[str] = ("keys",)
    dependencies = TENANT

    @post(
        summary="Create an API key",
        response_description="The key and its secret.",
        responses=problems(404, 422),
        sync_to_thread=True,
    )
    def create(
        self,
        data: Annotated[
            NewKey,
            Body(examples=[Example(value={"name": "web shop", "scopes": ["select", "feedback"]})]),
        ],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
    ) -> IssuedKey:
        """Create a key. Keep `secret`: it is shown this once. A key can grant only scopes it has itself."""
        _require_power_over(principal, data.scopes)
        return catalog.create_key(
            tenant,
            data.scopes,
            name=data.name,
            expires_at_ms=data.expires_at_ms,
            actor=principal.key_id,
        )

    @get(summary="List API keys", responses=problems(404), sync_to_thread=False)
    def list(self, catalog: Catalogued, principal: Asking, tenant: Acting) -> KeyList:
        """Return keys, oldest first, revoked ones too; never a secret."""
        principal.require("manage")
        return KeyList(catalog.keys(tenant))

    @get("/{key_id:str}", summary="Read an API key", responses=problems(404), sync_to_thread=False)
    def read(
        self, key_id: FromPath[str], catalog: Catalogued, principal: Asking, tenant: Acting
    ) -> Key:
        """Return what may be told about a key."""
        principal.require("manage")
        return catalog.key(tenant, key_id)

    @post(
        "/{key_id:str}/rotate",
        summary="Rotate an API key",
        responses=problems(404, 409, 422),
        status_code=200,
        sync_to_thread=True,
    )
    def rotate(
        self,
        key_id: FromPath[str],
        catalog: Catalogued,
        principal: Asking,
        tenant: Acting,
        data: Annotated[Rotation | None, Body(examples=[Example(value={"grace_s": 3600})])] = None,
    ) -> IssuedKey:
        """Give the key a new secret, shown this once. The present one stays valid for `grace_s` seconds."""
        _require_power_over(principal, catalog.key(tenant, key_id).scopes)
        grace_s = 0.0 if data is None else data.grace_s
        return catalog.rotate_key(tenant, key_id, grace_s=grace_s, actor=principal.key_id)

    @post(
        "/{key_id:str}/revoke",
        summary="Revoke an API key",
        responses=problems(404),
        status_code=200,
        sync_to_thread=True,
    )
    def revoke(
        self, key_id: FromPath[str], catalog: Catalogued, principal: Asking, tenant: Acting
    ) -> Key:
        """End a key at once and for good."""
        _require_power_over(principal, catalog.key(tenant, key_id).scopes)
        return catalog.revoke_key(tenant, key_id, actor=principal.key_id)


def _require_power_over(principal: Principal, scopes: Sequence[Scope]) -> None:
    """Nobody makes, renews or ends a key that can do more than the one in hand."""
    for scope in ("manage", *scopes):
        principal.require(scope)


class SigningKeysController(Controller):
    """The ring of keys that sign tokens."""

    path = "/api/v1/signing-keys"
    tags: Sequence[str] = ("keys",)

    @get(summary="List signing keys", responses=problems(), sync_to_thread=False)
    def list(self, principal: Asking, signing_ring: Ring) -> SigningKeys:
        """Return the ids in the ring; never a secret."""
        principal.require("admin")
        return _signing_keys(signing_ring)

    @post(
        "/rotate",
        summary="Rotate the signing key",
        responses=problems(409),
        status_code=200,
        sync_to_thread=True,
    )
    def rotate(self, principal: Asking, signing_ring: Ring) -> SigningKeys:
        """Sign with a fresh key from now on. Tokens that are out there stay valid."""
        principal.require("admin")
        signing_ring.rotate()
        return _signing_keys(signing_ring)

    @delete(
        "/{key_id:str}",
        summary="Retire a signing key",
        responses=problems(404, 409),
        status_code=200,
        sync_to_thread=True,
    )
    def retire(self, key_id: FromPath[str], principal: Asking, signing_ring: Ring) -> SigningKeys:
        """Take a key out of the ring: decisions it signed can no longer take feedback."""
        principal.require("admin")
        # Read as text: a number with thousands of digits is one more id that is not in the ring.
        known = {str(number): number for number in signing_ring.ids()}
        if key_id not in known:
            raise NotFound(f"there is no signing key '{key_id}'; the ring holds {', '.join(known)}")
        signing_ring.retire(known[key_id])
        return _signing_keys(signing_ring)


def _signing_keys(ring: SigningRing) -> SigningKeys:
    ids = [*ring.ids()]
    return SigningKeys(ids=sorted(ids), active=ids[-1])


CONTROLLERS: Final = (
    ExperimentsController,
    PoliciesController,
    TenantsController,
    KeysController,
    SigningKeysController,
)
"""What the application registers."""
