"""Calibrate a surrogate while the server runs, and read the current one with its quality, over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import Body, QueryParameter, SkipValidation

from loopwright.web import Asking, needs, problems

from .calibration import CalibrationRequest, Calibrator
from .surrogate import Surrogate

Calibrating = NamedDependency[SkipValidation[Calibrator]]


class SurrogateController(Controller):
    """Surrogates: predictions of a late outcome from early signals."""

    path = "/api/v1/surrogates"
    tags: Sequence[str] = ("feedback",)

    @post(
        "",
        summary="Calibrate a surrogate",
        responses=problems(422),
        sync_to_thread=True,
        **needs("manage"),
    )
    def calibrate(
        self,
        data: Annotated[CalibrationRequest, Body()],
        principal: Asking,
        calibrator: Calibrating,
    ) -> Surrogate:
        """Fit a surrogate, which predicts an outcome from signals, on all matured decisions, and make it the current one."""
        # It changes what shaped experiments learn from now on.
        return calibrator.calibrate(principal.tenant_id, data, actor=principal.key_id)

    @get(
        "",
        summary="Read a surrogate",
        responses=problems(404),
        sync_to_thread=True,
        **needs("read"),
    )
    def current(
        self,
        task: Annotated[str, QueryParameter(description="The workflow.")],
        principal: Asking,
        calibrator: Calibrating,
    ) -> Surrogate:
        """Return the current surrogate of a task, with how well it predicts."""
        return calibrator.current(principal.tenant_id, task)
