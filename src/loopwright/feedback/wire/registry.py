"""Which shape an item has, and the way there and back.

A shape becomes a `Draft`; `restore` turns the facts that became of it into the shape again. User ids and addresses
come back as pseudonyms, texts as they were redacted, and a token only when there is a signer to sign it again.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec

from loopwright.core.decision import Decision
from loopwright.core.errors import BodyMalformed, Invalid
from loopwright.core.events import Fact, Interacted, Reported, Stepped
from loopwright.core.feedback import Correction
from loopwright.core.problem import unreadable
from loopwright.feedback.draft import Draft, Verify
from loopwright.feedback.members import shown

from .agent_decision import AGENT_DECISION
from .browser import BROWSER
from .correction import CORRECTION
from .event import EVENT
from .flat_interaction import FLAT_INTERACTION
from .generation import GENERATION
from .interaction import INTERACTION
from .native import NATIVE
from .rating import RATING
from .shape import ReadJson, Shape
from .step import STEP

SHAPES: Final[tuple[Shape, ...]] = (
    AGENT_DECISION,
    NATIVE,
    BROWSER,
    EVENT,
    CORRECTION,
    GENERATION,
    RATING,
    FLAT_INTERACTION,
    INTERACTION,
    STEP,
)
"""Every shape; where a path takes several, the first that tells an item reads it."""


def _by_path() -> dict[str, tuple[Shape, ...]]:
    paths = {path for shape in SHAPES for path in shape.paths}
    return {path: tuple(shape for shape in SHAPES if path in shape.paths) for path in paths}


def _readers() -> dict[str, ReadJson]:
    return {
        path: shape.read_json
        for shape in SHAPES
        for path in shape.paths
        if shape.read_json is not None
    }


_BY_PATH: Final = _by_path()
_READ_JSON: Final = _readers()


def read(item: Any, path: str, /, received_ms: int, verify: Verify) -> Draft:
    """Read one item of a body that came in on `path`; raises `Invalid` with a sentence, or a token error."""
    draft = None
    if type(item) is msgspec.Raw:
        if (read_json := _READ_JSON.get(path)) is not None:
            try:
                draft = read_json(item, received_ms, verify)
            except msgspec.ValidationError:
                # Another shape, or a faulty item: the slow way finds out which.
                pass
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                raise malformed(error) from None
        if draft is None:
            item = decoded(item)
    if draft is None:
        if not isinstance(item, dict):
            raise Invalid(f"an item is {shown(item)}; send an object")
        draft = _shape_of(item, path).read(item, received_ms, verify)
    if path == "correction" and type(draft.feedback) is not Correction:
        raise Invalid("this is no correction; send original and corrected, or use /api/v1/feedback")
    return draft


def decoded(item: Any) -> Any:
    """Return an item as Python objects; raises `BodyMalformed` when it is not JSON."""
    if not isinstance(item, msgspec.Raw | bytes):
        return item
    try:
        return msgspec.json.decode(item)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise malformed(error) from None


def check_text(item: Any) -> None:
    """Raise `Invalid` when an item of Python objects holds text that UTF-8 cannot encode."""
    try:
        json.dumps(item, ensure_ascii=False, default=repr).encode()
    except UnicodeEncodeError as error:
        raise Invalid(
            f"a text holds {error.object[error.start]!r}, half of a surrogate pair, which UTF-8 cannot encode; "
            "send whole characters"
        ) from None
    except (TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"the item is no JSON value: {error}") from None


def malformed(error: Exception) -> BodyMalformed:
    """Return the error for a body that is not JSON, or not UTF-8."""
    return BodyMalformed(unreadable(error))


def _shape_of(item: dict[str, Any], path: str) -> Shape:
    expected = _BY_PATH[path]
    if len(expected) == 1:
        return expected[0]
    for shape in expected:
        if shape.tells(item):
            return shape
    told_by = ", ".join(f"{shape.told_by} ({shape.name})" for shape in expected if shape.told_by)
    raise Invalid(f"the item has none of the members that tell a shape: {told_by}")


def _shape_name(fact: Fact) -> str:
    match fact:
        case Reported(note=note):
            return note.shape
        case Interacted(interaction=call):
            return str(call.wire.get("shape", INTERACTION.name))
        case Stepped(step=step):
            return str(step.wire.get("shape", STEP.name))
    return ""


def restore(
    facts: Sequence[Fact], *, sign: Callable[[Decision], str] | None = None
) -> dict[str, Any]:
    """Return the item that became `facts`, in the shape it came in; its event id is always included.

    `facts` are those of one item: one, or an interaction followed by the feedback inside it. Raises `Invalid` for
    facts that no product sends.
    """
    first = facts[0]
    for shape in SHAPES:
        if type(first) is shape.fact and _shape_name(first) == shape.name:
            break
    else:
        raise Invalid(f"{type(first).__name__} has no wire shape")
    assert isinstance(first, Reported | Interacted | Stepped)
    item = shape.write(facts) | {shape.id_member: first.event_id}
    if isinstance(first, Reported) and (decision := first.target.decision) is not None:
        item |= {"request_id": sign(decision)} if sign else {"decision_id": decision.id}
    return item
