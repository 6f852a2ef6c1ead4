from __future__ import annotations

from collections.abc import Sequence

import pytest

from loopwright.core.clock import MINUTE_MS as MINUTE
from loopwright.core.errors import Invalid
from loopwright.signals.fold import Act, Action, Session
from loopwright.signals.signals import Definition, SignalValue, derive, log_scaled
from loopwright.texts.distance import edit_distance


def test_durations_are_log_scaled_between_0_and_1():
    values = [log_scaled(ms) for ms in (0, 1000, 10_000, 100_000, 300_000, 3_000_000)]
    assert values[0] == 0.0
    assert values[-2:] == [1.0, 1.0]
    assert values == sorted(values)
    assert values[1] - values[0] > values[3] - values[2] - 0.3
    with pytest.raises(Invalid, match="-5 ms lies before its beginning"):
        log_scaled(-5)


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
