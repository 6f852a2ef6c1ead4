from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.errors import Invalid
from loopwright.core.text import Scores
from loopwright.texts.classify import (
    CATEGORIES,
    CATEGORY_TERMS,
    SENTIMENTS,
    RuleClassifier,
    sentiment_rules,
)


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("The answer is wrong, it hallucinated the source", "accuracy"),
        ("Way too slow, the page timed out", "latency"),
        ("I was charged twice and the price is too high", "cost"),
        ("It crashed with an error and a stack trace", "error"),
        ("I love it, thank you, great work", "user_satisfaction"),
        ("Too long, vague and repetitive, and the formatting is off", "quality"),
        ("Your bot leaked another customer's data, that is a security breach", "security"),
        ("Is that GDPR compliant? Our auditors ask about consent", "compliance"),
        ("", "quality"),
        ("lorem ipsum dolor", "quality"),
    ],
)
def test_the_rules_find_the_category(text: str, label: str):
    assert RuleClassifier().classify(text).label == label


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("this was not helpful, the answer was wrong", "negative"),
        ("great, thanks, exactly what I needed", "positive"),
        ("I asked about opening hours", "neutral"),
        ("it doesn't work", "negative"),
        ("this is good", "positive"),
        ("this is not good", "negative"),
        ("", "neutral"),
    ],
)
def test_the_rules_find_the_sentiment(text: str, label: str):
    assert sentiment_rules().classify(text).label == label


def test_there_are_terms_for_every_category_and_sentiment():
    assert RuleClassifier().labels == CATEGORIES
    assert sentiment_rules().labels == SENTIMENTS


def test_a_group_counts_once_and_only_by_whole_words():
    rules = RuleClassifier({"a": ["slow, late"], "b": ["fast"]}, fallback="b", prior=1.0)
    once = rules.classify("slow").probabilities
    assert once == rules.classify("slow late SLOW").probabilities
    assert once == {"a": 2 / 4, "b": 2 / 4}
    assert rules.classify("slowness fastidious").probabilities == rules.classify("").probabilities


def test_the_beginning_of_a_word_and_a_phrase_are_terms_too():
    rules = RuleClassifier({"a": ["crash*", "timed out"], "b": []}, fallback="b", prior=1.0)
    nothing = rules.classify("").probabilities["a"]
    assert rules.classify("It crashed").probabilities["a"] > nothing
    assert rules.classify("It timed, out").probabilities["a"] > nothing
    assert rules.classify("out timed").probabilities["a"] == nothing


def test_a_phrase_hides_the_words_in_it():
    rules = RuleClassifier(
        {"a": ["not good", "not good at all"], "b": ["good"]}, fallback="b", prior=1.0
    )
    assert rules.classify("not good").probabilities == {"a": 2 / 4, "b": 2 / 4}
    assert rules.classify("not good, then good").probabilities == {"a": 2 / 5, "b": 3 / 5}
    assert rules.classify("not good at all").probabilities == {"a": 2 / 4, "b": 2 / 4}


def test_other_terms_have_another_version():
    assert RuleClassifier().version == RuleClassifier().version
    assert RuleClassifier().version != RuleClassifier(prior=0.2).version


@pytest.mark.parametrize(("fallback", "prior"), [("nowhere", 0.1), ("quality", 0.0)])
def test_rules_that_cannot_decide_are_refused(fallback: str, prior: float):
    with pytest.raises(Invalid, match="give one of"):
        RuleClassifier(CATEGORY_TERMS, fallback=fallback, prior=prior)


@given(st.text(max_size=200))
def test_probabilities_of_any_text_add_up_to_1(text: str):
    for classifier in (RuleClassifier(), sentiment_rules()):
        probabilities = classifier.classify(text).probabilities
        assert sum(probabilities.values()) == pytest.approx(1.0)
        assert all(p > 0 for p in probabilities.values())


def test_only_the_beginning_of_a_huge_text_is_read():
    text = "slow " * 250_000
    assert RuleClassifier().classify(text).label == "latency"


def test_of_equal_labels_the_first_declared_wins():
    assert Scores({"b": 0.5, "a": 0.5}, "v").label == "b"
    assert Scores({"b": 0.4, "a": 0.6}, "v").probability == 0.6
