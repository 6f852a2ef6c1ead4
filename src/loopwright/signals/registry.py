"""Surrogates on the disk: fitted from the warehouse, kept by version, one of them current; and their use.

`surrogates/<tenant>/<task>/<version>.json` is written once and never changed; the file `current` beside them
names the one in use and is replaced in one step, so that a reader sees the old one or the new one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from loopwright.app.keyring import write_private
from loopwright.backends.files import FolderBlobStore
from loopwright.core.decision import Decision
from loopwright.core.errors import Broken, Invalid, NotFound
from loopwright.core.experiment import Experiment
from loopwright.core.ids import time_of
from loopwright.people.people import People
from loopwright.warehouse import Warehouse

from .sessions import DERIVED, take_in
from .surrogate import Row, Surrogate, fit

logger = logging.getLogger(__name__)

FOLDER: Final = "surrogates"
DAY_MS: Final = 86_400_000
MOST_DAYS: Final = 3650
"""Longest time, in days, that an outcome may take to be settled."""
_POINTER: Final = "current"
_PAGE: Final = 10_000
_LONGEST_NAME: Final = 200
_OURS: Final = re.compile(r"[0-9a-f]{12}7[0-9a-f]{19}")

_REFERENCES: Final = (
    ("decision", ("decision_id",)),
    ("span", ("trace_id", "span_id")),
    ("message", ("session_id", "message_id")),
    ("output", ("output_id",)),
)


def window_ms(days: float) -> int:
    """Return so many days in whole milliseconds, at least 1; raises `Invalid` beyond what a window may be."""
    if not 0 < days <= MOST_DAYS:
        raise Invalid(f"the window is {days} days; give days above 0 and up to {MOST_DAYS}")
    return max(round(days * DAY_MS), 1)


class _Pointer(msgspec.Struct, frozen=True):
    version: str


class _Answer:
    """One decision or call, as far as feedback tells of it."""

    __slots__ = ("began_ms", "derived", "keys", "outcome", "said")

    def __init__(self) -> None:
        self.keys: set[tuple[str, ...]] = set()
        self.began_ms = 2**62
        self.said: dict[str, float] = {}
        self.derived: dict[str, float] = {}
        self.outcome: float | None = None

    def absorb(self, other: _Answer) -> None:
        """Take in what another reference told about the same answer."""
        self.keys |= other.keys
        self.began_ms = min(self.began_ms, other.began_ms)
        self.said |= other.said
        self.derived |= other.derived
        self.outcome = self.outcome if other.outcome is None else other.outcome

    def row(self) -> Row:
        """Return it for the fit; what was derived from the whole session outranks what was sent."""
        return Row(self.began_ms, {**self.said, **self.derived}, self.outcome)


def calibrate(
    warehouse: Warehouse,
    tenant_id: str,
    task: str,
    *,
    metric: str,
    window_ms: int,
    now_ms: int,
) -> Surrogate:
    """Return the surrogate of a task's metric, fitted on the matured decisions and calls of the tenant.

    Raises `Invalid` when there is too little to learn from.
    """
    rows = answers(_facts(warehouse, tenant_id, task), metric=metric)
    return fit(rows, task=task, metric=metric, now_ms=now_ms, window_ms=window_ms)


def answers(facts: Iterable[dict[str, Any]], *, metric: str) -> list[Row]:
    """Return one row for each answer that rows of the table `feedback` tell of, in the order of the log.

    Facts that share a decision, span, message or output are about one answer; those that name none are left
    out, a trace alone included, because it may hold many answers. The latest outcome of `metric` counts. A decision began
    when its id was made; a call without one counts from the first that was heard of it, which is never before
    it began, so nothing matures too early.
    """
    known: dict[tuple[str, ...], _Answer] = {}
    for fact in facts:
        keys = _references(fact)
        if fact["quarantined"] is not None or fact["value"] is None or not keys:
            continue
        if fact["kind"] != "signal" and fact["metric"] != metric:
            continue
        answer = _joined(known, keys)
        _add(answer, fact, metric)
    unique = {id(answer): answer for answer in known.values()}
    return [answer.row() for answer in unique.values()]


def _joined(known: dict[tuple[str, ...], _Answer], keys: list[tuple[str, ...]]) -> _Answer:
    """Return the one answer that `keys` refer to, made of those they referred to so far."""
    found = {id(known[key]): known[key] for key in keys if key in known}
    answer, *others = found.values() or (_Answer(),)
    for other in others:
        answer.absorb(other)
    answer.keys.update(keys)
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
        page = warehouse.query(
            "export_rows", tenant_id=tenant_id, task=task, after=after, limit=_PAGE
        )
        yield from page.dicts()
        if len(page.rows) < _PAGE:
            return
        after = page.rows[-1][page.columns.index("log_offset")]


def store(data: Path, tenant_id: str, surrogate: Surrogate) -> Path:
    """Keep a surrogate under its version and make it the current one of its task; return its file."""
    folder = _folder(data, tenant_id, surrogate.task)
    name = f"{surrogate.version}.json"
    FolderBlobStore(folder).put(name, msgspec.json.encode(surrogate))
    write_private(folder / _POINTER, msgspec.json.encode(_Pointer(surrogate.version)))
    return folder / name


def load_current(data: Path, tenant_id: str, task: str) -> Surrogate:
    """Return the current surrogate of a task.

    Raises `NotFound` when none was made, `Broken` when its file is missing or cannot be read.
    """
    folder = _folder(data, tenant_id, task)
    try:
        pointer = (folder / _POINTER).read_bytes()
    except FileNotFoundError:
        raise NotFound(
            f"task {task!r} of tenant {tenant_id!r} has no surrogate; run loopwright calibrate"
        ) from None
    try:
        version = msgspec.json.decode(pointer, type=_Pointer).version
        found = msgspec.json.decode((folder / f"{version}.json").read_bytes(), type=Surrogate)
    except (OSError, msgspec.MsgspecError) as error:
        raise Broken(
            f"the surrogate of task {task!r} cannot be read: {error}; calibrate again"
        ) from error
    if (found.version, found.task) != (version, task):
        raise Broken(
            f"{folder} names version {version} of task {task!r} and holds {found.version} of "
            f"{found.task!r}; calibrate again"
        )
    return found


class Expectations:
    """What decisions will probably earn, by the current surrogates of the tasks that their experiments name.

    A surrogate is read again when another has become the current one. One that cannot be used is logged, once,
    and nothing is expected until there is another.
    """

    def __init__(
        self, data: Path, *, find: Callable[[str, str], Experiment | None], people: People
    ) -> None:
        self._data = data
        self._find = find
        self._people = people
        self._known: dict[tuple[str, str, str], tuple[int, Surrogate | None]] = {}

    def metric(self, decision: Decision) -> str | None:
        """Return the metric that is to be expected of a decision; None when its reward is not shaped."""
        spec = None if (found := self._shaped(decision)) is None else found.reward
        return None if spec is None else spec.metric

    def expect(
        self, decision: Decision, signals: Mapping[str, float], *, person: str | None
    ) -> tuple[float, str] | None:
        """Return the expected value of that metric and the surrogate's version.

        None without a surrogate of that metric, and when the person has said that nothing of theirs may train.
        """
        experiment = self._shaped(decision)
        if experiment is None or not self._may_train(decision.tenant_id, person):
            return None
        assert experiment.reward.shaping is not None
        surrogate = self._current(
            decision.tenant_id, experiment.reward.shaping, metric=experiment.reward.metric
        )
        return None if surrogate is None else (surrogate.predict(signals), surrogate.version)

    def _shaped(self, decision: Decision) -> Experiment | None:
        """Return the experiment of a decision, if its reward is shaped and the decision teaches it."""
        experiment = self._find(decision.tenant_id, decision.experiment_id)
        if experiment is None or experiment.reward.shaping is None or decision.mode != "live":
            return None
        return experiment if experiment.state in ("running", "paused") else None

    def _may_train(self, tenant_id: str, person: str | None) -> bool:
        """A person's own word outranks the consent that their facts came with; one who was erased has none."""
        if person is None:
            return True
        try:
            consent = self._people.find(tenant_id, person).consent
        except NotFound:
            return False
        return consent is None or "train" in consent

    def _current(self, tenant_id: str, task: str, *, metric: str) -> Surrogate | None:
        key = (tenant_id, task, metric)
        try:
            made_ns = (_folder(self._data, tenant_id, task) / _POINTER).stat().st_mtime_ns
        except (OSError, Invalid):
            return None
        known_ns, surrogate = self._known.get(key, (-1, None))
        if known_ns != made_ns:
            surrogate = self._load(tenant_id, task, metric=metric)
            self._known[key] = (made_ns, surrogate)
        return surrogate

    def _load(self, tenant_id: str, task: str, *, metric: str) -> Surrogate | None:
        try:
            found = load_current(self._data, tenant_id, task)
            if found.metric == metric:
                return found
            why = (
                f"the surrogate is of {found.metric!r}, the reward of {metric!r}; calibrate for it"
            )
        except (NotFound, Broken) as error:
            why = error.message
        logger.error(
            "a reward cannot be shaped", extra={"tenant_id": tenant_id, "task": task, "reason": why}
        )
        return None


def _folder(data: Path, tenant_id: str, task: str) -> Path:
    return data / FOLDER / _file_name(tenant_id) / _file_name(task)


def _file_name(name: str) -> str:
    """Return a name of any letters as one name of a folder."""
    spelt = quote(name, safe="").replace(".", "%2E")
    if not 0 < len(spelt) <= _LONGEST_NAME:
        raise Invalid(
            f"{name[:60]!r} takes {len(spelt)} bytes as a folder's name; give 1 to {_LONGEST_NAME}"
        )
    return spelt


__all__ = [
    "MOST_DAYS",
    "Expectations",
    "answers",
    "calibrate",
    "load_current",
    "store",
    "window_ms",
]
