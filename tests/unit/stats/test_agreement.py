from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from itertools import permutations
from typing import Any, Literal

import numpy as np
import pytest

from loopwright.core.errors import Invalid
from loopwright.stats.agreement import (
    Labels,
    alpha,
    dawid_skene,
    kappa,
    majority,
    peers_belief,
)


def crowd(seed: int, *, items: int = 2000, skills: list[float], each: int = 5, classes: int = 3):
    """Return labels and truth: `skills` are how often each worker is right, errors are even."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(classes, size=items)
    item = np.repeat(np.arange(items), each)
    worker = np.concatenate(
        [rng.choice(len(skills), size=each, replace=False) for _ in range(items)]
    )
    right = rng.random(len(item)) < np.array(skills)[worker]
    wrong = (truth[item] + rng.integers(1, classes, size=len(item))) % classes
    said = np.where(right, truth[item], wrong)
    labels = Labels.of(item.tolist(), worker.tolist(), said.tolist(), classes=range(classes))
    return labels, truth


def accuracy(best: dict[int, int], truth: np.ndarray) -> float:
    return float(np.mean([best[item] == label for item, label in enumerate(truth)]))


# 69 % good, 17 % who do not look, 14 % who lie.
MIXED = [0.85] * 69 + [1 / 3] * 17 + [0.1] * 14


def test_the_consensus_is_right_far_more_often_than_the_majority():
    labels, truth = crowd(1, skills=MIXED)
    believed, voted = accuracy(dawid_skene(labels).best(), truth), accuracy(majority(labels), truth)
    assert believed > 0.93
    assert voted < 0.86


def test_reliability_is_how_often_each_annotator_is_right():
    labels, _ = crowd(2, skills=MIXED, items=4000)
    found = dawid_skene(labels)
    skills = np.array(MIXED)[list(labels.annotator_names)]
    assert np.corrcoef(found.reliability, skills)[0, 1] > 0.99
    assert found.has_converged
    assert found.posteriors.sum(axis=1) == pytest.approx(np.ones(4000))
    assert found.confusion.sum(axis=2) == pytest.approx(np.ones((100, 3)))


def naive_dawid_skene(labels: Labels, *, diagonal: float, smoothing: float, rounds: int):
    """The paper's equations, written as loops."""
    n, a, k = len(labels.item_names), len(labels.annotator_names), len(labels.classes)
    rows = list(
        zip(labels.items.tolist(), labels.annotators.tolist(), labels.labels.tolist(), strict=True)
    )
    posterior = np.zeros((n, k))
    for item, _, said in rows:
        posterior[item, said] += 1
    posterior /= posterior.sum(axis=1, keepdims=True)
    for step in range(rounds + 1):
        confusion = np.full((a, k, k), smoothing) + diagonal * np.eye(k)
        for item, who, said in rows:
            confusion[who, :, said] += posterior[item]
        confusion /= confusion.sum(axis=2, keepdims=True)
        prior = posterior.mean(axis=0)
        if step == rounds:
            return posterior, confusion
        posterior = np.tile(prior, (n, 1))
        for item, who, said in rows:
            posterior[item] *= confusion[who, :, said]
        posterior /= posterior.sum(axis=1, keepdims=True)
    raise AssertionError


def test_the_fast_form_equals_the_papers_equations():
    labels, _ = crowd(3, skills=[0.9, 0.8, 0.7, 0.4, 0.2, 0.6], items=80, each=3)
    found = dawid_skene(labels, diagonal=1.0, smoothing=0.01, iterations=7, tolerance=0.0)
    posterior, confusion = naive_dawid_skene(labels, diagonal=1.0, smoothing=0.01, rounds=7)
    assert found.posteriors == pytest.approx(posterior, abs=1e-9)
    assert found.confusion == pytest.approx(confusion, abs=1e-9)


def test_a_lying_majority_wins_without_goldens_and_loses_with_them():
    labels, truth = crowd(4, skills=[0.9] * 4 + [0.05] * 8, items=1000, classes=2)
    goldens = {item: int(truth[item]) for item in range(0, 1000, 20)}
    assert accuracy(dawid_skene(labels).best(), truth) < 0.2
    anchored = dawid_skene(labels, goldens)
    assert accuracy(anchored.best(), truth) > 0.95
    assert [anchored.best()[item] for item in goldens] == list(goldens.values())


def test_names_of_any_kind_come_back_as_they_went_in():
    labels = Labels.of(["x", "x", "y"], ["ann", "bob", "ann"], ["good", "good", "bad"])
    assert dawid_skene(labels).best() == {"x": "good", "y": "bad"}


def test_one_label_or_one_class_is_enough():
    alone = dawid_skene(Labels.of(["x"], ["ann"], ["good"]))
    assert alone.best() == {"x": "good"}
    assert alone.posteriors.tolist() == [[1.0]]


