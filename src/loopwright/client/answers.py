"""The server's answers, as values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec

from loopwright.core.decision import Mode
from loopwright.core.errors import LoopError
from loopwright.core.experiment import Experiment

from .errors import from_problem

DEFAULT_ARM_ID: Final = "default"
"""Id of a local default arm that was configured by its payload alone."""


class Arm(msgspec.Struct, frozen=True):
    """The arm to use: its stable id and what the product stored with it."""

    id: str
    payload: Any = None
    metadata: dict[str, Any] = {}


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """The arm to use for one context, and how it was chosen.

    `request_id` is the signed token to send back with feedback. It is None exactly when `is_fallback`: the
    server could not be asked, the local default arm stands in, and `reason` says why.
    """

    experiment_id: str
    arm: Arm
    # Optional on our side only: a local fallback has no token, and feedback for it could not be verified.
    request_id: str | None = None
    decision_id: str | None = None
    propensity: float | None = None
    snapshot: int = 0
    """Offset of the event log through which the serving snapshot had learned."""
    mode: Mode = "live"
    rule: str | None = None
    """The rule of the experiment's gate that applied, `schedule` or `rollout`."""
    reason: str | None = None

    @property
    def is_fallback(self) -> bool:
        """Whether the local default stands in for an answer; no feedback can be given for it."""
        return self.mode == "fallback" and self.request_id is None


# Strict, unlike the answers: a misspelt `event_id` that is ignored would let a retry count twice.
class FeedbackItem(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One reward for one selection. `event_id` makes a retry the same fact; it is minted when absent.

    `metric` is the experiment's own when it is left out.
    """

    request_id: str | None
    reward: float
    metric: str | None = None
    event_id: str | None = None


class Receipt(msgspec.Struct, frozen=True):
    """The server has stored the feedback durably, or had it already.

    `skipped` means that nothing was sent: the selection was a local fallback.
    """

    event_id: str | None = None
    decision_id: str | None = None
    duplicate: bool = False
    skipped: bool = False
    flags: tuple[str, ...] = ()
    """What is odd: `foreign_metric` when the experiment learns from another metric."""


SKIPPED: Final = Receipt(skipped=True)


class BatchReceipt(msgspec.Struct, frozen=True, kw_only=True):
    """The result of each item of a batch, in the order sent."""

    accepted: int
    duplicates: int
    rejected: int
    skipped: int
    results: tuple[Receipt | LoopError, ...]


class ExperimentPage(msgspec.Struct, frozen=True):
    """Some experiments, by id; `next_cursor` asks for the rest and is None at the end. It iterates over the items."""

    items: tuple[Experiment, ...]
    next_cursor: str | None = None

    def __iter__(self) -> Iterator[Experiment]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


# Unknown members of an answer are ignored, so that an older client can read a newer server.
class _Stored(msgspec.Struct, frozen=True):
    event_id: str
    decision_id: str
    duplicate: bool = False
    flags: tuple[str, ...] = ()


class _ItemResult(msgspec.Struct, frozen=True):
    status: int
    event_id: str | None = None
    decision_id: str | None = None
    duplicate: bool = False
    problem: dict[str, Any] | None = None
    flags: tuple[str, ...] = ()


class _BatchAnswer(msgspec.Struct, frozen=True):
    results: list[_ItemResult]


# Made once: every new decoder would inspect its type again.
read_selection: Final = msgspec.json.Decoder(Selection).decode
_read_stored: Final = msgspec.json.Decoder(_Stored).decode
_read_batch: Final = msgspec.json.Decoder(_BatchAnswer).decode


def read_receipt(body: bytes) -> Receipt:
    """Return the receipt of one stored reward."""
    stored = _read_stored(body)
    return Receipt(stored.event_id, stored.decision_id, stored.duplicate, flags=stored.flags)


def read_batch(body: bytes, *, kept: Sequence[Receipt | LoopError | None]) -> BatchReceipt:
    """Return the receipt of a batch; `kept` has the result of each item that did not travel, None for the others."""
    # The server knows only what travelled; the others are put back in their places.
    results = iter(_read_batch(body).results)
    return counted([_result(next(results)) if own is None else own for own in kept])


def counted(results: Sequence[Receipt | LoopError]) -> BatchReceipt:
    """Return the receipt of a batch with these results."""
    receipts = [result for result in results if isinstance(result, Receipt)]
    skipped = sum(receipt.skipped for receipt in receipts)
    duplicates = sum(receipt.duplicate for receipt in receipts)
    return BatchReceipt(
        accepted=len(receipts) - skipped - duplicates,
        duplicates=duplicates,
        rejected=len(results) - len(receipts),
        skipped=skipped,
        results=tuple(results),
    )


def _result(item: _ItemResult) -> Receipt | LoopError:
    if item.problem is not None:
        return from_problem(item.problem, status=item.status)
    return Receipt(item.event_id, item.decision_id, item.duplicate, flags=item.flags)


class TypedResult(msgspec.Struct, frozen=True):
    """The result of one item: the status it would have had alone, and the problem if it was refused."""

    status: int
    event_id: str = ""
    duplicate: bool = False
    offset: int | None = None
    flags: tuple[str, ...] = ()
    id: str | None = None
    problem: dict[str, Any] | None = None


class TypedReceipt(msgspec.Struct, frozen=True):
    """The result of each item of one send, in order; a refused one has a `problem`. It iterates over the results."""

    accepted: int
    duplicates: int
    rejected: int
    results: tuple[TypedResult, ...]

    def __iter__(self) -> Iterator[TypedResult]:
        return iter(self.results)

    def __len__(self) -> int:
        return len(self.results)

    def __getitem__(self, place: int) -> TypedResult:
        return self.results[place]


class RawCopy(msgspec.Struct, frozen=True, kw_only=True):
    """An item as it came in on `path`, until its time to live ends."""

    event_id: str
    path: str
    received_ms: int
    expires_ms: int
    item: Any
