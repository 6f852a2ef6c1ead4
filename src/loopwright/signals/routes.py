"""Calibrating a surrogate while the server runs, and seeing what the current one is worth."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated

import msgspec
from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import Body, QueryParameter, SkipValidation
from msgspec import Meta

from loopwright.core.clock import Clock
from loopwright.core.events import Changed
from loopwright.warehouse import Warehouse
from loopwright.web import Asking, problems

from .registry import MOST_DAYS, calibrate, load_current, store, window_ms
from .surrogate import Surrogate

Text = Annotated[str, Meta(min_length=1, max_length=128)]


class CalibrationRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which outcome of which task is late, and how many days it takes to be settled."""

    task: Text
    metric: Text
    window_days: Annotated[float, Meta(gt=0, le=MOST_DAYS)]


class Calibrator:
    """Fits surrogates on one data directory, one at a time."""

    def __init__(
        self,
        data: Path,
        *,
        warehouse: Callable[[], Warehouse],
        clock: Clock,
        audit: Callable[[Changed], None],
    ) -> None:
        self._data = data
        self._warehouse = warehouse
        self._now_ms = clock.now_ms
        self._audit = audit
        self._lock = threading.Lock()

    def calibrate(self, tenant_id: str, asked: CalibrationRequest, *, actor: str) -> Surrogate:
        """Fit a surrogate and make it the current one of its task.

        Raises `Invalid` when there is too little to learn from.
        """
        with self._lock:
            found = calibrate(
                self._warehouse(),
                tenant_id,
                asked.task,
                metric=asked.metric,
                window_ms=window_ms(asked.window_days),
                now_ms=self._now_ms(),
            )
            store(self._data, tenant_id, found)
        detail = {"version": found.version, "metric": found.metric, "n": found.n}
        subject = f"surrogate/{found.task}"
        self._audit(Changed(self._now_ms(), tenant_id, actor, subject, "calibrate", detail))
        return found

    def current(self, tenant_id: str, task: str) -> Surrogate:
        """Return the current surrogate of a task; raises `NotFound` when none was made."""
        return load_current(self._data, tenant_id, task)


Calibrating = NamedDependency[SkipValidation[Calibrator]]


class SurrogateController(Controller):
    """What early signals let expect of a late outcome."""

    path = "/api/v1/surrogates"
    tags: Sequence[str] = ("feedback",)

    @post("", summary="Calibrate a surrogate", responses=problems(422), sync_to_thread=True)
    def calibrate(
        self,
        data: Annotated[CalibrationRequest, Body()],
        principal: Asking,
        calibrator: Calibrating,
    ) -> Surrogate:
        """Fit what signals let expect of an outcome on all matured decisions, and make that the current one."""
        principal.require("manage")
        return calibrator.calibrate(principal.tenant_id, data, actor=principal.key_id)

    @get("", summary="Read a surrogate", responses=problems(404), sync_to_thread=True)
    def current(
        self,
        task: Annotated[str, QueryParameter(description="The workflow.")],
        principal: Asking,
        calibrator: Calibrating,
    ) -> Surrogate:
        """Return the current surrogate of a task, with how well it predicts."""
        principal.require("read")
        return calibrator.current(principal.tenant_id, task)
