"""The rating of a live loop: 1 to 5 stars for a session, under a UUID of version 4."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final

from loopwright.core.errors import Invalid
from loopwright.core.events import Fact
from loopwright.core.feedback import Note, Rating, Target
from loopwright.feedback.draft import Draft, Verify, decision_of
from loopwright.feedback.identity import canonical
from loopwright.feedback.members import Members, shown, stars
from loopwright.feedback.times import read_time, time_as_sent

from .shape import MIXED, Shape, report_of

DEVICES: Final = frozenset({"mobile", "web", "voice"})

_UUID4: Final = re.compile(r"[0-9a-f]{12}4[0-9a-f]{3}[89ab][0-9a-f]{15}")


def read(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Read the rating of a live loop; raises `Invalid`."""
    members = Members(item)
    event_id = members.text("event_id")
    if event_id is None or not _UUID4.fullmatch(canonical(event_id)):
        raise Invalid(f"event_id is {shown(event_id)}; send a UUID of version 4")
    value = stars(members.left.pop("rating", None))
    at_ms, wire, flags = read_time(members.left.pop("timestamp", None), "timestamp")
    user_id, session_id = members.text("user_id"), members.text("session_id")
    if user_id is None or session_id is None:
        raise Invalid("user_id and session_id belong to a rating; send both")
    context = Members(members.object("context"), where="context.")
    metadata = Members(members.object("metadata"), where="metadata.")
    labels = {
        name: said
        for name in ("feature_id", "device_type", "locale")
        if (said := context.text(name)) is not None
    }
    if labels.get("device_type", "web") not in DEVICES:
        flags += ("unknown_device_type",)
    address = metadata.text("ip_address")
    for name, given, left in (
        ("context", "context" in item, context.left),
        ("metadata", "metadata" in item, metadata.left),
    ):
        if given:
            wire[name] = left
    decision = decision_of(verify, members.text("request_id", limit=16_384))
    if members.left:
        wire["extra"] = members.left
    return Draft(
        event_id=event_id,
        user_id=user_id,
        address=address,
        is_dated=True,
        target=Target(decision, session_id=session_id),
        feedback=Rating(value, "stars", 1.0, 5.0),
        note=Note(
            occurred_at_ms=at_ms,
            session_id=session_id,
            labels=labels,
            flags=flags,
            shape="rating",
            wire=wire,
        ),
        is_free=bool(members.left or context.left or metadata.left),
    )


def write(facts: Sequence[Fact]) -> dict[str, Any]:
    """Return a rating as it was sent, with pseudonyms."""
    fact = report_of(facts)
    note, rating = fact.note, fact.feedback
    assert isinstance(rating, Rating)
    said = {
        "event_id": fact.event_id,
        "user_id": note.person,
        "session_id": note.session_id,
        "timestamp": time_as_sent(note),
        "rating": rating.value,
        **note.wire.get("extra", {}),
    }
    if "context" in note.wire:
        said["context"] = note.wire["context"] | note.labels
    if "metadata" in note.wire:
        address = {} if note.address is None else {"ip_address": note.address}
        said["metadata"] = note.wire["metadata"] | address
    return said


RATING: Final = Shape(
    name="rating",
    tells=lambda item: "rating" in item and "event_id" in item,
    paths=MIXED | {"rating"},
    read=read,
    write=write,
)
