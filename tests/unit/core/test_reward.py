from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid, RewardInvalid
from loopwright.core.reward import (
    BOUND,
    MAX_WINDOW_S,
    Observed,
    Reward,
    RewardSpec,
    RewardType,
    check,
    derive,
    normalise,
)

DECIDED = 1_750_000_000_000


@st.composite
def specs(draw: st.DrawFn) -> RewardSpec:
    kinds: list[RewardType] = ["binary", "bounded", "continuous"]
    kind = draw(st.sampled_from(kinds))
    low = high = None
    if kind != "binary" and draw(st.booleans()):
        low, high = sorted(draw(st.tuples(st.floats(-BOUND, BOUND), st.floats(-BOUND, BOUND))))
        assume(low < high)
    spec: dict[str, Any] = {
        "type": kind,
        "low": low,
        "high": high,
        "out_of_range": draw(st.sampled_from(["reject", "clip", "rescale"])),
        "duplicates": draw(st.sampled_from(["first", "latest", "add"])),
    }
    if draw(st.booleans()):
        spec["window_s"] = draw(st.floats(0.001, MAX_WINDOW_S))
        bottom, top = RewardSpec(type=kind, low=low, high=high).range
        spec["default"] = draw(st.sampled_from([bottom, top]))
    return RewardSpec(**spec)


@st.composite
def histories(draw: st.DrawFn) -> tuple[RewardSpec, list[Observed], int]:
    """A spec, facts that intake would have accepted, and a moment."""
    spec = draw(specs())
    low, high = spec.range
    values = st.sampled_from([0.0, 1.0]) if spec.type == "binary" else st.floats(low, high)
    near = round((spec.window_s or 60) * 1000)
    moments = st.integers(DECIDED, DECIDED + 2 * near) | st.just(DECIDED + near)
    facts = draw(st.lists(st.builds(Observed, values, moments), max_size=5))
    return spec, facts, draw(moments)


def closes(spec: RewardSpec) -> float:
    return math.inf if spec.window_s is None else DECIDED + round(spec.window_s * 1000)


def earned(spec: RewardSpec, facts: list[Observed], now_ms: int) -> Reward | None:
    return derive(spec, decided_at_ms=DECIDED, facts=facts, now_ms=now_ms)


@given(histories())
def test_a_reward_always_lies_in_the_scaled_range(
    history: tuple[RewardSpec, list[Observed], int],
) -> None:
    spec, facts, now_ms = history
    reward = earned(spec, facts, now_ms)
    if reward is not None:
        low, high = spec.scaled_range
        assert low <= reward.value <= high


@given(histories())
def test_a_decision_is_open_exactly_while_nothing_counted_and_its_window_stands(
    history: tuple[RewardSpec, list[Observed], int],
) -> None:
    spec, facts, now_ms = history
    in_time = [f for f in facts if f.at_ms <= closes(spec)]
    reward = earned(spec, facts, now_ms)
    assert (reward is None) == (not in_time and now_ms <= closes(spec))
    assert reward is None or reward.by_default == (not in_time)


@given(histories())
def test_facts_after_the_window_change_nothing(
    history: tuple[RewardSpec, list[Observed], int],
) -> None:
    spec, facts, now_ms = history
    in_time = [f for f in facts if f.at_ms <= closes(spec)]
    assert earned(spec, facts, now_ms) == earned(spec, in_time, now_ms)


@given(histories())
def test_each_duplicate_mode_counts_what_it_says(
    history: tuple[RewardSpec, list[Observed], int],
) -> None:
    spec, facts, now_ms = history
    values = [f.value for f in facts if f.at_ms <= closes(spec)]
    assume(values)
    low, high = spec.range
    raw = {"first": values[0], "latest": values[-1], "add": math.fsum(values)}[spec.duplicates]
    expected, _ = normalise(spec, min(max(raw, low), high))
    assert earned(spec, facts, now_ms) == Reward(expected)


@given(histories(), st.randoms())
def test_a_sum_does_not_depend_on_the_order_of_its_facts(
    history: tuple[RewardSpec, list[Observed], int], rng: Any
) -> None:
    spec, facts, now_ms = history
    spec = msgspec.structs.replace(spec, duplicates="add")
    shuffled = list(facts)
    rng.shuffle(shuffled)
    assert earned(spec, shuffled, now_ms) == earned(spec, facts, now_ms)


def test_no_click_after_thirty_minutes_is_nought() -> None:
    spec = RewardSpec(window_s=1800, default=0.0)
    at_close = DECIDED + 1_800_000
    assert earned(spec, [], at_close) is None
    assert earned(spec, [], at_close + 1) == Reward(0.0, by_default=True)
    assert earned(spec, [Observed(1.0, at_close)], at_close + 1) == Reward(1.0)
    assert earned(spec, [Observed(1.0, at_close + 1)], at_close + 1) == Reward(0.0, by_default=True)


