"""Implicit signals: what people do with an answer, turned into numbers.

Everything here is a pure function of recorded actions. A signal is one `SignalValue`: its kind, a number and
the time of the action that settled it. A kind that did not happen is absent, never zero, because nothing done
yet and decided against look alike until the session is over.

| kind | value | settled by |
|---|---|---|
| `edit_distance` | Levenshtein distance ÷ longer text, 0 (kept as it was) to 1 (nothing left) | the edit |
| `edits_to_accept` | words inserted, deleted or replaced from proposal to accepted text, over all saved versions | the accepted version |
| `copy`, `export`, `dashboard`, `escalate`, `accept` | 1 | the first such action |
| `retry` | how often the answer was asked for again, by button or by the same query within `within_ms` | the latest |
| `refinement` | likeness of the next query in the session, `alike` to below 1, asked within `within_ms` | that query |
| `follow_up` | 1 when the next query within `within_ms` is neither retry nor refinement | that query |
| `dwell` | time in view on a log scale: 0 at 0 s, 1 at `DWELL_FULL_MS` and beyond | the last report of it |
| `first_action` | time from shown to the first deliberate action, on the same scale | that action |
| `abandonment` | 1 when the session ran out, or was left, after the answer, which was neither used nor followed by a query | the end of the session |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from loopwright.core.errors import Invalid
from loopwright.texts.distance import edit_distance, edits_to_accept, likeness

from .fold import Action, Session, order

# Five minutes: a longer view may as well be a tab left open.
DWELL_FULL_MS: Final = 300_000

Kind = Literal[
    "edit_distance",
    "edits_to_accept",
    "copy",
    "retry",
    "refinement",
    "follow_up",
    "dwell",
    "first_action",
    "export",
    "dashboard",
    "escalate",
    "accept",
    "abandonment",
]

_ONCE: Final[tuple[Kind, ...]] = ("copy", "export", "dashboard", "escalate", "accept")
_DELIBERATE: Final = frozenset(
    {"copy", "retry", "export", "dashboard", "escalate", "accept", "edit"}
)


class SignalValue(msgspec.Struct, frozen=True):
    """One implicit signal about a decision."""

    kind: Kind
    value: float
    at_ms: int


class Definition(msgspec.Struct, frozen=True):
    """The limits that the definitions above speak of."""

    within_ms: int = 120_000
    alike: float = 0.5
    # Not 1: a corrected typing error in twenty words is still the same question.
    same: float = 0.95

    def __post_init__(self) -> None:
        if self.within_ms <= 0 or not 0 < self.alike <= self.same <= 1:
            raise ValueError(
                f"within_ms {self.within_ms}, alike {self.alike}, same {self.same}: "
                "give within_ms above 0 and 0 < alike <= same <= 1"
            )


DEFAULT: Final = Definition()


def log_scaled(duration_ms: int, *, full_ms: int = DWELL_FULL_MS) -> float:
    """Return a duration on a log scale: 0 at zero, 1 at `full_ms` and beyond; the first second counts most.

    Raises `Invalid` for a negative duration.
    """
    if duration_ms < 0:
        raise Invalid(f"a duration of {duration_ms} ms lies before its beginning; give 0 or more")
    # Logarithmic: nine seconds more mean much after the first second, and little after two hundred.
    return min(1.0, math.log1p(duration_ms / 1000) / math.log1p(full_ms / 1000))


def derive(
    session: Session,
    *,
    over: bool,
    definition: Definition = DEFAULT,
) -> dict[str, tuple[SignalValue, ...]]:
    """Return the signals of each decision in a session.

    `over` says that the session has ended; before that, nothing counts as abandoned unless the last action
    was to leave.
    """
    # Leaving is the last thing that a person does, so the session need not run out.
    over = over or session.actions[-1].act == "leave"
    of: dict[str, list[Action]] = {}
    for action in session.actions:
        of.setdefault(action.decision_id, []).append(action)
    made: dict[str, tuple[SignalValue, ...]] = {}
    for decision_id, actions in of.items():
        asked = _asked_next(session, actions, definition=definition)
        values = [
            *_once(actions),
            *_edits(actions),
            *_retries(actions, asked),
            *(signal for signal in asked if signal.kind != "retry"),
            *_times(actions),
        ]
        if over and not asked and (left := _abandoned(session, actions)):
            values.append(left)
        made[decision_id] = tuple(values)
    return made


def _once(actions: Sequence[Action]) -> list[SignalValue]:
    found = []
    for kind in _ONCE:
        first = next((action for action in actions if action.act == kind), None)
        if first is not None:
            found.append(SignalValue(kind, 1.0, first.at_ms))
    return found


def _edits(actions: Sequence[Action]) -> list[SignalValue]:
    edits = [action for action in actions if action.act == "edit"]
    if not edits:
        return []
    first, last = edits[0], edits[-1]
    changed = edit_distance(first.text, last.after)
    # From the proposal to the latest text: going back and forth changed nothing in the end.
    found = [SignalValue("edit_distance", changed, last.at_ms)]
    # Escalating is no acceptance: the answer was handed to a person.
    if any(action.act in _ONCE and action.act != "escalate" for action in actions):
        versions = [first.text, *(edit.after for edit in edits)]
        words = edits_to_accept(versions)
        found.append(SignalValue("edits_to_accept", float(words), last.at_ms))
    return found


def _asked_next(
    session: Session, actions: Sequence[Action], *, definition: Definition
) -> list[SignalValue]:
    """Classify the query that follows the one this decision answered."""
    asked = next((action for action in actions if action.act == "query"), None)
    if asked is None:
        return []
    # By the whole order, not by time: two queries of one millisecond still follow one another.
    later = (a for a in session.actions if a.act == "query" and order(a) > order(asked))
    following = next(later, None)
    if following is None or following.at_ms - asked.at_ms > definition.within_ms:
        return []
    alike = likeness(asked.text, following.text)
    if alike >= definition.same:
        return [SignalValue("retry", 1.0, following.at_ms)]
    if alike >= definition.alike:
        return [SignalValue("refinement", alike, following.at_ms)]
    return [SignalValue("follow_up", 1.0, following.at_ms)]


def _retries(actions: Sequence[Action], asked: Sequence[SignalValue]) -> list[SignalValue]:
    times = [action.at_ms for action in actions if action.act == "retry"]
    times += [signal.at_ms for signal in asked if signal.kind == "retry"]
    return [SignalValue("retry", float(len(times)), max(times))] if times else []


def _times(actions: Sequence[Action]) -> list[SignalValue]:
    found = []
    dwells = [action for action in actions if action.act == "dwell"]
    if dwells:
        # Each report holds the time in view so far, so they are not added up.
        longest = max(action.duration_ms for action in dwells)
        found.append(SignalValue("dwell", log_scaled(longest), dwells[-1].at_ms))
    shown = next((action for action in actions if action.act == "shown"), None)
    first = next((action for action in actions if action.act in _DELIBERATE), None)
    if shown is not None and first is not None and first.at_ms >= shown.at_ms:
        waited = log_scaled(first.at_ms - shown.at_ms)
        found.append(SignalValue("first_action", waited, first.at_ms))
    return found


def _abandoned(session: Session, actions: Sequence[Action]) -> SignalValue | None:
    """Return abandonment of an answer that was shown, never used, and followed by nothing."""
    seen = [action for action in actions if action.act in ("shown", "query")]
    if not seen or any(action.act in _DELIBERATE for action in actions):
        return None
    # Asking on shows that the person stayed; `follow_up` and `refinement` tell about that.
    if any(a.act == "query" and order(a) > order(seen[-1]) for a in session.actions):
        return None
    return SignalValue("abandonment", 1.0, session.ended_ms)
