"""The first stage: read an item by its wire shape, and refuse what may not be stored."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from msgspec.structs import replace

from loopwright.core.errors import Forbidden, Invalid
from loopwright.core.experiment import Experiment
from loopwright.core.feedback import Outcome, Target
from loopwright.core.reward import normalise
from loopwright.feedback.draft import TEXT_CHARS, WIRE_BYTES, Draft, Verify
from loopwright.feedback.wire import read
from loopwright.people.consent import require_store

from .identify import Find

_encode: Final = msgspec.msgpack.Encoder().encode


def validate_item(
    item: Any, path: str, /, tenant_id: str, received_ms: int, verify: Verify, find: Find
) -> Draft:
    """Read an item and check everything that needs no change to it.

    Raises `Invalid` and its kinds, a token error, `Forbidden` for another tenant, or `RewardInvalid`.
    """
    draft = read(item, path, received_ms, verify)
    note, target = draft.note, draft.target
    if "store" not in note.consent:
        require_store(note.consent)
    if draft.is_free:
        _check_storable(note.wire if draft.step is None else draft.step.data)
    if draft.tenant_id is not None and draft.tenant_id != tenant_id:
        raise Forbidden(
            f"tenant_id is {draft.tenant_id[:80]!r}; the API key belongs to another tenant"
        )
    if target.decision is not None:
        if type(draft.feedback) is Outcome:
            _check_outcome(draft.feedback, find(tenant_id, target.decision.experiment_id))
    elif draft.feedback is not None and target == _NO_TARGET:
        if note.source == "end_user" and note.shape not in _KEPT_WITHOUT_TARGET:
            raise Invalid(
                "the feedback refers to nothing; send request_id, decision_id, trace_id, session_id with "
                "message_id, or output_id"
            )
        draft.note = replace(note, flags=(*note.flags, "without_target"))
    return draft


_NO_TARGET: Final = Target()

_KEPT_WITHOUT_TARGET: Final = frozenset({"event", "correction"})
"""Wire shapes of earlier systems whose items count even about nothing in particular: a correction is training data."""


def _check_storable(wire: Mapping[str, Any]) -> None:
    try:
        size = len(_encode(wire))
    except (OverflowError, TypeError, ValueError, RecursionError) as error:
        raise Invalid(f"the item cannot be kept: {error}; send 64-bit integers at most") from None
    if size > WIRE_BYTES:
        raise Invalid(
            f"data and members without a place of their own take {size} bytes; at most {WIRE_BYTES} are kept",
            found=size,
            limit=WIRE_BYTES,
        )
    _check_texts(wire)


def _check_texts(value: Any) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            if isinstance(inner, str) and len(inner) > TEXT_CHARS:
                raise Invalid(f"{name} has {len(inner)} characters; at most {TEXT_CHARS} are taken")
            _check_texts(inner)


def _check_outcome(outcome: Outcome, experiment: Experiment | None) -> None:
    if experiment is not None and outcome.metric == experiment.reward.metric:
        normalise(experiment.reward, outcome.value)
