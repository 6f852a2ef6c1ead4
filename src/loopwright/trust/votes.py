"""Votes as columns: one explicit judgement per row, in log order."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.stats.agreement import Codes

Mask = NDArray[np.bool_]

UNKNOWN: Final = -1
"""The code of a user, address or session that was not given."""


class Vote(msgspec.Struct, frozen=True, kw_only=True):
    """One explicit judgement of a decision, as far as trust needs to know it."""

    decision_id: str
    arm_id: str
    at_ms: int
    role: str = "end_user"
    metric: str = "rating"
    user_id: str | None = None
    session_id: str | None = None
    address: str | None = None
    account_made_ms: int | None = None
    """When the account was first seen; None counts as old."""


@dataclass(frozen=True, slots=True, eq=False)
class Votes:
    """Votes as columns, in log order. Codes are int64[n]; `UNKNOWN` where something was not given.

    `ballots` codes (decision, metric). `ages_ms` is the age of the account when it voted, -1 when unknown.
    """

    users: Codes
    sessions: Codes
    addresses: Codes
    ballots: Codes
    arms: Codes
    roles: Codes
    at_ms: Codes
    ages_ms: Codes
    user_names: tuple[str, ...]
    role_names: tuple[str, ...]

    @classmethod
    def of(cls, votes: Sequence[Vote]) -> Votes:
        """Return `votes` as columns."""
        users, user_names = _codes(vote.user_id for vote in votes)
        roles, role_names = _codes(vote.role for vote in votes)
        # Clocks of sender and server differ; an account is never younger than nothing.
        ages = [
            UNKNOWN if vote.account_made_ms is None else max(vote.at_ms - vote.account_made_ms, 0)
            for vote in votes
        ]
        return cls(
            users=users,
            sessions=_codes(vote.session_id for vote in votes)[0],
            addresses=_codes(vote.address for vote in votes)[0],
            ballots=_codes((vote.decision_id, vote.metric) for vote in votes)[0],
            arms=_codes(vote.arm_id for vote in votes)[0],
            roles=roles,
            at_ms=np.array([vote.at_ms for vote in votes], dtype=np.int64),
            ages_ms=np.array(ages, dtype=np.int64),
            user_names=user_names,
            role_names=role_names,
        )

    def __len__(self) -> int:
        return len(self.at_ms)


def joint(first: Codes, second: Codes) -> Codes:
    """Return one code per pair of codes."""
    if not len(first):
        return first
    # Shifted to 0 before the product: minutes since 1970 times the number of arms would grow needlessly.
    low = second.min()
    joint: Codes = (first + 1) * (second.max() - low + 1) + (second - low)
    return joint


def _codes(values: Iterable[Any]) -> tuple[Codes, tuple[str, ...]]:
    """Return codes in order of first appearance, and what they stand for; None has the code `UNKNOWN`."""
    seen: dict[Any, int] = {}
    found = [UNKNOWN if value is None else seen.setdefault(value, len(seen)) for value in values]
    return np.array(found, dtype=np.int64), tuple(seen)
