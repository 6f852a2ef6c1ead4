"""Rows of the warehouse's feedback, as the items that were sent: what clients of earlier systems read back."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from loopwright.core.events import Fact, Received, Reported
from loopwright.core.feedback import Outcome

from .times import iso_time
from .wire import restore
from .wire.shape import INNER

Picked = Callable[[Collection[int]], Iterable[Fact]]
"""Returns the facts at offsets of the log, in their order."""


class AsSent:
    """Reads the facts that rows were made of and writes them in the shapes that they came in."""

    def __init__(self, picked: Picked) -> None:
        self._picked = picked

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the items of `rows`, which are in the order of the log, each with the time at which it came."""
        wanted = {row["log_offset"] for row in rows}
        return [item for fact in self._picked(wanted) if (item := item_of(fact)) is not None]


def item_of(fact: Fact) -> dict[str, Any] | None:
    """Return what was sent, with the time at which it came; None for a fact that another one of its item tells."""
    if isinstance(fact, Received):
        item: dict[str, Any] = {
            "event_id": fact.event_id,
            "decision_id": fact.decision.id,
            "metric": fact.feedback.metric,
            "reward": fact.feedback.value,
        }
    elif not isinstance(fact, Reported) or fact.note.shape == INNER:
        return None
    elif fact.note.shape == "interaction":
        item = _inside_a_call(fact)
    else:
        item = restore([fact])
    if isinstance(fact, Reported) and fact.note.shape == "generation":
        # Readers of this shape expect both members, empty where nothing was said.
        item = {"prompt_version": "", "model_version": ""} | item
    return item | {"created_at": iso_time(fact.at_ms)}


def _inside_a_call(fact: Reported) -> dict[str, Any]:
    """Return feedback or an outcome that came inside a call, with the output that it is about."""
    said = fact.feedback
    value = fact.note.message if fact.note.message is not None else getattr(said, "value", None)
    names = (
        {"outcome_metric_name": said.metric, "outcome_metric_value": value}
        if isinstance(said, Outcome)
        else {"feedback_type": fact.note.wire.get("type"), "feedback_value": value}
    )
    about = {"event_id": fact.event_id, "output_id": fact.target.output_id}
    return about | {"session_id": fact.note.session_id} | names