def test_without_a_window_a_decision_waits_for_ever() -> None:
    assert earned(RewardSpec(), [], DECIDED + 10**13) is None


def test_a_rescaled_default_is_rescaled_too() -> None:
    spec = RewardSpec(
        type="bounded", low=1, high=5, out_of_range="rescale", window_s=1, default=2.0
    )
    assert earned(spec, [], DECIDED + 1001) == Reward(0.25, by_default=True)


def test_five_stars_rescaled() -> None:
    spec = RewardSpec(type="bounded", low=1, high=5, out_of_range="rescale")
    assert [normalise(spec, stars)[0] for stars in (1, 2, 3, 4, 5)] == [0, 0.25, 0.5, 0.75, 1]
    assert normalise(spec, 9) == (1.0, True)
    assert spec.scaled_range == (0.0, 1.0)


def test_out_of_range_is_refused_or_clipped_as_declared_and_said() -> None:
    strict = RewardSpec(type="bounded")
    with pytest.raises(RewardInvalid, match="accepts 0") as caught:
        normalise(strict, 1.5)
    assert caught.value.detail == {"expected": [0.0, 1.0]}
    clip = RewardSpec(type="bounded", out_of_range="clip")
    assert normalise(clip, 1.5) == (1.0, True)
    assert normalise(clip, -3) == (0.0, True)
    assert normalise(clip, 0.4) == (0.4, False)


@pytest.mark.parametrize("value", [0.4, 0.5, 2, -1, 1e-300])
def test_a_binary_reward_is_never_thresholded(value: float) -> None:
    for mode in ("reject", "clip", "rescale"):
        with pytest.raises(RewardInvalid, match="send 0 or 1"):
            normalise(RewardSpec(out_of_range=mode), value)


@pytest.mark.parametrize("value", [0, 1, True, False, 0.0, -0.0])
def test_a_binary_reward_takes_nought_and_one(value: float) -> None:
    assert normalise(RewardSpec(), value) == (float(value), False)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@given(spec=specs())
def test_a_reward_must_be_finite(value: float, spec: RewardSpec) -> None:
    with pytest.raises(RewardInvalid, match="finite"):
        normalise(spec, value)


@pytest.mark.parametrize("kind", ["binary", "bounded", "continuous"])
def test_an_integer_that_no_float_can_hold_is_refused(kind: Any) -> None:
    with pytest.raises(RewardInvalid):
        normalise(RewardSpec(type=kind), 10**400)


def test_a_continuous_reward_without_a_range_reaches_the_exact_bound() -> None:
    spec = RewardSpec(type="continuous")
    assert spec.range == spec.scaled_range == (-BOUND, BOUND)
    assert normalise(spec, -BOUND) == (-BOUND, False)
    with pytest.raises(RewardInvalid):
        normalise(spec, BOUND * 2)
    assert RewardSpec(type="continuous", low=0).range == (0, BOUND)
    assert RewardSpec(type="continuous", high=0).range == (-BOUND, 0)


CONTRADICTIONS: list[tuple[dict[str, Any], str]] = [
    ({"type": "bounded", "low": 1.0, "high": 1.0}, "not a range"),
    ({"type": "bounded", "low": 2.0, "high": 1.0}, "not a range"),
    ({"type": "bounded", "low": math.nan}, "not a range"),
    ({"type": "continuous", "high": math.inf}, "not a range"),
    ({"type": "continuous", "high": BOUND * 2}, "exceeds"),
    ({"type": "binary", "high": 5.0}, "declare type 'bounded'"),
    ({"default": 0.0}, "needs window_s"),
    ({"window_s": 60.0}, "needs default"),
    ({"window_s": 60.0, "default": 2.0}, "outside"),
    ({"window_s": 60.0, "default": math.nan}, "outside"),
    ({"window_s": 0.0, "default": 0.0}, "above 0"),
    ({"window_s": -1.0, "default": 0.0}, "above 0"),
    ({"window_s": 1e308, "default": 0.0}, "up to"),
    ({"window_s": math.nan, "default": 0.0}, "above 0"),
]


@pytest.mark.parametrize(("fields", "why"), CONTRADICTIONS)
def test_a_spec_that_contradicts_itself_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        RewardSpec(**fields)


@pytest.mark.parametrize(("fields", "why"), CONTRADICTIONS)
def test_a_contradictory_spec_is_refused_on_the_wire(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, RewardSpec)


def test_check_turns_a_contradiction_into_an_error_a_user_can_meet() -> None:
    broken = RewardSpec()
    msgspec.structs.force_setattr(broken, "default", 0.5)
    with pytest.raises(Invalid, match="needs window_s"):
        check(broken)
    check(RewardSpec(window_s=60, default=0))
