"""The general event of other feedback platforms: type, source, severity, category, and a free `data` object.

What `data` holds decides which kind of feedback it is; the members that say so move to where that kind keeps
them, `wire["moved"]` remembers which, and the rest of `data` stays as it is. So an event can be read back.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from loopwright.core.errors import Invalid
from loopwright.core.events import Fact, Reported
from loopwright.core.feedback import (
    Annotation,
    ConsentScope,
    Correction,
    Feedback,
    Measurement,
    Note,
    Rating,
    Signal,
    Target,
)
from loopwright.feedback.draft import ID_CHARS, TEXT_CHARS, Also, Draft, Verify, decision_of
from loopwright.feedback.members import Members, finite, shown, thumb_word, thumbs
from loopwright.feedback.times import read_timestamp, time_as_sent
from loopwright.people.consent import is_limited, said_consent, scopes_of

from .fields import REFERENCES, SPELLINGS
from .shape import MIXED, Shape, report_of
from .words import source_of, unknown_words

_ALIASES: Final = (("tenant", "tenant_id"), ("user", "user_id"), ("session", "session_id"))
_AMOUNTS: Final = (
    "latency_ms",
    "response_time_ms",
    "duration_ms",
    "tokens",
    "tokens_used",
    "input_tokens",
    "output_tokens",
    "cost",
    "score",
)
_LABELS: Final = {"endpoint": "endpoint", "model": "model_id"}
"""Members of `data` that name what was measured → the label that says so."""
_SIGNAL_NAMES: Final = ("signal", "signal_type", "interaction_type", "action", "name")
_METRIC_NAMES: Final = ("metric", "name")


def read(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Read an event; raises `Invalid`."""
    members = Members(item)
    aliases = _spelt_out(members)
    kind = members.text("type", limit=128) or ""
    at_ms, wire, flags, is_dated = read_timestamp(members, received_ms)
    wire["type"] = kind
    if aliases:
        wire["spelt"] = aliases
    source, severity, category = _words(members, wire)
    flags += unknown_words(kind, source, severity, category)
    consent, flagged = _consent(members, wire)
    flags += flagged
    refer = [members.text(name) if name in members.left else None for name in REFERENCES]
    decision = decision_of(verify, members.text("request_id", limit=16_384))
    event_id = members.text("id", limit=128)
    user_id, message = members.text("user_id"), members.free("message")
    tags = members.strings("tags")
    if tags == ():
        wire["tags"] = []
    moved: dict[str, str] = {}
    data = Members(members.object("data"), where="data.")
    if refer[4] is None and isinstance(data.left.get("message_id"), str):
        moved["message_id"], refer[4] = "message_id", data.text("message_id")
    feedback, texts = _feedback(kind, source, data, moved)
    also = _more_amounts(kind, feedback, data)
    if message is not None and "message" in texts:
        _move_back("message", texts, data, moved)
    _keep_the_rest(wire, members, data, moved, has_data="data" in item)
    return Draft(
        event_id=event_id,
        tenant_id=wire.get("tenant"),
        user_id=user_id,
        is_dated=is_dated,
        target=Target(decision, None if decision else refer[0], *refer[1:]),
        feedback=feedback,
        note=Note(
            occurred_at_ms=at_ms,
            source=source_of(source, kind),
            session_id=refer[3],
            severity=severity,
            category=category,
            message=texts.get("message", message),
            query=texts.get("query"),
            response=texts.get("response"),
            labels=_labels_of(data),
            tags=tags or (),
            consent=consent,
            flags=flags,
            shape="event",
            wire=wire,
        ),
        also=also,
        is_free=bool(data.left or members.left),
    )


def _spelt_out(members: Members) -> list[str]:
    """Give short names of ids their full ones; return the short names, so that the event can be read back."""
    # Where both are there the full name counts, and the short one is a member like any other.
    aliases = [
        short for short, full in _ALIASES if short in members.left and full not in members.left
    ]
    for short in aliases:
        members.left[f"{short}_id"] = members.left.pop(short)
    return aliases


def _words(members: Members, wire: dict[str, Any]) -> tuple[str | None, str, str | None]:
    """Take source, severity and category, and the tenant into `wire`."""
    source = members.text("source", limit=128)
    severity = members.text("severity", limit=128)
    if severity is None:
        severity, wire["is_severity_ours"] = "info", True
    category = members.text("category", limit=128)
    if source is not None:
        wire["source"] = source
    if (tenant := members.text("tenant_id")) is not None:
        wire["tenant"] = tenant
    return source, severity, category


