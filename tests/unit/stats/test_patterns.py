from __future__ import annotations

import math
import random

import numpy as np
import pytest

from loopwright.core.errors import Invalid
from loopwright.stats.patterns import (
    clusters,
    failures,
    log_odds,
    most_corrected,
    normalised,
    phrases,
    words,
)
from loopwright.stats.stopwords import STOP_WORDS

FILLER = "the answer was about order invoice total table customer month report with some detail"


def texts(seed: int, count: int, *, planted: str = "", share: float = 0.3) -> list[str]:
    rng = random.Random(seed)
    made = []
    for _ in range(count):
        said = [rng.choice(FILLER.split()) for _ in range(8)]
        if planted and rng.random() < share:
            said.insert(rng.randrange(8), planted)
        made.append(" ".join(said))
    return made


def test_words_fold_case_width_and_punctuation_in_any_script():
    assert words("Don't PANIC, it\u2019s ﬁne!") == ["don't", "panic", "it\u2019s", "fine"]
    assert words("Straße — отчёт №5, 価格") == ["strasse", "отчёт", "no5", "価格"]


def test_phrases_are_the_distinct_runs_of_one_to_three_words():
    assert phrases("a b a b") == {"a", "b", "a b", "b a", "a b a", "b a b"}
    assert phrases("...") == set()


def test_log_odds_follow_the_paper_term_by_term():
    first, second = np.array([30.0, 2.0]), np.array([5.0, 2.0])
    odds, z = log_odds(first, second, totals=(100.0, 200.0), prior=10.0)
    for k in range(2):
        y_i, y_j = first[k], second[k]
        a = 10.0 * (y_i + y_j) / 300
        delta = math.log((y_i + a) / (100 + 10 - y_i - a)) - math.log(
            (y_j + a) / (200 + 10 - y_j - a)
        )
        assert odds[k] == pytest.approx(delta)
        assert z[k] == pytest.approx(delta / math.sqrt(1 / (y_i + a) + 1 / (y_j + a)))


def test_a_planted_failure_comes_out_first_and_whole():
    negative = texts(1, 200, planted="wrong date format")
    found = failures(negative, texts(2, 400))
    assert found[0].phrase == "wrong date format"
    assert found[0].z > 4
    assert all("wrong date format" in negative[row] for row in found[0].examples)
    assert not any(found[0].phrase != p.phrase and p.phrase in found[0].phrase for p in found)


def test_without_a_difference_hardly_a_phrase_is_called_one():
    found = failures(texts(3, 300), texts(4, 300), least_z=4.0)
    assert found == ()


def test_one_shouting_text_is_no_pattern():
    negative = [*texts(5, 50), "broken " * 500]
    assert all("broken" not in phrase.phrase for phrase in failures(negative, texts(6, 50)))


def test_distrusted_texts_lose_their_say():
    negative = texts(7, 100, planted="slander", share=0.5)
    weights = [0.0 if "slander" in text else 1.0 for text in negative]
    assert failures(negative, texts(8, 100))[0].phrase == "slander"
    found = failures(negative, texts(8, 100), negative_weights=weights)
    assert all("slander" not in phrase.phrase for phrase in found)


def test_the_order_of_the_texts_does_not_matter():
    negative, positive = texts(9, 120, planted="bad join"), texts(10, 120)
    there, back = failures(negative, positive), failures(negative[::-1], positive[::-1])
    assert [(p.phrase, p.z) for p in there] == [(p.phrase, p.z) for p in back]


def test_nothing_negative_means_no_failures():
    assert failures([], texts(11, 10)) == ()
    with pytest.raises(Invalid, match="one per text"):
        failures(["a"], [], negative_weights=[1.0, 2.0])
    with pytest.raises(Invalid, match="above 0"):
        failures(["a b"] * 3, [], prior=0.0)


COMPLAINTS = {
    "date": [
        "the date format is wrong",
        "wrong date format again",
        "date format in the report is wrong",
    ],
    "slow": [
        "much too slow to load",
        "it is too slow and loads forever",
        "too slow, it will not load",
    ],
    "money": [
        "currency should be euro not dollar",
        "euro currency not dollar please",
        "dollar instead of euro currency",
    ],
}


def test_alike_complaints_end_up_together_with_one_of_them_as_example():
    said = [text for group in zip(*COMPLAINTS.values(), strict=True) for text in group]
    found = clusters(said, likeness=0.2)
    groups = {frozenset(said[row] for row in cluster.members) for cluster in found}
    assert groups == {frozenset(group) for group in COMPLAINTS.values()}
    assert all(cluster.example in cluster.members for cluster in found)
    money = next(cluster for cluster in found if "euro" in said[cluster.example])
    assert {"euro", "currency", "dollar"} <= set(money.words)


def test_clusters_are_the_same_every_time_and_ranked_by_weight():
    said = ["too slow to load"] * 3 + ["wrong currency shown"] * 2
    weights = [0.1, 0.1, 0.1, 3.0, 3.0]
    found = clusters(said, weights=weights)
    assert [cluster.members for cluster in found] == [(3, 4), (0, 1, 2)]
    assert found == clusters(said, weights=weights)


def test_texts_like_no_other_and_texts_without_words_are_in_no_cluster():
    found = clusters(["alpha beta", "gamma delta", "!!!", "", "alpha beta"])
    assert [cluster.members for cluster in found] == [(0, 4)]
    assert clusters([]) == ()


def test_a_query_is_the_same_whatever_its_numbers_quotes_and_case():
    assert normalised("Sales of  'ACME' in 2024-01?") == normalised(
        "sales of 'Bolt & Co' in 2025-11"
    )
    assert normalised("what's the user's name") != normalised("what's the owner's name")
    assert normalised("top 10 items") != normalised("top items")


def test_queries_that_many_correct_come_before_one_that_somebody_corrects_often():
    queries = ["Revenue 2024"] * 3 + ["revenue 2025"] * 3 + ["churn"] * 10
    users = ["a", "b", "c", "d", "e", "f", *["g"] * 10]
    found = most_corrected(queries, [True] * 5 + [False] + [True] * 10, users=users)
    assert [(q.query, q.asked, q.corrected, q.correctors) for q in found] == [
        ("Revenue 2024", 6, 5, 5),
        ("churn", 10, 10, 1),
    ]
    assert found[0].rate.low < 5 / 6 < found[0].rate.high


def test_queries_nobody_corrected_are_not_listed():
    assert most_corrected(["a", "?"], [False, True]) == ()
    with pytest.raises(Invalid, match="one per row"):
        most_corrected(["a"], [])


@pytest.mark.parametrize(
    "said",
    [
        "the total of the region {} is wrong",
        "die Summe von der Region {} ist falsch",
        "le total de la région {} est faux",
    ],
)
def test_function_words_are_no_pattern_however_surely_they_mark_complaints(said):
    bad = [said.format(k) for k in range(60)]
    found = failures(bad, [f"good {k} total" for k in range(120)])
    assert found
    for phrase in found:
        parts = phrase.phrase.split()
        assert not {parts[0], parts[-1]} & STOP_WORDS, phrase.phrase


def test_texts_of_function_words_alone_say_nothing():
    assert failures(["it is the one that was of the"] * 30, ["great"] * 60) == ()
    assert clusters(["it is the one", "it is the one", "of the"]) == ()


def test_a_negation_is_a_complaint():
    found = failures(["the page was not found"] * 20, ["the page was nice"] * 40)
    assert "not found" in [phrase.phrase for phrase in found] or "not" in found[0].phrase


def test_stop_words_are_spelled_as_words_are_read():
    assert all(words(word) == [word] for word in STOP_WORDS)
