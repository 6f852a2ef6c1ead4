"""The relations that a question reads: one tenant's rows of one period, from the SELECTs of whole tables.

Relations are made of each other, each when a query first names it. For one tenant they are copies, made once and shared
by the questions of a report; over all tenants they are views.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, Protocol

import msgspec

from loopwright.core.clock import DAY_MS
from loopwright.core.errors import Invalid, NotFound

from . import layout, relations
from .tables import (
    DECISIONS,
    FEEDBACK,
    INTERACTIONS,
    LINKED,
    STEPS,
    Table,
)

LOOKBACK_MS: Final = 30 * DAY_MS
"""How long before a period a call may have been made that the period's feedback is about, and how long after
a period feedback about its calls still counts for them."""

BEGINNING: Final = -(2**62)
END: Final = 2**62

_KEYS: Final = tuple(relations.REFERENCES.values())

_CALLS: Final = (
    "tenant_id",
    "log_offset",
    "started_at_ms",
    "session_id",
    "person",
    "task",
    "prompt_version",
    "model_version",
    "model_id",
    "input_tokens",
    "output_tokens",
    "cost",
    "client_latency_ms",
    "server_latency_ms",
    "error",
    "query",
    "country",
    "feature_id",
    "device_type",
    "locale",
    "endpoint",
    *_KEYS,
)
_CHOICES: Final = tuple(name for name in DECISIONS.names if name != "vector")
_TOLD: Final = (
    "tenant_id",
    "log_offset",
    "at_ms",
    "occurred_at_ms",
    "event_id",
    "kind",
    "metric",
    "value",
    "scale",
    "shape",
    "rating",
    "satisfaction",
    "experiment_id",
    "arm_id",
    "unit_id",
    "session_id",
    "person",
    "source",
    "task",
    "category",
    "sentiment",
    "severity",
    "prompt_version",
    "model_version",
    "model_id",
    "feature_id",
    "device_type",
    "locale",
    "endpoint",
    "message",
    "query",
    "before_text",
    "after_text",
    "explanation",
    "quarantined",
    "interaction_offset",
    "country",
    "is_waiting",
)
"""The columns of calls and feedback that reports read: each column costs about a millisecond to copy. A query that names
another fails for one tenant, and a test asks every query."""

_MADE_OF: Final = {
    "interactions": ("calls",),
    "decisions": ("choices",),
    "links": ("calls",),
    "told": ("links", "calls", "choices"),
    "linked": ("told",),
    "totals": ("links",),
    "wide": ("interactions", "totals"),
}
"""Relations that are made of other relations."""

_ALWAYS_VIEWS: Final = frozenset(("feedback", "interactions", "decisions", "linked", "wide"))
"""Relations that cost less to work out again, in the columns a query reads, than to copy with all columns."""


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """The relations of one tenant and period, made in a schema of their own when they are first asked for."""

    schema: str
    kind: Literal["TABLE", "VIEW"]
    tenant_id: str | None
    start: int
    end: int
    task: str | None
    offset: int
    made_at_ms: int
    made: set[str]
    is_bulk: bool = False


class Source(Protocol):
    """Returns the SELECT of a table's rows of a time, with the consent of their people applied."""

    def __call__(
        self,
        table: Table,
        start: int,
        end: int,
        *,
        names: Sequence[str],
        tenant_id: str | None = None,
        is_allowed: bool = True,
    ) -> str:
        """Return the SELECT; `is_allowed` False asks for the rows that consent keeps out of reports."""
        ...


def made_of(of: Slice, name: str) -> tuple[str, ...]:
    """Return the relations that must be there before `name`."""
    if name == "feedback":
        return ("told",) if of.kind == "TABLE" or of.task is not None else ()
    return _MADE_OF.get(name, ())


def kind_of(of: Slice, name: str) -> str:
    """Return whether a relation is a TABLE or a VIEW."""
    return "VIEW" if name in _ALWAYS_VIEWS else of.kind


