"""Every request a client can make, as a function from arguments to a `Call`.

Each function appears as a method on `Client` and `AsyncClient`, with the same arguments and documentation.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from loopwright.core.context import Context
from loopwright.core.errors import ContextInvalid, Invalid, RewardInvalid
from loopwright.core.experiment import Arm, ArmState, Caps, Experiment, PolicyChoice
from loopwright.core.reward import RewardSpec
from loopwright.core.targeting import Targeting

from .answers import (
    SKIPPED,
    BatchReceipt,
    ExperimentPage,
    FeedbackItem,
    Receipt,
    Selection,
    TypedReceipt,
    read_batch,
    read_receipt,
    read_selection,
)
from .exchange import HARMLESS, IDEMPOTENT, Call, Done, Terms

API = "/api/v1"

T = TypeVar("T")
_encode = msgspec.json.Encoder().encode


def select(
    terms: Terms,
    experiment_id: str,
    context: Context | Mapping[str, Any] | None = None,
    *,
    unit_id: str | None = None,
    mask: Sequence[str] | None = None,
) -> Call[Selection]:
    """Return the arm to use for `context`, with the token to send feedback with.

    `context` has `id`, `vector` (numbers, as many as the experiment declares) and `metadata`; `mask` lists the
    ids of the arms allowed this time. When the server cannot be asked and the client has a default arm for the
    experiment, that arm comes back with `is_fallback` set; without one `Unreachable` is raised.
    """

    def fallback(reason: str) -> Selection | None:
        arm = terms.default_arm(experiment_id)
        if arm is None:
            return None
        terms.fell_back(experiment_id, reason)
        return Selection(experiment_id=experiment_id, arm=arm, mode="fallback", reason=reason)

    body = {
        "experiment_id": experiment_id,
        "context": _context(context),
        "unit_id": unit_id,
        "mask": None if mask is None else list(mask),
    }
    return Call(
        method="POST",
        path=f"{API}/agent/select",
        body=_encode({name: value for name, value in body.items() if value is not None}),
        read=read_selection,
        retry_on=HARMLESS,
        fallback=fallback,
    )


def feedback(
    terms: Terms,
    request_id: str | None,
    reward: float,
    *,
    metric: str = "reward",
    event_id: str | None = None,
) -> Call[Receipt] | Done[Receipt]:
    """Say what a selection earned; the receipt means that it is stored durably.

    An `event_id` is made when none is given and every retry repeats it, so a retry never counts twice. For a
    fallback selection, whose `request_id` is None, nothing is sent: the receipt says `skipped`.
    """
    if request_id is None:
        terms.skip()
        return Done(SKIPPED)
    item = _identified(terms, FeedbackItem(request_id, reward, metric, event_id))
    return Call(
        method="POST",
        path=f"{API}/agent/feedback",
        body=_encode(item),
        read=read_receipt,
        retry_on=IDEMPOTENT,
    )


def feedback_batch(
    terms: Terms, items: Iterable[FeedbackItem | Mapping[str, Any]]
) -> Call[BatchReceipt] | Done[BatchReceipt]:
    """Send up to 1000 rewards at once; each is accepted, known already, or refused on its own."""
    given = [_item(item) for item in items]
    travels = [item.request_id is not None for item in given]
    terms.skip(travels.count(False))
    sending = [_identified(terms, item) for item in given if item.request_id is not None]
    if not sending:
        nothing = b'{"accepted":0,"duplicates":0,"rejected":0,"results":[]}'
        return Done(read_batch(nothing, sent=travels))
    return Call(
        method="POST",
        path=f"{API}/agent/feedback/batch",
        body=_encode({"items": sending}),
        read=lambda body: read_batch(body, sent=travels),
        retry_on=IDEMPOTENT,
    )


def identified(terms: Terms, item: FeedbackItem | Mapping[str, Any]) -> FeedbackItem:
    """Return `item` checked and with an event id, so that sending it twice is sending it once."""
    return _identified(terms, _item(item))


def _item(item: FeedbackItem | Mapping[str, Any]) -> FeedbackItem:
    if isinstance(item, FeedbackItem):
        return item
    try:
        return msgspec.convert(dict(item), FeedbackItem)
    except msgspec.ValidationError as error:
        raise Invalid(f"a feedback item cannot be used: {error}") from None


def _identified(terms: Terms, item: FeedbackItem) -> FeedbackItem:
    try:
        reward = float(item.reward)
    except (TypeError, ValueError):
        raise RewardInvalid(f"reward is {item.reward!r}; it must be a number") from None
    # JSON has no NaN; it would travel as null and come back as a confusing error.
    if not math.isfinite(reward):
        raise RewardInvalid(f"reward is {reward}; it must be a finite number")
    event_id = item.event_id or terms.new_id()
    return FeedbackItem(item.request_id, reward, item.metric, event_id)


def _context(context: Context | Mapping[str, Any] | None) -> dict[str, Any] | None:
    if context is None:
        return None
    fields = msgspec.structs.asdict(context) if isinstance(context, Context) else dict(context)
    if fields.get("vector") is not None:
        fields["vector"] = _vector(fields["vector"])
    return {name: value for name, value in fields.items() if value is not None}


def _vector(vector: Iterable[Any]) -> list[float]:
    try:
        numbers = [float(component) for component in vector]
    except (TypeError, ValueError) as error:
        raise ContextInvalid(f"context.vector must be a list of numbers: {error}") from None
    for index, number in enumerate(numbers):
        if not math.isfinite(number):
            raise ContextInvalid(
                f"context.vector[{index}] is {number}; components must be finite", index=index
            )
    return numbers


def create_experiment(
    terms: Terms,
    id: str,
    *,
    arms: Sequence[Arm | Mapping[str, Any] | str],
    policy: PolicyChoice | Mapping[str, Any] | str = "auto",
    reward: RewardSpec | Mapping[str, Any] | str = "binary",
    dimension: int | None = None,
    explore_floor: float = 0.01,
    gate: Targeting | Mapping[str, Any] | None = None,
    trust: Caps | Mapping[str, int] | None = None,
    name: str = "",
    start: bool = True,
) -> Call[Experiment]:
    """Create an experiment and, unless told otherwise, start it.

    `arms` are ids, or mappings with `id`, `payload`, `metadata`, `min_share` and `max_share`; `reward` is a type
    or a whole spec; `dimension` is the length of the context vector and makes the experiment contextual;
    `trust` caps what one person teaches, `{}` with the usual numbers.
    """
    definition = {
        "id": id,
        "arms": [{"id": arm} if isinstance(arm, str) else arm for arm in arms],
        "policy": {"name": policy} if isinstance(policy, str) else policy,
        "reward": {"type": reward} if isinstance(reward, str) else reward,
        "context": None if dimension is None else {"dimension": dimension},
        "explore_floor": explore_floor,
        **({} if gate is None else {"gate": gate}),
        **({} if trust is None else {"trust": trust}),
        "name": name,
    }
    return define_experiment(terms, definition, start=start)


def define_experiment(
    terms: Terms, definition: Mapping[str, Any], *, start: bool = True
) -> Call[Experiment]:
    """Create an experiment from a whole definition, such as one read from a file, and start it."""
    created = _change("POST", "/experiments", body=definition, read=_read_experiment)
    if not start:
        return created
    return replace(created, then=lambda experiment: _move(experiment.id, "start"))


def get_experiment(terms: Terms, id: str) -> Call[Experiment]:
    """Return an experiment as it is configured now."""
    return _get(f"/experiments/{_segment(id)}", _read_experiment)


def list_experiments(
    terms: Terms, *, limit: int = 1000, cursor: str | None = None
) -> Call[ExperimentPage]:
    """Return the tenant's experiments by id, ended ones too; `next_cursor` asks for more."""
    query = {"limit": limit} if cursor is None else {"limit": limit, "cursor": cursor}
    return _get(f"/experiments?{urlencode(query)}", _read_page)


