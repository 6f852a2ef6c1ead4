"""From facts to rows: a pure function of each fact alone.

A row is a struct with one field per column of its table, but for the `*_key` columns, which the engine
computes when it takes the rows in. Nothing is looked up: what belongs together is joined when it is read, so
a fact that arrives before what it refers to needs no special care.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from loopwright.core.context import unpack
from loopwright.core.decision import Decision
from loopwright.core.events import (
    Consented,
    Decided,
    Erased,
    Fact,
    Interacted,
    Received,
    Reported,
    Stepped,
)
from loopwright.core.feedback import (
    CONSENT_SCOPES,
    Annotation,
    ConsentScope,
    Correction,
    Feedback,
    Measurement,
    Note,
    Outcome,
    Rating,
    Signal,
    Target,
)

from . import layout
from .tables import CONSENTS, DECISIONS, FEEDBACK, INTERACTIONS, STEPS, TABLES, Table

Rows = dict[str, list[Any]]
"""Rows by table, each an instance of the table's type in `ROWS`."""

_Part = tuple[Any, ...]

_json: Final = msgspec.json.Encoder().encode
# Half of what BIGINT holds, so that the difference of two columns fits too.
_LIMIT: Final = 2**62
"""Whole numbers of senders beyond it fit no engine's columns."""
_BARE: Final = Note(occurred_at_ms=0)
_NO_LABELS: Final = (None,) * 7
_NO_TEXTS: Final = (None,) * 7


def _row_type(table: Table) -> Callable[..., Any]:
    """Return the type of a table's rows. Encoded rows omit NULLs, which most columns of most rows are."""
    fields = [(c.name, Any, None) for c in table.columns if not c.name.endswith("_key")]
    return msgspec.defstruct(
        f"{table.name}_row",
        fields,
        rename={name: layout.member(k) for k, (name, *_) in enumerate(fields)},
        omit_defaults=True,
        gc=False,
        frozen=True,
    )


ROWS: Final = {name: _row_type(table) for name, table in TABLES.items()}

_DecisionRow, _FeedbackRow = ROWS[DECISIONS.name], ROWS[FEEDBACK.name]
_InteractionRow, _StepRow = ROWS[INTERACTIONS.name], ROWS[STEPS.name]
_ConsentRow = ROWS[CONSENTS.name]


def project(facts: Iterable[tuple[int, Fact]]) -> Rows:
    """Return the rows that `facts`, each with its log offset, make in every table."""
    rows: Rows = {name: [] for name in TABLES}
    # Bound once per call: the loop below runs for every fact of the log.
    adders = {kind: (rows[table].append, row) for kind, (table, row) in _MAKERS.items()}
    for offset, fact in facts:
        found = adders.get(type(fact))
        if found is None or (type(fact) is Received and fact.derived):
            # A derived reward is in the feedback it was computed from.
            continue
        if _is_erased(fact):
            continue
        add, row = found
        add(row(offset, fact))
    return rows


def _is_erased(fact: Fact) -> bool:
    """Say whether a fact is about a decision whose unit was erased."""
    if type(fact) is Decided or type(fact) is Received:
        decision: Decision | None = fact.decision
    elif type(fact) is Reported:
        decision = fact.target.decision
    else:
        return False
    return decision is not None and decision.is_erased


def _decision(offset: int, fact: Decided) -> Any:
    d = fact.decision
    return _DecisionRow(
        d.tenant_id,
        offset,
        d.decided_at_ms,
        d.id,
        d.experiment_id,
        d.arm_id,
        d.propensity,
        d.snapshot,
        d.mode,
        d.unit_id,
        d.context_id,
        _text(d.metadata) if d.metadata else None,
        # The shortest decimal that reads back as the same float: a reader gets the numbers that scored.
        _text(unpack(d.vector)) if d.vector else None,
        d.rule,
    )


def _received(offset: int, fact: Received) -> Any:
    target = Target(fact.decision)
    # Rewards of a bandit carry no time of their sender, so ours stands in both columns.
    head = (fact.decision.tenant_id, offset, fact.at_ms, fact.at_ms, fact.event_id)
    return _feedback(head, target, fact.feedback, note=_BARE)


def _reported(offset: int, fact: Reported) -> Any:
    note = fact.note
    head = (
        fact.tenant_id,
        offset,
        fact.at_ms,
        _time(note.occurred_at_ms, fact.at_ms),
        fact.event_id,
    )
    return _feedback(head, fact.target, fact.feedback, note=note)


def _feedback(head: _Part, target: Target, feedback: Feedback, *, note: Note) -> Any:
    numbers, texts = _KINDS[type(feedback)](feedback)
    decision = target.decision
    about: _Part
    if decision is None:
        about = (target.decision_id, None, None, None)
    else:
        about = (decision.id, decision.experiment_id, decision.arm_id, decision.unit_id)
    labels = note.labels
    return _FeedbackRow(
        *head,
        *numbers,
        *about,
        target.trace_id,
        target.span_id,
        target.session_id or note.session_id,
        target.message_id,
        target.output_id,
        note.person,
        note.address,
        note.source,
        note.task,
        note.category,
        note.category_by,
        note.sentiment,
        note.severity,
        *(_promoted(labels) if labels else _NO_LABELS),
        note.message,
        note.query,
        note.response,
        *texts,
        note.quarantined,
        note.shape,
        *_flags(note.consent),
        _text(labels) if labels else None,
        _text(note.tags) if note.tags else None,
        _text(note.flags) if note.flags else None,
        _text(note.redactions) if note.redactions else None,
        _text(note.wire) if note.wire else None,
    )


