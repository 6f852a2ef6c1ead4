"""People: who stands behind a pseudonym, what they allow, what is kept of them in the raw, and their erasure."""

from __future__ import annotations

from .people import People, Person
from .raw import RawCopies

__all__ = ["People", "Person", "RawCopies"]