def start_experiment(terms: Terms, id: str) -> Call[Experiment]:
    """Let a draft serve and learn."""
    return _move(id, "start")


def pause_experiment(terms: Terms, id: str) -> Call[Experiment]:
    """Stop serving and learning for now; feedback is still kept and is learned from on `resume`."""
    return _move(id, "pause")


def resume_experiment(terms: Terms, id: str) -> Call[Experiment]:
    """Serve and learn again."""
    return _move(id, "resume")


def end_experiment(terms: Terms, id: str) -> Call[Experiment]:
    """Stop for good."""
    return _move(id, "end")


def experiment_status(terms: Terms, id: str) -> Call[dict[str, Any]]:
    """Return how an experiment is doing: its arms with their figures, and advice."""
    return _get(f"/experiments/{_segment(id)}/status", _read_object)


def add_arm(
    terms: Terms,
    id: str,
    arm_id: str,
    *,
    payload: Any = None,
    metadata: Mapping[str, Any] | None = None,
    min_share: float = 0.0,
    max_share: float = 1.0,
) -> Call[Experiment]:
    """Add an arm to experiment `id`; it takes the last position."""
    arm = Arm(
        id=arm_id,
        payload=payload,
        metadata=dict(metadata or {}),
        min_share=min_share,
        max_share=max_share,
    )
    return _change("POST", f"/experiments/{_segment(id)}/arms", body=arm, read=_read_experiment)


