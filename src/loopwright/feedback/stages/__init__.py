"""The stages of intake: from items to facts with their identities.

validate → deduplicate → redact → enrich → classify → facts. Keys, people and recent history are parameters of the
stages that need them. `validate` takes one item, because each is refused on its own; the other stages take all
drafts of a body at once, which halves the cost of an item without texts.
"""

from __future__ import annotations

from loopwright.feedback.identity import key_of

from .identify import reference

__all__ = ["key_of", "reference"]
