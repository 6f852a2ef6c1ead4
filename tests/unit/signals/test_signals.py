from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.signals.signals import (
    Act,
    Action,
    Definition,
    Folded,
    Open,
    Session,
    SignalValue,
    derive,
    fold,
    log_scaled,
)
from loopwright.texts.distance import MAX_UNITS, edit_distance, edits_to_accept, likeness

MINUTE = 60_000


def by_table(a: Sequence[str], b: Sequence[str]) -> int:
    """Wagner and Fischer's table, the definition itself."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, row[0] = row[0], i
        for j, y in enumerate(b, 1):
            above, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, above + (x != y))
    return row[-1]


@given(st.text(alphabet="abcé", max_size=70), st.text(alphabet="abcé", max_size=70))
def test_edit_distance_is_what_the_table_says(a: str, b: str):
    assert edit_distance(a, b) == by_table(a, b) / max(len(a), len(b), 1)


def test_edit_distance_of_long_texts_is_what_the_table_says():
    rng = random.Random(1)
    a = "".join(rng.choices("abcd ", k=700))
    b = "".join(c for c in a if rng.random() > 0.1) + "tail"
    assert edit_distance(a, b) == by_table(a, b) / len(a)


@given(st.lists(st.sampled_from(["a", "bc", "é"])), st.lists(st.sampled_from(["a", "bc", "é"])))
def test_edits_are_counted_by_words_as_the_table_says(a: list[str], b: list[str]):
    assert edits_to_accept([" ".join(a), " ".join(b)]) == by_table(a, b)


@pytest.mark.parametrize(
    ("before", "after", "share"),
    [
        ("", "", 0.0),
        ("same", "same", 0.0),
        ("", "new", 1.0),
        ("old", "", 1.0),
        ("kitten", "sitting", 3 / 7),
        ("a long text", "a long test", 1 / 11),
        ("abc", "xyz", 1.0),
    ],
)
def test_edit_distance_is_the_share_of_characters_changed(before: str, after: str, share: float):
    assert edit_distance(before, after) == pytest.approx(share)


@given(st.text(max_size=40), st.text(max_size=40))
def test_edit_distance_lies_between_0_and_1_and_is_symmetric(a: str, b: str):
    assert 0.0 <= edit_distance(a, b) <= 1.0
    assert edit_distance(a, b) == edit_distance(b, a)
    assert (edit_distance(a, b) == 0.0) == (a == b)


def test_a_small_change_in_a_large_text_is_compared_and_a_large_one_is_refused():
    text = "x" * 1_000_000
    assert edit_distance(text, text + "!") == pytest.approx(1e-6, rel=1e-3)
    with pytest.raises(Invalid, match=f"at most {MAX_UNITS:,} are compared"):
        edit_distance(text, "y" * 30_000)


def test_edits_to_accept_adds_up_the_words_changed_on_the_way():
    assert edits_to_accept(["keep this answer"]) == 0
    assert edits_to_accept(["keep this answer", "keep this answer"]) == 0
    assert edits_to_accept(["keep this answer", "keep that answer now"]) == 2
    there_and_back = ["keep this answer", "drop this answer", "keep this answer"]
    assert edits_to_accept(there_and_back) == 2
    with pytest.raises(Invalid, match="give at least the proposal"):
        edits_to_accept([])


def test_durations_are_log_scaled_between_0_and_1():
    values = [log_scaled(ms) for ms in (0, 1000, 10_000, 100_000, 300_000, 3_000_000)]
    assert values[0] == 0.0
    assert values[-2:] == [1.0, 1.0]
    assert values == sorted(values)
    assert values[1] - values[0] > values[3] - values[2] - 0.3
    with pytest.raises(Invalid, match="-5 ms lies before its beginning"):
        log_scaled(-5)


def test_queries_are_alike_by_the_words_they_share():
    assert likeness("reset my password", "Reset my password") == 1.0
    assert likeness("reset my password", "reset password") == pytest.approx(2 / 3)
    assert likeness("reset my password", "opening hours") == 0.0
    assert likeness("", "") == 1.0


def act(kind: Act, at_ms: int, decision: str = "d1", **fields: object) -> Action:
    return Action("s1", decision, kind, at_ms, **fields)  # type: ignore[arg-type]


def session(*actions: Action) -> Session:
    return Session("s1", tuple(actions))


def values(seen: Sequence[SignalValue]) -> dict[str, float]:
    return {signal.kind: signal.value for signal in seen}


def test_an_answer_that_is_copied_and_exported_counts_each_once_at_its_first_time():
    seen = derive(
        session(act("shown", 0), act("copy", 5), act("copy", 9), act("export", 12)), over=True
    )
    assert SignalValue("copy", 1.0, 5) in seen["d1"]
    assert SignalValue("export", 1.0, 12) in seen["d1"]
    assert "abandonment" not in values(seen["d1"])


def test_time_to_first_action_runs_from_shown_to_the_first_deliberate_act():
    seen = derive(session(act("shown", 1000), act("dwell", 3000), act("retry", 11_000)), over=False)
    assert SignalValue("first_action", log_scaled(10_000), 11_000) in seen["d1"]


def test_dwell_takes_the_longest_report():
    reports = [act("dwell", 10, duration_ms=1000), act("dwell", 20, duration_ms=40_000)]
    assert derive(session(*reports), over=False)["d1"] == (
        SignalValue("dwell", log_scaled(40_000), 20),
    )


@pytest.mark.parametrize(
    ("following", "after_ms", "kind"),
    [
        ("reset my password", 30_000, "retry"),
        ("Reset MY password", 30_000, "retry"),
        ("reset my old password", 30_000, "refinement"),
        ("opening hours", 30_000, "follow_up"),
        ("opening hours", 130_000, None),
        ("reset my password", 130_000, None),
    ],
)
def test_the_next_query_is_a_retry_a_refinement_or_a_follow_up(
    following: str, after_ms: int, kind: str | None
):
    first = act("query", 0, text="reset my password")
    second = act("query", after_ms, "d2", text=following)
    seen = values(derive(session(first, second), over=False)["d1"])
    assert list(seen) == ([kind] if kind else [])


def test_retries_by_button_and_by_query_are_counted_together():
    seen = derive(
        session(
            act("query", 0, text="hello"),
            act("retry", 10),
            act("retry", 20),
            act("query", 30, "d2", text="hello"),
        ),
        over=False,
    )
    assert seen["d1"] == (SignalValue("retry", 3.0, 30),)


def test_an_edit_counts_from_the_first_text_and_to_accept_only_when_it_was_accepted():
    edits = [act("edit", 5, text="one two", after="one three"), act("edit", 9, after="one four")]
    open_ended = values(derive(session(*edits), over=True)["d1"])
    assert open_ended == {"edit_distance": edit_distance("one two", "one four")}
    accepted = values(derive(session(*edits, act("accept", 12)), over=True)["d1"])
    assert accepted["edits_to_accept"] == 2.0


def test_abandoned_is_what_was_shown_and_never_used_once_the_session_is_over():
    shown = session(act("shown", 0), act("dwell", 5, duration_ms=5))
    assert "abandonment" not in values(derive(shown, over=False)["d1"])
    assert SignalValue("abandonment", 1.0, 5) in derive(shown, over=True)["d1"]
    left = session(act("shown", 0), act("leave", 9))
    assert SignalValue("abandonment", 1.0, 9) in derive(left, over=False)["d1"]


@pytest.mark.parametrize(
    "use", ["copy", "accept", "export", "dashboard", "retry", "escalate", "edit"]
)
def test_what_was_used_is_not_abandoned(use: Act):
    seen = derive(session(act("shown", 0), act(use, 5, text="a", after="b")), over=True)
    assert "abandonment" not in values(seen["d1"])


def test_what_was_asked_on_is_not_abandoned_even_much_later():
    asked_on = session(act("query", 0, text="a"), act("query", 10 * MINUTE, "d2", text="b"))
    seen = derive(asked_on, over=True)
    assert values(seen["d1"]) == {}
    assert values(seen["d2"]) == {"abandonment": 1.0}


def test_escalation_and_dashboard_are_signals_of_their_own():
    seen = values(derive(session(act("escalate", 1), act("dashboard", 2)), over=True)["d1"])
    assert seen == {"escalate": 1.0, "dashboard": 1.0}


def test_a_definition_that_contradicts_itself_is_refused():
    with pytest.raises(ValueError, match="0 < alike <= same <= 1"):
        Definition(alike=0.9, same=0.5)


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
