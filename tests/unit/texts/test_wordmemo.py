from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.texts.classify import (
    CATEGORY_TERMS,
    SENTIMENT_TERMS,
    RuleClassifier,
    sentiment_rules,
    words_of,
)
from loopwright.texts.wordmemo import RememberedRules, Vocabulary, remembered_sentiment

TERMS = sorted(
    {
        term.strip().rstrip("*")
        for terms in (CATEGORY_TERMS, SENTIMENT_TERMS)
        for groups in terms.values()
        for group in groups
        for term in group.split(",")
    }
)


WORDS = st.sampled_from(
    [*TERMS, "404", "5x", "27001", "it's", "a'b'c", "'said'", "don\u2019t", "x_y", "Stra\u00dfe"]
)


@given(st.lists(WORDS | st.text(max_size=5), max_size=12), st.sampled_from([" ", ", ", "-", "_"]))
def test_rules_that_share_a_vocabulary_say_what_the_rules_say(words: list[str], gap: str) -> None:
    text = gap.join(words)
    for plain, remembered in zip(PLAIN, SHARING, strict=True):
        assert remembered.classify(text) == plain.classify(text)


PLAIN = (RuleClassifier(), sentiment_rules())


VOCABULARY = Vocabulary()


SHARING = (RememberedRules(vocabulary=VOCABULARY), remembered_sentiment(VOCABULARY))


@given(st.text(st.characters(max_codepoint=127)) | st.text())
def test_words_of_plain_ascii_are_those_of_any_text(text: str) -> None:
    assert words_of(text) == words_of(f"\u00e9 {text}")[1:]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It is wrong, and too slow: 25 seconds for 404 pages",
        "not good, not correct, a waste of time; thank you",
        "The invoice charged me twice! Delete my data, or my lawyer will",
        "API key leaked: other user's data; doesn't work, crashes, 500",
        "wrong wrong wrong 12 12 right to be forgotten",
    ],
)
def test_remembered_rules_say_what_the_rules_say(text: str) -> None:
    pairs = ((RuleClassifier(), RememberedRules()), (sentiment_rules(), remembered_sentiment()))
    for plain, remembered in pairs:
        assert plain.version == remembered.version
        for _ in range(2):
            assert remembered.classify(text) == plain.classify(text)
