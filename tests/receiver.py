"""A receiver of webhooks on this machine, which checks every signature, and answers as it is told to."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from standardwebhooks.webhooks import Webhook


class Receiver:
    """Takes webhooks. `answers` are used up one by one, then it answers 204; a stall is a number of seconds."""

    def __init__(self) -> None:
        self.secret: str | None = None
        """Signatures are checked with it; none are while it is None."""
        self.got: list[tuple[dict[str, str], Any]] = []
        """Headers and checked content of each request."""
        self.answers: list[int | float | dict[str, Any]] = []
        self.arrived = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                headers = {name.lower(): value for name, value in self.headers.items()}
                content: Any = body
                if receiver.secret is not None:
                    content = Webhook(receiver.secret).verify(body, headers)
                receiver.got.append((headers, content))
                receiver.arrived.set()
                receiver.answer(self)

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook?x=1"
        self.thread = threading.Thread(target=self.server.serve_forever, args=[0.02])
        self.thread.start()
        self.closing = threading.Event()

    def answer(self, to: BaseHTTPRequestHandler) -> None:
        """Answer one request."""
        answer = self.answers.pop(0) if self.answers else 204
        if isinstance(answer, float):
            # A receiver that stalls: a header now and then, and never the last.
            to.send_response(200)
            to.flush_headers()
            until = time.monotonic() + answer
            while time.monotonic() < until and not self.closing.wait(0.05):
                try:
                    to.wfile.write(b"x-more: 1\r\n")
                    to.wfile.flush()
                except OSError:
                    return
            return
        status, headers = (answer, {}) if isinstance(answer, int) else (answer["status"], answer)
        to.send_response(status)
        for name, value in headers.items():
            if name != "status":
                to.send_header(name, str(value))
        to.send_header("content-length", "0")
        to.end_headers()

    @property
    def ids(self) -> list[str]:
        """The `webhook-id` of each request."""
        return [headers["webhook-id"] for headers, _ in self.got]

    def close(self) -> None:
        """End it."""
        self.closing.set()
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@contextmanager
def receiving() -> Iterator[Receiver]:
    """Run a receiver for the length of a block."""
    made = Receiver()
    try:
        yield made
    finally:
        made.close()
