"""The calls of the control plane: experiments, arms, keys. See `calls` for how a call becomes a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import msgspec
from msgspec import UNSET

from loopwright.core.amendment import Amendment, ArmChange
from loopwright.core.errors import Conflict, Invalid
from loopwright.core.experiment import Arm, ArmState, Caps, Experiment, PolicyChoice
from loopwright.core.principal import OWN_TENANT
from loopwright.core.reward import RewardSpec
from loopwright.core.status import Advice, Status
from loopwright.core.targeting import Targeting
from loopwright.core.tenancy import Tenant, Usage

from . import arguments, requests
from .answers import ExperimentPage
from .exchange import IDEMPOTENT, Call, Terms
from .requests import change, get, segment


def create_experiment(
    terms: Terms,
    id: str,
    *,
    arms: Sequence[Arm | Mapping[str, Any] | str],
    policy: PolicyChoice | Mapping[str, Any] | str = "auto",
    reward: RewardSpec | Mapping[str, Any] | str = "binary",
    dimension: int | None = None,
    explore_floor: float = 0.01,
    gate: Targeting | Mapping[str, Any] | None = None,
    trust: Caps | Mapping[str, int] | None = None,
    name: str = "",
    start: bool = True,
    exists_ok: bool = False,
) -> Call[Experiment]:
    """Create an experiment and, unless told otherwise, start it.

    `arms` are ids, or mappings with `id`, `payload`, `metadata`, `min_share` and `max_share`; `reward` is a type
    or a whole spec; `dimension` is the length of the context vector and makes the experiment contextual;
    `trust` caps what one person teaches, `{}` with the usual numbers. With `exists_ok` an experiment of that id
    that is already there comes back as it is, a draft started; without, it is a `Conflict`.
    """
    definition = {
        "id": id,
        "arms": arguments.arms(arms),
        "policy": {"name": policy} if isinstance(policy, str) else policy,
        "reward": {"type": reward} if isinstance(reward, str) else reward,
        "context": None if dimension is None else {"dimension": dimension},
        "explore_floor": explore_floor,
        **({} if gate is None else {"gate": gate}),
        **({} if trust is None else {"trust": trust}),
        "name": name,
    }
    return define_experiment(terms, definition, start=start, exists_ok=exists_ok)


def define_experiment(
    terms: Terms, definition: Mapping[str, Any], *, start: bool = True, exists_ok: bool = False
) -> Call[Experiment]:
    """Create an experiment from a whole definition, such as one read from a file, and start it.

    With `exists_ok` one of that id that is already there comes back as it is, a draft started.
    """
    if not isinstance(definition, Mapping):
        raise Invalid(f"the definition is {arguments.shown(definition)}; it must be a mapping")
    created = change("POST", "/experiments", body=definition, read=_read_experiment)

    def begun(experiment: Experiment) -> Call[Experiment] | None:
        # Starting one that runs is a conflict, so only a draft is started.
        return _move(experiment.id, "start") if start and experiment.state == "draft" else None

    if exists_ok:
        # Create first and read on a conflict: the other way round, two processes could both find nothing.
        found = replace(get_experiment(terms, definition.get("id", "")), then=begun)
        # Repeating it is harmless now: what a lost answer had created is found there.
        created = replace(
            created,
            retry_on=IDEMPOTENT,
            instead=lambda error: found if isinstance(error, Conflict) else None,
        )
    return replace(created, then=begun)


def get_experiment(terms: Terms, id: str) -> Call[Experiment]:
    """Return an experiment as it is configured now."""
    return get(f"/experiments/{segment(id)}", _read_experiment)


def list_experiments(
    terms: Terms, *, limit: int = 1000, cursor: str | None = None
) -> Call[ExperimentPage]:
    """Return the tenant's experiments by id, ended ones too; `next_cursor` asks for more."""
    query = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
    return get(f"/experiments?{urlencode(query)}", _read_page)


def start_experiment(terms: Terms, id: str) -> Call[Experiment]:
    """Let a draft serve and learn."""
    return _move(id, "start")


def pause_experiment(terms: Terms, id: str) -> Call[Experiment]:
    """Stop serving and learning for now; feedback is still kept and is learned from on `resume`."""
    return _move(id, "pause")


def resume_experiment(terms: Terms, id: str) -> Call[Experiment]:
    """Serve and learn again."""
    return _move(id, "resume")


def end_experiment(terms: Terms, id: str) -> Call[Experiment]:
    """Stop for good."""
    return _move(id, "end")


def experiment_status(terms: Terms, id: str) -> Call[Status]:
    """Return how an experiment is doing: its arms with n, mean, interval and share."""
    return get(f"/experiments/{segment(id)}/status", lambda body: _read_report(body).status)


def experiment_advice(terms: Terms, id: str) -> Call[list[Advice]]:
    """Return what is worth doing about an experiment, the most urgent first."""
    return get(f"/experiments/{segment(id)}/status", lambda body: _read_report(body).advice)


def update_experiment(
    terms: Terms, id: str, amendment: Amendment | Mapping[str, Any]
) -> Call[Experiment]:
    """Change what may still be changed of an experiment; what `amendment` leaves out stays."""
    body = arguments.changes("amendment", amendment)
    return change("PATCH", f"/experiments/{segment(id)}", body=body, read=_read_experiment)


