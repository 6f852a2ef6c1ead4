"""One AI call, with the feedback and outcomes that are already known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from loopwright.core.errors import Invalid
from loopwright.core.events import Fact, Interacted, Reported
from loopwright.core.feedback import ConsentScope, Feedback, Note, Outcome, Rating, Signal, Target
from loopwright.core.interaction import Interaction
from loopwright.feedback.draft import MAX_ENTRIES, Also, Draft, Verify, decision_of
from loopwright.feedback.members import finite, stars, thumb_word, thumbs
from loopwright.feedback.times import iso_time, read_time
from loopwright.people.consent import is_limited, scopes_of

from .fields import Id, Labels, Name, Text, Words, convert
from .shape import Shape


class InnerFeedback(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Feedback inside an interaction: thumbs (`up`, `down`), rating (1 to 5), or any other type with a number or a text."""

    type: Name
    value: float | str


class InnerOutcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
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
    feedback: Annotated[tuple[InnerFeedback, ...], Meta(max_length=MAX_ENTRIES)] = ()
    outcomes: Annotated[tuple[InnerOutcome, ...], Meta(max_length=MAX_ENTRIES)] = ()


def read(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Read an interaction with its feedback and outcomes; raises `Invalid`. Its id may still be missing."""
    given: InteractionItem = convert(item, InteractionItem)
    at_ms, flags = received_ms, tuple[str, ...]()
    if given.started_at is not None:
        at_ms, _, flags = read_time(given.started_at, "started_at")
    consent, unknown = scopes_of(given.consent)
    if unknown:
        raise Invalid(
            f"consent names {unknown[0]!r}; an interaction takes store, analyze, train and share"
        )
    for name in ("cost", "client_latency_ms", "server_latency_ms"):
        value = getattr(given, name)
        if value is not None:
            finite(value, name)
    decision = decision_of(verify, given.request_id)
    decision_id = decision.id if decision else given.decision_id
    note = Note(
        occurred_at_ms=at_ms,
        session_id=given.session_id,
        task=given.task or None,
        consent=consent,
        shape="interaction",
        flags=flags,
    )
    also = [
        Also(_feedback_of(inner), {"type": inner.type}, text=_text_of(inner))
        for inner in given.feedback
    ]
    also += [
        Also(Outcome(outcome.name, finite(outcome.value, outcome.name)), {"outcome": outcome.name})
        for outcome in given.outcomes
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
        interaction=_interaction(given, at_ms, decision_id, consent),
        also=tuple(also),
    )


def _interaction(
    given: InteractionItem,
    at_ms: int,
    decision_id: str | None,
    consent: tuple[ConsentScope, ...],
    /,
) -> Interaction:
    return Interaction(
        id=given.id or "",
        started_at_ms=at_ms,
        trace_id=given.trace_id,
        span_id=given.span_id,
        session_id=given.session_id,
        message_id=given.message_id,
        decision_id=decision_id,
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
    )


def _feedback_of(given: InnerFeedback) -> Feedback:
    if given.type == "thumbs":
        return Rating(thumbs(given.value, "feedback.thumbs"), "thumbs")
    if given.type in ("rating", "stars"):
        return Rating(stars(given.value, "feedback.rating"), "stars", 1.0, 5.0)
    if isinstance(given.value, str):
        return Signal(given.type)
    return Signal(given.type, finite(given.value, given.type))


def _text_of(given: InnerFeedback) -> str:
    """Return what feedback says in words, such as a comment: free text, which is redacted."""
    is_word = given.type in ("thumbs", "rating", "stars")
    return given.value if isinstance(given.value, str) and not is_word else ""


def write(facts: Sequence[Fact]) -> dict[str, Any]:
    """Return an interaction as it was sent, with the feedback and outcomes that came inside it.

    Its time is in UTC, whatever the zone was.
    """
    first, *inside = facts
    assert isinstance(first, Interacted)
    call, reports = first.interaction, [fact for fact in inside if isinstance(fact, Reported)]
    said = msgspec.to_builtins(call) | {
        "started_at": iso_time(call.started_at_ms),
        "user_id": call.person,
        "retrieval_ids": list(call.retrieval_ids),
        "feedback": [_as_sent(report) for report in reports if "type" in report.note.wire],
        "outcomes": [
            {"name": report.feedback.metric, "value": report.feedback.value}
            for report in reports
            if isinstance(report.feedback, Outcome)
        ],
        "consent": list(call.consent) if is_limited(call.consent) else None,
    }
    del said["started_at_ms"]
    said.pop("person", None)
    said.pop("wire", None)
    return {name: value for name, value in said.items() if value not in (None, [], {}, "")}


def _as_sent(report: Reported) -> dict[str, Any]:
    wire, feedback = report.note.wire, report.feedback
    if isinstance(feedback, Rating) and feedback.scale == "thumbs":
        return {"type": wire["type"], "value": thumb_word(feedback.value)}
    assert isinstance(feedback, Rating | Signal)
    if report.note.message is not None:
        return {"type": wire["type"], "value": report.note.message}
    return {"type": wire["type"], "value": feedback.value}


INTERACTION: Final = Shape(
    name="interaction",
    tells=lambda item: True,
    paths=frozenset({"interaction"}),
    read=read,
    write=write,
    fact=Interacted,
)
