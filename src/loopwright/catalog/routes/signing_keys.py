"""The ring of keys that sign tokens, over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import msgspec
from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, SkipValidation

from loopwright.core.errors import NotFound
from loopwright.web.guard import needs
from loopwright.web.problems import problems


class SigningRing(Protocol):
    """The keys that sign tokens."""

    def ids(self) -> Sequence[int]:
        """Return the ids of the keys in the ring; the last one signs."""
        ...

    def rotate(self) -> int:
        """Add a fresh key, make it the one that signs, and return its id."""
        ...

    def retire(self, key_id: int) -> None:
        """Take a key out of the ring; raises `NotFound`, or `Conflict` for the one that signs."""
        ...


class SigningKeys(msgspec.Struct, frozen=True):
    """The ring that signs tokens: `active` signs, all of `ids` verify."""

    ids: list[int]
    active: int


Ring = NamedDependency[SkipValidation[SigningRing]]


class SigningKeysController(Controller):
    """The ring of keys that sign tokens."""

    path = "/api/v1/signing-keys"
    tags: Sequence[str] = ("keys",)

    @get(
        summary="List signing keys",
        responses=problems(),
        sync_to_thread=False,
        **needs("operator"),
    )
    def list(self, signing_ring: Ring) -> SigningKeys:
        """Return the ids in the ring; never a secret."""
        return signing_keys(signing_ring)

    @post(
        "/rotate",
        summary="Rotate the signing key",
        responses=problems(409),
        status_code=200,
        sync_to_thread=True,
        **needs("operator"),
    )
    def rotate(self, signing_ring: Ring) -> SigningKeys:
        """Sign with a fresh key from now on. Tokens that are out there stay valid."""
        signing_ring.rotate()
        return signing_keys(signing_ring)

    @delete(
        "/{key_id:str}",
        summary="Retire a signing key",
        responses=problems(404, 409),
        status_code=200,
        sync_to_thread=True,
        **needs("operator"),
    )
    def retire(self, key_id: FromPath[str], signing_ring: Ring) -> SigningKeys:
        """Take a key out of the ring: decisions it signed can no longer take feedback."""
        # Read as text: a number with thousands of digits is one more id that is not in the ring.
        known = {str(number): number for number in signing_ring.ids()}
        if key_id not in known:
            raise NotFound(f"there is no signing key '{key_id}'; the ring holds {', '.join(known)}")
        signing_ring.retire(known[key_id])
        return signing_keys(signing_ring)


def signing_keys(ring: SigningRing) -> SigningKeys:
    """Return the ids of a ring, and which of them signs."""
    ids = [*ring.ids()]
    return SigningKeys(ids=sorted(ids), active=ids[-1])
