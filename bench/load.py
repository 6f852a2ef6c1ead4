"""A light HTTP/1.1 load generator: keep-alive connections in a closed loop, in a process of its own.

It exists so that a benchmark needs nothing installed and can send requests that all differ. It reads of a
response only what it must, the status and the length, so that the server and not the client is measured.
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import multiprocessing
import os
import statistics
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from multiprocessing.connection import Connection
from typing import Final, cast

import uvloop

FIRST_ROUNDS: Final = 5
"""A ratio is the median of at least so many rounds."""


@dataclass(frozen=True)
class Result:
    """What one run of load saw. Latencies are of answered requests, warm-up left out."""

    requests: int
    seconds: float
    rps: float
    p50_ms: float
    p99_ms: float
    statuses: dict[int, int]
    taken: int
    """Requests taken from the front of the list, warm-up and last ones in flight included."""
    bodies: list[bytes] = field(default_factory=list, repr=False)
    """Every response body, when they were asked for."""


@dataclass(frozen=True)
class Workload:
    """Requests for one server; `once` when no request may be sent twice, as with feedback."""

    port: int
    requests: Sequence[bytes] = field(repr=False)
    host: str = "127.0.0.1"
    connections: int = 32
    once: bool = False
    expect: frozenset[int] = frozenset({200, 201})
    """Statuses that count as success; any other fails the run."""


@dataclass(frozen=True)
class Ratio:
    """Two workloads measured in turns."""

    ratio: float
    """Median over rounds of measured rps ÷ reference rps of the same round."""
    rounds: tuple[float, ...]
    measured: Result
    """The round with the median rate."""
    reference: Result


class LoadFailed(Exception):
    """The load could not be applied, or the server answered what it should not have."""


def build(method: str, path: str, *, body: bytes = b"", key: str | None = None) -> bytes:
    """Return the bytes of one request; a body is sent as JSON, `key` as the bearer token."""
    lines = [f"{method} {path} HTTP/1.1", "host: bench"]
    if key is not None:
        lines.append(f"authorization: Bearer {key}")
    if body:
        lines += ["content-type: application/json", f"content-length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def cpus() -> tuple[set[int], set[int]]:
    """Return the processors for the server and those for the load: apart where there are two or more."""
    free = sorted(os.sched_getaffinity(0))
    if len(free) == 1:
        return set(free), set(free)
    return set(free[:-1]), {free[-1]}


def run(
    host: str,
    port: int,
    requests: Sequence[bytes],
    *,
    connections: int = 32,
    seconds: float = 1.0,
    warmup_s: float = 0.2,
    once: bool = False,
    collect: bool = False,
    expect: frozenset[int] = frozenset({200, 201}),
) -> Result:
    """Send `requests` over `connections` for `seconds` and return what came back.

    The list is taken round and round, or `once`: then the run ends with it. `collect` keeps response bodies.
    Raises `LoadFailed` when the server cannot be reached, hangs up, or answers with a status not in `expect`.
    """
    # Forked, not spawned: a list of a hundred thousand bodies needs no copying.
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe(duplex=False)
    load = _Load(
        requests=requests,
        connections=connections,
        seconds=seconds,
        warmup_s=warmup_s,
        once=once,
        collect=collect,
    )
    child = context.Process(target=_child, args=(load, host, port, theirs), daemon=True)
    with warnings.catch_warnings():
        # Newer Pythons warn of forking beside threads, such as NumPy's: the child takes none of their locks.
        warnings.simplefilter("ignore", DeprecationWarning)
        child.start()
    theirs.close()
    try:
        outcome = cast("Result | str", ours.recv())
    except EOFError:
        outcome = "the load process died"
    child.join()
    if isinstance(outcome, str):
        raise LoadFailed(f"load on {host}:{port} failed: {outcome}")
    if unexpected := set(outcome.statuses) - expect:
        raise LoadFailed(f"{host}:{port} answered {outcome.statuses}, unexpected: {unexpected}")
    return outcome


def ratio_rounds(
    measured: Workload, reference: Workload, *, rounds: int = FIRST_ROUNDS, seconds: float = 1.0
) -> Ratio:
    """Measure both in turns, `rounds` times, and return the median of the rounds' ratios.

    In turns, because a shared machine drifts: both halves of a round meet the same neighbours. Every other
    round starts with the other one.
    """
    if rounds < FIRST_ROUNDS:
        raise ValueError(f"{rounds} rounds are too few for a median; use at least {FIRST_ROUNDS}")
    results: tuple[list[Result], list[Result]] = ([], [])
    sides = [measured, reference]
    for turn in range(rounds):
        for side in (0, 1) if turn % 2 == 0 else (1, 0):
            result, sides[side] = advance(sides[side], seconds=seconds)
            results[side].append(result)
    ratios = tuple(m.rps / r.rps for m, r in zip(*results, strict=True))
    return Ratio(statistics.median(ratios), ratios, _median(results[0]), _median(results[1]))


def advance(workload: Workload, *, seconds: float) -> tuple[Result, Workload]:
    """Run `workload`; return the result and the workload that is left, shorter when it is sent `once`."""
    result = run(
        workload.host,
        workload.port,
        workload.requests,
        connections=workload.connections,
        seconds=seconds,
        once=workload.once,
        expect=workload.expect,
    )
    if not workload.once:
        return result, workload
    if result.seconds < seconds * 0.9:
        raise LoadFailed(
            f"{len(workload.requests)} requests lasted {result.seconds:.2f} s of {seconds} s; prepare more"
        )
    return result, replace(workload, requests=workload.requests[result.taken :])


def _median(results: Sequence[Result]) -> Result:
    return sorted(results, key=lambda result: result.rps)[len(results) // 2]


def _child(load: _Load, host: str, port: int, answer: Connection) -> None:
    os.sched_setaffinity(0, cpus()[1])
    gc.disable()  # a pause of the client would be counted as the server's
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome: Result | str = runner.run(load.apply(host, port))
    except (OSError, LoadFailed) as error:
        outcome = str(error)
    answer.send(outcome)
    answer.close()


class _Load:
    """One run: shared by its connections."""

    def __init__(
        self,
        *,
        requests: Sequence[bytes],
        connections: int,
        seconds: float,
        warmup_s: float,
        once: bool,
        collect: bool,
    ) -> None:
        self.taken = 0
        self.latencies: list[float] = []
        self.statuses: Counter[bytes] = Counter()
        self.bodies: list[bytes] | None = [] if collect else None
        self._requests = requests
        self._once = once
        self._connections = connections
        self._seconds = seconds
        self._warmup_s = warmup_s
        self._open = 0
        self._stopped = False

    async def apply(self, host: str, port: int) -> Result:
        """Run to the end and return the result."""
        loop = asyncio.get_running_loop()
        self._idle: asyncio.Future[None] = loop.create_future()
        source = iter(self._requests) if self._once else itertools.cycle(self._requests)
        made: list[_Client] = []
        try:
            for _ in range(self._connections):
                made.append(
                    (await loop.create_connection(lambda: _Client(self, source), host, port))[1]
                )
            seconds, latencies, statuses = await self._measure(made)
        finally:
            for client in made:
                client.close()
        return _summary(latencies, statuses, seconds, self.taken, self.bodies)

    async def _measure(
        self, clients: Sequence[_Client]
    ) -> tuple[float, list[float], dict[bytes, int]]:
        self._open = len(clients)
        for client in clients:
            client.send()
        if not self._once:
            await asyncio.wait([self._idle], timeout=self._warmup_s)
            self.latencies.clear()
            self.statuses.clear()
        started = time.perf_counter()
        await asyncio.wait([self._idle], timeout=self._seconds)
        seconds = time.perf_counter() - started
        measured = seconds, list(self.latencies), dict(self.statuses)
        self._stopped = True
        await asyncio.wait_for(self._idle, timeout=30)
        return measured

    def next(self, source: Iterator[bytes]) -> bytes | None:
        """Return the next request to send; None when there is none or time is up."""
        request = None if self._stopped else next(source, None)
        if request is None:
            self._open -= 1
            if self._open == 0 and not self._idle.done():
                self._idle.set_result(None)
            return None
        self.taken += 1
        return request

    def fail(self, why: str) -> None:
        """End the run."""
        if not self._idle.done():
            self._idle.set_exception(LoadFailed(why))


class _Client(asyncio.Protocol):
    """One keep-alive connection with one request in flight."""

    def __init__(self, load: _Load, source: Iterator[bytes]) -> None:
        self._load = load
        self._source = source
        self._partial = b""
        self._waiting = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def send(self) -> None:
        """Send the next request, if any is left."""
        request = self._load.next(self._source)
        self._waiting = request is not None
        if request is not None:
            self._sent_at = time.perf_counter()
            self._transport.write(request)

    def close(self) -> None:
        """Hang up."""
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        if self._partial:
            data = self._partial + data
        head = data.find(b"\r\n\r\n")
        if head < 0:
            self._partial = data
            return
        end = head + 4 + _length(data, head)
        if len(data) < end:
            self._partial = data
            return
        self._partial = b""
        load = self._load
        load.latencies.append(time.perf_counter() - self._sent_at)
        load.statuses[data[9:12]] += 1
        if load.bodies is not None:
            load.bodies.append(data[head + 4 : end])
        self.send()

    def connection_lost(self, exc: Exception | None) -> None:
        if self._waiting:
            self._load.fail(f"the server hung up instead of answering ({exc})")


def _length(data: bytes, head: int) -> int:
    """Return the declared length of the body; the servers measured here send no chunks."""
    at = data.find(b"content-length: ", 0, head)
    if at < 0:
        lowered = data[:head].lower()
        if b"transfer-encoding:" in lowered:
            raise LoadFailed("the server answers in chunks, which this client does not read")
        at = lowered.find(b"content-length: ")
        if at < 0:
            return 0
    stop = data.find(b"\r", at)
    return int(data[at + 16 : stop])


def _summary(
    latencies: list[float],
    statuses: dict[bytes, int],
    seconds: float,
    taken: int,
    bodies: list[bytes] | None,
) -> Result:
    if not latencies:
        raise LoadFailed(f"nothing was answered within {seconds:.1f} s")
    ordered = sorted(latencies)
    return Result(
        requests=len(ordered),
        seconds=seconds,
        rps=len(ordered) / seconds,
        p50_ms=ordered[len(ordered) // 2] * 1000,
        p99_ms=ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)] * 1000,
        statuses={int(status): count for status, count in statuses.items()},
        taken=taken,
        bodies=bodies or [],
    )
