"""Our own shape: an object whose `kind` names one of the six kinds of feedback."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final, get_args

import msgspec
from msgspec import Meta
from msgspec.structs import astuple

from loopwright.core.errors import Invalid
from loopwright.core.events import Fact, Reported
from loopwright.core.feedback import (
    CONSENT_SCOPES,
    Annotation,
    Correction,
    Feedback,
    Measurement,
    Note,
    Outcome,
    Rating,
    Signal,
    Source,
    Target,
)
from loopwright.feedback.draft import Draft, Verify
from loopwright.feedback.members import finite, shown, stars
from loopwright.feedback.times import read_time, time_as_sent
from loopwright.people.consent import is_limited, said_consent, scopes_of

from .fields import Id, Labels, Name, Text, Words, convert
from .shape import MIXED, Shape, report_of


class _Native(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="kind", forbid_unknown_fields=True
):
    """What all kinds of feedback have in common. Give at least one reference to what it is about."""

    event_id: Id | None = None
    """Send the same one again when retrying; derived from the content when it is missing."""
    request_id: str | None = None
    """The token that select returned."""
    decision_id: Id | None = None
    trace_id: Id | None = None
    span_id: Id | None = None
    session_id: Id | None = None
    message_id: Id | None = None
    output_id: Id | None = None
    occurred_at: str | int | None = None
    """ISO 8601, or milliseconds since the epoch."""
    source: str = "end_user"
    user_id: Id | None = None
    ip_address: Id | None = None
    task: Name | None = None
    category: Name | None = None
    severity: Name | None = None
    message: Text | None = None
    query: Text | None = None
    response: Text | None = None
    labels: Labels = {}
    tags: Words = ()
    consent: Words | None = None


class NativeRating(_Native, frozen=True, tag="rating", kw_only=True):
    """Thumbs (0 or 1), stars (1 to 5), or a number within `low` and `high`."""

    value: float
    scale: str
    low: float | None = None
    high: float | None = None


class NativeSignal(_Native, frozen=True, tag="signal", kw_only=True):
    """Implicit behaviour."""

    name: Name
    value: float = 1.0


class NativeCorrection(_Native, frozen=True, tag="correction", kw_only=True):
    """A text before and after."""

    before: Text
    after: Text
    explanation: Text = ""
    distance: Annotated[float, Meta(ge=0, le=1)] | None = None


class NativeOutcome(_Native, frozen=True, tag="outcome", kw_only=True):
    """Ground truth of the business."""

    metric: Name
    value: float


class NativeMeasurement(_Native, frozen=True, tag="measurement", kw_only=True):
    """A number of the system."""

    name: Name
    value: float
    unit: str = ""


class NativeAnnotation(_Native, frozen=True, tag="annotation", kw_only=True):
    """A reviewer's judgement."""

    rubric: Name
    rubric_version: int
    label: Name
    reviewer: Id | None = None
    """The reviewer; `user_id` when it is missing."""
    score: float | None = None
    rationale: Text = ""


NativeFeedback = (
    NativeRating
    | NativeSignal
    | NativeCorrection
    | NativeOutcome
    | NativeMeasurement
    | NativeAnnotation
)


_SOURCES: Final[dict[str, Source]] = {source: source for source in get_args(Source)}


