"""The smaller shapes: generation feedback, the rating of a live loop, a correction, and the browser snippet's actions."""

from __future__ import annotations

import re
from typing import Any, Final

from loopwright.core.errors import Invalid
from loopwright.core.events import Reported
from loopwright.core.feedback import Correction, Note, Rating, Signal, Target

from .draft import (
    Draft,
    Members,
    Verify,
    decided,
    finite,
    moment,
    shown,
    spelt_again,
    stars,
    thumb_word,
    thumbs,
)

DEVICES: Final = frozenset({"mobile", "web", "voice"})

_UUID4: Final = re.compile(
    r"[0-9a-f]{8}-?[0-9a-f]{4}-?4[0-9a-f]{3}-?[89ab][0-9a-f]{3}-?[0-9a-f]{12}", re.IGNORECASE
)


def read_generation(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Understand feedback about a generated text: a rating of 1 to 5, thumbs, or both; raises `Invalid`.

    With both, the rating is the feedback and the thumbs are a label.
    """
    members = Members(item)
    offer_id, output_id = members.text("offer_id"), members.text("output_id")
    if offer_id is None and output_id is None:
        raise Invalid("neither offer_id nor output_id is there; say which output this is about")
    rating, thumb = members.left.pop("rating", None), members.left.pop("thumbs", None)
    if rating is None and thumb is None:
        raise Invalid(
            "neither rating nor thumbs is there; send a rating from 1 to 5, 'up' or 'down'"
        )
    labels = {
        name: value
        for name in ("prompt_version", "model_version")
        if (value := members.text(name)) is not None
    }
    liked = None if thumb is None else thumbs(thumb)
    graded = None if rating is None else stars(rating)
    if liked is not None:
        labels["thumbs"] = thumb_word(liked)
    if offer_id is not None:
        labels["offer_id"] = offer_id
    at_ms, wire, flags, is_dated = _stamped(members, received_ms)
    event_id, session_id = members.text("event_id", limit=128), members.text("session_id")
    decision = decided(verify, members.text("request_id", limit=16_384))
    customer, copy, comment = (
        members.text("customer_id"),
        members.free("generated_copy"),
        members.free("comment"),
    )
    if output_id is not None:
        wire["output"] = True
    if members.left:
        wire["extra"] = members.left
    return Draft(
        event_id=event_id,
        user_id=customer,
        is_dated=is_dated,
        target=Target(decision, session_id=session_id, output_id=output_id or offer_id),
        feedback=_graded(graded, liked),
        note=Note(
            occurred_at_ms=at_ms,
            session_id=session_id,
            message=comment,
            response=copy,
            labels=labels,
            flags=flags + _at_odds(graded, liked),
            shape="generation",
            wire=wire,
        ),
        is_free=bool(members.left),
    )


def _stamped(
    members: Members, received_ms: int
) -> tuple[int, dict[str, Any], tuple[str, ...], bool]:
    """Take out the timestamp; without one, the time is that of arrival."""
    given = members.left.pop("timestamp", None)
    if given is None:
        return received_ms, {"undated": True}, (), False
    return *moment(given, "timestamp"), True


def _graded(graded: float | None, liked: float | None) -> Rating:
    if graded is not None:
        return Rating(graded, "stars", 1.0, 5.0)
    assert liked is not None
    return Rating(liked, "thumbs")


def _at_odds(graded: float | None, liked: float | None) -> tuple[str, ...]:
    if graded is None or liked is None or graded == 3:
        return ()
    return ("thumbs_contradict_rating",) if (graded > 3) != bool(liked) else ()


def write_generation(fact: Reported) -> dict[str, Any]:
    """Return generation feedback as it was sent, with pseudonyms and redacted texts."""
    note, rating = fact.note, fact.feedback
    assert isinstance(rating, Rating)
    said = {
        "offer_id": note.labels.get("offer_id"),
        "output_id": fact.target.output_id if note.wire.get("output") else None,
        "customer_id": note.person,
        "generated_copy": note.response,
        "rating": rating.value if rating.scale == "stars" else None,
        "thumbs": note.labels.get("thumbs"),
        "prompt_version": note.labels.get("prompt_version"),
        "model_version": note.labels.get("model_version"),
        "session_id": fact.target.session_id,
        "comment": note.message,
        "timestamp": spelt_again(note),
        **note.wire.get("extra", {}),
    }
    return {name: value for name, value in said.items() if value is not None}


def read_rating(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Understand the rating of a live loop; raises `Invalid`."""
    members = Members(item)
    event_id = members.text("event_id")
    if event_id is None or not _UUID4.fullmatch(event_id):
        raise Invalid(f"event_id is {shown(event_id)}; send a UUID of version 4")
    value = stars(members.left.pop("rating", None))
    at_ms, wire, flags = moment(members.left.pop("timestamp", None), "timestamp")
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
    decision = decided(verify, members.text("request_id", limit=16_384))
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


def write_rating(fact: Reported) -> dict[str, Any]:
    """Return a rating as it was sent, with pseudonyms."""
    note, rating = fact.note, fact.feedback
    assert isinstance(rating, Rating)
    said = {
        "event_id": fact.event_id,
        "user_id": note.person,
        "session_id": note.session_id,
        "timestamp": spelt_again(note),
        "rating": rating.value,
        **note.wire.get("extra", {}),
    }
    if "context" in note.wire:
        said["context"] = note.wire["context"] | note.labels
    if "metadata" in note.wire:
        address = {} if note.address is None else {"ip_address": note.address}
        said["metadata"] = note.wire["metadata"] | address
    return said


_CORRECTION_IDS: Final = (
    "decision_id",
    "trace_id",
    "span_id",
    "session_id",
    "message_id",
    "output_id",
)


def read_correction(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Understand a correction: `original`, `corrected`, and why; raises `Invalid`."""
    members = Members(item)
    before, after = members.free("original"), members.free("corrected")
    if before is None or after is None:
        raise Invalid("original and corrected belong to a correction; send both texts")
    at_ms, wire, flags, is_dated = _stamped(members, received_ms)
    refer = [members.text(name) for name in _CORRECTION_IDS]
    event_id, user_id = members.text("event_id", limit=128), members.text("user_id")
    decision = decided(verify, members.text("request_id", limit=16_384))
    explanation, query = members.free("explanation"), members.free("query")
    category = members.text("category", limit=128)
    if members.left:
        wire["extra"] = members.left
    return Draft(
        event_id=event_id,
        user_id=user_id,
        is_dated=is_dated,
        target=Target(decision, None if decision else refer[0], *refer[1:]),
        feedback=Correction(before, after, explanation or ""),
        note=Note(
            occurred_at_ms=at_ms,
            session_id=refer[3],
            category=category,
            query=query,
            flags=flags,
            shape="correction",
            wire=wire,
        ),
        is_free=bool(members.left),
    )


def write_correction(fact: Reported) -> dict[str, Any]:
    """Return a correction as it was sent, with pseudonyms and redacted texts."""
    note, feedback = fact.note, fact.feedback
    assert isinstance(feedback, Correction)
    said = {
        "original": feedback.before,
        "corrected": feedback.after,
        "explanation": feedback.explanation or None,
        "query": note.query,
        "category": note.category if note.category_by == "given" else None,
        "user_id": note.person,
        "timestamp": spelt_again(note),
        **{name: getattr(fact.target, name) for name in _CORRECTION_IDS},
        **note.wire.get("extra", {}),
    }
    return {name: value for name, value in said.items() if value is not None}


def read_browser(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Understand one action that the browser snippet saw; raises `Invalid`."""
    members = Members(item)
    kind = members.left.pop("type", None)
    at_ms = members.left.pop("at_ms", None)
    if isinstance(at_ms, bool) or not isinstance(at_ms, int):
        raise Invalid(f"at_ms is {shown(at_ms)}; send whole milliseconds since the epoch")
    at_ms, _, _ = moment(at_ms, "at_ms")
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
    decision = decided(verify, members.text("request_id", limit=16_384))
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


def write_browser(fact: Reported) -> dict[str, Any]:
    """Return an action as the snippet sent it."""
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
