"""The calls of versions and rollouts. See `calls` for how a call becomes a method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

import msgspec

from loopwright.core.rollout import Rollout, RolloutPage, RolloutReport, Stage
from loopwright.core.version import Lineage, Version, VersionDiff, VersionPage

from . import arguments
from .exchange import Call, Terms
from .requests import change, get, segment

_read_version = msgspec.json.Decoder(Version).decode
_read_rollout = msgspec.json.Decoder(Rollout).decode


def add_version(
    terms: Terms,
    id: str,
    *,
    kind: str,
    content: Any = None,
    reference: str | None = None,
    digest: str | None = None,
    parents: Sequence[str] = (),
    dataset: str | None = None,
    eval_runs: Sequence[str] = (),
    reason: str = "",
) -> Call[Version]:
    """Register an immutable version: its `content`, or a `reference` with the SHA-256 `digest` of what lies there.

    The same again is answered as it is kept; other content under its id is a `Conflict`.
    """
    body = {
        "id": id,
        "kind": kind,
        "content": content,
        "reference": reference,
        "digest": digest,
        "parents": arguments.texts("parents", parents),
        "dataset": dataset,
        "eval_runs": arguments.texts("eval_runs", eval_runs),
        "reason": reason,
    }
    return change("POST", "/versions", body=body, read=_read_version)


def get_version(terms: Terms, id: str) -> Call[Version]:
    """Return a version with its content."""
    return get(f"/versions/{segment(id)}", _read_version)


def list_versions(terms: Terms, *, kind: str | None = None, limit: int = 100) -> Call[VersionPage]:
    """Return the newest versions, of one kind or of all."""
    query = {"limit": limit} if kind is None else {"limit": limit, "kind": kind}
    return get(f"/versions?{urlencode(query)}", msgspec.json.Decoder(VersionPage).decode)


def diff_versions(terms: Terms, first: str, second: str) -> Call[VersionDiff]:
    """Return what differs between two versions, their content line by line."""
    path = f"/versions/{segment(first)}/diff/{segment(second)}"
    return get(path, msgspec.json.Decoder(VersionDiff).decode)


def version_lineage(terms: Terms, id: str) -> Call[Lineage]:
    """Return what a version was made from and what was made from it, with the arms that serve each."""
    return get(f"/versions/{segment(id)}/lineage", msgspec.json.Decoder(Lineage).decode)


def begin_rollout(
    terms: Terms,
    id: str,
    *,
    experiment_id: str,
    champion: str,
    challenger: str,
    stages: Sequence[Stage | Mapping[str, Any]] | None = None,
    assigned: str = "unit",
    watch_margin: float = 0.02,
    again: bool = False,
    note: str = "",
) -> Call[Rollout]:
    """Give a challenger its first share of the traffic; from then on its gates move it.

    Without `stages` it gets 5 % until it is shown to do no harm, and half until it is shown to be better. `assigned`
    'unit' needs an experiment whose gate is sticky.
    """
    body = {
        "id": id,
        "experiment_id": experiment_id,
        "champion": champion,
        "challenger": challenger,
        "assigned": assigned,
        "watch_margin": watch_margin,
        "again": again,
        "note": note,
        **({} if stages is None else {"stages": list(stages)}),
    }
    return change("POST", "/rollouts", body=body, read=_read_rollout)


def list_rollouts(
    terms: Terms, *, experiment_id: str | None = None, limit: int = 100
) -> Call[RolloutPage]:
    """Return rollouts, newest first, with every move."""
    query: dict[str, Any] = {"limit": limit}
    if experiment_id is not None:
        query["experiment_id"] = experiment_id
    return get(f"/rollouts?{urlencode(query)}", msgspec.json.Decoder(RolloutPage).decode)


def rollout_report(terms: Terms, id: str) -> Call[RolloutReport]:
    """Return a rollout, what its gate says of the evidence at this moment, and what happens next."""
    return get(f"/rollouts/{segment(id)}", msgspec.json.Decoder(RolloutReport).decode)


def hold_rollout(terms: Terms, id: str, *, reason: str = "") -> Call[Rollout]:
    """Keep a rollout in its stage, whatever its gate says."""
    return _ordered(id, "hold", reason)


def resume_rollout(terms: Terms, id: str, *, reason: str = "") -> Call[Rollout]:
    """Let the gate of a held rollout decide again."""
    return _ordered(id, "resume", reason)


def approve_rollout(terms: Terms, id: str, *, reason: str = "") -> Call[Rollout]:
    """Let a held rollout go on to its next stage; its gate has to pass at this moment."""
    return _ordered(id, "approve", reason)


def roll_back(terms: Terms, id: str, *, reason: str = "") -> Call[Rollout]:
    """Restore the shares from before a rollout, also after a promotion; its challenger is disabled."""
    return _ordered(id, "roll_back", reason)


def cancel_rollout(terms: Terms, id: str, *, reason: str = "") -> Call[Rollout]:
    """End an open rollout and restore the shares from before it."""
    return _ordered(id, "cancel", reason)


def _ordered(id: str, order: str, reason: str) -> Call[Rollout]:
    path = f"/rollouts/{segment(id)}/{order}"
    return change("POST", path, body={"reason": reason}, read=_read_rollout)