def read(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Read native feedback; raises `Invalid`, or a token error."""
    return understand(convert(item, NativeFeedback), received_ms, verify)


def read_json(item: msgspec.Raw, received_ms: int, verify: Verify) -> Draft:
    """Read native feedback straight from JSON; raises `msgspec.ValidationError` for any other shape."""
    return understand(_decode(item), received_ms, verify)


_decode: Final = msgspec.json.Decoder(NativeFeedback).decode


def understand(given: NativeFeedback, received_ms: int, verify: Verify) -> Draft:
    """Return the draft of native feedback; raises `Invalid`, or a token error."""
    # All members in one call: reading them one by one from six classes in turn takes five times as long.
    (
        event_id, token, decision_id, trace_id, span_id, session_id, message_id, output_id,
        occurred_at, said_source, user_id, address, task, category, severity, message, query,
        response, labels, tags, asked,
    ) = astuple(given)[:_COMMON]  # fmt: skip
    decision = None if token is None else verify(token)
    feedback, wire, flags = _feedback(given)
    at_ms, as_sent = received_ms, _UNDATED
    if occurred_at is not None:
        at_ms, as_sent, more = read_time(occurred_at, "occurred_at")
        flags += more
    wire = {**as_sent, **wire} if wire else as_sent
    source = _SOURCES.get(said_source)
    if source is None:
        wire = {**wire, "source": said_source}
        source, flags = "system", (*flags, "unknown_source")
    consent = CONSENT_SCOPES
    if asked is not None:
        consent, unknown = scopes_of(asked)
        if consent != asked or not is_limited(consent):
            wire = {**wire, "consent": list(asked)}
        if unknown:
            flags += ("unknown_consent",)
    return Draft(
        event_id=event_id,
        user_id=user_id,
        reviewer_id=given.reviewer if type(given) is NativeAnnotation else None,
        address=address,
        is_dated=occurred_at is not None,
        target=Target(
            decision,
            None if decision else decision_id,
            trace_id,
            span_id,
            session_id,
            message_id,
            output_id,
        ),
        feedback=feedback,
        note=Note(
            occurred_at_ms=at_ms,
            source=source,
            session_id=session_id,
            task=task,
            category=category,
            severity=severity,
            message=message,
            query=query,
            response=response,
            labels=labels,
            tags=tags,
            consent=consent,
            flags=flags,
            wire=wire,
        ),
    )


_COMMON: Final = len(_Native.__struct_fields__)


_Understood = tuple[Feedback, dict[str, Any], tuple[str, ...]]
"""Feedback, members of `Note.wire` that `write` needs, and flags."""


def _feedback(given: NativeFeedback) -> _Understood:
    # `type(x) is`, not a match: `isinstance` takes ten times as long for a struct of another class.
    if type(given) is NativeRating:
        return _rating(given)
    if type(given) is NativeSignal:
        return Signal(given.name, finite(given.value, "value")), _NONE, ()
    if type(given) is NativeMeasurement:
        return Measurement(given.name, finite(given.value, "value"), given.unit), _NONE, ()
    if type(given) is NativeOutcome:
        return Outcome(given.metric, finite(given.value, "value")), _NONE, ()
    if type(given) is NativeCorrection:
        kept = _NONE if given.distance is None else {"distance": True}
        return (
            Correction(given.before, given.after, given.explanation, given.distance),
            kept,
            (),
        )
    assert type(given) is NativeAnnotation
    return _annotation(given), _NONE, ()


def _annotation(given: NativeAnnotation) -> Annotation:
    if not 0 <= given.rubric_version < 2**53:
        raise Invalid(f"rubric_version is {given.rubric_version}; send 0 or more")
    score = None if given.score is None else finite(given.score, "score")
    return Annotation(given.rubric, given.rubric_version, given.label, "", score, given.rationale)


_NONE: Final[dict[str, Any]] = {}
_UNDATED: Final[dict[str, Any]] = {"undated": True}


_BOUNDED: Final[dict[str, Any]] = {"bounds": True}


def _rating(given: NativeRating) -> _Understood:
    low, high = given.low, given.high
    is_bare = low is None and high is None
    kept = _NONE if is_bare else _BOUNDED
    if given.scale == "thumbs" and (is_bare or (low, high) == (0, 1)):
        if given.value not in (0, 1):
            raise Invalid(
                f"value is {given.value:g} on the scale 'thumbs'; send 1 for up or 0 for down"
            )
        return Rating(given.value, "thumbs"), kept, ()
    if given.scale == "stars" and (is_bare or (low, high) == (1, 5)):
        return Rating(stars(given.value, "value"), "stars", 1.0, 5.0), kept, ()
    if given.scale in ("thumbs", "stars") or low is None or high is None:
        raise Invalid(
            f"scale is {shown(given.scale)} with bounds {shown(low)} to {shown(high)}; send 'thumbs', 'stars', or "
            "'numeric' with low and high",
            found=given.scale,
            expected=["thumbs", "stars", "numeric"],
        )
    low, high = finite(low, "low"), finite(high, "high")
    if not low < high or not low <= given.value <= high:
        raise Invalid(
            f"value is {given.value:g} within {low:g} to {high:g}; send a value between a low and a "
            "larger high"
        )
    if given.scale == "numeric":
        return Rating(given.value, "numeric", low, high), {}, ()
    return Rating(given.value, "numeric", low, high), {"scale": given.scale}, ("unknown_scale",)


def write(facts: Sequence[Fact]) -> dict[str, Any]:
    """Return native feedback as it was sent, with pseudonyms and redacted texts."""
    fact = report_of(facts)
    note, target, feedback = fact.note, fact.target, fact.feedback
    said = {
        "kind": _KINDS[type(feedback)],
        "decision_id": target.decision_id,
        "trace_id": target.trace_id,
        "span_id": target.span_id,
        "session_id": target.session_id,
        "message_id": target.message_id,
        "output_id": target.output_id,
        "occurred_at": time_as_sent(note),
        "source": note.wire.get("source", note.source),
        "user_id": note.person,
        "ip_address": note.address,
        "task": note.task,
        "category": note.category if note.category_by == "given" else None,
        "severity": note.severity,
        "message": note.message,
        "query": note.query,
        "response": note.response,
        "labels": note.labels or None,
        "tags": list(note.tags) or None,
        "consent": said_consent(note.wire, note.consent),
    }
    return {name: value for name, value in (said | _members(fact)).items() if value is not None}


def _members(fact: Reported) -> dict[str, Any]:
    wire = fact.note.wire
    match fact.feedback:
        case Rating(value, scale, low, high):
            said: dict[str, Any] = {"value": value, "scale": wire.get("scale", scale)}
            return said | (
                {"low": low, "high": high} if scale == "numeric" or "bounds" in wire else {}
            )
        case Signal(name, value):
            return {"name": name, "value": value}
        case Correction(before, after, explanation, distance):
            return {
                "before": before,
                "after": after,
                "explanation": explanation or None,
                "distance": distance if wire.get("distance") else None,
            }
        case Outcome(metric, value):
            return {"metric": metric, "value": value}
        case Measurement(name, value, unit):
            return {"name": name, "value": value, "unit": unit or None}
        case Annotation(rubric, rubric_version, label, reviewer, score, rationale):
            return {
                "rubric": rubric,
                "rubric_version": rubric_version,
                "label": label,
                "reviewer": reviewer if reviewer and reviewer != fact.note.person else None,
                "score": score,
                "rationale": rationale or None,
            }


_KINDS: Final = {
    Rating: "rating",
    Signal: "signal",
    Correction: "correction",
    Outcome: "outcome",
    Measurement: "measurement",
    Annotation: "annotation",
}


NATIVE: Final = Shape(
    name="native",
    tells=lambda item: "kind" in item and "type" not in item,
    told_by="kind",
    paths=MIXED,
    read=read,
    read_json=read_json,
    write=write,
)
