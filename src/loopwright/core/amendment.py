"""What may be changed of an experiment that is there: the body of a change, and its arguments in Python."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from .experiment import Arm, ArmState, Caps, ContextSpec, PolicyChoice, Share
from .reward import RewardSpec
from .targeting import Targeting


class ArmChange(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of one arm; what is left out stays."""

    state: ArmState | UnsetType = UNSET
    min_share: Share | UnsetType = UNSET
    max_share: Share | UnsetType = UNSET
    payload: Any | UnsetType = UNSET
    metadata: dict[str, Any] | UnsetType = UNSET


class Amendment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to change of an experiment; what is left out stays.

    `arms` is a mapping from arm id to what changes of it, applied together; for a draft it may also be the
    new list of arms.
    """

    name: str | UnsetType = UNSET
    arms: list[Arm] | dict[str, ArmChange] | UnsetType = UNSET
    policy: PolicyChoice | UnsetType = UNSET
    reward: RewardSpec | UnsetType = UNSET
    context: ContextSpec | UnsetType | None = UNSET
    caps: Caps | UnsetType | None = msgspec.field(name="trust", default=UNSET)
    explore_floor: Share | UnsetType = UNSET
    targeting: Targeting | UnsetType | None = msgspec.field(name="gate", default=UNSET)
    """The whole new gate; None takes it away."""
