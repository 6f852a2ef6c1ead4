"""Standing triggers as values: a condition over a window of feedback, and what is started when it holds.

Conditions are judged in `rollout.conditions`, actions are carried out by `rollout.deliveries`.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from .clock import DAY_MS
from .experiment import Slug
from .gate import MetricName

Standing = Literal["bad", "between", "good", "unknown"]
"""How a condition stands: it holds; it has not come back far enough; it does not hold; there is too little to say."""

DeliveryState = Literal["waiting", "delivered", "dead", "gone", "cancelled"]
"""`dead` after the last retry; `gone` when the receiver answered 410; `cancelled` when the trigger was removed."""

DAY_S: Final = DAY_MS // 1000

_Share = Annotated[float, Meta(ge=0, le=1)]
_LeastN = Annotated[int, Meta(ge=1)]


class _Condition(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True
):
    """A condition over the feedback of a window."""


class Retrain(_Condition, frozen=True, kw_only=True, tag="retrain"):
    """The rule of `loopwright check-trigger`: low stars or many thumbs down, exactly at a limit not."""

    least_records: _LeastN = 10
    least_rating: Annotated[float, Meta(ge=1, le=5)] = 3.0
    most_thumbs_down: _Share = 0.40


class MetricBound(_Condition, frozen=True, kw_only=True, tag="metric"):
    """A metric of the quality report whose whole interval lies below `below`, or above `above`."""

    metric: MetricName
    below: float | None = None
    above: float | None = None
    margin: Annotated[float, Meta(ge=0)] = 0.0
    """How far the metric must come back past the bound before the trigger may fire again."""
    least_n: _LeastN = 10


class ThumbsDown(_Condition, frozen=True, kw_only=True, tag="thumbs_down"):
    """A share of thumbs down whose lower Wilson bound lies above `above`."""

    above: _Share = 0.40
    margin: _Share = 0.0
    least_n: _LeastN = 10


class DriftBound(_Condition, frozen=True, kw_only=True, tag="drift"):
    """A population stability index above `above`, and above what it reaches without drift.

    It compares the window with the one of the same length before it.
    """

    of: Annotated[str, Meta(min_length=1, max_length=128)]
    """The distribution, as the drift section of the quality report names it."""
    above: Annotated[float, Meta(gt=0)] = 0.25
    margin: Annotated[float, Meta(ge=0)] = 0.0
    least_n: _LeastN = 100


class JoinRate(_Condition, frozen=True, kw_only=True, tag="join_rate"):
    """A share of outcomes that join to a model version whose upper Wilson bound lies below `below`."""

    below: _Share = 0.90
    task: Annotated[str, Meta(max_length=128)] | None = None
    """The outcomes of this task; of all tasks when None."""
    margin: _Share = 0.0
    least_n: _LeastN = 10


class Volume(_Condition, frozen=True, kw_only=True, tag="volume"):
    """Fewer items than `below` in the window, or more than `above`."""

    below: Annotated[int, Meta(ge=1)] | None = None
    above: Annotated[int, Meta(ge=0)] | None = None
    margin: Annotated[int, Meta(ge=0)] = 0


class Schedule(_Condition, frozen=True, kw_only=True, tag="schedule"):
    """Time alone: once every `every_s` seconds from the making of the trigger."""

    every_s: Annotated[int, Meta(ge=60, le=366 * DAY_S)]


Condition = Retrain | MetricBound | ThumbsDown | DriftBound | JoinRate | Volume | Schedule


class _Action(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True
):
    """What is started by a firing."""


class Webhook(_Action, frozen=True, kw_only=True, tag="webhook"):
    """A signed POST, as Standard Webhooks has it."""

    url: Annotated[str, Meta(min_length=1, max_length=2000)]


class GitHub(_Action, frozen=True, kw_only=True, tag="github"):
    """The GitHub workflow of the settings; without one the firing stays local, and says so."""


class Command(_Action, frozen=True, kw_only=True, tag="command"):
    """A command of the settings, by its name: nobody who may add triggers may run programs of their own."""

    name: Annotated[str, Meta(min_length=1, max_length=64)]


Action = Webhook | GitHub | Command


class NewTrigger(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A trigger to add."""

    id: Slug
    condition: Condition
    window_days: Annotated[float, Meta(ge=1 / 24, le=366)] = 7.0
    """Length of the window, which ends at the moment of each look."""
    cool_down_s: Annotated[int, Meta(ge=0, le=366 * DAY_S)] = DAY_S
    """Least time between two firings."""
    actions: Annotated[tuple[Action, ...], Meta(max_length=8)] = ()
    note: Annotated[str, Meta(max_length=2000)] = ""


class Trigger(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger as it stands."""

    id: str
    tenant_id: str
    condition: Condition
    window_days: float
    cool_down_s: int
    actions: tuple[Action, ...] = ()
    note: str = ""
    created_at_ms: int
    is_enabled: bool = True
    is_firing: bool = False
    """Whether the cause of the latest firing still stands: one cause fires once."""
    fired_at_ms: int | None = None
    gone: tuple[str, ...] = ()
    """Addresses that answered 410: nothing more is sent to them."""
    revision: int = 1


class TriggerPage(msgspec.Struct, frozen=True, kw_only=True):
    """Triggers by their ids."""

    items: tuple[Trigger, ...]


class Reading(msgspec.Struct, frozen=True, kw_only=True):
    """What a condition looks at: an estimate of `n` observations, and its interval where it has one."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


class Judged(msgspec.Struct, frozen=True, kw_only=True):
    """How a condition stands, and why in a sentence."""

    standing: Standing
    reason: str
    reading: Reading | None = None


class TriggerReport(msgspec.Struct, frozen=True, kw_only=True):
    """A trigger, and how its condition stands at this moment."""

    trigger: Trigger
    judged: Judged
    next: str
    """What happens next, in a sentence."""


class TriggerFiring(msgspec.Struct, frozen=True, kw_only=True):
    """One firing of a trigger."""

    id: str
    tenant_id: str
    trigger_id: str
    fired_at_ms: int
    from_ms: int
    """Begin of the window that was judged; it ends at `fired_at_ms`."""
    reason: str
    reading: Reading | None = None


class FiringPage(msgspec.Struct, frozen=True, kw_only=True):
    """Firings, newest first."""

    items: tuple[TriggerFiring, ...]


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One try of an action: when, and what came of it in a sentence."""

    at_ms: int
    outcome: str


class TriggerDelivery(msgspec.Struct, frozen=True, kw_only=True):
    """One action of one firing, on its way until it is done or given up."""

    id: str
    """The `webhook-id` of every attempt, so that a receiver can tell a retry from another firing."""
    tenant_id: str
    trigger_id: str
    firing: TriggerFiring
    action: Action
    state: DeliveryState = "waiting"
    due_ms: int
    """When the next attempt is due."""
    tries: int = 0
    """Attempts since it was made, or since it was last sent again by hand."""
    attempts: tuple[Attempt, ...] = ()
    """The latest attempts, oldest first."""


class DeliveryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Deliveries, newest first."""

    items: tuple[TriggerDelivery, ...]


class TriggerSecret(msgspec.Struct, frozen=True, kw_only=True):
    """What the webhooks of a trigger are signed with."""

    secret: str
    """`whsec_` and the key in base 64, as Standard Webhooks writes it."""


class Sent(msgspec.Struct, frozen=True, kw_only=True):
    """What came of one attempt to carry out an action."""

    outcome: Literal["done", "failed", "gone"]
    said: str
    """In a sentence, without anything secret."""
    retry_after_s: float = 0.0
    """How long the receiver asks to be left alone after a failure."""
