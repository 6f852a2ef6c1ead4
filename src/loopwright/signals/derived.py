"""The facts that follow from a session that is over, each with its key in the log."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from typing import Protocol

from msgspec.structs import replace

from loopwright.core.decision import Decision
from loopwright.core.events import Expected, Reported
from loopwright.core.feedback import Note, Outcome, Signal
from loopwright.feedback.stages import key_of

from .facts import DERIVED, NAMES, About
from .fold import Session, order
from .signals import SignalValue, derive
from .store import Held

Keyed = tuple[bytes, Reported | Expected]
"""A fact and its key in the log."""


class Shaping(Protocol):
    """Predictions for decisions of experiments whose reward is shaped."""

    def metric(self, decision: Decision) -> str | None:
        """Return the metric that is to be expected of a decision; None when its reward is not shaped."""
        ...

    def expect(
        self, decision: Decision, signals: Mapping[str, float], *, person: str | None
    ) -> tuple[float, str] | None:
        """Return the value of that metric that the signals predict, and the version of the surrogate.

        None when there is no surrogate, or the person does not consent to training.
        """
        ...


def derived_facts(
    tenant_id: str, held: Held, session: Session, *, at_ms: int, shaping: Shaping | None = None
) -> list[Keyed]:
    """Return the facts that follow from a session that is over, each with its key in the log.

    A kind that the product itself reported of an answer is left alone. The ids are digests of tenant, session
    and answer, so the same session gives the same facts however often it is closed.
    """
    resolved = _resolved(held, session)
    retried = [action.decision_id for action in resolved.actions if action.act == "retry"]
    said = {(held.aliases.get(name, name), kind) for name, kind in held.said}
    answers = _answers(held)
    made: list[Keyed] = []
    for name, values in derive(resolved, over=True).items():
        about = answers.get(name)
        if about is None:
            continue
        shown: dict[str, float] = {}
        for value in values:
            # Durations are derived even when sent: products send milliseconds, and the fact has another name and scale.
            is_said = (name, value.kind) in said and value.kind not in ("dwell", "first_action")
            if value.kind == "retry":
                # Retries by button were sent; repeated queries show in the session only.
                is_said = value.value <= retried.count(name)
            if value.kind in NAMES and not is_said:
                made.append(_fact(tenant_id, session, name, value, about=about, at_ms=at_ms))
                shown[NAMES[value.kind]] = value.value
        if shaping is not None and about.decision is not None:
            metric = shaping.metric(about.decision)
            # Once the true outcome is in the log, an expectation would only take its place.
            if metric is not None and (name, metric) not in said:
                about = replace(about, values={**about.values, **shown})
                made += _expected(session, name, shaping, about=about, metric=metric, at_ms=at_ms)
    return made


def _answers(held: Held) -> dict[str, About]:
    """Return what is known of each answer, under the one name it goes by."""
    answers: dict[str, About] = {}
    for reference_, about in held.answers.items():
        name = held.aliases.get(reference_, reference_)
        answers[name] = answers[name].joined(about) if name in answers else about
    return answers


def _expected(
    session: Session, name: str, shaping: Shaping, /, *, about: About, metric: str, at_ms: int
) -> list[Keyed]:
    """Return the fact that says what an answer's decision will probably earn, if there is anything to say."""
    decision = about.decision
    # Learning reads expectations as it reads outcomes, so the same consent is needed.
    if decision is None or "train" not in about.consent:
        return []
    found = shaping.expect(decision, about.values, person=about.person)
    if found is None:
        return []
    value, version = found
    event_id = _identity(decision.tenant_id, session, name, kind="expected")
    fact = Expected(event_id, at_ms, decision, Outcome(metric, value), version)
    # The key begins with a time: the session's start, which is the same in every replay.
    return [(key_of(decision.tenant_id, event_id, session.started_ms), fact)]


def _resolved(held: Held, session: Session) -> Session:
    """Return the session with every answer under one name; what names none belongs to the latest one."""
    actions, latest = [], ""
    for action in session.actions:
        name = held.aliases.get(action.decision_id, action.decision_id) or latest
        # Products often send a click without saying which answer it was on.
        if action.act in ("query", "shown"):
            latest = name
        actions.append(replace(action, decision_id=name))
    # Sorted anew: names are part of the order within a millisecond.
    return Session(session.session_id, tuple(sorted(actions, key=order)))


def _fact(
    tenant_id: str,
    session: Session,
    name: str,
    signal: SignalValue,
    /,
    *,
    about: About,
    at_ms: int,
) -> tuple[bytes, Reported]:
    kind = NAMES[signal.kind]
    event_id = _identity(tenant_id, session, name, kind=kind)
    note = Note(
        occurred_at_ms=signal.at_ms,
        # Nobody said it, so it must not count as an end user's vote.
        source="system",
        person=about.person,
        session_id=session.session_id,
        task=about.task,
        consent=about.consent,
        flags=(DERIVED,),
    )
    fact = Reported(event_id, at_ms, tenant_id, about.target, Signal(kind, signal.value), note)
    return key_of(tenant_id, event_id, session.started_ms), fact


def _identity(tenant_id: str, session: Session, name: str, /, *, kind: str) -> str:
    said = "\0".join((tenant_id, session.session_id, str(session.started_ms), name, kind))
    digest = blake2b(said.encode("utf-8", "surrogatepass"), digest_size=16, person=b"session")
    return digest.hexdigest()
