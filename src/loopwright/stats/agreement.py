"""Agreement of annotators, and the likeliest truth where they disagree.

`dawid_skene` estimates the true label of every item and the confusion of every annotator at once; `kappa` and
`alpha` say how much better than chance two, or any number of, annotators agree. Values in, values out.

References: Dawid and Skene, "Maximum likelihood estimation of observer error-rates using the EM algorithm",
Applied Statistics 28 (1979); Cohen, "A coefficient of agreement for nominal scales", Educational and
Psychological Measurement 20 (1960), and "Weighted kappa", Psychological Bulletin 70 (1968); Krippendorff,
"Computing Krippendorff's alpha-reliability" (2011).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from loopwright.core.errors import Invalid

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]
Level = Literal["nominal", "ordinal", "interval"]

_TINY: Final = 1e-300
"""Keeps logarithms finite when a probability is exactly 0."""


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """Judgements as columns of codes, with the names that the codes stand for.

    `items`, `annotators` and `labels` are int64[n]; a code is a position in `item_names`, `annotator_names`
    and `classes`. Where an annotator judged an item twice, both judgements are here.
    """

    items: Codes
    annotators: Codes
    labels: Codes
    item_names: tuple[Any, ...]
    annotator_names: tuple[Any, ...]
    classes: tuple[Any, ...]

    @classmethod
    def of(
        cls,
        items: Sequence[Hashable],
        annotators: Sequence[Hashable],
        labels: Sequence[Hashable],
        *,
        classes: Sequence[Hashable] = (),
    ) -> Labels:
        """Return columns from plain sequences of equal length; `classes` come first, in the order given.

        Raises `Invalid` when the lengths differ or there is no label.
        """
        if not len(items) == len(annotators) == len(labels):
            raise Invalid(
                f"found {len(items)} items, {len(annotators)} annotators and {len(labels)} labels; "
                "give one of each per judgement"
            )
        if not len(items):
            raise Invalid("there is no judgement; give at least one")
        item_codes, item_names = _encode(items)
        annotator_codes, annotator_names = _encode(annotators)
        label_codes, label_names = _encode(labels, known=classes)
        return cls(
            item_codes, annotator_codes, label_codes, item_names, annotator_names, label_names
        )

    def __len__(self) -> int:
        return len(self.items)


@dataclass(frozen=True, slots=True, eq=False)
class Consensus:
    """The estimate of `dawid_skene`.

    `posteriors` f64[items, classes] are the probabilities of each item's true class. `confusion`
    f64[annotators, classes, classes] holds P(says l | truth is k) at [a, k, l]. `reliability` f64[annotators]
    is the probability that the annotator is right on an item drawn from `prior` f64[classes].
    """

    labels: Labels
    posteriors: Floats
    confusion: Floats
    reliability: Floats
    prior: Floats
    iterations: int
    has_converged: bool

    def best(self) -> dict[Any, Any]:
        """Return the likeliest class of each item; the class listed first wins a tie."""
        chosen = np.argmax(self.posteriors, axis=1).tolist()
        classes = self.labels.classes
        return {
            name: classes[code] for name, code in zip(self.labels.item_names, chosen, strict=True)
        }


def dawid_skene(
    labels: Labels,
    goldens: Mapping[Any, Any] | None = None,
    *,
    diagonal: float = 1.0,
    smoothing: float = 0.01,
    iterations: int = 100,
    tolerance: float = 1e-2,
) -> Consensus:
    """Return the consensus of `labels` by expectation maximisation.

    `goldens` (item name -> class) are known to be true: their posteriors stay fixed, so that a crowd that is
    mostly wrong cannot turn the classes around. `diagonal` is how many right answers per class every
    annotator is credited with beforehand and `smoothing` how many of every other answer, which settles
    annotators with few labels. It stops when no posterior moves by more than `tolerance`.
    Raises `Invalid` when a golden names an item or a class without any judgement, or a parameter is out of range.
    """
    _check_em(diagonal, smoothing, iterations=iterations, tolerance=tolerance)
    fixed_items, fixed = _anchors(labels, goldens or {})
    credit = smoothing + diagonal * np.eye(len(labels.classes))
    ordered = _ByItem(labels)
    posteriors = _start(ordered, credit, fixed_items=fixed_items, fixed=fixed)
    # The start gives posteriors only, and an E step needs confusions: so an M step comes first.
    confusion, prior = ordered.maximise(posteriors, credit)
    done, has_converged = 0, False
    while done < iterations and not has_converged:
        before = posteriors
        posteriors = ordered.expect(confusion, prior)
        # Again after each E step, which knows no goldens and would let the crowd overrule them.
        posteriors[fixed_items] = fixed
        confusion, prior = ordered.maximise(posteriors, credit)
        has_converged = bool(np.max(np.abs(posteriors - before)) <= tolerance)
        done += 1
    # Σₖ P(truth is k) · P(says k | truth is k).
    reliability = np.einsum("akk,k->a", confusion, prior)
    return Consensus(labels, posteriors, confusion, reliability, prior, done, has_converged)


def majority(labels: Labels) -> dict[Any, Any]:
    """Return the commonest label of each item; the class listed first wins a tie."""
    chosen = np.argmax(_ByItem(labels).shares(), axis=1).tolist()
    return {
        name: labels.classes[code] for name, code in zip(labels.item_names, chosen, strict=True)
    }


def peers_belief(consensus: Consensus) -> tuple[Floats, Codes]:
    """Return, for each judgement, the belief that all *other* judgements support, and how many these are.

    The belief is f64[n, classes]: the item's posterior with this judgement taken out, so that no
    judgement supports itself. Goldens count as if they were given: pass their truth by other means.
    """
    labels = consensus.labels
    # The posterior is a product over judgements, so in logarithms one judgement is taken out by subtraction.
    own = np.log(consensus.confusion[labels.annotators, :, labels.labels] + _TINY)
    total = np.log(np.maximum(consensus.prior, _TINY)) + _sums_by(
        own, labels.items, count=len(labels.item_names)
    )
    without = total[labels.items] - own
    others = np.bincount(labels.items, minlength=len(labels.item_names))[labels.items] - 1
    return _softmax(without), others


def kappa(
    first: Sequence[Hashable],
    second: Sequence[Hashable],
    *,
    weights: Literal["none", "linear", "quadratic"] = "none",
    classes: Sequence[Hashable] = (),
) -> float | None:
    """Return Cohen's kappa of two raters of the same items; None when chance alone explains everything.

    `weights` other than "none" forgive near misses and need `classes` in their order.
    Raises `Invalid` when the raters judged different numbers of items, or none.
    """
    if len(first) != len(second) or not len(first):
        raise Invalid(
            f"the raters judged {len(first)} and {len(second)} items; give the same items, at least one"
        )
    if weights != "none" and not classes:
        raise Invalid("weighted kappa needs `classes`, listed from lowest to highest")
    codes, names = _encode([*first, *second], known=classes)
    size = len(names)
    table = np.bincount(codes[: len(first)] * size + codes[len(first) :], minlength=size * size)
    seen = table.reshape(size, size) / len(first)
    by_chance = np.outer(seen.sum(axis=1), seen.sum(axis=0))
    cost = _costs(size, weights)
    expected = float((cost * by_chance).sum())
    # 1 - Σ cost · observed ÷ Σ cost · expected (Cohen 1968); costs of 0 and 1 give the kappa of 1960.
    return None if expected == 0 else 1 - float((cost * seen).sum()) / expected


def alpha(labels: Labels, *, level: Level = "nominal") -> float | None:
    """Return Krippendorff's alpha over any number of annotators, with judgements missing at will.

    1 is perfect agreement, 0 what chance gives, below 0 systematic disagreement. "ordinal" reads the order of
    `labels.classes`; "interval" needs classes that are numbers. None when it is undefined: no item was judged
    twice, or all pairable values are the same.
    Raises `Invalid` for an interval scale over classes that are not numbers.
    """
    size, count = len(labels.classes), len(labels.item_names)
    table = np.bincount(labels.items * size + labels.labels, minlength=count * size)
    values = table.reshape(count, size).astype(np.float64)
    judged = values.sum(axis=1)
    # Values that nobody else paired with say nothing about agreement (Krippendorff 2011, section C).
    values, judged = values[judged > 1], judged[judged > 1]
    # The coincidence matrix: each pair within an item weighs 1 ÷ (judgements - 1), and no value pairs with itself.
    pairs = (values.T / (judged - 1)) @ values - np.diag((values.T / (judged - 1)).sum(axis=1))
    marginal = pairs.sum(axis=1)
    n = float(marginal.sum())
    distance = _distances(labels.classes, marginal, level=level)
    # n - 1 below, since the pairs that chance makes are drawn without putting the first value back.
    expected = float(marginal @ distance @ marginal)
    return None if expected == 0 else 1 - (n - 1) * float((pairs * distance).sum()) / expected


class _ByItem:
    """Labels sorted by item, so that sums per item are runs; made once per estimation."""

    def __init__(self, labels: Labels) -> None:
        self._classes = len(labels.classes)
        self._annotators = len(labels.annotator_names)
        order = np.argsort(labels.items, kind="stable")
        self._items = labels.items[order]
        self._said = labels.labels[order]
        # One key per (annotator, label): the row of the transposed confusion, and the bin of its counts.
        self._keys = labels.annotators[order] * self._classes + self._said
        self._starts = np.flatnonzero(np.diff(self._items, prepend=-1))
        self._per_item = np.diff(np.append(self._starts, len(self._items)))

    def shares(self) -> Floats:
        """Return the share of the votes that each class got, per item."""
        count = len(self._starts)
        votes = np.bincount(
            self._items * self._classes + self._said, minlength=count * self._classes
        )
        return votes.reshape(count, self._classes) / self._per_item[:, None]

    def expect(self, confusion: Floats, prior: Floats) -> Floats:
        """Return the posteriors of all items (the E step)."""
        # Class by class: sums over runs of a flat array are several times faster than over rows.
        # Equation 2.5 of Dawid and Skene, in logarithms: a product of hundreds of probabilities would underflow.
        logs = np.empty((self._classes, len(self._starts)))
        for k in range(self._classes):
            spoken = np.log(confusion[:, k, :].reshape(-1) + _TINY)
            np.add.reduceat(spoken[self._keys], self._starts, out=logs[k])
            logs[k] += np.log(prior[k] + _TINY)
        return _softmax(logs.T)

    def maximise(self, posteriors: Floats, credit: Floats) -> tuple[Floats, Floats]:
        """Return confusions and prior that fit `posteriors` best (the M step)."""
        bins = self._annotators * self._classes
        counts = np.empty((self._annotators, self._classes, self._classes))
        for k in range(self._classes):
            spread = np.repeat(posteriors[:, k], self._per_item)
            found = np.bincount(self._keys, weights=spread, minlength=bins)
            counts[:, k, :] = found.reshape(self._annotators, self._classes)
        # A Dirichlet prior: equations 2.3 and 2.4 alone give an annotator with one label a certainty of 0 or 1.
        counts += credit
        return counts / counts.sum(axis=2, keepdims=True), posteriors.mean(axis=0)


def _check_em(diagonal: float, smoothing: float, *, iterations: int, tolerance: float) -> None:
    if diagonal < 0 or smoothing <= 0 or iterations < 1 or tolerance < 0:
        raise Invalid(
            f"found diagonal {diagonal}, smoothing {smoothing}, iterations {iterations}, tolerance "
            f"{tolerance}; expected diagonal and tolerance of at least 0, smoothing above 0, iterations from 1"
        )


def _start(ordered: _ByItem, credit: Floats, *, fixed_items: Codes, fixed: Floats) -> Floats:
    """Return the posteriors to start from: the votes, or what the goldens say of those who voted.

    With goldens the first confusions come from them alone. A start from all votes would already believe the
    majority, and expectation maximisation stays near where it starts.
    """
    votes = ordered.shares()
    if not len(fixed_items):
        return votes
    known = np.zeros_like(votes)
    known[fixed_items] = fixed
    posteriors = ordered.expect(ordered.maximise(known, credit)[0], votes.mean(axis=0))
    posteriors[fixed_items] = fixed
    return posteriors


def _anchors(labels: Labels, goldens: Mapping[Any, Any]) -> tuple[Codes, Floats]:
    """Return the codes of golden items, and their one-hot posteriors."""
    items = {name: code for code, name in enumerate(labels.item_names)}
    classes = {name: code for code, name in enumerate(labels.classes)}
    try:
        at = np.array([items[name] for name in goldens], dtype=np.int64)
        truth = np.array([classes[name] for name in goldens.values()], dtype=np.int64)
    except KeyError as error:
        raise Invalid(
            f"a golden names {error.args[0]!r}, which no judgement uses; drop it or declare it in `classes`"
        ) from None
    return at, np.eye(len(classes))[truth]


def _encode(
    values: Sequence[Hashable], *, known: Sequence[Hashable] = ()
) -> tuple[Codes, tuple[Any, ...]]:
    """Return the code of each value, in order of first appearance after those `known`."""
    codes: dict[Hashable, int] = {name: code for code, name in enumerate(known)}
    plain = list(values)
    for value in dict.fromkeys(plain):
        codes.setdefault(value, len(codes))
    found = np.fromiter(map(codes.__getitem__, plain), dtype=np.int64, count=len(plain))
    return found, tuple(codes)


def _sums_by(values: Floats, groups: Codes, *, count: int) -> Floats:
    # `bincount` takes weights of one dimension only, and reads them fastest where they are contiguous.
    columns = [
        np.bincount(groups, weights=column, minlength=count)
        for column in np.ascontiguousarray(values.T)
    ]
    return np.stack(columns, axis=1)


def _softmax(logs: Floats) -> Floats:
    """Return the shares of each row, column by column: rows are short, columns are long."""
    columns = np.ascontiguousarray(logs.T)
    # Less the maximum: the shares are the same, and no exponent can overflow.
    raised = np.exp(columns - columns.max(axis=0))
    shares: Floats = (raised / raised.sum(axis=0)).T
    return shares


def _costs(size: int, weights: Literal["none", "linear", "quadratic"]) -> Floats:
    apart = np.abs(np.subtract.outer(np.arange(size), np.arange(size))).astype(np.float64)
    match weights:
        case "none":
            return (apart > 0).astype(np.float64)
        case "linear":
            return apart
        case "quadratic":
            return apart**2


def _distances(classes: tuple[Any, ...], marginal: Floats, *, level: Level) -> Floats:
    """Return the squared distance between every two classes, as the scale's level defines it."""
    match level:
        case "nominal":
            return 1 - np.eye(len(classes))
        case "ordinal":
            # Krippendorff's ordinal metric: the values between two classes, and half of the values of each.
            middle = np.cumsum(marginal) - marginal / 2
            return np.subtract.outer(middle, middle) ** 2
        case "interval":
            try:
                values = np.array(classes, dtype=np.float64)
            except (TypeError, ValueError):
                raise Invalid(
                    "an interval scale needs numbers as classes; use 'nominal' or 'ordinal' for names"
                ) from None
            return np.subtract.outer(values, values) ** 2
