"""One call to the server as a conversation, without doing any IO.

`converse` yields the next step (send this, wait so long) and receives its outcome; the blocking and the
asynchronous client only carry its steps out. So deadlines, retries and fallbacks exist once.
"""

from __future__ import annotations

import email.utils
import logging
import random
import threading
import time
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, Literal, TypeVar

import msgspec

from loopwright.core.clock import Clock, SystemClock
from loopwright.core.errors import LoopError
from loopwright.core.ids import Ids

from .answers import DEFAULT_ARM_ID, Arm, Selection
from .breaker import Breaker
from .errors import ApiError, Unreachable, read_problem

T = TypeVar("T")
log = logging.getLogger("loopwright.client")

FailureKind = Literal["unsent", "lost", "late"]

ONCE: Final[frozenset[FailureKind | int]] = frozenset({"unsent"})
"""Repeat only what cannot have reached the server."""
HARMLESS: Final[frozenset[FailureKind | int]] = frozenset({"unsent", "lost"})
"""Repeat also when the connection broke: doing it twice changes nothing that counts."""
IDEMPOTENT: Final[frozenset[FailureKind | int]] = frozenset(
    {"unsent", "lost", "late", 429, 502, 503, 504}
)
"""Repeat after anything that may pass: the ids inside make the second the same as the first."""

# Not 429 and not 500: those are answers, which a default arm would hide.
UNAVAILABLE: Final = frozenset({502, 503, 504})
FIRST_PAUSE_S: Final = 0.05
LONGEST_PAUSE_S: Final = 2.0
SHORTEST_TIMEOUT_S: Final = 0.001

_ARM_MEMBERS: Final = frozenset({"id", "payload", "metadata"})


@dataclass(frozen=True, kw_only=True)
class Call(Generic[T]):
    """A request, how to read its answer, when to repeat it, and the fallback when there is none."""

    method: str
    path: str
    read: Callable[[bytes], T]
    body: bytes | None = None
    retry_on: frozenset[FailureKind | int] = ONCE
    fallback: Callable[[str], T | None] | None = None
    then: Callable[[T], Call[T] | None] | None = None
    """The call that completes this one, if one is needed."""
    instead: Callable[[LoopError], Call[T] | None] | None = None
    """The call that answers when the server refuses this one with such an error."""


@dataclass(frozen=True)
class Done(Generic[T]):
    """A call that needs no server."""

    value: T


@dataclass(frozen=True)
class Send:
    """Do this: send the request and wait at most so long."""

    method: str
    path: str
    body: bytes | None
    timeout_s: float


@dataclass(frozen=True)
class Wait:
    """Do this: wait."""

    seconds: float


