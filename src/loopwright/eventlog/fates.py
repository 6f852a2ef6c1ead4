"""Which facts of a group commit are stored, and which repeat or contradict what is stored already."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from loopwright.core.events import Fact
from loopwright.core.ports import Committed, Mark, Revised

CONTENT_BYTES: Final = 8
"""How much of what is kept beside a key stands for the content; the rest is `Mark.id`."""


class Group:
    """The facts of one commit, judged in order by what is kept beside `taken` keys and by one another."""

    def __init__(self, taken: Mapping[bytes, bytes | None]) -> None:
        self._taken = taken
        self._verdicts: list[Committed] = []
        self.facts: list[Fact] = []
        """Those to be stored."""
        self.said: dict[bytes, bytes | None] = {}
        """The keys of them, and what is to be kept beside each; in the order of arrival, so that equal runs write equal logs."""

    def add(self, facts: Sequence[Fact], keys: Sequence[bytes | None]) -> None:
        """Judge the facts of one submission."""
        taken, said, stored = self._taken, self.said, self.facts.append
        duplicates: list[bool] = []
        conflicts: set[int] = set()
        known: dict[int, bytes] = {}
        is_refused = False
        for place, (fact, key) in enumerate(zip(facts, keys, strict=True)):
            is_duplicate = False
            # `type(x) is`, not `isinstance`, which takes ten times as long for a struct.
            if type(key) is Mark:
                name, new = bytes(key), key.content + key.id
                is_duplicate = (key.rides and duplicates[-1]) or (key.inside and is_refused)
                if is_duplicate:
                    if is_refused:
                        conflicts.add(place)
                elif name in said or name in taken:
                    before = said[name] if name in said else taken[name]
                    if key.revises:
                        is_duplicate = before is not None and before[:CONTENT_BYTES] == key.content
                        if is_duplicate and before is not None:
                            known[place] = before[CONTENT_BYTES:]
                    else:
                        is_duplicate = True
                        if _conflict(key, before):
                            conflicts.add(place)
                if not (key.inside or key.rides):
                    is_refused = place in conflicts
                if not is_duplicate:
                    said[name] = new
            elif key is not None:
                is_refused = False
                is_duplicate = key in said or key in taken
                if not is_duplicate:
                    said[key] = None
            duplicates.append(is_duplicate)
            if not is_duplicate:
                stored(fact)
        self._verdicts.append(Committed(None, duplicates, frozenset(conflicts), known))

    def keys(self) -> tuple[dict[bytes, bytes | None], Revised | None]:
        """Return the keys that are new, and those that are there and get something else beside them."""
        taken = self._taken
        if not taken:
            return self.said, None
        fresh = {key: new for key, new in self.said.items() if key not in taken}
        revised = {
            key: (taken[key], new)
            for key, new in self.said.items()
            if key in taken and new is not None
        }
        return fresh, revised

    def outcomes(self, first: int) -> list[Committed]:
        """Return what became of each submission, when the first of `facts` is at offset `first`."""
        outcomes = []
        for verdict in self._verdicts:
            stored = verdict.duplicates.count(False)
            outcomes.append(
                Committed(
                    first if stored else None, verdict.duplicates, verdict.conflicts, verdict.known
                )
            )
            first += stored
        return outcomes


def _conflict(mark: Mark, before: bytes | None) -> bool:
    """Say whether other content is stored under the key for the same id; nothing is known of keys without content."""
    return (
        before is not None
        and before[CONTENT_BYTES:] == mark.id
        and before[:CONTENT_BYTES] != mark.content
    )
