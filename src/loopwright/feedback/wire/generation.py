"""Feedback about a generated text: a rating of 1 to 5, thumbs, or both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from loopwright.core.errors import Invalid
from loopwright.core.events import Fact
from loopwright.core.feedback import Note, Rating, Target
from loopwright.feedback.draft import Also, Draft, Verify, decision_of
from loopwright.feedback.members import Members, shown, stars, thumb_word, thumbs
from loopwright.feedback.times import read_timestamp, time_as_sent

from .shape import MIXED, Shape, report_of


def read(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Read feedback about a generated text: a rating of 1 to 5, thumbs, or both; raises `Invalid`.

    With both, the rating is the feedback and the thumbs are a fact inside it. A record that names an offer and no
    event id is new even when it equals an earlier one: its senders know no event ids.
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
    at_ms, wire, flags, is_dated = read_timestamp(members, received_ms)
    event_id, session_id = members.text("event_id", limit=128), members.text("session_id")
    decision = decision_of(verify, members.text("request_id", limit=16_384))
    customer, copy, comment = (
        members.text("customer_id"),
        _copy(members, wire),
        members.free("comment"),
    )
    if output_id is not None:
        wire["output"] = True
    if members.left:
        wire["extra"] = members.left
    return Draft(
        event_id=event_id,
        is_new=output_id is None,
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
        also=() if None in (graded, liked) else (Also(Rating(liked or 0.0, "thumbs"), {}),),
        is_free=bool(members.left) or "generated_copy" in wire,
    )


def _copy(members: Members, wire: dict[str, Any]) -> str | None:
    """Remove the generated copy and return its text; an object of texts is kept in `wire` too, to be read back."""
    copy = members.left.get("generated_copy")
    if not isinstance(copy, dict):
        return members.free("generated_copy")
    del members.left["generated_copy"]
    for name, text in copy.items():
        if not isinstance(text, str):
            raise Invalid(
                f"generated_copy.{name} is {shown(text)}; send a text, or an object of texts"
            )
    wire["generated_copy"] = copy
    return joined(copy)


def joined(copy: Mapping[str, str]) -> str:
    """Return the text of a generated copy: headline, body and call to action, or else all texts, one per line."""
    parts = [copy[name] for name in _PARTS if name in copy] or list(copy.values())
    return "\n".join(parts)


_PARTS: Final = ("headline", "body", "cta")


def _graded(graded: float | None, liked: float | None) -> Rating:
    if graded is not None:
        return Rating(graded, "stars", 1.0, 5.0)
    assert liked is not None
    return Rating(liked, "thumbs")


def _at_odds(graded: float | None, liked: float | None) -> tuple[str, ...]:
    if graded is None or liked is None or graded == 3:
        return ()
    return ("thumbs_contradict_rating",) if (graded > 3) != bool(liked) else ()


def write(facts: Sequence[Fact]) -> dict[str, Any]:
    """Return generation feedback as it was sent, with pseudonyms and redacted texts."""
    fact = report_of(facts)
    note, rating = fact.note, fact.feedback
    assert isinstance(rating, Rating)
    said = {
        "offer_id": note.labels.get("offer_id"),
        "output_id": fact.target.output_id if note.wire.get("output") else None,
        "customer_id": note.person,
        "generated_copy": note.wire.get("generated_copy", note.response),
        "rating": rating.value if rating.scale == "stars" else None,
        "thumbs": note.labels.get("thumbs"),
        "prompt_version": note.labels.get("prompt_version"),
        "model_version": note.labels.get("model_version"),
        "session_id": fact.target.session_id,
        "comment": note.message,
        "timestamp": time_as_sent(note),
        **note.wire.get("extra", {}),
    }
    return {name: value for name, value in said.items() if value is not None}


_MEMBERS: Final = frozenset({"offer_id", "output_id", "generated_copy", "thumbs"})

GENERATION: Final = Shape(
    name="generation",
    tells=lambda item: not _MEMBERS.isdisjoint(item),
    told_by="offer_id or output_id",
    paths=MIXED,
    read=read,
    write=write,
)