def add_arm(
    terms: Terms,
    id: str,
    arm: Arm | Mapping[str, Any] | str,
    *,
    payload: Any = None,
    metadata: Mapping[str, Any] | None = None,
    min_share: float = 0.0,
    max_share: float = 1.0,
) -> Call[Experiment]:
    """Add an arm to a draft or running experiment; it takes the last position.

    `arm` is a whole arm, or an id that the other arguments describe.
    """
    body = arguments.arm(
        arm, payload=payload, metadata=metadata, min_share=min_share, max_share=max_share
    )
    return change("POST", f"/experiments/{segment(id)}/arms", body=body, read=_read_experiment)


def change_arm(
    terms: Terms,
    id: str,
    arm_id: str,
    change: ArmChange | Mapping[str, Any] | None = None,
    *,
    state: ArmState | None = None,
    min_share: float | None = None,
    max_share: float | None = None,
    payload: Any = UNSET,
    metadata: Mapping[str, Any] | None = None,
) -> Call[Experiment]:
    """Enable, disable or retire an arm, or change its shares, payload or metadata; what is left out stays.

    Give a whole `change`, or the other arguments.
    """
    given = arguments.arm_changes(
        change,
        state=state,
        min_share=min_share,
        max_share=max_share,
        payload=payload,
        metadata=metadata,
    )
    path = f"/experiments/{segment(id)}/arms/{segment(arm_id)}"
    return requests.change("PATCH", path, body=given, read=_read_experiment)


def create_key(
    terms: Terms,
    *,
    scopes: Sequence[str] | None = None,
    role: str | None = None,
    name: str = "",
    expires_at_ms: int | None = None,
    tenant_id: str | None = None,
) -> Call[dict[str, Any]]:
    """Create an API key with a role or with scopes; `secret` is in this answer and never again.

    `tenant_id` is for the operator: another tenant than that of the key in use.
    """
    body = {
        "scopes": None if scopes is None else arguments.texts("scopes", scopes),
        "role": role,
        "name": name,
        "expires_at_ms": expires_at_ms,
    }
    given = {field: value for field, value in body.items() if value is not None}
    # A repeat after a lost answer would leave a key behind whose secret nobody has.
    path = "/keys" if tenant_id is None else "/keys?" + urlencode({"tenant_id": tenant_id})
    return change("POST", path, body=given, read=_read_object)


def list_keys(terms: Terms) -> Call[list[dict[str, Any]]]:
    """Return the tenant's API keys, oldest first, without their secrets."""
    return get("/keys", lambda body: _read_items(body).items)


def rotate_key(terms: Terms, id: str, *, grace_s: float = 0.0) -> Call[dict[str, Any]]:
    """Give a key a new secret; the present one stays valid for `grace_s` seconds more."""
    path = f"/keys/{segment(id)}/rotate"
    # A repeat after a lost answer would replace the secret that the first one issued.
    return change("POST", path, body={"grace_s": grace_s}, read=_read_object)


def revoke_key(terms: Terms, id: str) -> Call[dict[str, Any]]:
    """End a key at once and for good."""
    return change("POST", f"/keys/{segment(id)}/revoke", body=None, read=_read_object)


def rotate_signing_key(terms: Terms) -> Call[dict[str, Any]]:
    """Sign from now on with a fresh key; tokens signed by earlier ones stay valid."""
    return change("POST", "/signing-keys/rotate", body=None, read=_read_object)


def create_tenant(terms: Terms, id: str, *, name: str = "") -> Call[Tenant]:
    """Create a tenant; needs an operator key."""
    return change("POST", "/tenants", body={"id": id, "name": name}, read=_read_tenant)


def list_tenants(terms: Terms) -> Call[list[Tenant]]:
    """Return every tenant for an operator key, else the key's own."""
    return get("/tenants", lambda body: _read_tenants(body).items)


def set_quotas(
    terms: Terms,
    id: str,
    *,
    requests_per_minute: int | None = None,
    events_per_day: int | None = None,
    experiments: int | None = None,
    stored_bytes: int | None = None,
) -> Call[Tenant]:
    """Hold a tenant to these quotas from now on; a quota that is left out is lifted. Needs an operator key."""
    body = {
        "requests_per_minute": requests_per_minute,
        "events_per_day": events_per_day,
        "experiments": experiments,
        "stored_bytes": stored_bytes,
    }
    # Repeatable after a lost answer: it sets what is to hold, whatever holds now.
    call = change("PUT", f"/tenants/{segment(id)}/quotas", body=body, read=_read_tenant)
    return replace(call, retry_on=IDEMPOTENT)


def tenant_usage(terms: Terms, id: str | None = None) -> Call[Usage]:
    """Return what a tenant, its own by default, uses of each quota, its limit, and when it begins anew."""
    return get(f"/tenants/{segment(OWN_TENANT if id is None else id)}/usage", _read_usage)


def _move(id: str, move: str) -> Call[Experiment]:
    path = f"/experiments/{segment(id)}/{move}"
    return change("POST", path, body=None, read=_read_experiment)


class _Report(msgspec.Struct, frozen=True):
    status: Status
    advice: list[Advice]


class _Tenants(msgspec.Struct, frozen=True):
    items: list[Tenant]


class _Items(msgspec.Struct, frozen=True):
    items: list[dict[str, Any]]


_read_experiment = msgspec.json.Decoder(Experiment).decode
_read_page = msgspec.json.Decoder(ExperimentPage).decode
_read_report = msgspec.json.Decoder(_Report).decode
_read_tenant = msgspec.json.Decoder(Tenant).decode
_read_tenants = msgspec.json.Decoder(_Tenants).decode
_read_usage = msgspec.json.Decoder(Usage).decode
_read_object = msgspec.json.Decoder(dict[str, Any]).decode
_read_items = msgspec.json.Decoder(_Items).decode
