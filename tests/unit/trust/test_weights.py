from __future__ import annotations

import dataclasses
import random

import msgspec
import numpy as np
import pytest
from bench.attack import ATTACKS, World, regret, report_error
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loopwright.core.clock import DAY_MS, MINUTE_MS
from loopwright.core.errors import Invalid
from loopwright.stats.agreement import Labels
from loopwright.trust.bursts import bursts, poisson_limit, rushed
from loopwright.trust.policy import TrustPolicy
from loopwright.trust.votes import Vote, Votes
from loopwright.trust.weights import Standing, TrustView, skill, standings, weigh

NOON = 20_000 * DAY_MS + DAY_MS // 2
POLICY = TrustPolicy()


def vote(number: int = 0, **changes: object) -> Vote:
    """Return one vote of its own user on its own decision, ten minutes after the one before."""
    plain = Vote(
        decision_id=f"decision-{number}",
        arm_id="arm",
        at_ms=NOON + number * 10 * MINUTE_MS,
        user_id=f"user-{number}",
    )
    return msgspec.structs.replace(plain, **changes)


def view(votes: list[Vote], policy: TrustPolicy = POLICY, **given: object) -> TrustView:
    given.setdefault("now_ms", votes[-1].at_ms)
    return weigh(Votes.of(votes), policy, **given)  # type: ignore[arg-type]


def test_a_plain_vote_counts_one_and_a_role_counts_as_listed():
    found = view([vote(), vote(1, role="expert"), vote(2, role="evaluator"), vote(3, role="who?")])
    assert found.weights == pytest.approx([1.0, 3.0, 0.5, 0.5], rel=1e-3)
    assert [found.why(row) for row in range(4)] == [()] * 4


def test_a_vote_loses_half_its_weight_in_a_half_life_but_never_all():
    found = view([vote()], now_ms=NOON + 90 * DAY_MS)
    assert found.weights == pytest.approx([0.5])
    assert found.why(0) == ("aged",)
    ancient = view([vote()], now_ms=NOON + 9000 * DAY_MS)
    assert ancient.weights.tolist() == [0.1]
    assert ancient.why(0) == ("aged", "clipped")
    assert view([vote()], TrustPolicy(half_life_days=None), now_ms=10**14).weights.tolist() == [1.0]


def test_weights_stay_within_bounds_whatever_the_role_and_record():
    policy = TrustPolicy(roles={"end_user": 100.0})
    found = view([vote()], policy, standings={"user-0": Standing(1000.0, 0.0)})
    assert found.weights.tolist() == [3.0]
    assert "clipped" in found.why(0)


def test_a_coin_flipper_counts_least_and_an_adversary_nothing():
    records = {
        "user-0": Standing(500.0, 500.0),
        "user-1": Standing(2.0, 60.0),
        "user-2": Standing(60.0, 2.0),
    }
    found = view([vote(), vote(1), vote(2), vote(3)], standings=records)
    assert found.weights[0] == 0.1
    assert found.weights[1] == 0.0
    assert 1.0 < found.weights[2] < 2.0
    assert found.weights[3] == pytest.approx(1.0, rel=1e-3)
    assert found.why(1) == ("skill", "clipped", "adversarial")


def test_little_evidence_moves_a_weight_little_and_condemns_nobody():
    once, _ = skill(Standing(0.0, 1.0), POLICY)
    often, is_adversarial = skill(Standing(0.0, 4.0), POLICY)
    assert 0.5 < once < 1.0
    assert often < once
    assert not is_adversarial
    assert skill(Standing(), POLICY) == (1.0, False)


@given(st.floats(0, 1e4), st.floats(0, 1e4))
def test_being_right_once_more_never_lowers_a_weight(right, wrong):
    before, after = (skill(Standing(right + more, wrong), POLICY)[0] for more in (0, 1))
    assert after >= before >= 0


def test_one_user_has_one_vote_on_a_decision_and_metric():
    votes = [vote(), vote(1, user_id="user-0", decision_id="decision-0")]
    votes.append(msgspec.structs.replace(votes[1], metric="tone"))
    assert [w > 0 for w in view(votes).weights] == [True, False, True]
    assert view(votes).why(1) == ("repeated",)
    latest = view(votes, TrustPolicy(keep="latest"))
    assert [w > 0 for w in latest.weights] == [False, True, True]