def change_arm(
    terms: Terms,
    id: str,
    arm_id: str,
    *,
    state: ArmState | None = None,
    min_share: float | None = None,
    max_share: float | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Call[Experiment]:
    """Enable, disable or retire an arm of experiment `id`, or change its shares or metadata."""
    changes = {
        "state": state,
        "min_share": min_share,
        "max_share": max_share,
        "metadata": metadata,
    }
    given = {field: value for field, value in changes.items() if value is not None}
    path = f"/experiments/{_segment(id)}/arms/{_segment(arm_id)}"
    return _change("PATCH", path, body=given, read=_read_experiment)


def create_key(
    terms: Terms, *, scopes: Sequence[str], name: str = "", expires_at_ms: int | None = None
) -> Call[dict[str, Any]]:
    """Create an API key; `secret` is in this answer and never again."""
    body = {"scopes": list(scopes), "name": name, "expires_at_ms": expires_at_ms}
    given = {field: value for field, value in body.items() if value is not None}
    return _change("POST", "/keys", body=given, read=_read_object)


def list_keys(terms: Terms) -> Call[list[dict[str, Any]]]:
    """Return the tenant's API keys, oldest first, without their secrets."""
    return _get("/keys", lambda body: _read_items(body).items)


def rotate_key(terms: Terms, id: str, *, grace_s: float = 0.0) -> Call[dict[str, Any]]:
    """Give a key a new secret; the present one stays valid for `grace_s` seconds more."""
    path = f"/keys/{_segment(id)}/rotate"
    return _change("POST", path, body={"grace_s": grace_s}, read=_read_object)


def revoke_key(terms: Terms, id: str) -> Call[dict[str, Any]]:
    """End a key at once and for good."""
    return _change("POST", f"/keys/{_segment(id)}/revoke", body=None, read=_read_object)


def send_feedback(terms: Terms, items: Iterable[Mapping[str, Any]]) -> Call[TypedReceipt]:
    """Send up to 1000 pieces of feedback of any kind, in any shape the server reads (see the wire shapes).

    An item of our own shape without an `event_id` is given one, so that a retry never counts twice. Items are
    accepted or refused one by one: look at `rejected`.
    """
    return _send(terms, "/feedback", items)


def send_interactions(terms: Terms, items: Iterable[Mapping[str, Any]]) -> Call[TypedReceipt]:
    """Send up to 1000 calls of your AI product: versions, tokens, latencies, errors."""
    return _send(terms, "/interactions", items)


def send_steps(terms: Terms, items: Iterable[Mapping[str, Any]]) -> Call[TypedReceipt]:
    """Send up to 1000 steps that an agent took, or their outcomes, by session."""
    return _send(terms, "/steps", items)


def quality_report(terms: Terms, tenant_id: str, *, days: int = 30) -> Call[dict[str, Any]]:
    """Return the quality report of a tenant over the last `days`."""
    return _get(f"/feedback/quality/{_segment(tenant_id)}?days={days}", _read_object)


def rotate_signing_key(terms: Terms) -> Call[dict[str, Any]]:
    """Sign from now on with a fresh key; tokens signed by earlier ones stay valid."""
    return _change("POST", "/signing-keys/rotate", body=None, read=_read_object)


def _send(terms: Terms, path: str, items: Iterable[Mapping[str, Any]]) -> Call[TypedReceipt]:
    given = [dict(item) for item in items]
    for item in given:
        # Only our own shape takes an event id from anybody; the others have ids, or are known by their content.
        if "kind" in item:
            item.setdefault("event_id", terms.new_id())
    return Call(
        method="POST",
        path=API + path,
        body=_encode({"items": given}),
        read=_read_typed,
        retry_on=IDEMPOTENT,
    )


def _get(path: str, read: Callable[[bytes], T]) -> Call[T]:
    return Call(method="GET", path=API + path, read=read, retry_on=IDEMPOTENT)


def _change(method: str, path: str, *, body: Any, read: Callable[[bytes], T]) -> Call[T]:
    encoded = None if body is None else _encode(body)
    return Call(method=method, path=API + path, body=encoded, read=read)


def _move(id: str, move: str) -> Call[Experiment]:
    return _change("POST", f"/experiments/{_segment(id)}/{move}", body=None, read=_read_experiment)


def _segment(name: str) -> str:
    return quote(name, safe="")


class _Items(msgspec.Struct, frozen=True):
    items: list[dict[str, Any]]


_read_typed = msgspec.json.Decoder(TypedReceipt).decode
_read_experiment = msgspec.json.Decoder(Experiment).decode
_read_page = msgspec.json.Decoder(ExperimentPage).decode
_read_object = msgspec.json.Decoder(dict[str, Any]).decode
_read_items = msgspec.json.Decoder(_Items).decode
