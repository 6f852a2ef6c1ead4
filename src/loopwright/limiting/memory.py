"""Buckets in the memory of one process: lazy refill, no thread, and bounded memory."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from .bucket import SECOND_NS, Rate, fits, refilled

EXAMINED: Final = 2
"""Buckets that each new key looks at for expiry: more than one, so that the store shrinks faster than it grows."""


class Bucket(msgspec.Struct, gc=False):
    """What is kept per key. It knows no rate, so a new rate applies at once and loses nothing."""

    tokens: float
    at_ns: int
    full_at_ns: int


class Take(msgspec.Struct, frozen=True):
    """A wish for `cost` tokens of one bucket; `binds` is false where a refusal must not refuse the others."""

    key: str
    rate: Rate
    cost: float
    binds: bool = True


class MemoryBuckets:
    """Token buckets by key, safe between threads.

    A bucket that is full again equals one that was never used, so it is dropped. Above `most_keys` the bucket nearest
    to full among a few is dropped early and counted in `evicted`: that key gains what it lacked, at most one burst.
    """

    def __init__(
        self, now_ns: Callable[[], int] = time.monotonic_ns, *, most_keys: int = 1_000_000
    ) -> None:
        self._now_ns = now_ns
        self._most_keys = most_keys
        self._lock = threading.Lock()
        # Not a plain dict: finding its first key scans past all that were deleted, which grows with the square.
        self._buckets: OrderedDict[str, Bucket] = OrderedDict()
        self.evicted = 0

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, key: str, rate: Rate, cost: float) -> tuple[bool, float]:
        """Take `cost` tokens if they are there. Return whether they were, and what is left; a denial takes nothing."""
        with self._lock:
            bucket = self._refill(key, rate, self._now_ns())
            # `fits` and `_charge` spelt out: this is the path of every limited request.
            if bucket.tokens >= cost - 1e-9 * cost:
                bucket.tokens -= cost
                bucket.full_at_ns = bucket.at_ns + int(
                    (rate.burst - bucket.tokens) / rate.per_s * SECOND_NS
                )
                return True, bucket.tokens
            return False, bucket.tokens

    def take_all(self, takes: Sequence[Take]) -> tuple[bool, list[tuple[bool, float]]]:
        """Take from all buckets or from none; each with whether it fits, and what is left.

        Takes that do not bind refuse nobody: they are taken where they fit, when the others all fit. Several takes of one
        key are judged one after the other, as if each were taken.
        """
        with self._lock:
            now = self._now_ns()
            left: dict[str, float] = {}
            judged: list[bool] = []
            for take in takes:
                if take.key not in left:
                    left[take.key] = self._refill(take.key, take.rate, now).tokens
                fitted = fits(left[take.key], take.cost)
                if fitted:
                    left[take.key] -= take.cost
                judged.append(fitted)
            every = all(fitted for take, fitted in zip(takes, judged, strict=True) if take.binds)
            if every:
                for take, fitted in zip(takes, judged, strict=True):
                    if fitted:
                        self._charge(self._refill(take.key, take.rate, now), take.rate, take.cost)
            levels = [self._refill(take.key, take.rate, now).tokens for take in takes]
            return every, list(zip(judged, levels, strict=True))

    def charge(self, key: str, rate: Rate, tokens: float) -> float:
        """Take `tokens` without asking, or give back when negative. Return what is left, below 0 when in debt."""
        with self._lock:
            bucket = self._refill(key, rate, self._now_ns())
            self._charge(bucket, rate, tokens)
            return bucket.tokens

    def level(self, key: str, rate: Rate) -> float:
        """Return the tokens in a bucket and change nothing."""
        with self._lock:
            bucket = self._buckets.get(key)
            if bucket is None:
                return rate.burst
            return refilled(bucket.tokens, self._now_ns() - bucket.at_ns, rate)

    def _charge(self, bucket: Bucket, rate: Rate, tokens: float) -> None:
        bucket.tokens = min(bucket.tokens - tokens, rate.burst)
        missing = rate.burst - bucket.tokens
        bucket.full_at_ns = bucket.at_ns + int(missing / rate.per_s * SECOND_NS)

    def _refill(self, key: str, rate: Rate, now: int) -> Bucket:
        bucket = self._buckets.get(key)
        if bucket is None:
            self._make_room(now)
            bucket = self._buckets[key] = Bucket(rate.burst, now, now)
            return bucket
        tokens = bucket.tokens
        # A clock that went back is believed from here on: waiting for the old time would stop the refill.
        if now > bucket.at_ns:
            tokens += (now - bucket.at_ns) * rate.per_s / SECOND_NS
        if tokens > rate.burst:
            tokens = rate.burst
        bucket.tokens = tokens
        bucket.at_ns = now
        return bucket

    def _make_room(self, now: int) -> None:
        """Examine the buckets longest unexamined; those that stay go to the end of the queue."""
        nearest: tuple[int, str] | None = None
        for _ in range(min(EXAMINED, len(self._buckets))):
            key = next(iter(self._buckets))
            bucket = self._buckets[key]
            if bucket.full_at_ns <= now:
                del self._buckets[key]
            else:
                self._buckets.move_to_end(key)
                if nearest is None or bucket.full_at_ns < nearest[0]:
                    nearest = (bucket.full_at_ns, key)
        if nearest is not None and len(self._buckets) >= self._most_keys:
            del self._buckets[nearest[1]]
            self.evicted += 1
