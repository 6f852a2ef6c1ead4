"""The server process: wiring, the HTTP application, uvicorn, and an orderly end."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
import sys
from typing import Final

import uvicorn
import uvloop

from loopwright.core.errors import SettingsInvalid

from .acks import Acks
from .address import forget_address, url_of, write_address
from .asgi import App, Behind
from .gauges import watch
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
from .metrics import Metrics
from .settings import Settings
from .unprefixed import Unprefixed, is_loopback
from .wiring import Services

logger = logging.getLogger(__name__)

SWITCH_INTERVAL_S: Final = 0.0005
"""How long a background thread may hold the interpreter while a request waits; Python's default is 5 ms."""


def serve(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT, then finish open requests, store what waits, and return.

    Raises `LoopError` when the port is taken, or the data directory is held by another process or damaged.
    """
    if settings.keyless_feedback_tenant is not None and not is_loopback(settings.host):
        raise SettingsInvalid(
            f"keyless_feedback_tenant is set and host is {settings.host}: anybody could send feedback; "
            "listen on 127.0.0.1, or give the clients a key"
        )
    log_to_stderr(level=settings.log_level, format=settings.log_format)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    # uvicorn raises the signal again once it has drained; by then it must not kill us before we have closed.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    # Before the stores are opened: a port that is taken must not leave a half-made data directory.
    with _listener(settings) as listener:
        services = Services(settings)
        try:
            uvloop.run(_serve(services, listener))
        finally:
            forget_address(settings.data_dir)
            services.close()
            gc.unfreeze()  # else nothing made at the start is ever collected, in a process that goes on
            logger.info("stopped")


def application(services: Services, loop: asyncio.AbstractEventLoop) -> Front:
    """Return the ASGI application over `services`, answering feedback on `loop`."""
    metrics = Metrics()
    watch(metrics, services)
    meters = services.truth.catalog.meters
    acks = Acks(services.truth.writer, loop, meters=meters)
    endpoints: dict[str, Endpoint] = {
        SELECT: Select(services.door.selector),
        FEEDBACK: Feedback(services.door.intake, acks.append, metrics, meters=meters),
        FEEDBACK_BATCH: FeedbackBatch(services.door.intake, acks.append, metrics, meters=meters),
    }
    limit = services.settings.body_limit_bytes

    def build() -> App:
        # Imported here, on the thread that needs it: this is most of what a start would cost.
        from .given import given_by, guarding, provided
        from .http import build_behind

        return build_behind(
            front,
            endpoints,
            metrics=metrics,
            dependencies=provided(*given_by(services, acks.append)),
            guard=guarding(services.truth.catalog),
            body_limit=limit,
        )

    behind = Behind(build)
    front = Front(
        Unprefixed(behind, keyless_tenant=services.settings.keyless_feedback_tenant),
        endpoints=endpoints,
        catalog=services.truth.catalog,
        metrics=metrics,
        health=services.health,
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
        # Taken from any client, X-Forwarded-For would let it choose the address that we see.
        proxy_headers=False,
        server_header=False,
        date_header=False,
        # A client that keeps its connection busy must not hold up a restart for ever.
        timeout_graceful_shutdown=settings.drain_s,
    )
    services.start()
    _quiet_collector()
    await _Server(config, services).serve([listener])


def _quiet_collector() -> None:
    """Freeze the objects of the start, and collect cycles rarely: requests make few.

    Without this, between a tenth and a quarter of a select goes into walking objects that live for ever.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 50, 100)


class _Server(uvicorn.Server):
    """Logs its address and writes it to the data directory: with port 0 the operating system chooses the port."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._folder = services.settings.data_dir
        self._key_file = self._folder / ADMIN_KEY_FILE

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or []:
            host, port = listener.getsockname()[:2]
            url = url_of(host, port)
            write_address(self._folder, url)
            logger.info(
                "serving", extra={"url": url, "docs": f"{url}/docs", "key_file": self._key_file}
            )
