"""Feedback: any fact about a decision that is learned after it, as a tagged union of kinds.

A kind says what was observed; the `Note` beside it says who said so, when, where and under which consent. Every
product's own shape is mapped onto these, and what a kind has no place for stays in `Note.wire`, so that a shape
can be read back as it was sent.
"""

from __future__ import annotations

from typing import Any, Final, Literal, get_args

import msgspec

from .decision import Decision

Scale = Literal["thumbs", "stars", "numeric"]
Source = Literal["end_user", "reviewer", "evaluator", "system"]
ConsentScope = Literal["store", "analyze", "train", "share"]

CONSENT_SCOPES: Final[tuple[ConsentScope, ...]] = get_args(ConsentScope)


class Rating(msgspec.Struct, frozen=True, tag="rating", array_like=True, gc=False):
    """An explicit verdict: thumbs are 0 or 1, stars 1 to 5, a numeric one lies in its bounds."""

    value: float
    scale: Scale
    low: float = 0.0
    high: float = 1.0

    @property
    def satisfaction(self) -> float:
        """The rating on [0, 1], whatever its scale."""
        width = self.high - self.low
        if width == float("inf"):
            # Bounds of either sign near the largest number are further apart than any number can say.
            return (self.value / 2 - self.low / 2) / (self.high / 2 - self.low / 2)
        return (self.value - self.low) / width


class Signal(msgspec.Struct, frozen=True, tag="signal", array_like=True, gc=False):
    """Implicit behaviour: copy, edit, retry, refinement, dwell, abandonment and the like."""

    name: str
    value: float = 1.0


class Correction(msgspec.Struct, frozen=True, tag="correction", array_like=True, gc=False):
    """What a person made of an output: the text before and after, redacted."""

    before: str
    after: str
    explanation: str = ""
    distance: float | None = None
    """Normalised edit distance in [0, 1]."""


class Outcome(msgspec.Struct, frozen=True, tag="outcome", array_like=True, gc=False):
    """Ground truth about a decision: clicked, resolved, compiled, or a reward computed by the product."""

    metric: str
    value: float


class Measurement(msgspec.Struct, frozen=True, tag="measurement", array_like=True, gc=False):
    """A number of the system: latency, tokens, cost, citation coverage."""

    name: str
    value: float
    unit: str = ""


class Annotation(msgspec.Struct, frozen=True, tag="annotation", array_like=True, gc=False):
    """A reviewer's judgement against a version of a rubric."""

    rubric: str
    rubric_version: int
    label: str
    reviewer: str
    """Pseudonym of who judged."""
    score: float | None = None
    rationale: str = ""


Feedback = Rating | Signal | Correction | Outcome | Measurement | Annotation


class Target(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What feedback is about. The first reference that is there wins, in the order of the fields."""

    decision: Decision | None = None
    """The decision itself, when its token came with the feedback."""
    decision_id: str | None = None
    trace_id: str | None = None
    span_id: str | None = None
    session_id: str | None = None
    message_id: str | None = None
    output_id: str | None = None


class Who(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """Who sent feedback: pseudonyms of the person and the address, and the session. None where it is not known."""

    person: str | None = None
    session_id: str | None = None
    address: str | None = None


# A map where the other kinds are arrays: most of its many fields hold their default and are left out.
class Note(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, gc=False):
    """Who said it, when, where, under which consent, and what intake made of it."""

    occurred_at_ms: int
    """When it happened, by the sender's clock; `at_ms` of the fact is when it arrived."""
    source: Source = "end_user"
    # Pseudonyms only: what leads to the user lies outside of the log, where erasure destroys it.
    person: str | None = None
    """Pseudonym of the user: equal for equal users of one tenant, and nothing more."""
    address: str | None = None
    """Pseudonym of the network address."""
    session_id: str | None = None
    task: str | None = None
    category: str | None = None
    category_by: Literal["given", "rules", "model"] = "given"
    sentiment: float | None = None
    """-1 (bad) to 1 (good)."""
    severity: str | None = None
    message: str | None = None
    """Free text, redacted."""
    query: str | None = None
    response: str | None = None
    labels: dict[str, str] = {}
    """prompt_version, model_version, model_id, feature_id, device_type, locale, endpoint and the like."""
    tags: tuple[str, ...] = ()
    consent: tuple[ConsentScope, ...] = CONSENT_SCOPES
    redactions: dict[str, int] = {}
    """How often each kind of personal datum was taken out, over all texts of the fact."""
    flags: tuple[str, ...] = ()
    """What was odd but kept: an unknown enum value, a clock ahead of ours, an early or contradicting fact."""
    quarantined: str | None = None
    """Why the fact does not count for now, though it is kept; None when it counts."""
    shape: str = "native"
    """The wire shape it came in: native, event (row F1), generation (R1), rating (L1)."""
    wire: dict[str, Any] = {}
    """Members of that shape that have no place of their own."""


def metric_of(feedback: Feedback) -> tuple[str, float] | None:
    """Return the metric and the value that a reward can be derived from; None for kinds without a number."""
    # `type(x) is`: for a struct that is not of the class, `isinstance` is ten times as slow.
    if type(feedback) is Outcome:
        return feedback.metric, feedback.value
    # One metric for all scales, so a reward does not depend on whether a product asks for thumbs or stars.
    if type(feedback) is Rating:
        return "rating", feedback.satisfaction
    if type(feedback) is Signal or type(feedback) is Measurement:
        return feedback.name, feedback.value
    # A correction whose texts were too long to compare has no distance, and earns nothing.
    if type(feedback) is Correction and feedback.distance is not None:
        return "correction_distance", feedback.distance
    if type(feedback) is Annotation and feedback.score is not None:
        return feedback.rubric, feedback.score
    return None
