"""The clients: they carry out the steps of a conversation over httpx, and nothing else.

`method` and `coroutine` turn each function of `calls` into a method with the same arguments, so a call is
written once and offered twice.
"""

from __future__ import annotations

import asyncio
import functools
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from types import TracebackType
from typing import Any, Concatenate, Final, ParamSpec, Self, TypeVar

import httpx

from loopwright.core.errors import SettingsInvalid

from . import calls
from .buffer import FeedbackBuffer, OnError, OnFull
from .exchange import Call, Done, Failure, Reply, Send, Terms, Wait, converse

P = ParamSpec("P")
T = TypeVar("T")

DEFAULT_URL: Final = "http://127.0.0.1:8400"
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "::1"})
_JSON: Final = {"content-type": "application/json"}


class Group:
    """Calls that belong together, on a blocking client."""

    def __init__(self, terms: Terms, run: Callable[[Call[Any] | Done[Any]], Any]) -> None:
        self._terms = terms
        self._run = run


class AsyncGroup:
    """Calls that belong together, on an asynchronous client."""

    def __init__(
        self, terms: Terms, run: Callable[[Call[Any] | Done[Any]], Awaitable[Any]]
    ) -> None:
        self._terms = terms
        self._run = run


def method(
    build: Callable[Concatenate[Terms, P], Call[T] | Done[T]],
) -> Callable[Concatenate[Group, P], T]:
    """Return `build` as a method that waits for the answer."""

    @functools.wraps(build)
    def blocking(group: Group, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return group._run(build(group._terms, *args, **kwargs))  # type: ignore[no-any-return]

    return blocking


def coroutine(
    build: Callable[Concatenate[Terms, P], Call[T] | Done[T]],
) -> Callable[Concatenate[AsyncGroup, P], Coroutine[Any, Any, T]]:
    """Return `build` as a method to await."""

    @functools.wraps(build)
    async def awaiting(group: AsyncGroup, /, *args: P.args, **kwargs: P.kwargs) -> T:
        return await group._run(build(group._terms, *args, **kwargs))  # type: ignore[no-any-return]

    return awaiting


class Agent(Group):
    """Select arms and send feedback."""

    select = method(calls.select)
    feedback = method(calls.feedback)
    feedback_batch = method(calls.feedback_batch)


class AsyncAgent(AsyncGroup):
    """Select arms and send feedback."""

    select = coroutine(calls.select)
    feedback = coroutine(calls.feedback)
    feedback_batch = coroutine(calls.feedback_batch)


class Experiments(Group):
    """Create experiments, move them through their life, see how they do."""

    create = method(calls.create_experiment)
    define = method(calls.define_experiment)
    get = method(calls.get_experiment)
    list = method(calls.list_experiments)
    start = method(calls.start_experiment)
    pause = method(calls.pause_experiment)
    resume = method(calls.resume_experiment)
    end = method(calls.end_experiment)
    status = method(calls.experiment_status)
    add_arm = method(calls.add_arm)
    change_arm = method(calls.change_arm)


class AsyncExperiments(AsyncGroup):
    """Create experiments, move them through their life, see how they do."""

    create = coroutine(calls.create_experiment)
    define = coroutine(calls.define_experiment)
    get = coroutine(calls.get_experiment)
    list = coroutine(calls.list_experiments)
    start = coroutine(calls.start_experiment)
    pause = coroutine(calls.pause_experiment)
    resume = coroutine(calls.resume_experiment)
    end = coroutine(calls.end_experiment)
    status = coroutine(calls.experiment_status)
    add_arm = coroutine(calls.add_arm)
    change_arm = coroutine(calls.change_arm)


class Feedback(Group):
    """Send feedback of every kind, interactions and steps; read the quality report."""

    send = method(calls.send_feedback)
    interactions = method(calls.send_interactions)
    steps = method(calls.send_steps)
    quality = method(calls.quality_report)


class AsyncFeedback(AsyncGroup):
    """Send feedback of every kind, interactions and steps; read the quality report."""

    send = coroutine(calls.send_feedback)
    interactions = coroutine(calls.send_interactions)
    steps = coroutine(calls.send_steps)
    quality = coroutine(calls.quality_report)


class Keys(Group):
    """Create, list, rotate and revoke keys."""

    create = method(calls.create_key)
    list = method(calls.list_keys)
    rotate = method(calls.rotate_key)
    revoke = method(calls.revoke_key)
    rotate_signing = method(calls.rotate_signing_key)


class AsyncKeys(AsyncGroup):
    """Create, list, rotate and revoke keys."""

    create = coroutine(calls.create_key)
    list = coroutine(calls.list_keys)
    rotate = coroutine(calls.rotate_key)
    revoke = coroutine(calls.revoke_key)
    rotate_signing = coroutine(calls.rotate_signing_key)


class Client:
    """Talks to a Loopwright server; safe to share between threads.

    `timeout_s` is the patience of one call with all its retries. `default_arms` maps experiment ids to the arm,
    or its payload, that `agent.select` returns while the server cannot be asked; `fallbacks` counts those, and
    `skipped` the feedback that was not sent because its selection was one.
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
        self._terms = Terms(
            base_url=_checked(base_url),
            timeout_s=timeout_s,
            retries=retries,
            default_arms=dict(default_arms or {}),
        )
        self._http = httpx.Client(**_options(self._terms.base_url, api_key))
        self.agent = Agent(self._terms, self._run)
        self.experiments = Experiments(self._terms, self._run)
        self.feedback = Feedback(self._terms, self._run)
        self.keys = Keys(self._terms, self._run)

    @property
    def fallbacks(self) -> int:
        """Selections that were answered by a local default arm."""
        return self._terms.fallbacks

    @property
    def skipped(self) -> int:
        """Feedback that was not sent because its selection was a fallback."""
        return self._terms.skipped

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
        """Close the connections."""
        self._http.close()

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
            return _reply(self._http.request(**_arguments(step)))
        except httpx.HTTPError as error:
            return _failure(error)


class AsyncClient:
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
        self._terms = Terms(
            base_url=_checked(base_url),
            timeout_s=timeout_s,
            retries=retries,
            default_arms=dict(default_arms or {}),
        )
        self._api_key = api_key
        self._http = httpx.AsyncClient(**_options(self._terms.base_url, api_key))
        self.agent = AsyncAgent(self._terms, self._run)
        self.experiments = AsyncExperiments(self._terms, self._run)
        self.feedback = AsyncFeedback(self._terms, self._run)
        self.keys = AsyncKeys(self._terms, self._run)

    @property
    def fallbacks(self) -> int:
        """Selections that were answered by a local default arm."""
        return self._terms.fallbacks

    @property
    def skipped(self) -> int:
        """Feedback that was not sent because its selection was a fallback."""
        return self._terms.skipped

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
            terms.base_url, self._api_key, timeout_s=terms.timeout_s, retries=terms.retries
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
        """Close the connections."""
        await self._http.aclose()

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
            return _reply(await self._http.request(**_arguments(step)))
        except httpx.HTTPError as error:
            return _failure(error)


def _checked(base_url: str) -> str:
    try:
        url = httpx.URL(base_url)
    except httpx.InvalidURL as error:
        raise SettingsInvalid(f"{base_url!r} is not an address: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsInvalid(
            f"{base_url!r} is not the address of a server; write it like {DEFAULT_URL}"
        )
    return base_url.rstrip("/")


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
    if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout | httpx.PoolTimeout):
        return Failure("unsent", reason)
    return Failure("late" if isinstance(error, httpx.TimeoutException) else "lost", reason)


def _nothing() -> None:
    """Release nothing: the client outlives its buffers."""
