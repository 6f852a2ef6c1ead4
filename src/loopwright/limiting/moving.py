"""The background work of limits: it reads ratings and changes from the log, ends windows, and takes their rates over.

A window ends by a `RateMoved` fact, and counts once that fact is read. So the log alone says where a rate stands: a kill
between the two is no window lost and none made twice.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from loopwright.core.events import Changed, Fact, RateMoved
from loopwright.core.limit import Limit
from loopwright.core.ports import Database
from loopwright.eventlog import Consumers, Reader

from . import store
from .controller import rate_at
from .standing import Key, Standing, Traffic
from .windows import Course, plain, rating_of

CONSUMER: Final = "limits"
SUBJECT: Final = "limit/"
"""How the subject of a fact begins that tells of a limit."""
KEEP_S: Final = 10.0
"""How often the place in the log is kept while no rate moves."""
TURN_S: Final = 0.1
"""Longest wait for new facts before the windows are looked at."""
_CHUNK: Final = 5000

Append = Callable[[Sequence[Fact], Sequence[bytes]], int]
"""Stores facts under keys, and returns an offset that is not below theirs."""


class Mover:
    """Moves the rates of `standing` by what the log says. One thread runs it; a change of a limit reads along."""

    def __init__(
        self,
        standing: Standing,
        *,
        states: Database,
        consumers: Consumers,
        reader: Reader,
        append: Append,
        new_id: Callable[[], str],
        now_ms: Callable[[], int],
    ) -> None:
        self._standing = standing
        self._states = states
        self._consumers = consumers
        self._reader = reader
        self._append = append
        self._new_id = new_id
        self._now_ms = now_ms
        # Reading advances one position: of two threads that read at once, one would skip what the other has.
        self._reading = threading.RLock()
        self.position: int = consumers.register(CONSUMER) or self._begun()
        self._kept, self._kept_s = self.position, standing.now_s()
        self._began_s: dict[Key, float] = {}
        self.last_rating_ms = 0
        self.latencies_s: list[float] = []
        """Seconds from the arrival of each rating to its reading; the metrics read and empty it."""

    def turn(self) -> None:
        """Wait a moment for new facts, and do what there is to do: the background work of one thread."""
        self._reader.wait(self.position, TURN_S)
        self.run()

    def run(self) -> None:
        """Read what the log has, end the windows whose time has come, and take their rates over."""
        with self._reading:
            self.read()
            courses = self._standing.courses
            facts = [fact for key in list(courses) if (fact := self._ended(key)) is not None]
            if facts:
                self._append(facts, [f"rate:{fact.event_id}".encode() for fact in facts])
                self.read()
            # A controller that has seen nothing for a while may be wrong: the prior is served again.
            for course in list(courses.values()):
                self._standing.publish(course)
            if self.position != self._kept and self._standing.now_s() - self._kept_s >= KEEP_S:
                self._keep(set())

    def skip(self) -> None:
        """Pass over everything in the log, as there is no limit that could hear it."""
        with self._reading:
            self.position = self._reader.head()

    def read(self) -> None:
        """Take over everything in the log that was not read yet."""
        moved: set[Key] = set()
        with self._reading:
            # In chunks: the first reading after a long stop must not hold the whole log in memory.
            while found := self._reader.facts(self.position, limit=_CHUNK):
                now_ms = self._now_ms()
                for offset, fact in found:
                    if type(fact) is RateMoved:
                        self._followed(offset, fact, moved)
                    elif type(fact) is Changed:
                        if fact.subject.startswith(SUBJECT):
                            self._changed(offset, fact)
                    elif (rated := rating_of(fact)) is not None:
                        self.last_rating_ms = max(self.last_rating_ms, fact.at_ms)
                        self.latencies_s.append(max(now_ms - fact.at_ms, 0) / 1000)
                        for (tenant, _), course in list(self._standing.courses.items()):
                            if tenant == fact.tenant_id:
                                course.hear(offset, *rated)
                self.position = found[-1][0]
            if moved:
                self._keep(moved)

    def _followed(self, offset: int, fact: RateMoved, moved: set[Key]) -> None:
        key = (fact.tenant_id, fact.limit_id)
        course = self._standing.courses.get(key)
        # An older one may be of a limit of that id that was deleted.
        if course is not None and offset > course.through:
            course.follow(fact)
            moved.add(key)

    def _changed(self, offset: int, fact: Changed) -> None:
        """Act on a fact that tells of a limit that was set or deleted."""
        key = (fact.tenant_id, fact.subject.removeprefix(SUBJECT))
        course = self._standing.courses.get(key)
        if course is not None and offset <= course.through:
            return
        if fact.action == "delete":
            self._standing.drop(key)
            with self._states.transaction() as session:
                store.forget_state(session, key)
            return
        limit = msgspec.convert(fact.detail["limit"], Limit)
        if course is None:
            self._standing.take(Course(limit, through=offset))
        else:
            course.change(limit)
            self._standing.publish(course)

    def _keep(self, moved: set[Key]) -> None:
        """Keep the states that moved, and how far nothing is needed again: ratings that wait are read once more."""
        courses = self._standing.courses
        for course in list(courses.values()):
            # What waits for nothing needs nothing before this place again.
            if not course.waiting:
                course.through = max(course.through, self.position)
        here = [(key, courses[key]) for key in moved if key in courses]
        needed = min([self.position, *(course.through for course in list(courses.values()))])
        with self._states.transaction() as session:
            for key, course in here:
                store.keep_state(session, key, course.through, course.control)
            self._consumers.advance(session, CONSUMER, needed)
        self._kept, self._kept_s = self.position, self._standing.now_s()
        for _, course in here:
            self._standing.publish(course)

    def _ended(self, key: Key) -> RateMoved | None:
        """Return the window of a limit that has ended, if its time has come and something happened in it."""
        course, traffic = self._standing.courses[key], self._standing.traffic[key]
        now_s = self._standing.now_s()
        began_s = self._began_s.setdefault(key, now_s)
        # A clock that went back is believed: waiting for the old time would end no window until then.
        if now_s < began_s:
            began_s = self._began_s[key] = now_s
        if now_s - began_s < course.limit.window_s:
            return None
        self._began_s[key], self._standing.traffic[key] = now_s, Traffic()
        if not traffic.happened and not course.waiting:
            return None
        rate = rate_at(course.settings, course.control, began_s)
        # Above 1 where a burst was spent, or several keys have a bucket each.
        utilisation = min(traffic.spent / (rate * (now_s - began_s)), 10.0)
        overloaded = traffic.overloaded / traffic.reports if traffic.reports else None
        control = course.closed(
            through=self.position, ended_s=now_s, utilisation=utilisation, overloaded=overloaded
        )
        # The controller ignores a window that ends before the last one, after a clock was set back.
        if control is course.control:
            return None
        return RateMoved(
            self._new_id(),
            self._now_ms(),
            *key,
            through=self.position,
            utilisation=utilisation,
            overloaded=overloaded,
            ratings=len(course.waiting),
            rate=control.rate,
            control=plain(control),
        )

    def _begun(self) -> int:
        """Return where the first start begins: no limit was there to hear the ratings before it."""
        head = self._reader.head()
        with self._states.transaction() as session:
            self._consumers.advance(session, CONSUMER, head)
        return head
