"""Calibration: fit a task's surrogate on what the warehouse knows of its matured decisions and calls."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from loopwright.core.clock import DAY_MS, Clock
from loopwright.core.errors import Invalid
from loopwright.core.events import Changed
from loopwright.core.ids import time_of
from loopwright.warehouse import Warehouse

from .facts import DERIVED, take_in
from .registry import Surrogates
from .surrogate import Row, Surrogate, fit

# Ten years, as for the attribution window of a reward (`core.reward.MAX_WINDOW_S`).
MOST_DAYS: Final = 3650
"""Longest time, in days, that an outcome may take to be settled."""
_PAGE: Final = 10_000
# A UUIDv7 as `core.ids` writes it: only then the digits are a time. Products bring decision ids of their own.
_OURS: Final = re.compile(r"[0-9a-f]{12}7[0-9a-f]{19}")

# A span needs its trace and a message its session: alone, these ids are not unique.
_REFERENCES: Final = (
    ("decision", ("decision_id",)),
    ("span", ("trace_id", "span_id")),
    ("message", ("session_id", "message_id")),
    ("output", ("output_id",)),
)

Text = Annotated[str, Meta(min_length=1, max_length=128)]


class CalibrationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The task and metric of a late outcome, and the days it takes to be settled."""

    task: Text
    metric: Text
    window_days: Annotated[float, Meta(gt=0, le=MOST_DAYS)]


class Calibrator:
    """Fits surrogates from one warehouse into one registry, one at a time."""

    def __init__(
        self,
        surrogates: Surrogates,
        *,
        warehouse: Callable[[], Warehouse],
        clock: Clock,
        audit: Callable[[Changed], None] = lambda _: None,
    ) -> None:
        self._surrogates = surrogates
        self._warehouse = warehouse
        self._now_ms = clock.now_ms
        self._audit = audit
        # One fit at a time: each reads all of a task's feedback and keeps a core busy.
        self._lock = threading.Lock()

    def calibrate(self, tenant_id: str, asked: CalibrationRequest, *, actor: str) -> Surrogate:
        """Fit a surrogate on all matured decisions and calls, and make it the current one of its task.

        Raises `Invalid` when there is too little to learn from.
        """
        window = window_ms(asked.window_days)
        with self._lock:
            found = calibrate(
                self._warehouse(),
                tenant_id,
                asked.task,
                metric=asked.metric,
                window_ms=window,
                now_ms=self._now_ms(),
            )
            self._surrogates.store(tenant_id, found)
        detail = {"version": found.version, "metric": found.metric, "n": found.n}
        subject = f"surrogate/{found.task}"
        # After the registry has it, so the trail names no surrogate that was never in force.
        self._audit(Changed(self._now_ms(), tenant_id, actor, subject, "calibrate", detail))
        return found

    def current(self, tenant_id: str, task: str) -> Surrogate:
        """Return the current surrogate of a task; raises `NotFound` when there is none."""
        return self._surrogates.current(tenant_id, task)


def window_ms(days: float) -> int:
    """Return so many days in whole milliseconds, at least 1; raises `Invalid` beyond what a window may be."""
    if not 0 < days <= MOST_DAYS:
        raise Invalid(f"the window is {days} days; give days above 0 and up to {MOST_DAYS}")
    return max(round(days * DAY_MS), 1)


def calibrate(
    warehouse: Warehouse,
    tenant_id: str,
    task: str,
    *,
    metric: str,
    window_ms: int,
    now_ms: int,
) -> Surrogate:
    """Return the surrogate of a task's metric, fitted on the tenant's matured decisions and calls.

    Raises `Invalid` when there is too little to learn from.
    """
    rows = answers(_facts(warehouse, tenant_id, task), metric=metric)
    return fit(rows, task=task, metric=metric, now_ms=now_ms, window_ms=window_ms)


