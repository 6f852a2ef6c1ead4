from __future__ import annotations

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.clock import MINUTE_MS as MINUTE
from loopwright.core.errors import Invalid
from loopwright.signals.fold import Act, Action, Folded, Open, Session, fold


def act(kind: Act, at_ms: int) -> Action:
    return Action("s1", "d1", kind, at_ms)


def run(
    actions: Sequence[Action], splits: Sequence[int] = (), *, lateness_ms: int = 0
) -> tuple[list[Session], list[Action]]:
    """Fold the actions in steps, then let time run out."""
    state, closed, late = Open(), list[Session](), list[Action]()
    edges = [0, *sorted(splits), len(actions)]
    for start, end in itertools.pairwise(edges):
        step = fold(state, actions[start:end], timeout_ms=30 * MINUTE, lateness_ms=lateness_ms)
        state, closed, late = step.open, closed + list(step.closed), late + list(step.late)
    step = fold(state, [], timeout_ms=30 * MINUTE, lateness_ms=lateness_ms, now_ms=10**12)
    assert step.open.sessions == {}
    return sorted([*closed, *step.closed], key=lambda s: (s.started_ms, s.session_id)), late


def test_a_gap_longer_than_the_timeout_ends_a_session():
    at = [0, 10 * MINUTE, 40 * MINUTE, 71 * MINUTE]
    closed, late = run([act("shown", ms) for ms in at])
    assert [[a.at_ms for a in s.actions] for s in closed] == [at[:3], at[3:]]
    assert late == []


def test_a_session_stays_open_until_time_has_passed_it():
    first = fold(Open(), [act("shown", 0)], timeout_ms=1000)
    assert first.closed == ()
    assert fold(first.open, [], timeout_ms=1000, now_ms=1000).closed == ()
    ended = fold(first.open, [], timeout_ms=1000, now_ms=1001)
    assert [s.actions for s in ended.closed] == [(act("shown", 0),)]
    assert ended.open.sessions == {}


def test_a_late_action_joins_two_sessions_into_one():
    step = fold(
        Open(),
        [act("shown", 0), act("shown", 50 * MINUTE), act("copy", 25 * MINUTE)],
        timeout_ms=30 * MINUTE,
        lateness_ms=60 * MINUTE,
    )
    (held,) = step.open.sessions["s1"]
    assert [a.at_ms for a in held.actions] == [0, 25 * MINUTE, 50 * MINUTE]


def test_an_action_that_came_too_late_is_handed_back():
    stale = Action("s2", "d9", "copy", 5)
    step = fold(Open(), [act("shown", 100 * MINUTE), stale], timeout_ms=30 * MINUTE)
    assert step.late == (stale,)
    assert "s2" not in step.open.sessions


def test_the_old_state_is_left_alone():
    before = fold(Open(), [act("shown", 0)], timeout_ms=1000).open
    copied = Open(dict(before.sessions), before.latest_ms)
    after: Folded = fold(before, [act("copy", 10)], timeout_ms=1000)
    assert before == copied
    assert after.open != before


@given(st.data())
def test_any_order_within_the_lateness_and_any_split_give_the_same_sessions(data: st.DataObject):
    lateness = 20 * MINUTE
    acts = st.builds(
        Action,
        st.sampled_from(["s1", "s2"]),
        st.sampled_from(["d1", "d2"]),
        st.sampled_from(["shown", "copy", "dwell"]),
        st.integers(0, 300).map(lambda minutes: minutes * MINUTE),
    )
    actions = sorted(data.draw(st.lists(acts, max_size=25)), key=lambda a: a.at_ms)
    expected, late = run(actions)
    assert late == []
    delays = data.draw(
        st.lists(st.integers(0, lateness), min_size=len(actions), max_size=len(actions))
    )
    arrived = [
        a for _, a in sorted(zip(delays, actions, strict=True), key=lambda p: p[0] + p[1].at_ms)
    ]
    splits = data.draw(st.lists(st.integers(0, len(actions)), max_size=4))
    assert run(arrived, splits, lateness_ms=lateness) == (expected, [])


@pytest.mark.parametrize(("timeout_ms", "lateness_ms"), [(0, 0), (-1, 0), (1000, -1)])
def test_fold_refuses_a_timeout_that_is_none(timeout_ms: int, lateness_ms: int):
    with pytest.raises(Invalid, match="give more than 0 and at least 0"):
        fold(Open(), [], timeout_ms=timeout_ms, lateness_ms=lateness_ms)
