"""Our own shape: an object whose `kind` names one of the six kinds of feedback, an interaction, or a step."""

from __future__ import annotations

from typing import Annotated, Any, Final, get_args

import msgspec
from msgspec import Meta
from msgspec.structs import astuple

from loopwright.core.errors import Invalid
from loopwright.core.events import Interacted, Reported, Stepped
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
from loopwright.core.interaction import Interaction, Step, StepOutcome
from loopwright.people.consent import is_limited, said_consent, scopes_of

from .draft import (
    ID_CHARS,
    MAX_ENTRIES,
    TEXT_CHARS,
    Also,
    Draft,
    Verify,
    decided,
    finite,
    moment,
    shown,
    spell,
    spelt_again,
    stars,
    thumb_word,
    thumbs,
)

Id = Annotated[str, Meta(min_length=1, max_length=ID_CHARS)]
Name = Annotated[str, Meta(min_length=1, max_length=128)]
Text = Annotated[str, Meta(max_length=TEXT_CHARS)]
Labels = Annotated[
    dict[Name, Annotated[str, Meta(max_length=ID_CHARS)]], Meta(max_length=MAX_ENTRIES)
]
Words = Annotated[tuple[Name, ...], Meta(max_length=MAX_ENTRIES)]


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
    """What became of it."""

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
    """Who judged; `user_id` when it is missing."""
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