class _Answer:
    """What the feedback on one decision or call adds up to."""

    __slots__ = ("began_ms", "derived", "keys", "outcome", "said")

    def __init__(self) -> None:
        self.keys: set[tuple[str, ...]] = set()
        # Later than any fact, so the first `min` takes the fact's time.
        self.began_ms = 2**62
        self.said: dict[str, float] = {}
        self.derived: dict[str, float] = {}
        self.outcome: float | None = None

    def absorb(self, other: _Answer) -> None:
        """Merge an answer that turned out to be the same one."""
        self.keys |= other.keys
        self.began_ms = min(self.began_ms, other.began_ms)
        self.said |= other.said
        self.derived |= other.derived
        self.outcome = self.outcome if other.outcome is None else other.outcome

    def row(self) -> Row:
        """Return the row for the fit; a signal derived from the whole session outranks one that was sent."""
        return Row(self.began_ms, {**self.said, **self.derived}, self.outcome)


def answers(facts: Iterable[dict[str, Any]], *, metric: str) -> list[Row]:
    """Return one row for each answer in `facts`, which are rows of the table `feedback` in log order.

    Facts that share a decision, span, message or output are about one answer. Facts without any of these are
    left out; so are those that name only a trace, because one trace may hold many answers. The latest outcome
    of `metric` counts. A decision begins at the time in its id. A call without a decision begins at its first
    fact, which is never before the call itself, so nothing matures too early.
    """
    known: dict[tuple[str, ...], _Answer] = {}
    for fact in facts:
        keys = _references(fact)
        # Quarantined facts may be an attack; the surrogate would learn it as what outcomes look like.
        if fact["quarantined"] is not None or fact["value"] is None or not keys:
            continue
        if fact["kind"] != "signal" and fact["metric"] != metric:
            continue
        answer = _joined(known, keys)
        _add(answer, fact, metric)
    # One answer stands under each of its references.
    unique = {id(answer): answer for answer in known.values()}
    return [answer.row() for answer in unique.values()]


def _joined(known: dict[tuple[str, ...], _Answer], keys: list[tuple[str, ...]]) -> _Answer:
    """Return the answer of all `keys`; answers that were separate until now are merged."""
    found = {id(known[key]): known[key] for key in keys if key in known}
    answer, *others = found.values() or (_Answer(),)
    for other in others:
        answer.absorb(other)
    answer.keys.update(keys)
    # After a merge all earlier references must lead to the one answer that is left.
    changed = answer.keys if others else keys
    known.update(dict.fromkeys(changed, answer))
    return answer


def _add(answer: _Answer, fact: dict[str, Any], metric: str, /) -> None:
    decision_id, name, value = fact["decision_id"], fact["metric"], float(fact["value"])
    is_ours = decision_id is not None and _OURS.fullmatch(decision_id) is not None
    began_ms = time_of(decision_id) if is_ours else fact["occurred_at_ms"]
    answer.began_ms = min(answer.began_ms, began_ms)
    if name == metric:
        answer.outcome = value
    # The column holds a JSON list, so a name in quotes is a whole flag.
    elif f'"{DERIVED}"' in (fact["flags"] or ""):
        answer.derived[name] = value
    else:
        take_in(answer.said, name, value)


def _references(fact: dict[str, Any]) -> list[tuple[str, ...]]:
    return [
        (kind, *(str(fact[name]) for name in names))
        for kind, names in _REFERENCES
        if all(fact[name] is not None for name in names)
    ]


def _facts(warehouse: Warehouse, tenant_id: str, task: str) -> Iterator[dict[str, Any]]:
    after = 0
    while True:
        # By log offset, not by page number: new facts may arrive between two pages.
        page = warehouse.query(
            "export_rows", tenant_id=tenant_id, task=task, after=after, limit=_PAGE
        )
        yield from page.dicts()
        if len(page.rows) < _PAGE:
            return
        after = page.rows[-1][page.columns.index("log_offset")]
