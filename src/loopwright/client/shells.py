"""The clients: they carry out the steps of a conversation over httpx, and nothing else."""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Callable, Mapping
from datetime import date
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx

from loopwright.core.errors import Conflict

from . import arrow, calls, checks, groups
from .buffer import FeedbackBuffer, OnError, OnFull
from .exchange import Call, Done, Failure, Reply, Send, Terms, Wait, converse
from .fork import renew_after_fork

T = TypeVar("T")

_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_JSON: Final = {"content-type": "application/json"}


class _Shell:
    """The part that both clients share: terms, and counters over them."""

    def __init__(
        self,
        base_url: str,
        api_key: str | None,
        *,
        timeout_s: float,
        retries: int,
        default_arms: Mapping[str, object] | None,
    ) -> None:
        self._terms = Terms(
            base_url=checks.address(base_url),
            timeout_s=checks.patience(timeout_s),
            retries=checks.tries(retries),
            default_arms=checks.defaults(default_arms),
        )
        key = None if api_key is None else checks.header(api_key)
        # In a closure, so that no dump of this object's attributes shows it.
        self._secret: Callable[[], str | None] = lambda: key
        renew_after_fork(self._renew)

    @property
    def fallbacks(self) -> int:
        """Selections that were answered by a local default arm."""
        return self._terms.fallbacks

    @property
    def skipped(self) -> int:
        """Feedback that was not sent because its selection was a fallback."""
        return self._terms.skipped

    def _renew(self) -> None:
        """Let go of what belongs to the parent; the child opens connections of its own."""
        self._terms.after_fork()


class Client(_Shell):
    """Talks to a Loopwright server; safe to share between threads, and usable in a forked child.

    `timeout_s` is the patience of one call with all its retries; after three timeouts in a row calls fail at once
    until the server answers again. `default_arms` maps experiment ids to the arm, or its id, that `agent.select`
    returns while the server cannot be asked; `fallbacks` counts those, and `skipped` the feedback that was not
    sent because its selection was one.
    """

    def __init__(
        self,
        base_url: str = checks.DEFAULT_URL,
        api_key: str | None = None,
        *,
        timeout_s: float = 5.0,
        retries: int = 3,
        default_arms: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(
            base_url, api_key, timeout_s=timeout_s, retries=retries, default_arms=default_arms
        )
        # One pool for all threads: a connection per call would add a TCP and a TLS handshake to each.
        self._http = httpx.Client(**_options(self._terms.base_url, self._secret()))
        self._is_closed = self._is_inherited = False
        self.agent = groups.Agent(self._terms, self._run)
        self.experiments = groups.Experiments(self._terms, self._run)
        self.feedback = groups.Feedback(self._terms, self._run)
        self.keys = groups.Keys(self._terms, self._run)
        self.tenants = groups.Tenants(self._terms, self._run)
        self.exports = groups.Exports(self._terms, self._run)
        self.datasets = groups.Datasets(self._terms, self._run)
        self.limits = groups.Limits(self._terms, self._run)
        self.versions = groups.Versions(self._terms, self._run)
        self.rollouts = groups.Rollouts(self._terms, self._run)
        self.triggers = groups.Triggers(self._terms, self._run)

    def buffered(
        self,
        *,
        max_items: int = 100,
        max_wait_s: float = 0.2,
        max_queue: int = 10_000,
        on_full: OnFull = "raise",
        on_error: OnError | None = None,
    ) -> FeedbackBuffer:
        """Return a buffer that sends feedback in the background."""
        return FeedbackBuffer(
            self.agent.feedback_batch,
            functools.partial(calls.identified, self._terms),
            skip=self._terms.skip,
            release=_nothing,
            max_items=max_items,
            max_wait_s=max_wait_s,
            max_queue=max_queue,
            on_full=on_full,
            on_error=on_error,
        )

    def to_arrow(
        self,
        table: str,
        *,
        since: date | int | str | None = None,
        until: date | int | str | None = None,
        tz: str | None = None,
        experiment_id: str | None = None,
        consent: str = "share",
    ) -> Any:
        """Return a `pyarrow.RecordBatchReader` of decisions, feedback, interactions or steps.

        It fetches page after page as it is read, so a table of any size takes little memory; Polars, DuckDB and pandas
        take it as it is. `since` and `until` are dates, times or milliseconds; all time without them.
        `consent` is `share` (what may leave the organisation) or `analyze`. Raises `ArrowMissing` without the extra
        `arrow`.
        """
        ask = functools.partial(
            self.exports.page,
            table,
            since=since,
            until=until,
            tz=tz,
            experiment_id=experiment_id,
            consent=consent,
            limit=arrow.PAGE,
        )

        return arrow.stream(lambda cursor: ask(cursor=cursor))

    def close(self) -> None:
        """Close the connections; a second call does nothing. Calls after it raise `Conflict`."""
        self._is_closed = True
        # Inherited connections are the parent's: closing them would end its TLS sessions.
        if not self._is_inherited:
            self._http.close()

    def _renew(self) -> None:
        """Let go of the parent's connections; the child's first call opens its own."""
        super()._renew()
        self._is_inherited = True

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, call: Call[T] | Done[T]) -> T:
        if isinstance(call, Done):
            return call.value
        steps = converse(self._terms, call)
        outcome: Reply | Failure | None = None
        try:
            while True:
                outcome = self._carry_out(steps.send(outcome))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    def _carry_out(self, step: Send | Wait) -> Reply | Failure | None:
        if isinstance(step, Wait):
            time.sleep(step.seconds)
            return None
        try:
            return _reply(self._transport().request(**_arguments(step)))
        except httpx.HTTPError as error:
            return _failure(error)

    def _transport(self) -> httpx.Client:
        if self._is_closed:
            raise closed()
        if self._is_inherited:
            # Dropped, not closed: closing would say goodbye on connections that the parent goes on using.
            self._http = httpx.Client(**_options(self._terms.base_url, self._secret()))
            self._is_inherited = False
        return self._http