class Told(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Feedback inside an interaction: thumbs (`up`, `down`), rating (1 to 5), or any other type with a number."""

    type: Name
    value: float | str


class Became(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An outcome inside an interaction."""

    name: Name
    value: float


class InteractionItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One AI call, with the feedback and outcomes that are known already."""

    id: Id | None = None
    """The product's own output id."""
    event_id: Id | None = None
    request_id: str | None = None
    decision_id: Id | None = None
    started_at: str | int | None = None
    trace_id: Id | None = None
    span_id: Id | None = None
    session_id: Id | None = None
    message_id: Id | None = None
    user_id: Id | None = None
    task: str = ""
    task_id: Id | None = None
    input_hash: Id | None = None
    prompt_version: Id | None = None
    model_id: Id | None = None
    model_version: Id | None = None
    knowledge_version: Id | None = None
    retrieval_ids: Annotated[tuple[Id, ...], Meta(max_length=1024)] = ()
    input_tokens: Annotated[int, Meta(ge=0, lt=2**53)] | None = None
    output_tokens: Annotated[int, Meta(ge=0, lt=2**53)] | None = None
    cost: float | None = None
    client_latency_ms: float | None = None
    server_latency_ms: float | None = None
    error: Name | None = None
    query: Text | None = None
    response: Text | None = None
    country: Annotated[str, Meta(pattern="^[A-Za-z]{2}$")] | None = None
    consent: Words | None = None
    redactions: Annotated[
        dict[Name, Annotated[int, Meta(ge=0, lt=2**53)]], Meta(max_length=64)
    ] = {}
    labels: Labels = {}
    feedback: Annotated[tuple[Told, ...], Meta(max_length=MAX_ENTRIES)] = ()
    outcomes: Annotated[tuple[Became, ...], Meta(max_length=MAX_ENTRIES)] = ()


class StepItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A decision that an agent took, or what became of it: send the same `id` again with the outcome."""

    id: Id | None = None
    """Made by us when it is missing; give your own to report the outcome later."""
    session_id: Id
    kind: Name
    event_id: Id | None = None
    taken_at: str | int | None = None
    data: dict[str, Any] = {}
    confidence: float | None = None
    outcome: Name | None = None
    interaction_id: Id | None = None
    user_id: Id | None = None
    """For whom it was taken: erasing the person erases it."""


_SOURCES: Final[dict[str, Source]] = {source: source for source in get_args(Source)}


def convert(item: Any, shape: Any) -> Any:
    """Return `item` as `shape`; raises `Invalid` with the place of the fault."""
    try:
        return msgspec.convert(item, shape)
    except (msgspec.ValidationError, OverflowError) as error:
        raise Invalid(f"the item does not fit: {error}") from None


def read_native(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Understand native feedback; raises `Invalid`, or a token error."""
    return understand(convert(item, NativeFeedback), received_ms, verify)


def understand(given: NativeFeedback, received_ms: int, verify: Verify) -> Draft:
    """Return what native feedback says; raises `Invalid`, or a token error."""
    # All members in one call: read one by one from six kinds in turn, they cost five times as much.
    (
        event_id, token, decision_id, trace_id, span_id, session_id, message_id, output_id,
        occurred_at, said_source, user_id, address, task, category, severity, message, query,
        response, labels, tags, asked,
    ) = astuple(given)[:_COMMON]  # fmt: skip
    decision = None if token is None else verify(token)
    feedback, wire, flags = _feedback(given)
    at_ms, spelt = received_ms, _UNDATED
    if occurred_at is not None:
        at_ms, spelt, more = moment(occurred_at, "occurred_at")
        flags += more
    wire = {**spelt, **wire} if wire else spelt
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
"""Feedback, what is needed to write it again, and flags."""


def _feedback(given: NativeFeedback) -> _Understood:
    # `type(x) is`, not a match: for a struct that is not of the class, `isinstance` is ten times as slow.
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
            f"scale is {shown(given.scale)} with bounds {low} to {high}; send 'thumbs', 'stars', or "
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


def write_native(fact: Reported) -> dict[str, Any]:
    """Return native feedback as it was sent, with pseudonyms and redacted texts."""
    note, target, feedback = fact.note, fact.target, fact.feedback
    said = {
        "kind": _KINDS[type(feedback)],
        "decision_id": target.decision_id,
        "trace_id": target.trace_id,
        "span_id": target.span_id,
        "session_id": target.session_id,
        "message_id": target.message_id,
        "output_id": target.output_id,
        "occurred_at": spelt_again(note),
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


def read_interaction(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Understand an interaction with what came of it; raises `Invalid`. Its id may still be missing."""
    given: InteractionItem = convert(item, InteractionItem)
    at_ms, flags = received_ms, tuple[str, ...]()
    if given.started_at is not None:
        at_ms, _, flags = moment(given.started_at, "started_at")
    consent, unknown = scopes_of(given.consent)
    if unknown:
        raise Invalid(
            f"consent names {unknown[0]!r}; an interaction takes store, analyze, train and share"
        )
    for name in ("cost", "client_latency_ms", "server_latency_ms"):
        value = getattr(given, name)
        if value is not None:
            finite(value, name)
    decision = decided(verify, given.request_id)
    note = Note(
        occurred_at_ms=at_ms,
        session_id=given.session_id,
        task=given.task or None,
        consent=consent,
        shape="interaction",
        flags=flags,
    )
    also = [Also(_told(told), {"type": told.type, "value": told.value}) for told in given.feedback]
    also += [
        Also(Outcome(became.name, finite(became.value, became.name)), {"outcome": became.name})
        for became in given.outcomes
    ]
    return Draft(
        event_id=given.event_id,
        user_id=given.user_id,
        is_dated=given.started_at is not None,
        target=Target(
            decision,
            None if decision else given.decision_id,
            trace_id=given.trace_id,
            span_id=given.span_id,
            session_id=given.session_id,
            message_id=given.message_id,
            output_id=given.id,
        ),
        note=note,
        interaction=Interaction(
            id=given.id or "",
            started_at_ms=at_ms,
            trace_id=given.trace_id,
            span_id=given.span_id,
            session_id=given.session_id,
            message_id=given.message_id,
            decision_id=decision.id if decision else given.decision_id,
            task=given.task,
            task_id=given.task_id,
            input_hash=given.input_hash,
            prompt_version=given.prompt_version,
            model_id=given.model_id,
            model_version=given.model_version,
            knowledge_version=given.knowledge_version,
            retrieval_ids=given.retrieval_ids,
            input_tokens=given.input_tokens,
            output_tokens=given.output_tokens,
            cost=given.cost,
            client_latency_ms=given.client_latency_ms,
            server_latency_ms=given.server_latency_ms,
            error=given.error,
            query=given.query,
            response=given.response,
            country=given.country.upper() if given.country else None,
            consent=consent,
            redactions=given.redactions,
            labels=given.labels,
        ),
        also=tuple(also),
    )


def _told(told: Told) -> Feedback:
    if told.type == "thumbs":
        return Rating(thumbs(told.value, "feedback.thumbs"), "thumbs")
    if told.type in ("rating", "stars"):
        return Rating(stars(told.value, "feedback.rating"), "stars", 1.0, 5.0)
    if isinstance(told.value, str):
        raise Invalid(
            f"feedback of type {shown(told.type)} has the value {shown(told.value)}; send a number"
        )
    return Signal(told.type, finite(told.value, told.type))


def write_interaction(fact: Interacted, reports: list[Reported]) -> dict[str, Any]:
    """Return an interaction as it was sent, with the feedback and outcomes that came inside it.

    Its time is spelt in UTC.
    """
    call = fact.interaction
    said = msgspec.to_builtins(call) | {
        "started_at": spell(call.started_at_ms),
        "user_id": call.person,
        "retrieval_ids": list(call.retrieval_ids),
        "feedback": [_told_again(report) for report in reports if "type" in report.note.wire],
        "outcomes": [
            {"name": report.feedback.metric, "value": report.feedback.value}
            for report in reports
            if isinstance(report.feedback, Outcome)
        ],
        "consent": list(call.consent) if is_limited(call.consent) else None,
    }
    del said["started_at_ms"]
    said.pop("person", None)
    return {name: value for name, value in said.items() if value not in (None, [], {}, "")}


def _told_again(report: Reported) -> dict[str, Any]:
    wire, feedback = report.note.wire, report.feedback
    if isinstance(feedback, Rating) and feedback.scale == "thumbs":
        return {"type": wire["type"], "value": thumb_word(feedback.value)}
    assert isinstance(feedback, Rating | Signal)
    return {"type": wire["type"], "value": feedback.value}


def read_step(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Understand a step; raises `Invalid`."""
    given: StepItem = convert(item, StepItem)
    at_ms = received_ms
    if given.taken_at is not None:
        at_ms, _, _ = moment(given.taken_at, "taken_at")
    outcome, data = given.outcome, given.data
    flags: tuple[str, ...] = ()
    if outcome is not None and outcome not in _STEP_OUTCOMES:
        data, outcome, flags = data | {"unknown_outcome": outcome}, None, ("unknown_outcome",)
    confidence = None if given.confidence is None else finite(given.confidence, "confidence")
    return Draft(
        event_id=given.event_id,
        is_dated=given.taken_at is not None,
        target=Target(session_id=given.session_id),
        note=Note(occurred_at_ms=at_ms, session_id=given.session_id, shape="step", flags=flags),
        step=Step(
            id=given.id or "",
            session_id=given.session_id,
            kind=given.kind,
            taken_at_ms=at_ms,
            data=data,
            confidence=confidence,
            outcome=_STEP_OUTCOMES[outcome] if outcome else None,
            interaction_id=given.interaction_id,
        ),
        is_free=bool(data),
        user_id=given.user_id,
    )


_STEP_OUTCOMES: Final[dict[str, StepOutcome]] = {
    "success": "success",
    "failure": "failure",
    "correction": "correction",
}


def write_step(fact: Stepped) -> dict[str, Any]:
    """Return a step as it was sent; its time is spelt in UTC."""
    said: dict[str, Any] = msgspec.to_builtins(fact.step)
    said["taken_at"] = spell(said.pop("taken_at_ms"))
    said["user_id"] = said.pop("person", None)
    said["data"] = dict(said.get("data", {}))
    said["outcome"] = said["data"].pop("unknown_outcome", said.get("outcome"))
    return {name: value for name, value in said.items() if value not in (None, {})}
