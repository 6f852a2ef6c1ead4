"""The clients: they carry out the steps of a conversation over httpx, and nothing else."""

from __future__ import annotations

import asyncio
import functools
import math
import time
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Any, Final, Self, SupportsFloat, SupportsIndex, TypeVar

import httpx

from loopwright.core.errors import Conflict, SettingsInvalid

from . import calls
from .buffer import FeedbackBuffer, OnError, OnFull
from .exchange import Call, Done, Failure, Reply, Send, Terms, Wait, converse
from .fork import renew_after_fork
from .groups import (
    Agent,
    AsyncAgent,
    AsyncExperiments,
    AsyncFeedback,
    AsyncKeys,
    Experiments,
    Feedback,
    Keys,
)
from .requests import API

T = TypeVar("T")

DEFAULT_URL: Final = "http://127.0.0.1:8400"
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
            base_url=_checked(base_url),
            timeout_s=_patience(timeout_s),
            retries=_tries(retries),
            default_arms=_defaults(default_arms),
        )
        key = None if api_key is None else _header(api_key)
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
        base_url: str = DEFAULT_URL,
        api_key: str | None = None,
        *,
        timeout_s: float = 5.0,
        retries: int = 3,
        default_arms: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(
            base_url, api_key, timeout_s=timeout_s, retries=retries, default_arms=default_arms
        )
        self._http = httpx.Client(**_options(self._terms.base_url, self._secret()))
        self._is_closed = self._is_inherited = False
        self.agent = Agent(self._terms, self._run)
        self.experiments = Experiments(self._terms, self._run)
        self.feedback = Feedback(self._terms, self._run)
        self.keys = Keys(self._terms, self._run)

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

    def close(self) -> None:
        """Close the connections; a second call does nothing. Calls after it raise `Conflict`."""
        self._is_closed = True
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
        base_url: str = DEFAULT_URL,
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
        self.agent = AsyncAgent(self._terms, self._run)
        self.experiments = AsyncExperiments(self._terms, self._run)
        self.feedback = AsyncFeedback(self._terms, self._run)
        self.keys = AsyncKeys(self._terms, self._run)

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
            self._http = httpx.AsyncClient(**_options(self._terms.base_url, self._secret()))
            self._is_inherited = False
        return self._http


def closed() -> Conflict:
    """Return the error of a call on a client that was closed."""
    return Conflict("the client is closed; make a new one, or close it later")


def _checked(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        raise SettingsInvalid(f"{base_url!r} is not an address: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsInvalid(
            f"{base_url!r} is not the address of a server; write it like {DEFAULT_URL}"
        )
    # Every path below begins with it, and addresses are often copied together with it.
    return str(base_url).rstrip("/").removesuffix(API).rstrip("/")


def _patience(timeout_s: float) -> float:
    if isinstance(timeout_s, bool | str) or not isinstance(timeout_s, SupportsFloat):
        raise SettingsInvalid(f"timeout_s is {timeout_s!r}; give seconds as a number")
    seconds = float(timeout_s)
    if not (math.isfinite(seconds) and seconds > 0):
        raise SettingsInvalid(f"timeout_s is {seconds}; give seconds above 0")
    return seconds


def _tries(retries: int) -> int:
    if isinstance(retries, bool) or not isinstance(retries, SupportsIndex) or int(retries) < 0:
        raise SettingsInvalid(f"retries is {retries!r}; give a whole number from 0")
    return int(retries)


def _defaults(default_arms: Mapping[str, object] | None) -> dict[str, object]:
    if default_arms is not None and not isinstance(default_arms, Mapping):
        raise SettingsInvalid(
            f"default_arms is {default_arms!r}; map experiment ids to arms, such as {{'greeting': 'a'}}"
        )
    return dict(default_arms or {})


def _header(api_key: str) -> str:
    if not isinstance(api_key, str) or not api_key.isascii() or not api_key.isprintable():
        raise SettingsInvalid("the API key has characters that no key has; copy it again")
    return api_key


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
        "headers": {} if step.body is None else _JSON,
        "timeout": step.timeout_s,
    }


def _reply(response: httpx.Response) -> Reply:
    return Reply(response.status_code, response.headers, response.content)


def _failure(error: httpx.HTTPError) -> Failure:
    reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    hung = isinstance(error, httpx.TimeoutException)
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return Failure("unsent", reason, hung)
    return Failure("late" if hung else "lost", reason)


def _nothing() -> None:
    """Release nothing: the client outlives its buffers."""
