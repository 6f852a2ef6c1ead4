"""Feedback in the background: a bounded queue and one thread that sends batches.

Every item gets its event id when it enters, so however often a batch is sent again, each item counts once. An
item leaves only by being stored, being refused by the server, or being given up at `close`; the last two are
counted and told to `on_error`.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Literal, Self

from loopwright.core.errors import BodyTooLarge, Broken, Conflict, LoopError, SettingsInvalid

from .answers import BatchReceipt, FeedbackItem
from .errors import ApiError, BufferFull, Unreachable
from .fork import renew_after_fork

OnError = Callable[[FeedbackItem, LoopError], None]
OnFull = Literal["raise", "block"]

# The server refuses larger ones.
MAX_BATCH: Final = 1000
# 507 is a full disk: an operator makes room, and the queue keeps the items until then.
PASSING: Final = frozenset({429, 502, 503, 504, 507})
FIRST_PAUSE_S: Final = 0.1
LONGEST_PAUSE_S: Final = 5.0

log = logging.getLogger("loopwright.client")


class FeedbackBuffer:
    """Collects feedback and sends it in batches of `max_items`, or of whatever came within `max_wait_s`.

    While the server is away, the thread keeps trying and the queue fills up to `max_queue`; then `feedback`
    raises `BufferFull` or, with `on_full="block"`, waits. Use it as a context manager or call `close`; a buffer
    left open is closed when the program ends.
    """

    def __init__(
        self,
        send: Callable[[list[FeedbackItem]], BatchReceipt],
        identify: Callable[[FeedbackItem | Mapping[str, Any]], FeedbackItem],
        *,
        skip: Callable[[], None],
        release: Callable[[], None],
        max_items: int = 100,
        max_wait_s: float = 0.2,
        max_queue: int = 10_000,
        on_full: OnFull = "raise",
        on_error: OnError | None = None,
    ) -> None:
        numbers = (max_items, max_queue, max_wait_s)
        if not all(isinstance(n, int | float) for n in numbers):
            raise SettingsInvalid(
                f"max_items, max_queue and max_wait_s are {numbers}; give numbers"
            )
        if not 1 <= max_items <= MAX_BATCH or max_queue < max_items:
            raise SettingsInvalid(
                f"max_items is {max_items}, max_queue {max_queue}; a batch holds 1 to {MAX_BATCH} "
                "items and the queue at least one batch"
            )
        self.accepted = 0
        self.duplicates = 0
        self.rejected = 0
        self.dropped = 0
        self._send, self._identify, self._skip, self._release = send, identify, skip, release
        self._max_items, self._max_wait_s, self._max_queue = max_items, max_wait_s, max_queue
        self._on_full, self._on_error = on_full, on_error
        self._queue: deque[tuple[float, FeedbackItem]] = deque()
        self._taken_in = self._dealt_with = self._flush_through = 0
        self._deadline: float | None = None
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._begin()
        # A daemon thread is cut off when the interpreter ends; `close` lets it finish its batch first.
        atexit.register(self.close)
        renew_after_fork(self._renew)

    def feedback(
        self,
        *,
        request_id: str | None,
        reward: float,
        metric: str | None = None,
        event_id: str | None = None,
    ) -> str | None:
        """Queue one reward and return its event id; None when the selection was a local fallback.

        Raises `BufferFull` when the queue is full and `on_full` is "raise", `RewardInvalid` for a reward that
        is not a finite number, `Conflict` after `close`.
        """
        if request_id is None:
            self._skip()
            return None
        # Before it is queued: every try of its batch must carry the same id, or a retry would count twice.
        item = self._identify(FeedbackItem(request_id, reward, metric, event_id))
        with self._changed:
            self._make_room()
            self._begin()
            self._queue.append((time.monotonic(), item))
            self._taken_in += 1
            # Only these two change when the thread should wake; a wake-up per item would cost two thread switches.
            if len(self._queue) in (1, self._max_items):
                self._changed.notify_all()
        return item.event_id

    def flush(self, timeout_s: float | None = None) -> bool:
        """Send what is queued now and wait for it; False when `timeout_s` ran out first."""
        with self._changed:
            target = self._flush_through = self._taken_in
            if self._dealt_with < target:
                self._begin()
            self._changed.notify_all()
            return self._changed.wait_for(lambda: self._dealt_with >= target, timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what is left, for at most `timeout_s`; what cannot be sent is dropped and reported."""
        with self._changed:
            if self._deadline is None:
                self._deadline = time.monotonic() + timeout_s
            self._changed.notify_all()
        # Without a limit: the thread itself gives up at the deadline, and reports what it drops.
        if self._thread is not None:
            self._thread.join()
        atexit.unregister(self.close)
        self._release()

    def _renew(self) -> None:
        """Begin empty in a forked child: what is queued belongs to the parent, which sends it."""
        # The parent's thread may have held it at the fork.
        self._changed = threading.Condition()
        self._queue.clear()
        self._taken_in = self._dealt_with = self._flush_through = 0
        self.accepted = self.duplicates = self.rejected = self.dropped = 0
        self._thread = None

    @property
    def pending(self) -> int:
        """Items that are queued or being sent."""
        return self._taken_in - self._dealt_with

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _begin(self) -> None:
        """Start the thread, unless it runs: a forked child has none until its first item."""
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(
                target=self._run, name="loopwright-feedback", daemon=True
            )
            self._thread.start()

    def _make_room(self) -> None:
        def is_open() -> bool:
            return self._deadline is not None or len(self._queue) < self._max_queue

        if self._on_full == "block":
            self._changed.wait_for(is_open)
        if self._deadline is not None:
            raise Conflict("the feedback buffer is closed; send feedback before closing it")
        if not is_open():
            raise BufferFull(
                f"{self._max_queue} items of feedback wait for the server; send slower, raise max_queue, "
                "or use on_full='block'",
                found=len(self._queue),
            )

    def _run(self) -> None:
        while batch := self._next_batch():
            try:
                self._deliver(batch)
            except Exception as error:
                # A bug must cost this batch, not the thread: everything queued after it would be lost in silence.
                log.exception("the feedback buffer failed to send a batch")
                self._drop(batch, Broken(f"it was not sent: {type(error).__name__}: {error}"))
            with self._changed:
                self._dealt_with += len(batch)
                self._changed.notify_all()

    def _next_batch(self) -> list[FeedbackItem]:
        """Wait for a batch that is due; empty once the buffer is closed and drained."""
        with self._changed:
            while True:
                due_s = self._due_in_s()
                if due_s is not None and due_s <= 0:
                    count = min(len(self._queue), self._max_items)
                    batch = [self._queue.popleft()[1] for _ in range(count)]
                    # Callers that wait for room wait on the same condition.
                    self._changed.notify_all()
                    return batch
                self._changed.wait(due_s)

    def _due_in_s(self) -> float | None:
        """Seconds until something must be sent; None while there is nothing to wait for."""
        if (
            self._deadline is not None
            or len(self._queue) >= self._max_items
            or self._flush_through > self._dealt_with
        ):
            return 0.0
        if not self._queue:
            return None
        return self._queue[0][0] + self._max_wait_s - time.monotonic()

    def _deliver(self, batch: list[FeedbackItem]) -> None:
        pause_s = FIRST_PAUSE_S
        while True:
            try:
                receipt = self._send(batch)
            except LoopError as error:
                if len(batch) > 1 and _is_about_the_content(error):
                    self._deliver_parts(batch, error)
                    return
                if not _may_pass(error) or not self._patient(pause_s):
                    self._drop(batch, error)
                    return
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
            else:
                self._settle(batch, receipt)
                return

    def _deliver_parts(self, batch: list[FeedbackItem], error: LoopError) -> None:
        """Send halves of a batch that is too large; of one that is refused as a whole, each item alone."""
        if isinstance(error, BodyTooLarge):
            # Halves, because the limit in bytes is the server's and a proxy's, and unknown here.
            middle = len(batch) // 2
            parts = [batch[:middle], batch[middle:]]
        else:
            parts = [[item] for item in batch]
        for part in parts:
            self._deliver(part)

    def _patient(self, pause_s: float) -> bool:
        """Wait before another try; False when the buffer's time is up."""
        with self._changed:
            if self._deadline is None:
                self._changed.wait_for(lambda: self._deadline is not None, pause_s)
                return True
            left_s = self._deadline - time.monotonic()
        if left_s <= 0:
            return False
        # Not the condition: with the deadline set it would return at once, and retry in a busy loop.
        time.sleep(min(pause_s, left_s))
        return True

    def _settle(self, batch: list[FeedbackItem], receipt: BatchReceipt) -> None:
        self.accepted += receipt.accepted
        self.duplicates += receipt.duplicates
        self.rejected += receipt.rejected
        for item, result in zip(batch, receipt.results, strict=True):
            if isinstance(result, LoopError):
                self._report(item, result)

    def _drop(self, batch: list[FeedbackItem], error: LoopError) -> None:
        self.dropped += len(batch)
        log.error("dropped %d items of feedback: %s", len(batch), error.message)
        for item in batch:
            self._report(item, error)

    def _report(self, item: FeedbackItem, error: LoopError) -> None:
        if self._on_error is None:
            log.warning("feedback %s was not stored: %s", item.event_id, error.message)
            return
        try:
            self._on_error(item, error)
        except Exception:
            # It is the product's own code; whatever it raises must not stop the thread.
            log.exception("on_error itself failed for feedback %s", item.event_id)


def _is_about_the_content(error: LoopError) -> bool:
    """Whether the server refused what was sent, so that one item may be at fault for all."""
    status = error.detail.get("status") if isinstance(error, ApiError) else error.status
    return status in (400, 413, 422)


def _may_pass(error: LoopError) -> bool:
    status = error.detail.get("status") if isinstance(error, ApiError) else error.status
    return isinstance(error, Unreachable) or status in PASSING