class AsyncClient(_Shell):
    """Talks to a Loopwright server from asyncio; see `Client` for the arguments."""

    def __init__(
        self,
        base_url: str = checks.DEFAULT_URL,
        api_key: str | None = None,
        *,
        timeout_s: float = 5.0,
        retries: int = 3,
        default_arms: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(
            base_url, api_key, timeout_s=timeout_s, retries=retries, default_arms=default_arms
        )
        self._http = httpx.AsyncClient(**_options(self._terms.base_url, self._secret()))
        self._is_closed = self._is_inherited = False
        self.agent = groups.AsyncAgent(self._terms, self._run)
        self.experiments = groups.AsyncExperiments(self._terms, self._run)
        self.feedback = groups.AsyncFeedback(self._terms, self._run)
        self.keys = groups.AsyncKeys(self._terms, self._run)
        self.tenants = groups.AsyncTenants(self._terms, self._run)
        self.exports = groups.AsyncExports(self._terms, self._run)
        self.datasets = groups.AsyncDatasets(self._terms, self._run)
        self.limits = groups.AsyncLimits(self._terms, self._run)
        self.versions = groups.AsyncVersions(self._terms, self._run)
        self.rollouts = groups.AsyncRollouts(self._terms, self._run)
        self.triggers = groups.AsyncTriggers(self._terms, self._run)

    def buffered(
        self,
        *,
        max_items: int = 100,
        max_wait_s: float = 0.2,
        max_queue: int = 10_000,
        on_error: OnError | None = None,
    ) -> FeedbackBuffer:
        """Return a buffer whose thread sends feedback over connections of its own.

        Queueing never waits, so it may be called from a coroutine; `flush` and `close` wait, so await them with
        `asyncio.to_thread`.
        """
        terms = self._terms
        # Connections of the event loop cannot be used from a thread, so the buffer gets a client of its own.
        sender = Client(
            terms.base_url, self._secret(), timeout_s=terms.timeout_s, retries=terms.retries
        )
        return FeedbackBuffer(
            sender.agent.feedback_batch,
            functools.partial(calls.identified, terms),
            skip=terms.skip,
            release=sender.close,
            max_items=max_items,
            max_wait_s=max_wait_s,
            max_queue=max_queue,
            on_error=on_error,
        )

    async def to_arrow(
        self,
        table: str,
        *,
        since: date | int | str | None = None,
        until: date | int | str | None = None,
        tz: str | None = None,
        experiment_id: str | None = None,
        consent: str = "share",
    ) -> Any:
        """Return a `pyarrow.Table` of decisions, feedback, interactions or steps.

        It holds the whole table. `since` and `until` are dates, times or milliseconds; all time without them.
        `consent` is `share` (what may leave the organisation) or `analyze`. Raises `ArrowMissing` without the extra
        `arrow`.
        """
        ask = functools.partial(
            self.exports.page,
            table,
            since=since,
            until=until,
            tz=tz,
            experiment_id=experiment_id,
            consent=consent,
            limit=arrow.PAGE,
        )

        return await arrow.gathered(lambda cursor: ask(cursor=cursor))

    async def close(self) -> None:
        """Close the connections; a second call does nothing. Calls after it raise `Conflict`."""
        self._is_closed = True
        if not self._is_inherited:
            await self._http.aclose()

    def _renew(self) -> None:
        """Let go of the parent's connections; the child's first call opens its own."""
        super()._renew()
        self._is_inherited = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _run(self, call: Call[T] | Done[T]) -> T:
        if isinstance(call, Done):
            return call.value
        steps = converse(self._terms, call)
        outcome: Reply | Failure | None = None
        try:
            while True:
                outcome = await self._carry_out(steps.send(outcome))
        except StopIteration as stop:
            return stop.value  # type: ignore[no-any-return]

    async def _carry_out(self, step: Send | Wait) -> Reply | Failure | None:
        if isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return _reply(await self._transport().request(**_arguments(step)))
        except httpx.HTTPError as error:
            return _failure(error)

    def _transport(self) -> httpx.AsyncClient:
        if self._is_closed:
            raise closed()
        if self._is_inherited:
            # Dropped, not closed, as in `Client`.
            self._http = httpx.AsyncClient(**_options(self._terms.base_url, self._secret()))
            self._is_inherited = False
        return self._http


def closed() -> Conflict:
    """Return the error of a call on a client that was closed."""
    return Conflict("the client is closed; make a new one, or close it later")


def _options(base_url: str, api_key: str | None) -> dict[str, Any]:
    return {
        "base_url": base_url,
        "headers": {} if api_key is None else {"authorization": f"Bearer {api_key}"},
        # A proxy named by the environment cannot reach this machine's own loopback address.
        "trust_env": httpx.URL(base_url).host not in _LOOPBACK,
    }


def _arguments(step: Send) -> dict[str, Any]:
    return {
        "method": step.method,
        "url": step.path,
        "content": step.body,
        # httpx sets no media type for raw bytes.
        "headers": {} if step.body is None else _JSON,
        "timeout": step.timeout_s,
    }


def _reply(response: httpx.Response) -> Reply:
    return Reply(response.status_code, response.headers, response.content)


def _failure(error: httpx.HTTPError) -> Failure:
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hung = isinstance(error, httpx.TimeoutException)
    # In these three no byte of the request has left, so even a change may be sent again.
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return Failure("unsent", reason, hung)
    return Failure("late" if hung else "lost", reason)


def _nothing() -> None:
    """Release nothing: the client outlives its buffers."""
