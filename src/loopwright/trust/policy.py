"""The rules of a trust view: role priors, bounds, caps and what counts as a burst."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from loopwright.core.clock import DAY_MS

ROLES: Final[Mapping[str, float]] = {
    "end_user": 1.0,
    "reviewer": 2.0,
    "expert": 3.0,
    "evaluator": 0.5,
    "system": 1.0,
}
"""How much a vote counts by who casts it, unless a policy says otherwise."""

Positive = Annotated[float, Meta(gt=0)]
Count = Annotated[int, Meta(ge=1)]


class TrustPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The rules of a trust view. Change a rule, raise `version`: views of different versions do not compare."""

    version: Count = 2
    roles: dict[str, Positive] = msgspec.field(default_factory=lambda: dict(ROLES))
    other_role: Positive = 0.5
    """Weight of a role that is not listed."""
    least: Positive = 0.1
    # Bounded, as trust can be earned first and spent on an attack later.
    most: Positive = 3.0
    half_life_days: Positive | None = 90.0
    """Age at which a vote counts half; None keeps it for ever."""
    # Right in four of five cases, at the worth of five judgements: little evidence moves little.
    prior_right: Positive = 4.0
    prior_wrong: Positive = 1.0
    """What everybody is credited with before any evidence: a Beta prior on being right."""
    chance: Annotated[float, Meta(gt=0, lt=1)] = 0.5
    """How often a person who does not look is right: 1 ÷ number of classes."""
    per_user: Count = 5
    per_session: Count = 5
    per_address: Count = 50
    """Votes that count per user, session or address on one arm and day (UTC)."""
    keep: Literal["first", "latest"] = "first"
    """Which of several votes of one user on one decision counts."""
    burst_least: Count = 10
    """Fewer votes than this in a minute of an arm are never a burst."""
    # An arm has 1,440 minutes a day: at one in a million, chance makes a burst about once in two years.
    burst_tail: Annotated[float, Meta(gt=0, lt=0.5)] = 1e-6
    """How unlikely a minute's votes on an arm must be to count as a burst."""
    # Traffic has peaks by the hour; without slack each of them would be a burst.
    burst_slack: Annotated[float, Meta(ge=1)] = 3.0
    """How many times its usual rate an arm may see at the peak of a day."""
    burst_z: Positive = 6.0
    """How many robust standard deviations above the usual a burst lies."""
    new_account_ms: Annotated[int, Meta(ge=0)] = DAY_MS
    """An account that was first seen less than this before its vote is new."""
    # In a tenant's first week everybody is seen for the first time, and nobody would be old.
    settling_ms: Annotated[int, Meta(ge=0)] = 7 * DAY_MS
    """Accounts first seen so soon after a tenant's first one may have been there long before: they are not new."""

    def __post_init__(self) -> None:
        if self.least > self.most:
            raise ValueError(f"least weight {self.least} exceeds most weight {self.most}")
        # The skill factor divides by this difference.
        if self.prior_right / (self.prior_right + self.prior_wrong) <= self.chance:
            raise ValueError(
                f"the prior {self.prior_right}:{self.prior_wrong} is no better than chance {self.chance}; "
                "an unknown person must be believed more than a coin"
            )