@pytest.mark.parametrize(("field", "limit"), [("user_id", 5), ("session_id", 5), ("address", 50)])
def test_a_user_a_session_and_an_address_count_so_often_per_arm_and_day(field, limit):
    spaced = [vote(k, at_ms=NOON + k * MINUTE_MS, **{field: "same"}) for k in range(limit + 2)]
    other_arm = vote(90, at_ms=NOON, arm_id="other", **{field: "same"})
    next_day = vote(91, at_ms=NOON + DAY_MS, **{field: "same"})
    found = view([*spaced, other_arm, next_day])
    assert [w > 0 for w in found.weights] == [True] * limit + [False] * 2 + [True] * 2
    assert found.why(limit) == (f"capped_{field.removesuffix('_id')}",)


def test_what_one_rule_leaves_out_does_not_use_up_the_next_rules_allowance():
    repeated = [vote(k, user_id="u", decision_id="d", session_id="s") for k in range(20)]
    fresh = [vote(20 + k, user_id="u", session_id="s") for k in range(4)]
    found = view(repeated + fresh)
    assert np.count_nonzero(found.weights) == 5
    assert found.counts()["repeated"] == 19
    assert found.counts()["capped_session"] == 0


def test_the_earliest_votes_count_even_when_they_arrive_last():
    late_first = [vote(k, user_id="u") for k in reversed(range(8))]
    found = view(late_first, now_ms=NOON + DAY_MS)
    assert [w > 0 for w in found.weights] == [False] * 3 + [True] * 5


def test_a_vote_nobody_is_behind_counts_least():
    found = view([vote(user_id=None), vote(1, user_id=None, session_id="s")])
    assert found.weights == pytest.approx([0.1, 1.0], rel=1e-3)
    assert found.why(0) == ("unidentified",)