def _interaction(offset: int, fact: Interacted) -> Any:
    i = fact.interaction
    labels = i.labels
    return _InteractionRow(
        fact.tenant_id,
        offset,
        fact.at_ms,
        _time(i.started_at_ms, fact.at_ms),
        fact.event_id,
        i.id,
        i.trace_id,
        i.span_id,
        i.session_id,
        i.message_id,
        i.decision_id,
        i.person,
        i.task,
        i.task_id,
        i.input_hash,
        i.prompt_version,
        i.model_version,
        i.model_id,
        i.knowledge_version,
        _text(i.retrieval_ids) if i.retrieval_ids else None,
        _whole(i.input_tokens),
        _whole(i.output_tokens),
        i.cost,
        i.client_latency_ms,
        i.server_latency_ms,
        i.error,
        i.query,
        i.response,
        i.country,
        # Without the first three: a call names its versions in fields of its own.
        *(_promoted(labels)[3:] if labels else _NO_LABELS[3:]),
        *_flags(i.consent),
        _text(labels) if labels else None,
        _text(i.redactions) if i.redactions else None,
    )


def _step(offset: int, fact: Stepped) -> Any:
    s = fact.step
    return _StepRow(
        fact.tenant_id,
        offset,
        fact.at_ms,
        _time(s.taken_at_ms, fact.at_ms),
        s.id,
        s.session_id,
        s.kind,
        _text(s.data) if s.data else None,
        s.confidence,
        s.outcome,
        s.interaction_id,
        s.person,
        # A step has no word of its own; its person's holds.
        *_flags(CONSENT_SCOPES),
    )


def _consent(offset: int, fact: Consented) -> Any:
    return _ConsentRow(fact.tenant_id, offset, fact.at_ms, fact.person, False, *_flags(fact.scopes))


def _erasure(offset: int, fact: Erased) -> Any:
    # An erasure withholds every scope as well, for a reader that looks at consent alone.
    return _ConsentRow(fact.tenant_id, offset, fact.at_ms, fact.person, True, *_flags(()))


_MAKERS: Final[dict[type, tuple[str, Callable[[int, Any], Any]]]] = {
    Decided: (DECISIONS.name, _decision),
    Received: (FEEDBACK.name, _received),
    Reported: (FEEDBACK.name, _reported),
    Interacted: (INTERACTIONS.name, _interaction),
    Stepped: (STEPS.name, _step),
    Consented: (CONSENTS.name, _consent),
    Erased: (CONSENTS.name, _erasure),
}

# Of each kind: (kind, metric, value, scale, rating, satisfaction, low, high, unit), and
# (before_text, after_text, explanation, rubric, rubric_version, label, reviewer).


def _rating(f: Rating) -> tuple[_Part, _Part]:
    level = f.satisfaction
    return ("rating", "rating", level, f.scale, f.value, level, f.low, f.high, None), _NO_TEXTS


def _signal(f: Signal) -> tuple[_Part, _Part]:
    return ("signal", f.name, f.value, None, None, None, None, None, None), _NO_TEXTS


def _outcome(f: Outcome) -> tuple[_Part, _Part]:
    return ("outcome", f.metric, f.value, None, None, None, None, None, None), _NO_TEXTS


def _measurement(f: Measurement) -> tuple[_Part, _Part]:
    return ("measurement", f.name, f.value, None, None, None, None, None, f.unit), _NO_TEXTS


def _correction(f: Correction) -> tuple[_Part, _Part]:
    texts = (f.before, f.after, f.explanation or None, None, None, None, None)
    metric = "correction_distance"
    return ("correction", metric, f.distance, None, None, None, None, None, None), texts


def _annotation(f: Annotation) -> tuple[_Part, _Part]:
    texts = (
        None,
        None,
        f.rationale or None,
        f.rubric,
        _whole(f.rubric_version),
        f.label,
        f.reviewer,
    )
    return ("annotation", f.rubric, f.score, None, None, None, None, None, None), texts


_KINDS: Final[dict[type, Callable[[Any], tuple[_Part, _Part]]]] = {
    Rating: _rating,
    Signal: _signal,
    Outcome: _outcome,
    Measurement: _measurement,
    Correction: _correction,
    Annotation: _annotation,
}


def _promoted(labels: dict[str, str]) -> _Part:
    """Return the labels that have a column of their own, in the order of the columns."""
    get = labels.get
    return (
        get("prompt_version"),
        get("model_version"),
        get("model_id"),
        get("feature_id"),
        get("device_type"),
        get("locale"),
        get("endpoint"),
    )


# There are 16 sets of scopes, in a few orders, and every fact has one.
@lru_cache(maxsize=64)
def _flags(scopes: Sequence[ConsentScope]) -> _Part:
    """Return False for each withheld scope and None for each granted one, which `layout.USUAL` restores."""
    return tuple(None if scope in scopes else False for scope in CONSENT_SCOPES)


def _text(value: Any) -> str:
    """Return `value` as JSON. Callers skip empty values, which most are and which are NULL in the tables."""
    return _json(value).decode()


def _time(said_ms: int, at_ms: int) -> int:
    """Return the sender's time, or ours when the sender's fits no column."""
    return said_ms if -_LIMIT < said_ms < _LIMIT else at_ms


def _whole(number: int | None) -> int | None:
    return number if number is None or -_LIMIT < number < _LIMIT else None
