"""The decision: what was chosen, for what, at which odds."""

from __future__ import annotations

from typing import Any, Final, Literal

import msgspec

# Only `live` decisions teach: a shadow arm was never shown, and a holdout or fallback arm was not drawn at the
# odds of the policy, so their outcomes say nothing about it.
Mode = Literal["live", "shadow", "holdout", "fallback"]


ERASED: Final = "erased:"
"""What stands before the pseudonym of an erased person in the place of a decision's unit: no table has its rows."""


class Decision(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One arm chosen for one context, with the odds it was chosen at.

    This is what the token carries and what the log keeps; everything learning needs is in it. Fields are
    only ever added at the end, with a default, so older tokens and segments stay readable.
    """

    id: str
    tenant_id: str
    experiment_id: str
    arm_id: str
    propensity: float
    """Probability with which this arm was drawn, in (0, 1]; exact, never estimated afterwards."""
    snapshot: int
    """Offset of the event log through which the serving snapshot had learned."""
    decided_at_ms: int
    mode: Mode = "live"
    unit_id: str | None = None
    context_id: str | None = None
    vector: bytes | None = None
    """The context's vector as packed little-endian float64."""
    metadata: dict[str, Any] | None = None
    rule: str | None = None
    """The rule of the experiment's gate that applied, `schedule` or `rollout`; None when none did."""

    @property
    def session_id(self) -> str | None:
        """The caller's session, where the context's metadata names it."""
        # Metadata is the caller's own JSON: the member may as well be a number or null.
        session_id = (self.metadata or {}).get("session_id")
        return session_id if isinstance(session_id, str) and session_id else None

    @property
    def is_erased(self) -> bool:
        """Whether the unit that it was made for was erased; then only what was learned from is left."""
        return self.unit_id is not None and self.unit_id.startswith(ERASED)
