"""The server process: wiring, the HTTP application, uvicorn, and an orderly end."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from collections.abc import Iterable
from typing import Final

import uvicorn
import uvloop

from loopwright.core.errors import SettingsInvalid

from .acks import Acks
from .asgi import App, Behind
from .hot import (
    FEEDBACK,
    FEEDBACK_BATCH,
    SELECT,
    Endpoint,
    Feedback,
    FeedbackBatch,
    Front,
    Select,
)
from .keyring import ADMIN_KEY_FILE
from .logs import log_to_stderr
from .metrics import Metrics, Sample, by_experiment
from .settings import Settings
from .wiring import Services

logger = logging.getLogger(__name__)

SWITCH_INTERVAL_S: Final = 0.0005
"""How long a background thread may hold the interpreter while a request waits; Python's default is 5 ms."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish open requests, store what waits, and return.

    Raises `LoopError` when the port is taken, or the data directory is held by another process or damaged.
    """
    log_to_stderr(level=settings.log_level, format=settings.log_format)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # uvicorn raises the signal again once it has drained; by then it must not kill us before we have closed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    with _listener(settings) as listener:
        services = Services(settings)
        try:
            uvloop.run(_serve(services, listener))
        finally:
            services.close()
            gc.unfreeze()  # what was set aside is to be taken down like everything else
            logger.info("stopped")


def application(services: Services, loop: asyncio.AbstractEventLoop) -> Front:
    """Return the ASGI application over `services`, answering feedback on `loop`."""
    metrics = Metrics()
    _watch(metrics, services)
    acks = Acks(services.writer, loop)
    endpoints: dict[str, Endpoint] = {
        SELECT: Select(services.selector),
        FEEDBACK: Feedback(services.intake, acks.append, metrics),
        FEEDBACK_BATCH: FeedbackBatch(services.intake, acks.append, metrics),
    }
    limit = services.settings.body_limit_bytes

    def build() -> App:
        # Imported here, on the thread that needs it: this is most of what a start would cost.
        from loopwright.signals.calibration import Calibrator
        from loopwright.trust.view import Trust

        from .http import build_behind

        calibrator = Calibrator(
            services.surrogates,
            warehouse=lambda: services.warehouse,
            clock=services.clock,
            audit=services.audit,
        )
        return build_behind(
            front,
            endpoints,
            catalog=services.catalog,
            metrics=metrics,
            dependencies={
                "catalog": lambda: services.catalog,
                "learner": lambda: services.learner,
                "signing_ring": lambda: services.ring,
                "typed_intake": lambda: services.typed_intake,
                "append": lambda: acks.append,
                "people": lambda: services.people,
                "quarantine": lambda: services.quarantine,
                "raw_copies": lambda: services.raw,
                "calibrator": lambda: calibrator,
                "clearances": lambda: services.clearances,
                "clearing": lambda: services.clearing,
                "count_rows": lambda: services.rows_of,
            },
            # Opening it takes a while the first time, so not where requests are served.
            slow_dependencies={
                "warehouse": lambda: services.warehouse,
                "weighing": lambda: Trust(
                    services.warehouse, people=services.people, clearances=services.clearances
                ),
            },
            body_limit=limit,
        )

    behind = Behind(build)
    front = Front(
        behind,
        endpoints=endpoints,
        catalog=services.catalog,
        metrics=metrics,
        ready=services.unready,
        body_limit=limit,
    )
    behind.begin()
    return front


def _listener(settings: Settings) -> socket.socket:
    """Return the bound socket, so that a taken port is known before anything else is begun."""
    host, port = settings.host, settings.port
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise SettingsInvalid(
            f"cannot listen on {host}:{port}: {error.strerror or error}; choose another host or port"
        ) from None


async def _serve(services: Services, listener: socket.socket) -> None:
    settings = services.settings
    config = uvicorn.Config(
        application(services, asyncio.get_running_loop()),
        http="httptools",  # named, not "auto": a silent fallback would be three times slower
        ws="none",
        lifespan="off",
        access_log=False,
        log_config=None,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_graceful_shutdown=settings.drain_s,
    )
    services.start()
    _quiet_collector()
    await _Server(config, services).serve([listener])


def _quiet_collector() -> None:
    """Leave what the start made alone, and look for cycles seldom: requests make few.

    Without this, between a tenth and a quarter of a select goes into walking objects that live for ever.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


class _Server(uvicorn.Server):
    """Says where it listens: with port 0 nobody else can know."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._key_file = services.settings.data_dir / ADMIN_KEY_FILE

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            url = f"http://{host}:{port}"
            logger.info(
                "serving", extra={"url": url, "docs": f"{url}/docs", "key_file": self._key_file}
            )


def _watch(metrics: Metrics, services: Services) -> None:
    """Let every scrape read the figures that the parts keep of themselves."""
    writer, learner, log = services.writer, services.learner, services.log

    def one(value: float) -> Iterable[Sample]:
        return [({}, float(value))]

    metrics.watch("loopwright_decisions_total", lambda: by_experiment(services.selector.selected))
    metrics.watch("loopwright_decisions_shed_total", lambda: one(writer.shed))
    metrics.watch("loopwright_log_head_offset", lambda: one(log.head()))
    metrics.watch("loopwright_log_queue_events", lambda: one(writer.queued + writer.offered))
    metrics.watch("loopwright_log_oldest_age_seconds", lambda: one(writer.oldest_age_ms / 1000))
    metrics.watch("loopwright_log_commit_seconds", lambda: one(writer.commit_seconds))
    metrics.watch("loopwright_log_failed", lambda: one(writer.failure is not None))
    metrics.watch(
        "loopwright_intake_items_total",
        lambda: [
            ({"stage": stage, "result": result}, getattr(counter, result))
            for stage, counter in services.pipeline.counters.items()
            for result in ("seen", "changed", "refused")
        ],
    )
    metrics.watch(
        "loopwright_intake_facts_total",
        lambda: [({"topic": topic}, n) for topic, n in services.typed_intake.router.counts.items()],
    )
    fell_back = services.classifier_fell_back
    metrics.watch(
        "loopwright_classifier_fallbacks_total",
        lambda: [({"reason": why}, n) for why, n in list(fell_back.items())],
    )
    raw = services.raw
    metrics.watch(
        "loopwright_raw_copies_total",
        lambda: [] if raw is None else [({"result": name}, n) for name, n in raw.counts.items()],
    )
    metrics.watch("loopwright_learner_offset", lambda: one(learner.offset))
    metrics.watch("loopwright_learner_lag_events", lambda: one(max(0, log.head() - learner.offset)))
    metrics.watch("loopwright_learner_published_total", lambda: one(learner.published))
    metrics.watch("loopwright_learner_expected_rewards", lambda: by_experiment(learner.expected()))
    metrics.watch(
        "loopwright_learner_skipped_total",
        lambda: [({"reason": reason}, n) for reason, n in learner.skipped().items()],
    )
    metrics.watch("loopwright_learner_degraded", lambda: one(len(learner.degraded)))
    metrics.watch("loopwright_learner_failed", lambda: one(learner.failure is not None))
