"""Units: pseudonyms, in all records, of the ids that a product assigns by, which are often user ids.

The arm is chosen by the id itself; the decision that is signed and stored holds its pseudonym. It is a digest keyed
with the tenant's key, because a select may not wait for a table: equal ids have equal pseudonyms, also of a user
who was erased and comes back. Erasure therefore takes the pseudonym out of what was stored.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from msgspec.structs import replace

from loopwright.core.decision import Decision
from loopwright.core.digest import pseudonym

UNIT: Final = "unit:"
"""Prefix of a unit's pseudonym; 32 hexadecimal digits follow."""
_LENGTH: Final = len(UNIT) + 32

CACHED: Final = 50_000
"""Pseudonyms in the cache; when it is full it is emptied."""

# Other members stay as they came: a digest of a plan or a country would be of no use to a reader.
NAMING: Final = ("user_id", "user", "customer_id", "reviewer")
"""Members of a context's metadata that name a person."""


class Units:
    """Pseudonyms of units, over all tenants; `key` returns a tenant's secret key. Safe to use from several threads."""

    def __init__(self, key: Callable[[str], bytes]) -> None:
        self._key = key
        self._keyed: dict[str, Any] = {}
        self._cache: dict[tuple[str, str], str] = {}

    def name(self, tenant_id: str, id: str) -> str:
        """Return the pseudonym of a unit, a context or a person named in a context."""
        found = self._cache.get((tenant_id, id))
        if found is None:
            if len(self._cache) >= CACHED:
                self._cache.clear()
            lookup = pseudonym(self._key(tenant_id), id)
            found = self._cache[tenant_id, id] = self.of_lookup(tenant_id, lookup)
        return found

    def of_lookup(self, tenant_id: str, lookup: str) -> str:
        """Return the pseudonym of the unit with this digest in the table of people."""
        keyed = self._keyed.get(tenant_id)
        if keyed is None:
            keyed = self._keyed[tenant_id] = blake2b(key=self._key(tenant_id), digest_size=16)
        # A copy of the keyed state: the key is hashed once per tenant, not once per select.
        digest = keyed.copy()
        # From the person's lookup and not the id: erasure finds the unit by the row alone, without the user id.
        digest.update(b"unit\0" + lookup.encode())
        return UNIT + digest.hexdigest()

    def metadata(self, tenant_id: str, metadata: dict[str, Any]) -> dict[str, Any]:
        """Return a context's metadata with pseudonyms of the people it names; itself when it names none."""
        if metadata.keys().isdisjoint(NAMING):
            return metadata
        # Numbers too: many products number their users.
        named = [name for name in NAMING if isinstance(metadata.get(name), str | int)]
        return metadata | {name: self.name(tenant_id, str(metadata[name])) for name in named}

    def decision(self, decision: Decision) -> Decision:
        """Return a decision with pseudonyms only: tokens from before December 2026 hold the ids themselves."""
        unit, context, metadata = decision.unit_id, decision.context_id, decision.metadata
        if unit is None and context is None and not metadata:
            return decision
        tenant = decision.tenant_id
        if unit is not None and not is_pseudonym(unit):
            decision = replace(decision, unit_id=self.name(tenant, unit))
        if context is not None and not is_pseudonym(context):
            decision = replace(decision, context_id=self.name(tenant, context))
        if metadata and not metadata.keys().isdisjoint(NAMING):
            # Pseudonyms are left alone: one of a pseudonym would belong to another unit.
            raw = {k: v for k, v in metadata.items() if not (type(v) is str and is_pseudonym(v))}
            decision = replace(decision, metadata=metadata | self.metadata(tenant, raw))
        return decision

    def forget(self) -> None:
        """Empty the cache: a user id that is erased is in no memory either."""
        self._cache.clear()


def is_pseudonym(unit_id: str) -> bool:
    """Say whether a unit id is a pseudonym made here."""
    return unit_id.startswith(UNIT) and len(unit_id) == _LENGTH