def _consent(
    members: Members, wire: dict[str, Any]
) -> tuple[tuple[ConsentScope, ...], tuple[str, ...]]:
    """Take the consent; return its scopes, and a flag when it has words that are none."""
    asked = members.strings("consent")
    consent, strange = scopes_of(asked)
    # The default and a list in our own order can be written again from the scopes: only others are kept as sent.
    if asked is not None and (strange or not is_limited(consent) or consent != asked):
        wire["consent"] = list(asked)
    return consent, ("unknown_consent",) if strange else ()


def _keep_the_rest(
    wire: dict[str, Any],
    members: Members,
    data: Members,
    moved: dict[str, str],
    *,
    has_data: bool,
) -> None:
    """Keep in `wire` what has no place of its own, and where the moved members of `data` were."""
    if moved:
        wire["moved"] = moved
    # An event that came with an empty `data` is read back with one, and one without `data` without.
    if data.left or (not moved and has_data):
        wire["data"] = data.left
    if extra := members.left:
        wire["extra"] = extra


def _move_back(place: str, texts: dict[str, str], data: Members, moved: dict[str, str]) -> None:
    """Put a text back into `data`, because the event has one of its own for this place."""
    name = next(name for name, found in moved.items() if found == place)
    data.left[name] = texts.pop(place)
    del moved[name]


def _feedback(
    kind: str, source: str | None, data: Members, moved: dict[str, str]
) -> tuple[Feedback, dict[str, str]]:
    """Return the feedback in `data` and its texts; `moved` learns which members they were."""
    texts: dict[str, str] = {}
    for name, place in (("comment", "message"), ("query", "query"), ("response", "response")):
        if isinstance(data.left.get(name), str):
            moved[name], texts[place] = place, data.free(name) or ""
    for spelling in SPELLINGS:
        is_said = [data.left.get(name) is not None for name in spelling]
        # Half a correction is one by name only; in other events it is a member like any other.
        if all(is_said) or (any(is_said) and source == "user_correction"):
            return _correction(spelling, data, moved), texts
    liked = data.left.get("thumbs")
    if liked is not None:
        liked = thumbs(liked, "data.thumbs")
    # Thumbs beside it stay where they are.
    if data.left.get("rating") is not None:
        return _rating(data, moved), texts
    if liked is not None:
        moved["thumbs"] = "thumbs"
        del data.left["thumbs"]
        return Rating(liked, "thumbs"), texts
    if kind == "quality" and isinstance(data.left.get("label"), str):
        return _annotation(data, moved), texts
    if kind in ("metric", "performance", "quality", "error", "log"):
        return _measurement(kind, data, moved) or Signal(kind), texts
    return _signal(kind, data, moved), texts


def _rating(data: Members, moved: dict[str, str]) -> Rating:
    """Take a rating: positive or negative, which are thumbs, or 1 to 5 stars."""
    given = data.left.pop("rating")
    if isinstance(given, str) and given in _VERDICTS:
        moved["rating"] = "verdict"
        return Rating(_VERDICTS[given], "thumbs")
    if isinstance(given, bool) or given not in (1, 2, 3, 4, 5):
        raise Invalid(
            f"data.rating is {shown(given)}; send 'positive', 'negative', or a whole number from 1 to 5",
            found=shown(given),
            expected=[*_VERDICTS, 1, 2, 3, 4, 5],
        )
    moved["rating"] = "stars"
    return Rating(float(given), "stars", 1.0, 5.0)


_VERDICTS: Final = {"positive": 1.0, "negative": 0.0}


def _correction(spelling: tuple[str, str], data: Members, moved: dict[str, str]) -> Correction:
    first, second = spelling
    moved |= {first: "before", second: "after"}
    if data.left.get("explanation") is not None:
        moved["explanation"] = "explanation"
    before, after = data.free(first), data.free(second)
    if before is None or after is None:
        raise Invalid(f"data.{first} and data.{second} of a correction are texts; send both")
    return Correction(before, after, data.free("explanation") or "")


def _annotation(data: Members, moved: dict[str, str]) -> Annotation:
    for name in ("label", "rubric", "rubric_version", "score", "rationale"):
        if data.left.get(name) is not None:
            moved[name] = name
    version, score = data.number("rubric_version"), data.number("score")
    if version is not None and (not version.is_integer() or version < 0):
        raise Invalid(f"data.rubric_version is {version:g}; send a whole number")
    return Annotation(
        data.text("rubric", limit=128) or "quality",
        int(version or 0),
        data.text("label", limit=128) or "",
        "",
        score,
        data.text("rationale", limit=TEXT_CHARS) or "",
    )


