"""The shapes that products send, told apart by their members, understood, and written again.

| shape | told by | path |
|---|---|---|
| native | `kind` | `/feedback` |
| event | `type` | `/feedback` |
| correction | `original`, `corrected` | `/feedback/correction`, `/feedback` |
| generation | `offer_id` or `output_id`, with `rating` or `thumbs` | `/feedback` |
| rating | the path, or `event_id`, `timestamp` and `rating` | `/ratings`, `/feedback` |
| browser | `type` `signal` or `rating`, with `at_ms` | `/feedback/signals`, `/feedback` |
| interaction, step | the path | `/interactions`, `/steps` |

A shape becomes a `Draft`; `restore` turns the facts that became of it into the shape again. User ids and addresses
come back as pseudonyms, texts as they were redacted, and a token only when there is a signer to make it again.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Literal

import msgspec

from loopwright.core.decision import Decision
from loopwright.core.errors import BodyMalformed, Invalid
from loopwright.core.events import Fact, Interacted, Reported, Stepped
from loopwright.core.feedback import Correction

from .draft import Draft, Verify, shown
from .wire_event import read_event, write_event
from .wire_native import (
    NativeFeedback,
    read_interaction,
    read_native,
    read_step,
    understand,
    write_interaction,
    write_native,
    write_step,
)
from .wire_plain import (
    read_browser,
    read_correction,
    read_generation,
    read_rating,
    write_browser,
    write_correction,
    write_generation,
    write_rating,
)

Path = Literal["feedback", "correction", "rating", "signals", "interaction", "step"]
"""Where an item came in: it says which shapes are expected there."""

Read = Callable[[dict[str, Any], int, Verify], Draft]


def read(item: Any, path: Path, /, received_ms: int, verify: Verify) -> Draft:
    """Understand one item of a body that came in on `path`; raises `Invalid` with a sentence, or a token error."""
    if type(item) is msgspec.Raw:
        if path == "feedback":
            try:
                given = _decode_native(item)
            except msgspec.ValidationError:
                pass  # another shape, or the item is at fault: the slow way says which
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise malformed(error) from None
            else:
                return understand(given, received_ms, verify)
        item = plain(item)
    if not isinstance(item, dict):
        raise Invalid(f"an item is {shown(item)}; send an object")
    draft = (_BY_PATH.get(path) or _told_apart(item))(item, received_ms, verify)
    if path == "correction" and type(draft.feedback) is not Correction:
        raise Invalid("this is no correction; send original and corrected, or use /api/v1/feedback")
    return draft


def plain(item: Any) -> Any:
    """Return an item as Python objects; raises `BodyMalformed` when it is not JSON."""
    if not isinstance(item, msgspec.Raw | bytes):
        return item
    try:
        return msgspec.json.decode(item)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from None


def malformed(error: Exception) -> BodyMalformed:
    """Return the error for a body that is not JSON, or not UTF-8."""
    return BodyMalformed(f"the body is not valid JSON in UTF-8: {error}")


_decode_native: Final = msgspec.json.Decoder(NativeFeedback).decode


def _told_apart(item: dict[str, Any]) -> Read:
    if "type" in item:
        return read_browser if item["type"] in _SNIPPET and "at_ms" in item else read_event
    if "kind" in item:
        return read_native
    if "original" in item or "corrected" in item:
        return read_correction
    if not _GENERATION.isdisjoint(item):
        return read_generation
    if "rating" in item and "event_id" in item:
        return read_rating
    raise Invalid(
        "the item has none of the members that tell a shape: kind (native), type (event), original and "
        "corrected (correction), offer_id or output_id (generation)"
    )


_SNIPPET: Final = ("signal", "rating")
_GENERATION: Final = frozenset({"offer_id", "output_id", "generated_copy", "thumbs"})
_BY_PATH: Final[Mapping[Path, Read]] = {
    "rating": read_rating,
    "signals": read_browser,
    "interaction": read_interaction,
    "step": read_step,
}

_WRITE: Final[Mapping[str, Callable[[Reported], dict[str, Any]]]] = {
    "native": write_native,
    "event": write_event,
    "correction": write_correction,
    "generation": write_generation,
    "rating": write_rating,
    "browser": write_browser,
}

_ID_MEMBER: Final = {"event": "id", "native": "event_id"}


def restore(
    facts: Sequence[Fact], *, sign: Callable[[Decision], str] | None = None
) -> dict[str, Any]:
    """Return the item that became `facts`, in the shape it came in; its event id is always spelt out.

    `facts` are those of one item: one, or an interaction followed by what came inside it. Raises `Invalid` for
    facts that no product sends.
    """
    first = facts[0]
    if isinstance(first, Interacted):
        inside = [fact for fact in facts[1:] if isinstance(fact, Reported)]
        return write_interaction(first, inside) | {"event_id": first.event_id}
    if isinstance(first, Stepped):
        return write_step(first) | {"event_id": first.event_id}
    if not isinstance(first, Reported) or first.note.shape not in _WRITE:
        raise Invalid(f"{type(first).__name__} has no wire shape")
    shape = first.note.shape
    said = _WRITE[shape](first) | {_ID_MEMBER.get(shape, "event_id"): first.event_id}
    decision = first.target.decision
    if decision is None:
        return said
    return said | ({"request_id": sign(decision)} if sign else {"decision_id": decision.id})
