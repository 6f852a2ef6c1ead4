from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.texts.distance import MAX_UNITS, edit_distance, edits_to_accept, likeness


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


def test_queries_are_alike_by_the_words_they_share():
    assert likeness("reset my password", "Reset my password") == 1.0
    assert likeness("reset my password", "reset password") == pytest.approx(2 / 3)
    assert likeness("reset my password", "opening hours") == 0.0
    assert likeness("", "") == 1.0
