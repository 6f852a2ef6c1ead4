"""One action that the browser snippet saw: an implicit signal, or a click on thumbs or stars."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from loopwright.core.errors import Invalid
from loopwright.core.events import Fact
from loopwright.core.feedback import Note, Rating, Signal, Target
from loopwright.feedback.draft import Draft, Verify, decision_of
from loopwright.feedback.members import Members, finite, shown, stars
from loopwright.feedback.times import read_time

from .shape import MIXED, Shape, report_of


def read(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Read one action that the browser snippet saw; raises `Invalid`."""
    members = Members(item)
    kind = members.left.pop("type", None)
    at_ms = members.left.pop("at_ms", None)
    if isinstance(at_ms, bool) or not isinstance(at_ms, int):
        raise Invalid(f"at_ms is {shown(at_ms)}; send whole milliseconds since the epoch")
    at_ms, _, flags = read_time(at_ms, "at_ms")
    value = members.left.pop("value", None)
    if kind == "signal":
        name = members.text("kind", limit=128)
        if not name:
            raise Invalid("kind is missing; name the signal")
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Invalid(f"value is {shown(value)}; a signal has a number")
        feedback: Signal | Rating = Signal(name, finite(value, "value"))
    else:
        feedback = _browser_rating(members.text("scale", limit=128), value)
    decision = decision_of(verify, members.text("request_id", limit=16_384))
    session_id = members.text("session_id")
    event_id = members.text("event_id", limit=128)
    return Draft(
        event_id=event_id,
        is_dated=True,
        target=Target(decision, session_id=session_id),
        feedback=feedback,
        note=Note(
            occurred_at_ms=at_ms,
            session_id=session_id,
            shape="browser",
            flags=flags,
            wire={"extra": members.left} if members.left else {},
        ),
        is_free=bool(members.left),
    )


def _browser_rating(scale: str | None, value: Any) -> Rating:
    if scale == "stars":
        return Rating(stars(value, "value"), "stars", 1.0, 5.0)
    if scale != "thumbs":
        raise Invalid(f"scale is {shown(scale)}; send 'thumbs' or 'stars'")
    if isinstance(value, bool) or value not in (0, 1):
        raise Invalid(f"value is {shown(value)}; thumbs are 1 for up and 0 for down")
    return Rating(float(value), "thumbs")


def write(facts: Sequence[Fact]) -> dict[str, Any]:
    """Return an action as the snippet sent it."""
    fact = report_of(facts)
    note, feedback = fact.note, fact.feedback
    assert isinstance(feedback, Signal | Rating)
    said: dict[str, Any] = {
        "session_id": note.session_id,
        "event_id": fact.event_id,
        "at_ms": note.occurred_at_ms,
        "value": feedback.value,
        **note.wire.get("extra", {}),
    }
    if isinstance(feedback, Signal):
        said |= {"type": "signal", "kind": feedback.name}
    else:
        said |= {"type": "rating", "scale": feedback.scale}
    return {name: value for name, value in said.items() if value is not None}


_TYPES: Final = ("signal", "rating")

BROWSER: Final = Shape(
    name="browser",
    tells=lambda item: item.get("type") in _TYPES and "at_ms" in item,
    paths=MIXED | {"signals"},
    read=read,
    write=write,
)
