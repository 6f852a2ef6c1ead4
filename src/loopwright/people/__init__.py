"""People: pseudonyms in place of user ids, consent, raw copies, and erasure."""

from __future__ import annotations

from .consent import change_consent
from .erasure import erase_person
from .people import People
from .raw import RawCopies
from .store import Person

__all__ = ["People", "Person", "RawCopies", "change_consent", "erase_person"]
