"""Limits as values: how fast a tenant's own traffic may go, and what one request was told."""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .experiment import Slug

Mode = Literal["off", "shadow", "enforce"]
PerSecond = Annotated[float, Meta(gt=0, le=1e9)]
"""Tokens per second."""


class Admission(msgspec.Struct, frozen=True, gc=False):
    """The answer to one request.

    `allowed` is what the caller does; `fits` is what the bucket says, which differs in the mode `shadow`.
    `retry_after_s` is 0 for a request that fits and None for one whose cost is above the burst: it never will.
    `reset_after_s` is the time until the bucket is full when nothing more is taken.
    """

    allowed: bool
    remaining: float
    retry_after_s: float | None
    reset_after_s: float
    rate: float
    version: int
    fits: bool
    mode: Mode


class NewLimit(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A limit to set: a bucket per key whose refill rate moves between `least` and `most`."""

    prior: PerSecond
    """The rate to begin with, and to return to when the controller has seen nothing for a minute."""
    least: PerSecond | None = None
    """The lowest rate; a tenth of `prior` when not given."""
    most: PerSecond | None = None
    """The highest rate, one that was tested; `prior` when not given."""
    burst: PerSecond | None = None
    """Tokens that a bucket holds; two seconds of `prior`, and at least 1, when not given."""
    mode: Mode = "enforce"
    feature_id: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    """Ratings of this feature alone trim the rate; those of every feature when not given."""
    window_s: Annotated[float, Meta(ge=0.1, le=3600)] = 10.0
    trim: Annotated[float, Meta(ge=0, le=0.5)] = 0.1
    """Share of the guard's rate by which ratings may move it; 0 leaves them out."""
    guarded: bool = True
    """Whether reports of overload move the rate."""
    probe: bool = True
    """Whether the guard looks for more capacity; set it to false when the overload signal comes late."""
    rule: Literal["trim", "literal"] = "trim"
    """`literal` is r + 0.05 (reward - baseline), within the same bounds."""


class Limit(msgspec.Struct, frozen=True, kw_only=True):
    """A limit as it is set. Times are in seconds, rates in tokens per second."""

    id: Slug
    tenant_id: str
    prior: float
    least: float
    most: float
    burst: float
    mode: Mode = "enforce"
    feature_id: str | None = None
    window_s: float = 10.0
    trim: float = 0.1
    guarded: bool = True
    probe: bool = True
    rule: Literal["trim", "literal"] = "trim"
    revision: int = 1
    updated_at_ms: int = 0


class LimitStatus(msgspec.Struct, frozen=True, kw_only=True):
    """A limit and where its rate stands."""

    limit: Limit
    rate: float
    """The rate in force."""
    version: int
    """Grows with each window."""
    guard: float
    """The rate by the overload signal alone."""
    trim: float
    """The ratings' part, as a factor: 1 moves nothing."""
    why: str
    """What the guard did last: prior, hold, overload, probe."""
    window_ended_ms: int | None = None
    """When the latest window ended; None before the first."""
    waiting: int = 0
    """Ratings that the next window will read."""
    is_suspicious: bool = False
    """Whether the ratings of the latest window were left out as a flood or the voice of one."""


class LimitPage(msgspec.Struct, frozen=True, kw_only=True):
    """Limits with their rates, by id."""

    items: tuple[LimitStatus, ...]


def limit_of(tenant_id: str, id: str, new: NewLimit, *, revision: int, updated_at_ms: int) -> Limit:
    """Return the limit that `new` describes, with what it leaves out filled in."""
    return Limit(
        id=id,
        tenant_id=tenant_id,
        prior=new.prior,
        least=new.prior / 10 if new.least is None else new.least,
        most=new.prior if new.most is None else new.most,
        burst=max(2 * new.prior, 1.0) if new.burst is None else new.burst,
        mode=new.mode,
        feature_id=new.feature_id,
        window_s=new.window_s,
        trim=new.trim,
        guarded=new.guarded,
        probe=new.probe,
        rule=new.rule,
        revision=revision,
        updated_at_ms=updated_at_ms,
    )


def headers_of(id: str, limit: Limit, told: Admission) -> dict[str, str]:
    """Return the RateLimit fields of an answer (draft-ietf-httpapi-ratelimit-headers), and `Retry-After` of a refusal."""
    window_s = max(1, math.ceil(limit.burst / told.rate))
    fields = {
        "RateLimit-Policy": f'"{id}";q={math.floor(limit.burst)};w={window_s}',
        "RateLimit": f'"{id}";r={math.floor(told.remaining)};t={math.ceil(told.reset_after_s)}',
    }
    if not told.allowed and told.retry_after_s is not None:
        fields["Retry-After"] = str(max(1, math.ceil(told.retry_after_s)))
    return fields
