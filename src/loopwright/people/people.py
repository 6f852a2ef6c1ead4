"""People: the link from user ids to pseudonyms, kept apart from everything else so that it can be destroyed.

A person is a random id. What leads from a product's user id to it is one row: a keyed digest of the user id, made
with the tenant's key. The log and every table hold the random id only, so deleting that row cuts the link for
good, and the same user coming again is a new person.

Each person also has a key, made when something about them is first encrypted, and destroyed with the row.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec

from loopwright.core.clock import Clock
from loopwright.core.digest import pseudonym
from loopwright.core.errors import NotFound
from loopwright.core.feedback import ConsentScope
from loopwright.core.ports import Database

from .scrubbing import Erasing
from .store import KEY_BYTES, PeopleStore, Person
from .units import Units

UnitKnown = Callable[[str, Sequence[str]], bool]
"""Says, for a tenant, whether there are decisions of any of these units."""

CACHED: Final = 100_000
"""People in the cache, over all tenants; when it is full it is emptied."""


class People:
    """Pseudonyms and consents of every tenant. Safe to use from several threads."""

    def __init__(
        self,
        database: Database,
        *,
        clock: Clock,
        random_bytes: Callable[[int], bytes] = secrets.token_bytes,
        rewrite: Callable[[], object] = lambda: None,
    ) -> None:
        self._store = PeopleStore(database)
        self._rewrite = rewrite
        self.now_ms = clock.now_ms
        self._random_bytes = random_bytes
        # Held while rows and cache change together, so that no thread caches a person whom another has erased.
        self._lock = threading.Lock()
        self._keys: dict[str, bytes] = {}
        self.units = Units(self.key)
        """Pseudonyms of the units of decisions."""
        self._cache: dict[str, dict[str, Person]] = {}

    def key(self, tenant_id: str) -> bytes:
        """Return the tenant's secret key, made at its first use."""
        found = self._keys.get(tenant_id)
        if found is None:
            fresh = self._random_bytes(KEY_BYTES)
            found = self._keys[tenant_id] = self._store.tenant_key(tenant_id, fresh)
        return found

    def person_key(self, tenant_id: str, person: str) -> bytes | None:
        """Return the key of what is encrypted about a person; None when it was destroyed or never made."""
        return self._store.person_key(tenant_id, person)

    def person_keys(self, tenant_id: str, persons: Iterable[str]) -> dict[str, bytes]:
        """Return the keys of those people who exist, made at their first use, in one transaction.

        They are not cached: a key that is destroyed must be gone from memory too.
        """
        wanted = list(persons)
        found = {person: self.person_key(tenant_id, person) for person in wanted}
        missing = [person for person, key in found.items() if key is None]
        if missing:
            with self._lock:
                fresh = {person: self._random_bytes(KEY_BYTES) for person in missing}
                self._store.add_person_keys(tenant_id, fresh)
            found |= {person: self.person_key(tenant_id, person) for person in missing}
        return {person: key for person, key in found.items() if key is not None}

    def resolve(self, tenant_id: str, user_ids: Iterable[str]) -> dict[str, Person]:
        """Return the person behind each user id; new ones are made, durably, in one transaction."""
        cache = self._cache.get(tenant_id, _NO_ONE)
        found: dict[str, Person] = {}
        missing: list[str] = []
        for user_id in user_ids:
            person = cache.get(user_id)
            if person is None:
                missing.append(user_id)
            else:
                found[user_id] = person
        return found | self._load(tenant_id, missing) if missing else found

    def has_cached(self, tenant_id: str, user_ids: Iterable[str]) -> bool:
        """Say whether all these people are in the cache: then `resolve` does not wait for the disk."""
        cache = self._cache.get(tenant_id, _NO_ONE)
        return cache.keys() >= set(user_ids)

    def find(self, tenant_id: str, id: str) -> Person:
        """Return the person with this user id or pseudonym; raises `NotFound`."""
        lookup = pseudonym(self.key(tenant_id), id)
        found = self._store.find(tenant_id, lookup=lookup, person=id)
        if found is None:
            raise NotFound("there is no person with this id; it was never seen, or is erased")
        return found

    def since(self, tenant_id: str, persons: Iterable[str]) -> dict[str, int]:
        """Return when each of these people was first seen (ms); unknown and erased ones are left out."""
        return self._store.since(tenant_id, persons)

    def first_since(self, tenant_id: str) -> int | None:
        """Return when the first of a tenant's people was seen (ms); None when it has none."""
        return self._store.first_since(tenant_id)

    def consent(self, tenant_id: str, person: str, scopes: Sequence[ConsentScope]) -> None:
        """Store what a person allows from now on."""
        with self._lock:
            self._store.set_consent(tenant_id, person, scopes)
            self._drop_cached(tenant_id, person)

    def begin_erasure(self, tenant_id: str, id: str, *, is_unit: UnitKnown, at_ms: int) -> Erasing:
        """Note durably that a person, by user id or pseudonym, is to be erased; return what it takes.

        Somebody who was only ever the unit of decisions is a person too. Raises `NotFound` for anyone else. An erasure
        that was begun and not finished is returned as it was.
        """
        lookup = pseudonym(self.key(tenant_id), id)
        begun = self._store.erasure(tenant_id, lookup=lookup, person=id)
        # Again with the same secret: facts that are scrubbed already hold digests made with it.
        if begun is not None:
            return msgspec.json.decode(begun, type=Erasing)
        ids: tuple[str, ...] = (self.units.of_lookup(tenant_id, lookup), id)
        found = self._store.find(tenant_id, lookup=lookup, person=id)
        if found is None:
            if not is_unit(tenant_id, ids):
                raise NotFound("there is no person with this id; it was never seen, or is erased")
            # A row for the time of the erasure, so that the person has a pseudonym for the log to name.
            found = self.resolve(tenant_id, [id])[id]
        elif found.id == id:
            lookup = self._store.lookup(tenant_id, id) or lookup
            ids = (self.units.of_lookup(tenant_id, lookup),)
        erasing = Erasing(
            tenant_id=tenant_id,
            person=found.id,
            at_ms=at_ms,
            secret=self._random_bytes(KEY_BYTES),
            ids=ids,
        )
        body = msgspec.json.encode(erasing).decode()
        self._store.begin_erasure(tenant_id, found.id, lookup=lookup, body=body)
        return erasing

    def erasures(self) -> list[Erasing]:
        """Return the erasures that were begun and not finished."""
        return [msgspec.json.decode(body, type=Erasing) for body in self._store.erasures()]

    def end_erasure(self, erasing: Erasing) -> None:
        """Forget an erasure that is finished, and with it the user id and the key that it took."""
        # Then the file is rewritten, as the note held the user id and the secret.
        self._store.end_erasure(erasing.tenant_id, erasing.person)
        self._rewrite()

    def erase(self, tenant_id: str, person: str) -> bool:
        """Destroy the link from a user id to this person, and their key; False when there is no such person."""
        with self._lock:
            gone = self._store.delete(tenant_id, person)
            self._drop_cached(tenant_id, person)
        self.units.forget()
        # Deleted rows stay readable in the free pages of a database file until it is rewritten.
        self._rewrite()
        return gone

    def _load(self, tenant_id: str, user_ids: Iterable[str]) -> dict[str, Person]:
        key = self.key(tenant_id)
        lookups = {user_id: pseudonym(key, user_id) for user_id in user_ids}
        with self._lock:
            loaded = self._store.add(
                tenant_id,
                lookups,
                new_id=lambda: self._random_bytes(16).hex(),
                now_ms=self.now_ms(),
            )
            if sum(map(len, self._cache.values())) >= CACHED:
                self._cache.clear()
            self._cache.setdefault(tenant_id, {}).update(loaded)
        return loaded

    def _drop_cached(self, tenant_id: str, person: str) -> None:
        cache = self._cache.get(tenant_id, {})
        for user_id in [user_id for user_id, cached in cache.items() if cached.id == person]:
            del cache[user_id]


_NO_ONE: Final[dict[str, Person]] = {}