def test_peers_belief_leaves_out_the_judgement_itself():
    labels, _ = crowd(5, skills=[0.9, 0.8, 0.7, 0.3, 0.6], items=40, each=3)
    found = dawid_skene(labels)
    belief, others = peers_belief(found)
    assert set(others.tolist()) == {2}
    for row in range(0, len(labels), 11):
        by_hand = found.prior.copy()
        for peer in np.flatnonzero(labels.items == labels.items[row]):
            if peer != row:
                by_hand *= found.confusion[labels.annotators[peer], :, labels.labels[peer]]
        assert belief[row] == pytest.approx(by_hand / by_hand.sum(), rel=1e-6)


def test_bad_judgements_are_refused_with_a_reason():
    with pytest.raises(Invalid, match="2 items, 1 annotators"):
        Labels.of(["a", "b"], ["x"], ["l", "l"])
    with pytest.raises(Invalid, match="no judgement"):
        Labels.of([], [], [])
    labels = Labels.of(["a"], ["x"], ["good"])
    with pytest.raises(Invalid, match="'b', which no judgement uses"):
        dawid_skene(labels, {"b": "good"})
    with pytest.raises(Invalid, match="'bad', which no judgement uses"):
        dawid_skene(labels, {"a": "bad"})
    with pytest.raises(Invalid, match="smoothing above 0"):
        dawid_skene(labels, smoothing=0.0)


def pairs_of(table: list[list[int]]) -> tuple[list[int], list[int]]:
    first, second = [], []
    for i, row in enumerate(table):
        for j, count in enumerate(row):
            first += [i] * count
            second += [j] * count
    return first, second


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        ([[20, 5], [10, 15]], 0.4),  # the usual textbook table of two readers of 50 proposals
        ([[45, 15], [25, 15]], 0.1304),
        ([[25, 35], [5, 35]], 0.2593),
    ],
)
def test_kappa_gives_the_textbook_values(table, expected):
    assert kappa(*pairs_of(table)) == pytest.approx(expected, abs=5e-5)


def test_weighted_kappa_is_one_minus_seen_over_expected_cost():
    first, second = pairs_of([[11, 3, 1], [2, 9, 4], [0, 3, 12]])
    n = len(first)
    costs: dict[Literal["linear", "quadratic"], Callable[[Any], Any]] = {
        "linear": abs,
        "quadratic": lambda apart: apart**2,
    }
    for weights, cost in costs.items():
        seen = sum(Fraction(cost(a - b), n) for a, b in zip(first, second, strict=True))
        expected = sum(Fraction(cost(a - b), n * n) for a in first for b in second)
        found = kappa(first, second, weights=weights, classes=(0, 1, 2))
        assert found == pytest.approx(float(1 - seen / expected))


def test_kappa_of_two_raters_who_always_say_the_same_is_undefined():
    assert kappa(["yes"] * 5, ["yes"] * 5) is None
    with pytest.raises(Invalid, match="5 and 4 items"):
        kappa(["yes"] * 5, ["yes"] * 4)
    with pytest.raises(Invalid, match="needs `classes`"):
        kappa([1, 2], [2, 1], weights="linear")


# Krippendorff (2011), example C: four observers, twelve units, judgements missing.
OBSERVERS = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3),
    (None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None),
)


def reliability_data() -> Labels:
    rows = [
        (unit, observer, value)
        for observer, values in enumerate(OBSERVERS)
        for unit, value in enumerate(values)
        if value is not None
    ]
    items, annotators, labels = zip(*rows, strict=True)
    return Labels.of(items, annotators, labels, classes=(1, 2, 3, 4, 5))


@pytest.mark.parametrize(
    ("level", "expected"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)]
)
def test_alpha_gives_krippendorffs_values(level, expected):
    assert alpha(reliability_data(), level=level) == pytest.approx(expected, abs=5e-4)


def test_alpha_is_one_minus_seen_over_expected_disagreement_of_all_pairs():
    rng = np.random.default_rng(6)
    rows = [(u, a, int(rng.integers(4))) for u in range(30) for a in range(5) if rng.random() < 0.5]
    found = alpha(Labels.of(*zip(*rows, strict=True), classes=range(4)), level="interval")
    units = [[v for u, _, v in rows if u == unit] for unit in range(30)]
    units = [values for values in units if len(values) > 1]
    pool = [value for values in units for value in values]
    seen = sum(
        sum((a - b) ** 2 for a, b in permutations(values, 2)) / (len(values) - 1)
        for values in units
    ) / len(pool)
    expected = sum((a - b) ** 2 for a, b in permutations(pool, 2)) / (len(pool) * (len(pool) - 1))
    assert found == pytest.approx(1 - seen / expected)


def test_alpha_is_undefined_without_pairs_or_without_variation():
    assert alpha(Labels.of(["a", "b"], ["x", "y"], [1, 2])) is None
    assert alpha(Labels.of(["a", "a"], ["x", "y"], [1, 1])) is None
    with pytest.raises(Invalid, match="needs numbers"):
        alpha(Labels.of(["a", "a"], ["x", "y"], ["good", "bad"]), level="interval")
