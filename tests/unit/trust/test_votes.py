from __future__ import annotations

import numpy as np

from loopwright.trust.votes import UNKNOWN, Vote, Votes, joint


def vote(decision: str, **about: object) -> Vote:
    return Vote(decision_id=decision, arm_id="a", at_ms=100, **about)  # type: ignore[arg-type]


def test_codes_follow_the_order_of_first_appearance_and_nobody_is_unknown() -> None:
    votes = Votes.of([vote("d", user_id=user) for user in ("v", None, "u", "v")])
    assert votes.users.tolist() == [0, UNKNOWN, 1, 0]
    assert votes.user_names == ("v", "u")


def test_a_ballot_is_a_decision_and_a_metric() -> None:
    votes = Votes.of([vote("d"), vote("d", metric="tone"), vote("e"), vote("d")])
    assert votes.ballots.tolist() == [0, 1, 2, 0]


def test_the_age_of_an_account_is_never_negative_and_unknown_is_no_age() -> None:
    made = [None, 40, 100, 130]
    votes = Votes.of([vote("d", account_made_ms=at) for at in made])
    assert votes.ages_ms.tolist() == [UNKNOWN, 60, 0, 0]


def test_no_votes_are_columns_of_no_rows() -> None:
    votes = Votes.of([])
    assert len(votes) == 0
    assert votes.users.dtype == votes.at_ms.dtype == np.int64


def test_a_joint_code_is_equal_only_where_both_codes_are() -> None:
    first = np.repeat(np.arange(-1, 4), 6)
    second = np.tile(np.arange(-1, 5) * 7, 5)
    assert len(np.unique(joint(first, second))) == 30
    assert joint(first[:0], second[:0]).tolist() == []
