"""One call of an AI product, and one step an agent took: what feedback is about besides our own decisions."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from .feedback import CONSENT_SCOPES, ConsentScope


class Interaction(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One AI call: what went in, what came out, which versions made it, what it cost.

    Inputs are kept as a hash; texts only where the sender declares them as free text, and then redacted.
    """

    id: str
    """The product's own output id, or the id we made."""
    started_at_ms: int
    trace_id: str | None = None
    span_id: str | None = None
    session_id: str | None = None
    message_id: str | None = None
    decision_id: str | None = None
    """Our decision that chose the arm, when one did."""
    person: str | None = None
    """Pseudonym of the user."""
    task: str = ""
    task_id: str | None = None
    # A hash suffices to find equal inputs; the text itself may be about people.
    input_hash: str | None = None
    prompt_version: str | None = None
    model_id: str | None = None
    model_version: str | None = None
    knowledge_version: str | None = None
    retrieval_ids: tuple[str, ...] = ()
    input_tokens: int | None = None
    output_tokens: int | None = None
    cost: float | None = None
    """In the tenant's currency."""
    client_latency_ms: float | None = None
    server_latency_ms: float | None = None
    error: str | None = None
    """Kind of failure; None when the call succeeded."""
    # Redacted, and present only where the sender declares it as free text.
    query: str | None = None
    response: str | None = None
    country: str | None = None
    """ISO 3166 alpha-2."""
    consent: tuple[ConsentScope, ...] = CONSENT_SCOPES
    redactions: dict[str, int] = {}
    labels: dict[str, str] = {}
    wire: dict[str, Any] = {}
    """Its wire shape where that is not our own, and members of it that have no field here."""


StepOutcome = Literal["success", "failure", "correction"]


class Step(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A decision that an agent took by itself on the way to its answer (intent, tables, SQL, chart, analysis)."""

    id: str
    session_id: str
    kind: str
    """intent_routing, sql_generation, table_selection, chart_type, analysis_type, or another."""
    taken_at_ms: int
    data: dict[str, Any] = {}
    confidence: float | None = None
    outcome: StepOutcome | None = None
    interaction_id: str | None = None
    person: str | None = None
    """Pseudonym of the user for whom it was taken."""
    wire: dict[str, Any] = {}
    """Its wire shape where that is not our own, and members of it that have no field here."""
