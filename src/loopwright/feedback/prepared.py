"""A body on its way through intake: read, then prepared for the log."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from loopwright.core.errors import LoopError
from loopwright.core.events import Fact
from loopwright.people.raw import Original

from .draft import Draft


class Refusal(msgspec.Struct, frozen=True):
    """An item that was refused, by which stage, and its id in the quarantine if it is kept there."""

    error: LoopError
    stage: str
    quarantine_id: str | None = None


class Understood(msgspec.Struct, frozen=True, kw_only=True):
    """A body whose items have been read and validated."""

    tenant_id: str
    path: str
    items: Sequence[Any]
    valid: list[tuple[int, Draft]]
    """The drafts of valid items with their places in the body."""
    errors: dict[int, LoopError]
    user_ids: list[str]
    received_ms: int
    is_batch: bool
    is_replay: bool


class Prepared(msgspec.Struct, frozen=True, kw_only=True):
    """A body ready for the log: facts to append under their keys, and refusals by place."""

    tenant_id: str
    size: int
    """How many items the body had."""
    is_batch: bool
    facts: list[Fact] = []
    keys: list[bytes] = []
    places: list[int] = []
    """For each fact, the place of its item in the body."""
    flags: dict[int, tuple[str, ...]] = {}
    """Flags of calls and steps by place; those of feedback are in its facts."""
    refusals: dict[int, Refusal] = {}
    originals: list[Original] = []
    """Items to keep raw copies of, once the facts are durable."""
