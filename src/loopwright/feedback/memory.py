"""Recent history that intake judges a fact against: contradictions and order."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any, Final

REMEMBERED: Final = 50_000


class Memory:
    """The latest vote of each person on each thing, and the latest time of each session.

    At most `capacity` of each are kept; the oldest are forgotten, and a restart forgets all.
    """

    def __init__(self, capacity: int = REMEMBERED) -> None:
        self._capacity = capacity
        # An OrderedDict: a plain dict scans over all its deleted entries to find the oldest key.
        self._votes: OrderedDict[Any, bool] = OrderedDict()
        self._sessions: OrderedDict[Any, int] = OrderedDict()

    def contradicts(self, tenant_id: str, person: str, *, about: Any, is_up: bool) -> bool:
        """Say whether the person's vote before was the opposite, and remember this one."""
        key = (tenant_id, person, about)
        before = self._votes.pop(key, None)
        self._put(self._votes, key, is_up)
        return before is not None and before != is_up

    def is_behind(self, tenant_id: str, session_id: str, at_ms: int) -> bool:
        """Say whether the session has a later fact than one at `at_ms`, and remember this time."""
        key = (tenant_id, session_id)
        latest = self._sessions.pop(key, at_ms)
        self._put(self._sessions, key, max(latest, at_ms))
        return at_ms < latest

    def _put(self, kept: OrderedDict[Any, Any], key: Any, value: Any) -> None:
        if len(kept) >= self._capacity:
            kept.popitem(last=False)
        kept[key] = value