def relation_sql(of: Slice, name: str, source: Source) -> str:
    """Return the SELECT that defines a relation. Raises `NotFound` for an unknown one."""
    is_copy = of.kind == "TABLE"
    calls = _CALLS if is_copy else INTERACTIONS.names
    start, end = _window(of, name)

    def rows(table: Table, names: Sequence[str]) -> str:
        return source(table, start, end, names=names, tenant_id=of.tenant_id)

    match name:
        case "calls":
            return rows(INTERACTIONS, calls)
        case "choices":
            return rows(DECISIONS, _CHOICES if is_copy else DECISIONS.names)
        case "links":
            return relations.links_sql(rows(FEEDBACK, relations.COUNTED))
        case "told":
            columns = _TOLD if is_copy else LINKED.names
            own = (set(columns) - relations.JOINED) | {*_KEYS, *relations.OWN}
            return _of_task(of, relations.told_sql(rows(FEEDBACK, sorted(own)), columns))
        case "feedback" if is_copy:
            return relations.own_sql(_TOLD)
        case "feedback" if of.task is not None:
            said = rows(FEEDBACK, FEEDBACK.names)
            return f"SELECT * FROM ({said}) AS f WHERE log_offset IN (SELECT log_offset FROM told)"  # noqa: S608
        case "feedback":
            return rows(FEEDBACK, FEEDBACK.names)
        case "linked":
            return "SELECT * FROM told WHERE quarantined IS NULL"
        case "interactions":
            period = within(INTERACTIONS, start, end)
            return _of_task(of, f"SELECT * FROM calls WHERE {period}")  # noqa: S608
        case "decisions":
            return f"SELECT * FROM choices WHERE {within(DECISIONS, start, end)}"  # noqa: S608
        case "totals":
            return relations.totals_sql()
        case "wide":
            return relations.wide_sql(calls)
        case "steps":
            latest = _latest_steps(rows(STEPS, STEPS.names))
            if of.task is None:
                return latest
            start, end = _window(of, "calls")
            # A step has no task of its own; that of the call it led to counts.
            called = _of_task(of, rows(INTERACTIONS, ("task", "interaction_id")))
            return f"{latest} AND interaction_id IN (SELECT c.interaction_id FROM ({called}) AS c)"  # noqa: S608
        case "withheld":
            return source(
                FEEDBACK,
                start,
                end,
                names=("occurred_at_ms",),
                tenant_id=of.tenant_id,
                is_allowed=False,
            )
    raise NotFound(f"there is no relation {name!r}")


def _window(of: Slice, name: str) -> tuple[int, int]:
    """Return the time that a relation holds: wider than the period where the other end of a link may be."""
    # A day beyond the period on the other side: senders' clocks disagree, and feedback may seem older than its
    # call.
    if name in ("calls", "choices"):
        return of.start - LOOKBACK_MS, of.end + DAY_MS
    if name == "links":
        return of.start - DAY_MS, of.end + LOOKBACK_MS
    return of.start, of.end


def _of_task(of: Slice, sql: str) -> str:
    """Return the rows of `sql` that are of the task asked for, all when none is."""
    if of.task is None:
        return sql
    return f"SELECT * FROM ({sql}) AS every WHERE task = {layout.quoted(of.task)}"  # noqa: S608


def bounds(from_ms: int | None, to_ms: int | None) -> tuple[int, int]:
    """Return the ends of a period, open where none is given. Raises `Invalid` when it is empty."""
    start = BEGINNING if from_ms is None else from_ms
    end = END if to_ms is None else to_ms
    if not BEGINNING <= start < end <= END:
        raise Invalid(
            f"the period from {from_ms} to {to_ms} is empty; to_ms is the end, after from_ms, in milliseconds"
        )
    return start, end


def within(table: Table, start: int, end: int) -> str:
    """Return the condition that a row of `table` is of that time."""
    at = table.event_time
    bounds = [f"{at} >= {start}"] if start > BEGINNING else []
    bounds += [f"{at} < {end}"] if end < END else []
    return " AND ".join(bounds) or "TRUE"


def _latest_steps(source: str) -> str:
    return (
        "SELECT * FROM (SELECT *, row_number() OVER "  # noqa: S608 - our own names
        # A step is reported again once its outcome is known; the latest report is the whole step.
        "(PARTITION BY tenant_id, step_id ORDER BY log_offset DESC) AS place "
        f"FROM ({source}) AS every) AS placed WHERE place = 1"
    )


def threads_of(of: Slice) -> int | None:
    """Return how many threads may answer a question: one for copies, as many as there are for views."""
    return 1 if of.kind == "TABLE" else None
