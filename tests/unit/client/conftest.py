from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest


@dataclass
class Act:
    """What the server does with one request: answer, be slow, or hang up."""

    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    hang_up: bool = False
    gate: threading.Event | None = None


class ScriptedServer:
    """A real HTTP server on a real socket that does what it is told, request by request."""

    def __init__(self) -> None:
        self.script: deque[Act] = deque()
        self.seen: list[tuple[str, str, dict[str, str], Any]] = []
        self.otherwise = Act(201, {"event_id": "e", "decision_id": "d", "duplicate": False})
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # The answer's head and body leave in one segment, not 40 ms apart.
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length", 0))
                raw = self.rfile.read(length)
                server.answer(self, raw)

            do_GET = do_PATCH = do_POST

            def log_message(self, format: str, *args: Any) -> None:
                """Keep quiet."""

        class Quiet(ThreadingHTTPServer):
            def handle_error(self, request: Any, client_address: Any) -> None:
                """A client that hangs up is part of the play."""

        self._http = Quiet(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(
            target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True
        )
        self._thread.start()

    def answer(self, request: BaseHTTPRequestHandler, raw: bytes) -> None:
        headers = {name.lower(): value for name, value in request.headers.items()}
        body = json.loads(raw) if raw else None
        self.seen.append((request.command, request.path, headers, body))
        act = self.script.popleft() if self.script else self.otherwise
        if act.gate is not None:
            act.gate.wait(5)
        if act.hang_up:
            request.close_connection = True
            request.connection.shutdown(socket.SHUT_RDWR)
            return
        answer = act.body(body) if callable(act.body) else act.body
        content = json.dumps(answer).encode()
        request.send_response(act.status)
        for name, value in act.headers.items():
            request.send_header(name, value)
        request.send_header("content-length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def until_seen(self, count: int, timeout_s: float = 5.0) -> None:
        """Wait until the server has received `count` requests."""
        give_up = time.monotonic() + timeout_s
        while len(self.seen) < count:
            assert time.monotonic() < give_up, f"saw {len(self.seen)} of {count} requests"
            threading.Event().wait(0.002)


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


def in_a_child(do: Callable[[], object]) -> int:
    """Run `do` in a forked child and return its exit code: 0 when it raised nothing."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            do()
            code = 0
        finally:
            os._exit(code)
    give_up = time.monotonic() + 20
    while time.monotonic() < give_up:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        threading.Event().wait(0.01)
    os.kill(child, 9)
    os.waitpid(child, 0)
    return -9


@pytest.fixture
def closed_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
