"""The same select behind FastAPI and pydantic: what a plain handler around our selector would cost.

Run as `python -m bench.fastapi_select DATA PORT`; it is a part of `bench/serve.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT
from loopwright.core.context import Context
from loopwright.core.experiment import Arm, Experiment, PolicyChoice


class ContextBody(BaseModel):
    """The context, in pydantic."""

    id: str | None = None
    vector: list[float] | None = None


class SelectBody(BaseModel):
    """The request, in pydantic."""

    experiment_id: str
    context: ContextBody = ContextBody()


class SelectAnswer(BaseModel):
    """The answer, in pydantic."""

    request_id: str
    decision_id: str
    arm: dict[str, Any]
    propensity: float
    snapshot: int


def build(data: Path) -> FastAPI:
    """Return the application over a fresh data directory."""
    services = Services(load_settings(data_dir=data))
    arms = tuple(Arm(id=f"arm-{k}") for k in range(10))
    experiment = Experiment(
        id="free", tenant_id=DEFAULT_TENANT, arms=arms, policy=PolicyChoice("BetaThompson")
    )
    services.truth.catalog.experiments.create(experiment)
    services.start()
    services.truth.catalog.experiments.move(DEFAULT_TENANT, "free", "start")
    app = FastAPI()

    @app.get("/health/ready")
    async def ready() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/select")
    async def select(body: SelectBody) -> SelectAnswer:
        chosen = services.door.selector.select(
            DEFAULT_TENANT,
            body.experiment_id,
            context=Context(body.context.id, body.context.vector),
        )
        return SelectAnswer(
            request_id=chosen.request_id,
            decision_id=chosen.decision_id,
            arm={"id": chosen.arm.id, "payload": chosen.arm.payload},
            propensity=chosen.propensity,
            snapshot=chosen.snapshot,
        )

    return app


if __name__ == "__main__":
    uvicorn.run(
        build(Path(sys.argv[1])),
        port=int(sys.argv[2]),
        http="httptools",
        loop="uvloop",
        access_log=False,
        log_level="error",
    )