def _measurement(kind: str, data: Members, moved: dict[str, str]) -> Measurement | None:
    """Take metric and value, or the first amount that systems commonly report; None where `data` has neither."""
    name = next((n for n in _METRIC_NAMES if isinstance(data.left.get(n), str)), None)
    if name is not None and data.left.get("value") is not None:
        moved[name] = "name"
        moved["value"] = "value"
        if isinstance(data.left.get("unit"), str):
            moved["unit"] = "unit"
        value = data.number("value")
        assert value is not None
        unit = data.text("unit", limit=32) if "unit" in moved else None
        return Measurement(data.text(name, limit=128) or "", value, unit or "")
    amount = next((n for n in _AMOUNTS if data.left.get(n) is not None), None)
    if amount is not None:
        moved[amount] = "value"
        value = data.number(amount)
        assert value is not None
        # `score` alone names no measure; the kind of the event does.
        return Measurement(kind if amount == "score" else amount, value)
    return None


def _more_amounts(kind: str, feedback: Feedback, data: Members) -> tuple[Also, ...]:
    """Return the amounts of an event beside the one that it was read as; they stay in `data` as they were sent."""
    if type(feedback) is not Measurement:
        return ()
    return tuple(
        Also(Measurement(kind if name == "score" else name, finite(value, f"data.{name}")), {})
        for name in _AMOUNTS
        if isinstance(value := data.left.get(name), int | float) and not isinstance(value, bool)
    )


def _labels_of(data: Members) -> dict[str, str]:
    """Return the labels that `data` names; they stay in `data` too."""
    return {
        label: value
        for name, label in _LABELS.items()
        if isinstance(value := data.left.get(name), str) and len(value) <= ID_CHARS
    }


def _signal(kind: str, data: Members, moved: dict[str, str]) -> Signal:
    name = next((n for n in _SIGNAL_NAMES if isinstance(data.left.get(n), str)), None)
    if name is None:
        return Signal(kind, 1.0)
    moved[name] = "name"
    said = data.text(name, limit=128) or ""
    value = data.left.get("value")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return Signal(said, 1.0)
    moved["value"] = "value"
    return Signal(said, data.number("value") or 0.0)


def write(facts: Sequence[Fact]) -> dict[str, Any]:
    """Return an event as it was sent, with pseudonyms and redacted texts."""
    fact = report_of(facts)
    note, wire = fact.note, fact.note.wire
    places = _places(fact)
    data = {name: places[place] for name, place in wire.get("moved", {}).items()}
    # A text is the event's own message unless a member of `data` says that it came from there.
    message = None if "message" in wire.get("moved", {}).values() else note.message
    said = {
        "type": wire["type"],
        "source": wire.get("source"),
        "severity": None if wire.get("is_severity_ours") else note.severity,
        "category": note.category if note.category_by == "given" else None,
        "tenant_id": wire.get("tenant"),
        "user_id": note.person,
        "message": message,
        "timestamp": time_as_sent(note),
        "data": data | wire.get("data", {}) if data or "data" in wire else None,
        "tags": list(note.tags) or wire.get("tags"),
        "consent": said_consent(wire, note.consent),
        **_references(fact),
        **wire.get("extra", {}),
    }
    said = {name: value for name, value in said.items() if value is not None}
    for short in wire.get("spelt", ()):
        said[short] = said.pop(f"{short}_id")
    return said


def _references(fact: Reported) -> dict[str, Any]:
    """Return what the event says at its top that it is about."""
    moved = fact.note.wire.get("moved", {})
    return {name: getattr(fact.target, name) for name in REFERENCES if name not in moved}


def _places(fact: Reported) -> dict[str, Any]:
    note = fact.note
    texts: dict[str, Any] = {
        "message": note.message,
        "query": note.query,
        "response": note.response,
        "message_id": fact.target.message_id,
    }
    match fact.feedback:
        case Rating(value, "thumbs"):
            verdict = next(word for word, level in _VERDICTS.items() if level == value)
            return texts | {"thumbs": thumb_word(value), "verdict": verdict}
        case Rating(value):
            return texts | {"stars": value}
        case Signal(name, value):
            return texts | {"name": name, "value": value}
        case Measurement(name, value, unit):
            return texts | {"name": name, "value": value, "unit": unit}
        case Correction(before, after, explanation):
            return texts | {"before": before, "after": after, "explanation": explanation}
        case Annotation(rubric, version, label, _, score, rationale):
            judged = {"rubric": rubric, "rubric_version": version, "label": label}
            return texts | judged | {"score": score, "rationale": rationale}
    return texts


EVENT: Final = Shape(
    name="event",
    tells=lambda item: "type" in item,
    told_by="type",
    paths=MIXED,
    read=read,
    write=write,
    id_member="id",
)