def steady(rate_per_minute: float, *, hours: int = 6, seed: int = 0) -> list[Vote]:
    rng = np.random.default_rng(seed)
    at = np.sort(rng.integers(hours * 60 * MINUTE_MS, size=int(rate_per_minute * 60 * hours)))
    return [vote(k, at_ms=NOON - DAY_MS // 4 + int(ms)) for k, ms in enumerate(at)]


def rush(count: int, *, age_ms: int | None = None, start: int = 10_000) -> list[Vote]:
    return [
        vote(
            start + k,
            at_ms=NOON + k * MINUTE_MS // count,
            account_made_ms=None if age_ms is None else NOON - age_ms,
        )
        for k in range(count)
    ]


@pytest.mark.parametrize("rate", [0.05, 1.0, 20.0])
def test_a_rush_is_held_back_and_steady_traffic_is_not(rate):
    votes = [*steady(rate), *rush(300)]
    found = view(votes)
    is_rush = np.arange(len(votes)) >= len(votes) - 300
    assert found.quarantined[is_rush].all()
    assert found.quarantined[~is_rush].mean() < 0.02
    assert not found.weights[found.quarantined].any()
    assert found.why(len(votes) - 1) == ("burst",)


def test_traffic_that_trebles_over_the_day_is_no_burst():
    minutes = np.arange(24 * 60)
    rate = 12 - 8 * np.cos(2 * np.pi * minutes / len(minutes))
    counts = np.random.default_rng(1).poisson(rate)
    at = np.repeat(NOON + minutes * MINUTE_MS, counts)
    votes = Votes.of([vote(k, at_ms=int(ms)) for k, ms in enumerate(at)])
    assert not bursts(votes, POLICY).any()


def test_when_new_accounts_make_the_rush_only_they_are_held_back():
    old = rush(8, start=50_000)
    votes = [*steady(1.0), *old, *rush(60, age_ms=3_600_000)]
    found = view(votes)
    assert found.quarantined[-60:].all()
    assert not found.quarantined[:-60].any()


def test_a_cleared_burst_counts_again():
    votes = [*steady(1.0), *rush(100)]
    held = view(votes).quarantined
    found = view(votes, cleared=held)
    assert not found.quarantined.any()
    assert (found.cleared == held).all()
    assert (found.weights[held] > 0).all()
    everything = view(votes, cleared=np.ones(len(votes), dtype=np.bool_))
    assert (everything.cleared == held).all()
    with pytest.raises(Invalid, match="1 entries"):
        view(votes, cleared=np.zeros(1, dtype=np.bool_))


def test_only_an_arm_with_a_busy_minute_can_have_a_burst():
    votes = [*steady(1.0), *(vote(k, arm_id="quiet") for k in range(20))]
    columns = Votes.of(votes)
    assert not rushed(columns.arms, columns.at_ms, POLICY).any()
    busy = Votes.of([*votes, *rush(100)])
    found = rushed(busy.arms, busy.at_ms, POLICY)
    quiet = np.array([v.arm_id == "quiet" for v in [*votes, *rush(100)]])
    assert (found == ~quiet).all()
    assert not rushed(columns.arms[:0], columns.at_ms[:0], POLICY).any()


@pytest.mark.parametrize("rate", [0.001, 0.5, 3.0, 77.0, 2500.0])
@pytest.mark.parametrize("tail", [0.01, 1e-6])
def test_the_poisson_limit_agrees_with_scipy(rate, tail):
    limit = poisson_limit(rate, tail)
    assert stats.poisson.sf(limit - 1, rate) < tail <= stats.poisson.sf(limit - 2, rate)


def test_goldens_and_agreeing_peers_make_a_record_and_oneself_does_not():
    rng = random.Random(1)
    rows = []
    for item in range(300):
        truth = rng.random() < 0.5
        for who, right in (("ann", 0.95), ("bob", 0.9), ("cid", 0.92), ("eve", 0.1)):
            rows.append((item, who, truth if rng.random() < right else not truth))
    rows += [(1000 + k, "solo", True) for k in range(50)]
    found = standings(Labels.of(*zip(*rows, strict=True), classes=(False, True)))
    assert skill(found["ann"], POLICY)[0] > 1.0
    assert skill(found["eve"], POLICY) == (0.0, True)
    assert (found["solo"].right, found["solo"].wrong) == (0.0, 0.0)
    known = standings(
        Labels.of(["g1", "g2", "g3"], ["solo"] * 3, [True, True, False]),
        {"g1": True, "g2": False, "g3": False},
    )
    assert known["solo"] == Standing(2.0, 1.0)


def test_a_view_names_the_version_of_its_rules_and_leaves_the_votes_alone():
    votes = Votes.of([vote(), vote(1)])
    before = [column.copy() for column in (votes.users, votes.at_ms, votes.arms)]
    assert weigh(votes, TrustPolicy(version=7), now_ms=NOON).version == 7
    after = (votes.users, votes.at_ms, votes.arms)
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


def test_no_votes_make_an_empty_view():
    found = weigh(Votes.of([]), POLICY, now_ms=NOON)
    assert len(found.weights) == len(found.reasons) == len(found.quarantined) == 0


@pytest.mark.parametrize(
    "change", [{"least": 4.0}, {"prior_right": 1.0}, {"per_user": 0}, {"no_such_rule": 1}]
)
def test_rules_that_contradict_themselves_are_refused(change):
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(change, TrustPolicy)


SMALL = World(days=10, users=200, votes_per_day=500, questions=60)


@pytest.mark.parametrize("attack", ATTACKS)
def test_trust_keeps_a_bandit_on_course_under_attack(attack):
    off, on = (regret(SMALL, attack, trust=trust) for trust in (False, True))
    assert on <= off / 2


@pytest.mark.parametrize("attack", ATTACKS)
def test_trust_keeps_a_report_near_the_truth_under_attack(attack):
    off, on = (report_error(SMALL, attack, trust=trust) for trust in (False, True))
    assert off > 0.1
    assert on <= off / 4


def test_trust_costs_honest_users_next_to_nothing():
    calm = dataclasses.replace(SMALL, seed=3)
    assert report_error(calm, "none", trust=True) < 0.02
