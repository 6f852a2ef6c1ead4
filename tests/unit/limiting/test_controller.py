from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.limiting.controller import (
    Control,
    Settings,
    Window,
    advance,
    begin,
    is_stale,
    rate_at,
)
from loopwright.limiting.ratings import Rating

SETTINGS = Settings(prior=80, least=10, most=200)
RATINGS = st.builds(
    Rating,
    who=st.sampled_from([f"u{number}" for number in range(40)]),
    value=st.one_of(st.integers(-3, 9), st.floats()),
    trust=st.floats(),
)
WINDOWS = st.lists(
    st.tuples(
        st.one_of(st.none(), st.floats()), st.floats(), st.lists(RATINGS, max_size=40).map(tuple)
    ),
    max_size=40,
)


def windows(seen: list[tuple[Any, Any, Any]]) -> list[Window]:
    return [
        Window(10.0 * (number + 1), utilisation, overloaded, ratings)
        for number, (overloaded, utilisation, ratings) in enumerate(seen)
    ]


def run(settings: Settings, seen: list[Window], control: Control | None = None) -> list[Control]:
    states = [control or begin(settings)]
    for window in seen:
        states.append(advance(settings, states[-1], window))
    return states[1:]


def rated(number: int, value: float, *, people: int = 30, overloaded: float = 0.0) -> Window:
    ratings = tuple(Rating(f"u{who}", value) for who in range(people))
    return Window(10.0 * number, 1.0, overloaded, ratings)


@given(seen=WINDOWS, trim=st.sampled_from([0.0, 0.1, 0.25]))
def test_whatever_the_ratings_the_rate_stays_near_the_guards(
    seen: list[tuple[Any, Any, Any]], trim: float
) -> None:
    settings = msgspec.structs.replace(SETTINGS, trim=trim)
    before = begin(settings)
    for control in run(settings, windows(seen)):
        assert settings.least <= control.rate <= settings.most
        assert (1 - trim) * (1 - 1e-9) <= control.rate / control.guard <= (1 + trim) * (1 + 1e-9)
        assert math.log(0.95) - 1e-9 <= control.trim - before.trim <= math.log(1.02) + 1e-9
        before = control


@given(seen=WINDOWS)
def test_the_literal_rule_stays_within_the_bounds_too(seen: list[tuple[Any, Any, Any]]) -> None:
    settings = msgspec.structs.replace(SETTINGS, rule="literal", alpha=1e6, guarded=False)
    before = settings.prior
    for control in run(settings, windows(seen)):
        assert settings.least <= control.rate <= settings.most
        assert 0.95 * before - 1e-9 <= control.rate <= 1.02 * before + 1e-9
        before = control.rate


@given(seen=WINDOWS, cut=st.integers(0, 40))
def test_a_replay_from_a_checkpoint_gives_the_same_bits(
    seen: list[tuple[Any, Any, Any]], cut: int
) -> None:
    whole = run(SETTINGS, windows(seen))
    if not whole:
        return
    first = run(SETTINGS, windows(seen)[:cut])
    stored = msgspec.msgpack.encode(first[-1] if first else begin(SETTINGS))
    restored = msgspec.msgpack.decode(stored, type=Control)
    rest = run(SETTINGS, windows(seen)[cut:], restored)
    assert ([*first, *rest])[-1] == whole[-1]


def test_overload_cuts_the_rate_at_once() -> None:
    control = advance(SETTINGS, begin(SETTINGS), Window(10, 1.0, 0.21))
    assert control.rate == pytest.approx(68)
    assert control.why == "overload"


def test_a_cut_starts_from_the_lower_of_guard_and_rate() -> None:
    trimmed = Control(guard=100, rate=90, trim=math.log(0.9), ended_s=0)
    assert advance(SETTINGS, trimmed, Window(10, 1.0, 1.0)).guard == pytest.approx(76.5)


