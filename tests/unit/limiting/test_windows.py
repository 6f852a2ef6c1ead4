from __future__ import annotations

import math

import pytest

from loopwright.core.events import RateMoved, Reported, Ticked
from loopwright.core.feedback import Note, Rating, Target
from loopwright.core.limit import Limit
from loopwright.limiting.controller import begin
from loopwright.limiting.ratings import Rating as Voice
from loopwright.limiting.windows import (
    MOST_WAITING,
    Course,
    control_of,
    plain,
    rating_of,
    settings_of,
)

LIMIT = Limit(id="chat", tenant_id="t", prior=100, least=10, most=200, burst=10)


def reported(rating: Rating, **note: object) -> Reported:
    members = {"occurred_at_ms": 1, "person": "ada", "labels": {"feature_id": "chat"}} | note
    return Reported("e", 1, "t", Target(), rating, Note(**members))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("rating", "value"),
    [
        (Rating(4, "stars", 1.0, 5.0), 4.0),
        (Rating(1, "thumbs"), 5.0),
        (Rating(0, "thumbs"), 1.0),
        (Rating(50, "numeric", 0.0, 100.0), 3.0),
    ],
    ids=["stars", "up", "down", "numeric"],
)
def test_ratings_of_every_scale_are_read_as_one_to_five(rating: Rating, value: float) -> None:
    assert rating_of(reported(rating)) == ("chat", Voice("ada", value))


def test_what_may_not_be_used_is_not_read() -> None:
    stars = Rating(4, "stars", 1.0, 5.0)
    assert rating_of(reported(stars, consent=("store",))) is None
    assert rating_of(reported(stars, quarantined="burst")) is None
    assert rating_of(Ticked(1)) is None


def test_a_voice_is_a_person_else_a_session_else_itself() -> None:
    stars = Rating(4, "stars", 1.0, 5.0)
    session = rating_of(reported(stars, person=None, session_id="s"))
    alone = rating_of(reported(stars, person=None))
    assert session is not None
    assert alone is not None
    assert (session[1].who, alone[1].who) == ("s", "e")


def moved(course: Course, *, through: int) -> RateMoved:
    control = course.closed(through=through, ended_s=1000.0, utilisation=0.9, overloaded=1.0)
    return RateMoved("e", 1, "t", "chat", through, 0.9, 1.0, 0, control.rate, plain(control))


def test_a_window_sees_the_ratings_through_its_offset_and_leaves_the_others() -> None:
    course = Course(LIMIT, through=5)
    for offset in (3, 7, 9):
        course.hear(offset, "chat", Voice("ada", 1))
    assert [offset for offset, _ in course.waiting] == [7, 9]
    course.follow(moved(course, through=8))
    assert [offset for offset, _ in course.waiting] == [9]
    assert (course.control.version, course.control.rate) == (1, 85)


def test_a_window_that_is_known_changes_nothing() -> None:
    course = Course(LIMIT)
    fact = moved(course, through=8)
    course.follow(fact)
    course.hear(20, None, Voice("ada", 1))
    course.follow(fact)
    assert len(course.waiting) == 1


def test_a_flood_is_kept_within_bounds() -> None:
    course = Course(LIMIT)
    for offset in range(1, MOST_WAITING + 10):
        course.hear(offset, None, Voice("ada", 1))
    assert len(course.waiting) == MOST_WAITING


def test_a_change_keeps_the_rate_within_the_new_bounds() -> None:
    course = Course(LIMIT)
    course.follow(moved(course, through=1))
    course.change(Limit(id="chat", tenant_id="t", prior=50, least=10, most=60, burst=10))
    assert (course.control.rate, course.control.guard) == (60, 60)
    assert course.settings.most == 60


def test_a_state_survives_its_fact() -> None:
    course = Course(LIMIT)
    fact = moved(course, through=1)
    assert plain(control_of(fact)) == fact.control
    assert control_of(fact).rate == 85
    assert math.isinf(begin(settings_of(LIMIT)).ended_s)