@dataclass(frozen=True)
class Reply:
    """The server answered. Header names are in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class Failure:
    """The server did not answer: the request never left, the connection broke, or time ran out."""

    kind: FailureKind
    reason: str
    hung: bool = False
    """Whether time ran out, at whatever step."""

    @property
    def is_timeout(self) -> bool:
        """Whether the caller waited until its time ran out."""
        return self.hung or self.kind == "late"


@dataclass(kw_only=True)
class Terms:
    """State that all calls of one client share: patience, ids, local default arms, and counters."""

    base_url: str
    timeout_s: float = 5.0
    retries: int = 3
    default_arms: Mapping[str, object] = field(default_factory=dict)
    clock: Clock = field(default_factory=SystemClock)
    monotonic: Callable[[], float] = time.monotonic
    # The operating system's randomness, because a forked worker must not repeat its parent's ids.
    rng: random.Random = field(default_factory=random.SystemRandom)

    def __post_init__(self) -> None:
        self.new_id = Ids(self.clock, self.rng)
        self.breaker = Breaker(self.monotonic)
        # Only of experiments with a default arm, so its size is bounded by the configuration and their arms.
        self._served: dict[str, dict[str, Arm]] = {}
        self.fallbacks = 0
        self.skipped = 0
        self._is_out = False
        self._lock = threading.Lock()

    def default_arm(self, experiment_id: str) -> Arm | None:
        """Return the local default arm of an experiment, if one was configured.

        Text is the id of the arm: its payload is the one that the server last sent with it, else the text itself.
        """
        if experiment_id not in self.default_arms:
            return None
        default = self.default_arms[experiment_id]
        served = self._served.get(experiment_id, {})
        if isinstance(default, Arm):
            return default
        if isinstance(default, str):
            return served.get(default) or Arm(default, default)
        if isinstance(default, Mapping) and "id" in default and default.keys() <= _ARM_MEMBERS:
            return msgspec.convert(dict(default), Arm)
        same = (arm for arm in served.values() if arm.payload == default)
        return next(same, Arm(DEFAULT_ARM_ID, default))

    def remembered(self, selection: Selection) -> Selection:
        """Remember the arm of `selection` as the server knows it, for when the server is away; return `selection`."""
        if selection.experiment_id in self.default_arms:
            self._served.setdefault(selection.experiment_id, {})[selection.arm.id] = selection.arm
        return selection

    def after_fork(self) -> None:
        """Replace the locks: a thread that the child does not have may hold them."""
        self._lock = threading.Lock()
        self.breaker = Breaker(self.monotonic)
        self.new_id = Ids(self.clock, self.rng)

    def fell_back(self, experiment_id: str, reason: str) -> None:
        """Count a fallback; warn at the first of an outage."""
        with self._lock:
            self.fallbacks += 1
            # Read and set under the lock, or several threads would warn of the same outage.
            first, self._is_out = not self._is_out, True
        if first:
            log.warning(
                "serving the local default arm of %s: %s",
                experiment_id,
                reason,
                extra={"experiment_id": experiment_id, "base_url": self.base_url},
            )

    def answered(self) -> None:
        """Note that the server answers again."""
        if self._is_out:
            with self._lock:
                self._is_out = False
            log.info("the server answers again; %d fallbacks so far", self.fallbacks)

    def skip(self, count: int = 1) -> None:
        """Count feedback that was not sent because its selection was a fallback."""
        with self._lock:
            self.skipped += count


def converse(terms: Terms, call: Call[T]) -> Generator[Send | Wait, Reply | Failure | None, T]:
    """Yield the steps of `call`; return its result.

    Raises the error the server named, `Unreachable` when it gave no answer, or `ApiError` when the answer
    cannot be read.
    """
    if wait_s := terms.breaker.wait_s(terms.timeout_s):
        reason = f"the latest calls got no answer in time; it is asked again in {wait_s:.1f} s"
        return _give_up(terms, call, Failure("late", reason), 0)
    # One deadline for all attempts: `timeout_s` is the patience of the caller, not of one attempt.
    deadline = terms.monotonic() + terms.timeout_s
    attempt = 0
    while True:
        left = max(deadline - terms.monotonic(), SHORTEST_TIMEOUT_S)
        outcome = yield Send(call.method, call.path, call.body, left)
        assert outcome is not None
        # Any answer, and a refused connection too, shows that the server does not make calls wait.
        if isinstance(outcome, Failure) and outcome.is_timeout:
            terms.breaker.timed_out()
        else:
            terms.breaker.answered()
        if isinstance(outcome, Reply) and outcome.status < 300:
            terms.answered()
            value = _read(call, outcome)
            following = None if call.then is None else call.then(value)
            return value if following is None else (yield from converse(terms, following))
        pause = _pause(terms, attempt, outcome)
        attempt += 1
        kind = outcome.kind if isinstance(outcome, Failure) else outcome.status
        if (
            kind not in call.retry_on
            or attempt > terms.retries
            # No pause that ends past the deadline: it could only delay the same error.
            or terms.monotonic() + pause >= deadline
        ):
            try:
                return _give_up(terms, call, outcome, attempt)
            except LoopError as error:
                other = None if call.instead is None else call.instead(error)
                if other is None:
                    raise
            return (yield from converse(terms, other))
        yield Wait(pause)


def _read(call: Call[T], reply: Reply) -> T:
    try:
        return call.read(reply.body)
    except msgspec.DecodeError as error:
        raise ApiError(
            f"{call.method} {call.path} answered {reply.status} with something this client cannot "
            f"read: {error}; do server and client have the same version?",
            status=reply.status,
        ) from error


def _give_up(terms: Terms, call: Call[T], outcome: Reply | Failure, attempts: int) -> T:
    if isinstance(outcome, Failure):
        reason = f"{terms.base_url} gave no answer ({outcome.reason}; attempts: {attempts})"
        error: Exception = Unreachable(
            f"{reason}; is the server running and the address right?", attempts=attempts
        )
    else:
        problem = read_problem(outcome.status, outcome.body)
        reason = f"{terms.base_url} answered {outcome.status}: {problem.message}"
        error = problem
    if call.fallback and (isinstance(outcome, Failure) or outcome.status in UNAVAILABLE):
        value = call.fallback(reason)
        if value is not None:
            return value
    raise error


def _pause(terms: Terms, attempt: int, outcome: Reply | Failure) -> float:
    """Exponential backoff with jitter, never less than what the server asked for."""
    # Half of the pause is random (“equal jitter”, Brooker 2015), so that clients that failed together do not
    # come back together.
    backoff = min(FIRST_PAUSE_S * 2.0**attempt, LONGEST_PAUSE_S) * terms.rng.uniform(0.5, 1.0)
    asked = _retry_after_s(outcome, terms.clock) if isinstance(outcome, Reply) else 0.0
    # Spread over a quarter more, so that those who were sent away together do not return together.
    return max(backoff, asked * terms.rng.uniform(1.0, 1.25))


def _retry_after_s(reply: Reply, clock: Clock) -> float:
    """Return the Retry-After of `reply` in seconds: the header has a number or a date (RFC 9110)."""
    value = reply.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return 0.0
    seconds: float = at.timestamp() - clock.now_ms() / 1000
    return max(seconds, 0.0)
