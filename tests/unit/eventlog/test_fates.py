from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.events import Ticked
from loopwright.core.ports import Committed, Mark
from loopwright.eventlog.fates import Group

A, B, ONE, TWO = b"a" * 24, b"b" * 24, b"1" * 8, b"2" * 8


def judged(
    *keys: bytes | None, taken: dict[bytes, bytes | None] | None = None
) -> tuple[Committed, Group]:
    group = Group(taken or {})
    group.add([Ticked(n) for n in range(len(keys))], keys)
    return group.outcomes(1)[0], group


def test_a_bare_key_is_taken_once_and_none_is_never_taken() -> None:
    verdict, group = judged(A, A, None, None, B, taken={B: ONE})
    assert verdict.duplicates == [False, True, False, False, True]
    assert (verdict.first_offset, len(group.facts), group.said) == (1, 3, {A: None})


def test_offsets_go_on_from_one_submission_to_the_next() -> None:
    group = Group({B: None})
    for keys in ([A, B, None], [A], [None]):
        group.add([Ticked(1)] * len(keys), keys)
    assert [outcome.first_offset for outcome in group.outcomes(7)] == [7, None, 9]


@pytest.mark.parametrize(
    ("before", "is_conflict"),
    [(None, False), (ONE + b"me", False), (TWO + b"me", True), (TWO + b"other", False)],
)
def test_other_content_is_a_conflict_only_under_the_same_id(
    before: bytes | None, is_conflict: bool
) -> None:
    verdict, _ = judged(Mark(A, ONE, id=b"me"), taken={A: before})
    assert verdict.duplicates == [True]
    assert verdict.conflicts == ({0} if is_conflict else set())


def test_the_latest_word_is_repeated_and_an_earlier_one_is_a_new_word() -> None:
    words = [Mark(A, c, id=i, revises=True) for c, i in ((ONE, b"w1"), (ONE, b"w2"), (TWO, b"w3"))]
    verdict, group = judged(*words, words[0])
    assert verdict.duplicates == [False, True, False, False]
    assert verdict.known == {1: b"w1"}
    assert group.keys() == ({A: ONE + b"w1"}, None)


def test_a_word_after_one_in_the_log_replaces_what_is_kept_there() -> None:
    word = Mark(A, TWO, id=b"new", revises=True)
    _, group = judged(word, B, taken={A: ONE + b"old"})
    assert group.keys() == ({B: None}, {A: (ONE + b"old", TWO + b"new")})


def test_what_rides_is_stored_only_with_the_fact_before_it() -> None:
    ride = Mark(B, ONE, rides=True)
    assert judged(Mark(A, ONE), ride, taken={A: ONE})[0].duplicates == [True, True]
    assert judged(Mark(A, ONE), ride)[0].duplicates == [False, False]


def test_what_is_inside_is_refused_with_its_item_and_not_with_another_one() -> None:
    within = Mark(B, ONE, inside=True, revises=True)
    verdict, _ = judged(Mark(A, ONE), within, taken={A: TWO})
    assert verdict.conflicts == {0, 1}
    verdict, _ = judged(Mark(A, ONE), Mark(b"c", ONE), within, taken={A: TWO})
    assert verdict.conflicts == {0}
    assert verdict.duplicates == [True, False, False]
    verdict, _ = judged(Mark(A, ONE), within, taken={A: ONE})
    assert verdict.duplicates == [True, False]


@given(st.lists(st.lists(st.sampled_from([ONE, TWO, b"3" * 8]), max_size=5), max_size=5))
def test_words_are_judged_alike_in_one_commit_and_in_many(said: Sequence[Sequence[bytes]]) -> None:
    kept: dict[bytes, bytes | None] = {}
    flags, last = [], None
    for words in said:
        verdict, group = judged(*[Mark(A, word, revises=True) for word in words], taken=kept)
        kept |= group.said
        flags += verdict.duplicates
    for word, is_duplicate in zip([w for words in said for w in words], flags, strict=True):
        assert is_duplicate == (word == last)
        last = word
