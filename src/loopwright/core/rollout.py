"""Rollouts as values: a challenger moves through stages against a champion, each with a gate."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from .experiment import ArmState, Slug
from .gate import Gate, Guardrail, Verdict

StageName = Annotated[str, Meta(min_length=1, max_length=64)]
RolloutState = Literal["running", "held", "promoted", "rolled_back", "rejected", "cancelled"]
Assigned = Literal["unit", "decision"]


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A share of the traffic, and the gate that the challenger must pass to leave it."""

    name: StageName
    share: Annotated[float, Meta(gt=0, lt=1)]
    """The challenger's share of the units."""
    gate: Gate
    needs_approval: bool = False
    """Whether a person must approve after the gate has passed."""


CANARY: Stage = Stage(
    name="canary",
    share=0.05,
    gate=Gate(primary=None, guardrails=(Guardrail(metric="reward", margin=0.1),)),
)
AB: Stage = Stage(name="ab", share=0.5, gate=Gate())

STAGES: tuple[Stage, ...] = (CANARY, AB)
"""The stages of a rollout that says nothing else: a small share without harm, then half with a gain."""


class NewRollout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A rollout to begin."""

    id: Slug
    experiment_id: Slug
    challenger: Slug
    """Id of the arm to promote."""
    champion: Slug
    """Id of the arm that it is compared with."""
    stages: Annotated[tuple[Stage, ...], Meta(min_length=1, max_length=16)] = STAGES
    assigned: Assigned = "unit"
    """What is randomised: units, which needs a sticky experiment, or each decision on its own."""
    watch_margin: Annotated[float, Meta(gt=0, lt=1)] = 0.02
    """How far the reward may fall after the promotion below what the champion had, before it is taken back."""
    again: bool = False
    """Whether to try a challenger that was taken back less than a day ago."""
    note: Annotated[str, Meta(max_length=2000)] = ""


class Share(msgspec.Struct, frozen=True, kw_only=True):
    """What an arm may get of the traffic."""

    state: ArmState
    min_share: float
    max_share: float


class Move(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a rollout, and why it was taken."""

    at_ms: int
    action: Literal[
        "begin", "advance", "promote", "roll_back", "reject", "hold", "approve", "cancel"
    ]
    stage: str
    """The stage that it led to; `full` once promoted, empty when it was taken back."""
    reasons: tuple[str, ...] = ()
    verdict: Verdict | None = None
    actor: str = ""
    """Empty when the gate decided."""


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout as it stands."""

    id: str
    tenant_id: str
    experiment_id: str
    challenger: str
    champion: str
    stages: tuple[Stage, ...]
    assigned: Assigned = "unit"
    watch_margin: float = 0.02
    note: str = ""
    state: RolloutState = "running"
    stage: int = 0
    """Position among the stages; their number once promoted."""
    entered_at_ms: int = 0
    """When the present stage began: only decisions after it are evidence."""
    before: dict[str, Share] = {}
    """What each arm might get when the rollout began: a rollback restores it."""
    default_arm: str | None = None
    """The gate's default arm when the rollout began."""
    is_applied: bool = False
    """Whether the experiment has the shares of the present stage."""
    moves: tuple[Move, ...] = ()
    revision: int = 1

    @property
    def is_open(self) -> bool:
        """Whether it still moves."""
        return self.state in ("running", "held")


class RolloutPage(msgspec.Struct, frozen=True, kw_only=True):
    """Rollouts, newest first."""

    items: tuple[Rollout, ...]


class RolloutReport(msgspec.Struct, frozen=True, kw_only=True):
    """A rollout, and what its gate says of the evidence so far."""

    rollout: Rollout
    verdict: Verdict | None = None
    """None once it is over."""
    next: str = ""
    """What happens next, in a sentence."""
