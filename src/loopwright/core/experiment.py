"""Experiments: which arms, which policy, which reward."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from .context import MAX_DIMENSION
from .reward import RewardSpec
from .targeting import Targeting

# Python's `$` also matches before a final newline, hence the look-ahead.
Slug = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}(?!\n)$")]
"""A stable id chosen by the user: letters, digits and . _ : - (at most 128 characters), so it fits in a path."""

Share = Annotated[float, Meta(ge=0, le=1)]

ExperimentState = Literal["draft", "running", "paused", "ended"]
ArmState = Literal["enabled", "disabled", "retired"]


class Arm(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One choice of an experiment. `payload` is what the product gets back when it is selected."""

    id: Slug
    payload: Any = None
    metadata: dict[str, Any] = {}
    state: ArmState = "enabled"
    min_share: Share = 0.0
    """Least share of the traffic, whatever the policy thinks."""
    max_share: Share = 1.0
    """Largest share of the traffic, whatever the policy thinks."""
    version: Slug | None = None
    """The registered version that it serves."""


class PolicyChoice(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A policy by name, with parameters in its own vocabulary."""

    name: str = "auto"
    params: dict[str, Any] = {}


class ContextSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a context must look like. `intercept` appends a constant 1 to the vector for learning."""

    dimension: Annotated[int, Meta(ge=1, le=MAX_DIMENSION)]
    intercept: bool = True


class Caps(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How many decisions of one person, session or network address teach an arm in a day (UTC).

    What goes beyond is kept and counted, but teaches nothing.
    """

    # The same numbers as `TrustPolicy`: what a report leaves out should teach nothing either.
    per_person: Annotated[int, Meta(ge=1)] = 5
    """The person who gave the feedback; of plain rewards, the decision's unit."""
    per_session: Annotated[int, Meta(ge=1)] = 5
    per_address: Annotated[int, Meta(ge=1)] = 50
    """More, as an office may share an address."""


class Experiment(msgspec.Struct, frozen=True, kw_only=True):
    """The thing that allocates arms for a task. Arms keep their position for life; retired ones stay listed."""

    id: str
    tenant_id: str
    name: str = ""
    state: ExperimentState = "draft"
    arms: tuple[Arm, ...]
    policy: PolicyChoice = msgspec.field(default_factory=PolicyChoice)
    reward: RewardSpec = RewardSpec()
    context: ContextSpec | None = None
    # Without a floor a propensity can reach 0, and weights of 1 ÷ propensity have no bound.
    explore_floor: Annotated[float, Meta(ge=0, le=1)] = 0.01
    """Share of the traffic spread evenly over the enabled arms, so that every propensity is positive."""
    revision: int = 1
    """Grows with every change."""
    created_at_ms: int = 0
    updated_at_ms: int = 0
    # On the wire and in stored facts it is `gate`; in the code a gate is a test of evidence (see the glossary).
    targeting: Targeting | None = msgspec.field(name="gate", default=None)
    """What stands before the bandit; None lets every request through."""
    caps: Caps | None = msgspec.field(name="trust", default=None)
    """How far one person may teach the policy; None sets no limit."""
