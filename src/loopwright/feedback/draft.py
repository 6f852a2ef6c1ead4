"""A draft: what an item of a body says, before intake gives it an identity.

A draft still names the person and the address as the sender did. Intake replaces both before anything is stored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from loopwright.core.decision import Decision
from loopwright.core.feedback import Feedback, Note, Target
from loopwright.core.interaction import Interaction, Step

TEXT_CHARS: Final = 65_536
"""Longest free text that is taken."""

WIRE_BYTES: Final = 65_536
"""Most that the members without a place of their own may take up, encoded."""

ID_CHARS: Final = 512
MAX_ENTRIES: Final = 64

FREE_TEXT: Final = frozenset(
    {
        "answer",
        "comment",
        "corrected",
        "corrected_sql",
        "description",
        "error_message",
        "explanation",
        "generated_copy",
        "generated_sql",
        "message",
        "notes",
        "original",
        "original_sql",
        "prompt",
        "query",
        "rationale",
        "reason",
        "response",
        "sql",
        "stack_trace",
        "text",
    }
)
"""Members of a free-form object that are declared to be free text, with all that is inside them, wherever they stand."""


class Also(msgspec.Struct, frozen=True, gc=False):
    """Feedback or an outcome that came inside another item."""

    feedback: Feedback
    wire: dict[str, Any]
    text: str = ""
    """What it says in words, as free text."""


class Draft(msgspec.Struct, kw_only=True, gc=False):
    """One item of a body, read but not yet a fact. The stages of intake change it in place."""

    event_id: str | None = None
    is_new: bool = False
    """Whether it is a record of its own though equal to an earlier one, when it has no event id."""
    tenant_id: str | None = None
    """The tenant that the item names, which must be that of the API key."""
    user_id: str | None = None
    reviewer_id: str | None = None
    """The user id of the reviewer, where it differs from `user_id`."""
    address: str | None = None
    is_dated: bool = False
    """Whether the sender gave a time; otherwise it is the time of arrival."""
    target: Target = Target()
    feedback: Feedback | None = None
    note: Note
    interaction: Interaction | None = None
    step: Step | None = None
    also: tuple[Also, ...] = ()
    is_free: bool = False
    """Whether it has free-form members of the sender, which have to be checked and redacted."""


Verify = Callable[[str], Decision]
"""Returns the decision in a token; raises a token error."""


def decision_of(verify: Verify, token: str | None) -> Decision | None:
    """Return the decision in the token of feedback; None without a token."""
    return None if token is None else verify(token)
