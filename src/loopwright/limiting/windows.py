"""The windows of a limit's controller, folded from the log: which ratings each saw, and where the rate stands.

Pure. The log is the truth: a window counts once its `RateMoved` fact is read, whoever wrote it, so that a restart and a
replay come to the same rates.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

from loopwright.core.events import Changed, Fact, RateMoved, Reported
from loopwright.core.feedback import Rating as RatingFact
from loopwright.core.limit import Limit

from .controller import Control, Settings, Window, advance, begin
from .ratings import Rating

MOST_WAITING: Final = 100_000
"""Ratings of one window that are kept; more than that is a flood, and moves nothing anyway."""


def settings_of(limit: Limit) -> Settings:
    """Return the controller's settings for a limit."""
    return Settings(
        prior=limit.prior,
        least=limit.least,
        most=limit.most,
        window_s=limit.window_s,
        rule=limit.rule,
        guarded=limit.guarded,
        probe=limit.probe,
        trim=limit.trim,
    )


def rating_of(fact: Fact) -> tuple[str | None, Rating] | None:
    """Return the feature and the rating of a fact on 1 to 5; None for a fact that is none, or may not be used."""
    if type(fact) is not Reported or type(fact.feedback) is not RatingFact:
        return None
    note, said = fact.note, fact.feedback
    if note.quarantined is not None or "analyze" not in note.consent:
        return None
    value = 1 + 4 * (said.value - said.low) / (said.high - said.low)
    # One voice per person; where nobody is named, per session, and else each for itself.
    who = note.person or note.session_id or fact.event_id
    return note.labels.get("feature_id"), Rating(who, value)


class Course:
    """One limit's controller, and the ratings that wait for its next window."""

    def __init__(self, limit: Limit, control: Control | None = None, *, through: int = 0) -> None:
        self.limit = limit
        self.settings = settings_of(limit)
        self.control = begin(self.settings) if control is None else control
        self.through = through
        """Offset through which ratings were read into windows."""
        self.waiting: list[tuple[int, Rating]] = []
        """Ratings that no window has seen, with their offsets."""

    def change(self, limit: Limit) -> None:
        """Follow a change of the limit: the rate stays, within the new bounds."""
        self.limit, self.settings = limit, settings_of(limit)
        low, high = limit.least, limit.most
        self.control = msgspec.structs.replace(
            self.control,
            guard=min(max(self.control.guard, low), high),
            rate=min(max(self.control.rate, low), high),
        )

    def hear(self, offset: int, feature: str | None, rating: Rating) -> None:
        """Keep a rating for the next window, if it is one of this limit's."""
        if self.limit.feature_id not in (None, feature) or offset <= self.through:
            return
        if len(self.waiting) < MOST_WAITING:
            self.waiting.append((offset, rating))

    def closed(
        self, *, through: int, ended_s: float, utilisation: float, overloaded: float | None
    ) -> Control:
        """Return the controller after a window that reads the ratings through an offset; nothing changes here."""
        seen = tuple(rating for offset, rating in self.waiting if offset <= through)
        window = Window(
            ended_s=ended_s, utilisation=utilisation, overloaded=overloaded, ratings=seen
        )
        return advance(self.settings, self.control, window)

    def follow(self, fact: RateMoved) -> None:
        """Take over a window that ended; one that is older than the state changes nothing."""
        control = control_of(fact)
        if control.version > self.control.version:
            self.control = control
            self.through = max(self.through, fact.through)
            self.waiting = [item for item in self.waiting if item[0] > self.through]


def control_of(fact: RateMoved) -> Control:
    """Return the controller's state that a fact holds."""
    return msgspec.convert(fact.control, Control, strict=False)


def plain(control: Control) -> dict[str, Any]:
    """Return a controller's state as a fact holds it."""
    found: dict[str, Any] = msgspec.to_builtins(control)
    return found


def replayed(
    tenant_id: str, limit_id: str, facts: Iterable[tuple[int, Fact]]
) -> list[tuple[int, Control]]:
    """Return the controller after each window of a limit, worked out anew from the log, with the windows' offsets.

    It must equal what the facts say: the same windows give the same bits.
    """
    course: Course | None = None
    found: list[tuple[int, Control]] = []
    for offset, fact in facts:
        if fact.tenant_id != tenant_id:
            continue
        if type(fact) is Changed and fact.subject == f"limit/{limit_id}":
            if fact.action == "delete":
                course = None
                continue
            limit = msgspec.convert(fact.detail["limit"], Limit)
            if course is None:
                course = Course(limit, through=offset)
            else:
                course.change(limit)
        elif course is None:
            continue
        elif type(fact) is RateMoved and fact.limit_id == limit_id:
            ended_s = float(fact.control["ended_s"])
            again = course.closed(
                through=fact.through,
                ended_s=ended_s,
                utilisation=fact.utilisation,
                overloaded=fact.overloaded,
            )
            found.append((offset, again))
            course.follow(fact)
        elif (rated := rating_of(fact)) is not None:
            course.hear(offset, *rated)
    return found
