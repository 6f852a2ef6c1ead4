"""Limits as they stand in memory: requests are answered from here, and never wait for a disk."""

from __future__ import annotations

import math
from collections.abc import Callable

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.limit import Admission, Limit, LimitPage, LimitStatus

from .bucket import Rate
from .controller import rate_at
from .limiter import Limiter
from .windows import Course

Key = tuple[str, str]
"""Tenant id and limit id."""


class Traffic:
    """What one limit saw since its latest window ended; every request adds to it."""

    __slots__ = ("admitted", "denied", "overloaded", "reports", "shadowed", "spent")

    def __init__(self) -> None:
        self.admitted = self.denied = self.shadowed = self.reports = 0
        self.spent = self.overloaded = 0.0

    @property
    def happened(self) -> bool:
        """Whether there was any request or report."""
        return bool(self.admitted or self.denied or self.shadowed or self.reports)


class Standing:
    """The limits of every tenant with their controllers and buckets. Any thread may ask."""

    def __init__(self, now_ms: Callable[[], int], limiter: Limiter) -> None:
        self._now_ms = now_ms
        self._limiter = limiter
        self.courses: dict[Key, Course] = {}
        self.traffic: dict[Key, Traffic] = {}
        self._names: dict[Key, str] = {}
        self._numbered = 0
        self.decided: dict[tuple[str, str, str], int] = {}
        """Requests by tenant, limit id and answer: admitted, denied, shadowed."""

    def status(self, tenant_id: str, id: str) -> LimitStatus:
        """Return a limit and where its rate stands; raises `NotFound`."""
        course = self.course(tenant_id, id)
        control = course.control
        ended = control.ended_s
        return LimitStatus(
            limit=course.limit,
            rate=rate_at(course.settings, control, self.now_s()),
            version=control.version,
            guard=control.guard,
            trim=math.exp(control.trim),
            why=control.why,
            window_ended_ms=round(ended * 1000) if math.isfinite(ended) else None,
            waiting=len(course.waiting),
            is_suspicious=control.suspicious,
        )

    def list(self, tenant_id: str) -> LimitPage:
        """Return a tenant's limits, by id."""
        ids = sorted(id for tenant, id in list(self.courses) if tenant == tenant_id)
        return LimitPage(items=tuple(self.status(tenant_id, id) for id in ids))

    def acquire(self, tenant_id: str, id: str, *, key: str = "", cost: float = 1.0) -> Admission:
        """Take `cost` tokens of `key`'s bucket if they are there; a denial takes nothing. Raises `NotFound`, `Invalid`."""
        course = self.course(tenant_id, id)
        limit = course.limit
        if limit.mode == "off":
            return Admission(True, limit.burst, 0.0, 0.0, limit.prior, 0, True, "off")
        told = self._limiter.acquire(self._names[tenant_id, id], key, cost)
        # Without a lock: two threads may now and then count one request less, and a window is a mean.
        traffic = self.traffic[tenant_id, id]
        if told.fits:
            traffic.admitted += 1
            traffic.spent += cost
        elif told.allowed:
            traffic.shadowed += 1
        else:
            traffic.denied += 1
        answer = "admitted" if told.fits else "shadowed" if told.allowed else "denied"
        counted = (tenant_id, id, answer)
        self.decided[counted] = self.decided.get(counted, 0) + 1
        return told

    def report(self, tenant_id: str, id: str, *, overloaded: float) -> None:
        """Note how overloaded the service is, by a signal of the caller's choice: 0 is not at all, 1 is wholly."""
        if not 0 <= overloaded <= 1:
            raise Invalid(f"overloaded is {overloaded}; give a share from 0 to 1")
        self.course(tenant_id, id)
        traffic = self.traffic[tenant_id, id]
        traffic.reports += 1
        traffic.overloaded += overloaded

    def rates(self) -> dict[Key, tuple[Limit, float, float]]:
        """Return each limit with its rate and the ratings' factor, for metrics."""
        now_s = self.now_s()
        return {
            key: (
                course.limit,
                rate_at(course.settings, course.control, now_s),
                math.exp(course.control.trim),
            )
            for key, course in list(self.courses.items())
        }

    def take(self, course: Course) -> None:
        """Begin to serve a limit."""
        key = (course.limit.tenant_id, course.limit.id)
        self.traffic[key] = Traffic()
        # Numbered, so that a limit that was deleted and set again finds none of its old buckets.
        self._numbered += 1
        self._names[key] = f"{key[0]}/{key[1]}/{self._numbered}"
        self.courses[key] = course
        self.publish(course)

    def drop(self, key: Key) -> None:
        """Forget a limit, if it is there."""
        if self.courses.pop(key, None) is not None:
            del self.traffic[key]
            self._limiter.drop(self._names.pop(key))

    def publish(self, course: Course) -> None:
        """Serve with the rate that a controller has now."""
        limit, control = course.limit, course.control
        rate = rate_at(course.settings, control, self.now_s())
        self._limiter.put(
            self._names[limit.tenant_id, limit.id],
            Rate(rate, limit.burst, control.version),
            limit.mode,
        )

    def course(self, tenant_id: str, id: str) -> Course:
        """Return the controller of a limit; raises `NotFound`."""
        try:
            return self.courses[tenant_id, id]
        except KeyError:
            raise NotFound(f"there is no limit {id!r}; set it first") from None

    def count(self, tenant_id: str) -> int:
        """Return how many limits a tenant has."""
        return sum(tenant == tenant_id for tenant, _ in self.courses)

    def now_s(self) -> float:
        """Return the time in seconds since the epoch."""
        return self._now_ms() / 1000
