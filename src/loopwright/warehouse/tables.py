"""The tables of the warehouse: what one row of each is, and what each column holds.

They are projections of the event log in plain types, so that any engine reads them. Ids, keys and texts are
VARCHAR, times are milliseconds since the epoch, JSON is text. The `*_key` columns are 63-bit digests of a
reference together with its tenant: joining on whole numbers is several times as fast as on texts.
"""

from __future__ import annotations

from typing import Final, Literal

import msgspec

Type = Literal["VARCHAR", "BIGINT", "DOUBLE", "BOOLEAN"]

TABLES_VERSION: Final = 3
"""Grows when a table changes; a warehouse of an older version is projected again from the log."""


class Column(msgspec.Struct, frozen=True):
    """One column of a table, a relation or a query."""

    name: str
    type: Type
    sentence: str


class Table(msgspec.Struct, frozen=True):
    """One table: what one row is, and its columns in their order."""

    name: str
    sentence: str
    columns: tuple[Column, ...]
    event_time: str = "at_ms"
    """The time column by which a report's period selects rows."""

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the columns."""
        return tuple(column.name for column in self.columns)


_TENANT: Final = Column("tenant_id", "VARCHAR", "The tenant it belongs to.")
_OFFSET: Final = Column(
    "log_offset", "BIGINT", "Its place in the event log: unique, and grows with time."
)
_AT: Final = Column("at_ms", "BIGINT", "When it reached us, by our clock.")
_DECISION_KEY: Final = Column("decision_key", "BIGINT", "Digest of tenant and decision_id.")

_CONSENT: Final = (
    Column("consent_store", "BOOLEAN", "The person agreed that it is kept."),
    Column("consent_analyze", "BOOLEAN", "… that it is used in reports."),
    Column("consent_train", "BOOLEAN", "… that it is used in training sets."),
    Column("consent_share", "BOOLEAN", "… that it leaves the organisation."),
)

_REFERENCES: Final = (
    Column("trace_id", "VARCHAR", "The caller's trace."),
    Column("span_id", "VARCHAR", "The caller's span within the trace."),
    Column("session_id", "VARCHAR", "The caller's conversation or visit."),
    Column("message_id", "VARCHAR", "A message within the session."),
)

_REFERENCE_KEYS: Final = (
    _DECISION_KEY,
    Column("span_key", "BIGINT", "Digest of tenant, trace_id and span_id."),
    Column("trace_key", "BIGINT", "Digest of tenant and trace_id."),
    Column("message_key", "BIGINT", "Digest of tenant, session_id and message_id."),
    Column("output_key", "BIGINT", "Digest of tenant and the product's own output id."),
)

_MADE_BY: Final = (
    Column("prompt_version", "VARCHAR", "Version of the prompt."),
    Column("model_version", "VARCHAR", "Version of the model."),
    Column("model_id", "VARCHAR", "Name of the model."),
)

_WHERE: Final = (
    Column("feature_id", "VARCHAR", "The product's feature."),
    Column("device_type", "VARCHAR", "mobile, web, voice."),
    Column("locale", "VARCHAR", "Language and region."),
    Column("endpoint", "VARCHAR", "The product's own endpoint."),
)

DECISIONS: Final = Table(
    "decisions",
    "One row per arm that was selected.",
    (
        _TENANT,
        _OFFSET,
        _AT,
        Column("decision_id", "VARCHAR", "The decision."),
        Column("experiment_id", "VARCHAR", "The experiment that allocated the arm."),
        Column("arm_id", "VARCHAR", "The arm."),
        Column("propensity", "DOUBLE", "Probability it was drawn with."),
        Column("snapshot", "BIGINT", "Log offset through which the serving snapshot had learned."),
        Column("mode", "VARCHAR", "live, shadow, holdout, fallback."),
        Column("unit_id", "VARCHAR", "The sticky unit: a user, an account."),
        Column("context_id", "VARCHAR", "The caller's id of the context."),
        Column("metadata", "VARCHAR", "The context's metadata, as a JSON object."),
        Column("vector", "VARCHAR", "The context's vector, as a JSON array; NULL without one."),
        Column("rule", "VARCHAR", "The rule of the gate that applied; NULL when none did."),
        _DECISION_KEY,
    ),
)

FEEDBACK: Final = Table(
    "feedback",
    "One row per fact learned about an answer or a decision, whatever its kind.",
    (
        _TENANT,
        _OFFSET,
        _AT,
        Column("occurred_at_ms", "BIGINT", "When it happened, by the sender's clock."),
        Column("event_id", "VARCHAR", "The fact's own id."),
        Column("kind", "VARCHAR", "rating, signal, correction, outcome, measurement, annotation."),
        Column(
            "metric",
            "VARCHAR",
            "What the number is of: an outcome's metric, a signal's name, rating, …",
        ),
        Column(
            "value", "DOUBLE", "The number; NULL for facts without one. A rating's is on [0, 1]."
        ),
        Column("scale", "VARCHAR", "A rating's scale: thumbs, stars, numeric."),
        Column(
            "rating", "DOUBLE", "A rating as it was given: 0 or 1, 1 to 5, or within its bounds."
        ),
        Column("satisfaction", "DOUBLE", "A rating on [0, 1]; NULL for other kinds."),
        Column("low", "DOUBLE", "Least rating of its scale."),
        Column("high", "DOUBLE", "Greatest rating of its scale."),
        Column("unit", "VARCHAR", "A measurement's unit."),
        Column("decision_id", "VARCHAR", "Our decision it is about, if that was said."),
        Column(
            "experiment_id", "VARCHAR", "That decision's experiment, when its token came along."
        ),
        Column("arm_id", "VARCHAR", "That decision's arm, when its token came along."),
        Column("unit_id", "VARCHAR", "That decision's unit, when its token came along."),
        *_REFERENCES,
        Column("output_id", "VARCHAR", "The product's own output it is about."),
        Column("person", "VARCHAR", "Pseudonym of the user."),
        Column("address", "VARCHAR", "Pseudonym of the network address."),
        Column("source", "VARCHAR", "end_user, reviewer, evaluator, system."),
        Column("task", "VARCHAR", "The workflow."),
        Column("category", "VARCHAR", "What it is about, by the taxonomy."),
        Column("category_by", "VARCHAR", "Who classified it: given, rules, model."),
        Column("sentiment", "DOUBLE", "-1 (bad) to 1 (good)."),
        Column("severity", "VARCHAR", "How bad it is said to be."),
        *_MADE_BY,
        *_WHERE,
        Column("message", "VARCHAR", "The comment, redacted."),
        Column("query", "VARCHAR", "The question, redacted."),
        Column("response", "VARCHAR", "The answer, redacted."),
        Column("before_text", "VARCHAR", "The text before a correction."),
        Column("after_text", "VARCHAR", "The text after a correction."),
        Column("explanation", "VARCHAR", "Why it was corrected, or an annotation's rationale."),
        Column("rubric", "VARCHAR", "An annotation's rubric."),
        Column("rubric_version", "BIGINT", "Its version."),
        Column("label", "VARCHAR", "An annotation's label."),
        Column("reviewer", "VARCHAR", "Pseudonym of who annotated."),
        Column("quarantined", "VARCHAR", "Why it does not count for now; NULL when it counts."),
        Column("shape", "VARCHAR", "The wire shape it came in."),
        *_CONSENT,
        Column("labels", "VARCHAR", "All labels, as a JSON object; NULL when there are none."),
        Column("tags", "VARCHAR", "Tags, as a JSON array; NULL when there are none."),
        Column(
            "flags", "VARCHAR", "What was odd but kept, as a JSON array; NULL when nothing was."
        ),
        Column(
            "redactions",
            "VARCHAR",
            "What was redacted how often, as a JSON object; NULL for nothing.",
        ),
        Column(
            "wire",
            "VARCHAR",
            "The sender's other members, as a JSON object; NULL when there are none.",
        ),
        *_REFERENCE_KEYS,
    ),
    event_time="occurred_at_ms",
)

INTERACTIONS: Final = Table(
    "interactions",
    "One row per call of an AI product.",
    (
        _TENANT,
        _OFFSET,
        _AT,
        Column("started_at_ms", "BIGINT", "When the call began, by the sender's clock."),
        Column("event_id", "VARCHAR", "The fact's own id."),
        Column("interaction_id", "VARCHAR", "The product's own output id, or the id we made."),
        *_REFERENCES,
        Column("decision_id", "VARCHAR", "Our decision that chose the arm."),
        Column("person", "VARCHAR", "Pseudonym of the user."),
        Column("task", "VARCHAR", "The workflow; empty when not said."),
        Column("task_id", "VARCHAR", "The product's id of this piece of work."),
        Column("input_hash", "VARCHAR", "Hash of the input."),
        *_MADE_BY,
        Column("knowledge_version", "VARCHAR", "Version of the knowledge base."),
        Column(
            "retrieval_ids", "VARCHAR", "What was retrieved, as a JSON array; NULL for nothing."
        ),
        Column("input_tokens", "BIGINT", "Tokens in."),
        Column("output_tokens", "BIGINT", "Tokens out."),
        Column("cost", "DOUBLE", "In the tenant's currency."),
        Column("client_latency_ms", "DOUBLE", "As the client saw it."),
        Column("server_latency_ms", "DOUBLE", "As the server saw it."),
        Column("error", "VARCHAR", "Kind of failure; NULL when the call succeeded."),
        Column("query", "VARCHAR", "The question, redacted."),
        Column("response", "VARCHAR", "The answer, redacted."),
        Column("country", "VARCHAR", "ISO 3166 alpha-2."),
        *_WHERE,
        *_CONSENT,
        Column("labels", "VARCHAR", "All labels, as a JSON object; NULL when there are none."),
        Column(
            "redactions",
            "VARCHAR",
            "What was redacted how often, as a JSON object; NULL for nothing.",
        ),
        *_REFERENCE_KEYS,
    ),
    event_time="started_at_ms",
)

STEPS: Final = Table(
    "steps",
    "One row per step of an agent, as last reported.",
    (
        _TENANT,
        _OFFSET,
        _AT,
        Column("taken_at_ms", "BIGINT", "When it was taken, by the sender's clock."),
        Column("step_id", "VARCHAR", "The step."),
        Column("session_id", "VARCHAR", "The session it belongs to."),
        Column("kind", "VARCHAR", "intent_routing, sql_generation, table_selection, …"),
        Column("data", "VARCHAR", "What was decided, as a JSON object."),
        Column("confidence", "DOUBLE", "How sure the agent was."),
        Column("outcome", "VARCHAR", "success, failure, correction; NULL while unknown."),
        Column("interaction_id", "VARCHAR", "The call it led to."),
        Column("person", "VARCHAR", "Pseudonym of the user for whom it was taken."),
        *_CONSENT,
    ),
    event_time="taken_at_ms",
)

CONSENTS: Final = Table(
    "consents",
    "One row per change of a person's consent, erasure included; the latest holds for all they ever said.",
    (
        _TENANT,
        _OFFSET,
        _AT,
        Column("person", "VARCHAR", "Pseudonym of the person."),
        Column("is_erasure", "BOOLEAN", "The person was erased: no row of theirs is shown again."),
        *_CONSENT,
    ),
)

TABLES: Final = {
    table.name: table for table in (DECISIONS, FEEDBACK, INTERACTIONS, STEPS, CONSENTS)
}

LINKED: Final = Table(
    "linked",
    "One row per feedback that counts (not quarantined), with the call or decision it is about when that is known.",
    (
        *FEEDBACK.columns,
        Column(
            "interaction_offset",
            "BIGINT",
            "log_offset of the call it is about; NULL while there is none.",
        ),
        Column("interaction_id", "VARCHAR", "That call."),
        Column(
            "link",
            "VARCHAR",
            "What joined them: decision, span, trace, message, output; NULL while nothing did.",
        ),
        Column("interaction_started_at_ms", "BIGINT", "When that call began."),
        Column("country", "VARCHAR", "The call's country."),
        Column("knowledge_version", "VARCHAR", "The call's knowledge base."),
        Column(
            "is_waiting", "BOOLEAN", "It refers to a call or a decision that is not there (yet)."
        ),
    ),
    event_time="occurred_at_ms",
)
"""In `linked`, prompt_version, model_version, model_id, task, session_id and the labels are the call's where the
feedback itself does not say; experiment_id, arm_id and unit_id are the decision's."""

WIDE: Final = Table(
    "wide",
    "One row per call, with what was learned about it: interactions with feedback and outcomes.",
    (
        *INTERACTIONS.columns,
        Column("feedback", "BIGINT", "Facts about the call that count."),
        Column("ratings", "BIGINT", "Ratings among them."),
        Column("satisfaction", "DOUBLE", "Their mean on [0, 1]; NULL without ratings."),
        Column("thumbs_up", "BIGINT", "Thumbs up."),
        Column("thumbs_down", "BIGINT", "Thumbs down."),
        Column("corrections", "BIGINT", "Corrections."),
        Column("signals", "BIGINT", "Implicit signals."),
        Column("is_retried", "BOOLEAN", "It was asked for again."),
        Column("is_refined", "BOOLEAN", "The session asked again in other words."),
        Column("is_abandoned", "BOOLEAN", "The session ended without using it."),
        Column("is_used", "BOOLEAN", "It was copied, exported, accepted or put on a dashboard."),
        Column("outcomes", "BIGINT", "Outcomes."),
        Column("outcome_value", "DOUBLE", "Mean of the outcomes; NULL without one."),
        Column("annotations", "BIGINT", "Annotations."),
    ),
    event_time="started_at_ms",
)