@pytest.mark.parametrize(
    ("window", "settings"),
    [
        (Window(10, 1.0, None), SETTINGS),
        (Window(10, 1.0, math.nan), SETTINGS),
        (Window(10, 0.5, 0.0), SETTINGS),
        (Window(10, math.nan, 0.0), SETTINGS),
        (Window(10, 1.0, 0.0), msgspec.structs.replace(SETTINGS, probe=False)),
        (Window(10, 1.0, 0.0), msgspec.structs.replace(SETTINGS, guarded=False)),
        (Window(10, 1.0, 0.0), msgspec.structs.replace(SETTINGS, most=80)),
    ],
    ids=["no signal", "NaN", "not binding", "no use known", "no probe", "no guard", "at most"],
)
def test_nothing_probes_without_signal_need_leave_and_room(
    window: Window, settings: Settings
) -> None:
    assert advance(settings, begin(settings), window).rate == 80


def test_probing_ends_at_the_rate_that_the_operator_tested() -> None:
    states = run(SETTINGS, [Window(10.0 * n, 1.0, 0.0) for n in range(1, 200)])
    assert states[0].rate == pytest.approx(80.8)
    assert states[-1].rate == 200


def test_ratings_that_fall_trim_the_rate_after_two_windows_and_silence_lets_it_return() -> None:
    settings = msgspec.structs.replace(SETTINGS, probe=False)
    states = run(settings, [rated(n, 5) for n in range(1, 20)])
    assert states[-1].rate == 80
    low = run(settings, [rated(n, 1) for n in range(20, 26)], states[-1])
    assert low[0].rate == 80
    assert low[1].rate == pytest.approx(76)
    assert low[-1].rate == pytest.approx(72)
    silent = run(settings, [Window(10.0 * n, 1.0, 0.0) for n in range(26, 300)], low[-1])
    assert silent[-1].rate == pytest.approx(80, rel=0.002)


def test_the_baseline_stands_still_during_overload() -> None:
    calm = run(SETTINGS, [rated(n, 5) for n in range(1, 20)])[-1]
    overloaded = run(SETTINGS, [rated(n, 1, overloaded=1.0) for n in range(20, 120)], calm)[-1]
    assert overloaded.slow == calm.slow
    assert overloaded.fast is not None
    assert overloaded.fast < 0.3


def test_a_flood_of_ratings_moves_nothing_and_never_becomes_usual() -> None:
    calm = run(SETTINGS, [rated(n, 4) for n in range(1, 20)])[-1]
    flooded = run(SETTINGS, [rated(n, 1, people=500) for n in range(20, 80)], calm)
    assert all(state.suspicious for state in flooded)
    assert (flooded[-1].fast, flooded[-1].slow) == (calm.fast, calm.slow)
    assert flooded[-1].trim == calm.trim == 0


def test_a_window_that_is_over_or_has_no_time_changes_nothing() -> None:
    control = advance(SETTINGS, begin(SETTINGS), Window(20, 1.0, 1.0))
    for ended_s in (20, 10, -5, math.nan, math.inf):
        assert advance(SETTINGS, control, Window(ended_s, 1.0, 1.0)) == control


def test_a_state_that_expired_serves_the_prior_and_missing_ratings_are_told() -> None:
    control = advance(SETTINGS, begin(SETTINGS), rated(1, 3, overloaded=1.0))
    assert rate_at(SETTINGS, control, 70) == control.rate < 80
    assert rate_at(SETTINGS, control, 71) == 80
    assert not is_stale(SETTINGS, control, 910)
    assert is_stale(SETTINGS, control, 911)
    assert is_stale(SETTINGS, begin(SETTINGS), 0)


@pytest.mark.parametrize(
    "bad",
    [
        {"least": 0},
        {"prior": 5},
        {"most": math.inf},
        {"backoff": 0},
        {"trim": 1},
        {"dead_band": math.nan},
        {"step": 0.9},
        {"window_s": 0},
    ],
)
def test_settings_that_bound_nothing_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(Invalid):
        msgspec.structs.replace(SETTINGS, **bad)
