"""Patterns of failure in texts: phrases that mark negative feedback, groups of alike texts, corrected queries.

References: Monroe, Colaresi and Quinn, "Fightin' Words: lexical feature selection and evaluation for
identifying the content of political conflict", Political Analysis 16 (2008); Weinberger et al., "Feature
hashing for large scale multitask learning", ICML 2009; Hartigan, "Clustering Algorithms" (1975), for leaders;
Dhillon and Modha, "Concept decompositions for large sparse text data using clustering" (2001), for the
refinement.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.core.errors import Invalid

from .intervals import Z95, Codes, Floats, Interval, wilson
from .stopwords import STOP_WORDS

Vectors = NDArray[np.float32]

LONGEST_PHRASE: Final = 3
READ_CHARACTERS: Final = 4000
"""Of a longer text only so much is read: a page of log in a comment is not ten thousand phrases."""

# Hashed places need no vocabulary: a text takes 2 KB, however many words there are.
_DIMENSIONS: Final = 512
# An apostrophe inside a word belongs to it: "doesn't" is one word.
_WORD: Final = re.compile(r"[^\W_]+(?:['\u2019][^\W_]+)*")
# A single quote opens only where no word ends: an apostrophe is not a quotation.
_QUOTED: Final = re.compile(
    r"(?<!\w)'[^']*'(?!\w)|\"[^\"]*\"|\u201c[^\u201d]*\u201d|(?<!\w)\u2018[^\u2019]*\u2019(?!\w)"
)
_NUMBER: Final = re.compile(r"\d+(?:[.,:/-]\d+)*")
_SPACE: Final = re.compile(r"[^\w#]+")


class Phrase(msgspec.Struct, frozen=True, kw_only=True):
    """A phrase of one to three words that is commoner in negative than in positive texts.

    `log_odds` is how much commoner, `z` how surely. `negative` and `positive` are weights of the texts with
    the phrase; `examples` are positions of negative texts, heaviest first.
    """

    phrase: str
    z: float
    log_odds: float
    negative: float
    positive: float
    examples: tuple[int, ...]


class Cluster(msgspec.Struct, frozen=True, kw_only=True):
    """Texts that are alike: positions of the members, the most typical one, and the words they share."""

    members: tuple[int, ...]
    weight: float
    example: int
    words: tuple[str, ...]


class CorrectedQuery(msgspec.Struct, frozen=True, kw_only=True):
    """A query that people correct, in its commonest spelling, with how often and by how many it was asked."""

    query: str
    asked: int
    corrected: int
    correctors: int
    rate: Interval


def words(text: str) -> list[str]:
    """Return the words of `text` in lower case, without punctuation."""
    # Composed before it is folded: full-width letters and ligatures give the words that they look like.
    plain = unicodedata.normalize("NFKC", text[:READ_CHARACTERS]).casefold()
    return _WORD.findall(plain)


def phrases(text: str, *, longest: int = LONGEST_PHRASE) -> set[str]:
    """Return the distinct phrases of one to `longest` words in `text`."""
    found = words(text)
    return {
        " ".join(found[start : start + length])
        for length in range(1, longest + 1)
        for start in range(len(found) - length + 1)
    }


def is_telling(phrase: str) -> bool:
    """Return whether a phrase has content: it neither begins nor ends with a function word or a lone letter."""
    found = phrase.split()
    return not any(
        # ASCII letters only: one Chinese or Japanese character can be a whole word.
        word in STOP_WORDS or (len(word) == 1 and word.isascii())
        for word in (found[0], found[-1])
    )


def failures(
    negative: Sequence[str],
    positive: Sequence[str],
    *,
    negative_weights: Sequence[float] | None = None,
    positive_weights: Sequence[float] | None = None,
    top: int = 20,
    least_texts: int = 3,
    least_z: float = Z95,
    prior: float = 500.0,
) -> tuple[Phrase, ...]:
    """Return the phrases that mark `negative` texts, surest first.

    A text counts a phrase once, by its trust weight, so repeating a word does not make it count more. The
    Dirichlet prior has the phrase shares of all texts together and is worth `prior` phrases: rare phrases are
    drawn towards "no difference". A phrase of nearly the same texts as a surer one is left out, and so is one that
    begins or ends with a function word: complaints are longer than praise, so "the" marks them as surely as any
    word does, and says nothing.
    Raises `Invalid` when weights and texts differ in number.
    """
    bad = _Corpus(negative, negative_weights)
    good = _Corpus(positive, positive_weights)
    # Phrases of one or two texts quote a person; they are no pattern.
    names = [name for name, rows in bad.texts.items() if len(rows) >= least_texts]
    if not names:
        return ()
    odds, z = log_odds(
        np.array([bad.weight[name] for name in names]),
        np.array([good.weight.get(name, 0.0) for name in names]),
        totals=(bad.total, good.total),
        prior=prior,
    )
    kept: list[int] = []
    # Ties go to the longer phrase, then to the alphabet, so that the answer does not depend on the order.
    for k in sorted(range(len(names)), key=lambda k: (-z[k], -len(names[k]), names[k])):
        if z[k] < least_z or len(kept) == top:
            break
        if is_telling(names[k]) and not any(
            _nearly_same(bad.texts[names[k]], bad.texts[names[other]]) for other in kept
        ):
            kept.append(k)
    return tuple(
        Phrase(
            phrase=names[k],
            z=float(z[k]),
            log_odds=float(odds[k]),
            negative=bad.weight[names[k]],
            positive=good.weight.get(names[k], 0.0),
            examples=bad.heaviest(names[k]),
        )
        for k in kept
    )


def log_odds(
    first: Floats, second: Floats, *, totals: tuple[float, float], prior: float
) -> tuple[Floats, Floats]:
    """Return the log-odds ratio of each phrase between two corpora, and its z score (Monroe et al., 15 to 22).

    `first` and `second` f64[n] are weights of the same phrases, `totals` those of all phrases of each corpus.
    The prior's phrase shares are those of both corpora together. Raises `Invalid` for a prior not above 0.
    """
    if prior <= 0:
        raise Invalid(f"prior is {prior}; it is a number of phrases above 0")
    # The informative prior: phrases in proportion to both corpora, so common words need much evidence.
    alpha = prior * (first + second) / sum(totals)
    odds = np.log((first + alpha) / (totals[0] + prior - first - alpha))
    odds -= np.log((second + alpha) / (totals[1] + prior - second - alpha))
    # The variance of a log-odds ratio is about the sum of the inverse counts.
    return odds, odds / np.sqrt(1 / (first + alpha) + 1 / (second + alpha))


def clusters(
    texts: Sequence[str],
    *,
    weights: Sequence[float] | None = None,
    likeness: float = 0.25,
    most: int = 200,
    least_texts: int = 2,
    rounds: int = 3,
) -> tuple[Cluster, ...]:
    """Return groups of alike texts, heaviest first; texts like no other are in none.

    Texts are hashed TF-IDF vectors. In order, each joins the leader it is most like, or becomes one while
    there are fewer than `most`; then centres and members settle for `rounds`. `likeness` is the cosine from
    which texts belong together. No randomness: the same texts give the same groups.
    Raises `Invalid` when weights and texts differ in number.
    """
    heavy = _weights(texts, weights)
    # Texts that share function words alone are not alike.
    tokens = [[word for word in words(text) if word not in STOP_WORDS] for text in texts]
    vectors = _tfidf(tokens)
    centres = vectors[_leaders(vectors, likeness=likeness, most=most)]
    home = _nearest(vectors, centres, likeness=likeness)
    # Leaders depend on the order of the texts; a few rounds of spherical k-means make up for most of it.
    for _ in range(rounds if len(centres) else 0):
        centres = _centres(vectors, home, heavy, count=len(centres))
        home = _nearest(vectors, centres, likeness=likeness)
    everywhere = Counter(word for found in tokens for word in set(found))
    made = []
    for k in range(len(centres)):
        members = np.flatnonzero(home == k)
        if len(members) >= least_texts:
            typical = members[int(np.argmax(vectors[members] @ centres[k]))]
            made.append(
                Cluster(
                    members=tuple(members.tolist()),
                    weight=float(heavy[members].sum()),
                    example=int(typical),
                    words=_shared_words([tokens[row] for row in members], everywhere),
                )
            )
    return tuple(sorted(made, key=lambda cluster: (-cluster.weight, cluster.example)))


def normalised(query: str) -> str:
    """Return one spelling for queries that differ only in case, spacing, punctuation, numbers and quotes."""
    plain = unicodedata.normalize("NFKC", query[:READ_CHARACTERS]).casefold()
    # Quotes before numbers: a number in a quoted value is part of it.
    plain = _NUMBER.sub("#", _QUOTED.sub("#", plain))
    return _SPACE.sub(" ", plain).strip()


def most_corrected(
    queries: Sequence[str],
    is_corrected: Sequence[bool],
    *,
    users: Sequence[str | None] | None = None,
    top: int = 10,
) -> tuple[CorrectedQuery, ...]:
    """Return the queries that most people corrected; one person who corrects often ranks after many who do so once.

    Without `users`, or where a user is None, every correction counts as another person's. Raises `Invalid` when
    the columns differ in length.
    """
    people = [None] * len(queries) if users is None else users
    if not len(queries) == len(is_corrected) == len(people):
        raise Invalid(
            f"found {len(queries)} queries, {len(is_corrected)} flags and {len(people)} users; give one per row"
        )
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, query in enumerate(queries):
        rows[normalised(query)].append(row)
    made = []
    for key, here in rows.items():
        wrong = [row for row in here if is_corrected[row]]
        if key and wrong:
            # Row numbers are integers and users are strings, so the unknown ones never coincide with the known.
            correctors = {row if people[row] is None else people[row] for row in wrong}
            spellings = Counter(queries[row] for row in here)
            made.append(
                CorrectedQuery(
                    query=min(spellings, key=lambda spelling: (-spellings[spelling], spelling)),
                    asked=len(here),
                    corrected=len(wrong),
                    correctors=len(correctors),
                    rate=wilson(len(wrong), len(here)),
                )
            )
    made.sort(key=lambda found: (-found.correctors, -found.corrected, found.query))
    return tuple(made[:top])


class _Corpus:
    """Texts as phrases: which texts hold each, and how much these weigh."""

    def __init__(self, texts: Sequence[str], weights: Sequence[float] | None) -> None:
        self._weights = _weights(texts, weights)
        self.texts: defaultdict[str, list[int]] = defaultdict(list)
        for row, text in enumerate(texts):
            if self._weights[row] > 0:
                for phrase in phrases(text):
                    self.texts[phrase].append(row)
        plain = self._weights.tolist()
        self.weight = {name: sum(plain[row] for row in rows) for name, rows in self.texts.items()}
        self.total = sum(self.weight.values())

    def heaviest(self, phrase: str, count: int = 3) -> tuple[int, ...]:
        """Return positions of the heaviest texts with `phrase`."""
        rows = self.texts[phrase]
        return tuple(sorted(rows, key=lambda row: (-self._weights[row], row))[:count])


def _weights(texts: Sequence[str], weights: Sequence[float] | None) -> Floats:
    if weights is not None and len(weights) != len(texts):
        raise Invalid(f"found {len(texts)} texts and {len(weights)} weights; give one per text")
    return np.ones(len(texts)) if weights is None else np.asarray(weights, dtype=np.float64)


def _nearly_same(rows: Sequence[int], others: Sequence[int]) -> bool:
    """Say whether four fifths of the texts of either are those of both."""
    # A phrase and the longer one that holds it stand in nearly the same texts, and should be shown once.
    both = len(set(rows) & set(others))
    return both >= 0.8 * min(len(rows), len(others)) and both >= 0.5 * max(len(rows), len(others))


def _tfidf(tokens: Sequence[Sequence[str]]) -> Vectors:
    """Return unit vectors f32[n, 512] of hashed words; a text without words is all 0."""
    counts = [Counter(found) for found in tokens]
    frequency = Counter(term for found in counts for term in found)
    vectors = np.zeros((len(tokens), _DIMENSIONS), dtype=np.float32)
    # crc32, unlike hash(), is the same in every process.
    place = {term: zlib.crc32(term.encode()) for term in frequency}
    rarity = {
        # As if one more text held every word: no division by 0, and a word of all texts keeps some weight.
        term: float(np.log((1 + len(tokens)) / (1 + seen))) + 1
        for term, seen in frequency.items()
    }
    for row, found in enumerate(counts):
        for term, times in found.items():
            # A sign of its own (Weinberger et al.): words that share a place cancel on average in place of adding up.
            sign = 1.0 if place[term] & 0x80000000 else -1.0
            vectors[row, place[term] % _DIMENSIONS] += sign * (1 + np.log(times)) * rarity[term]
    return _unit(vectors)


def _unit(vectors: Vectors) -> Vectors:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Vectors = (vectors / np.where(lengths > 0, lengths, 1)).astype(np.float32)
    return scaled


def _leaders(vectors: Vectors, *, likeness: float, most: int) -> Codes:
    """Return positions of texts that are like no leader before them."""
    leaders: list[int] = []
    nearest = np.full(len(vectors), -1.0, dtype=np.float32)
    has_words = vectors.any(axis=1)
    while len(leaders) < most:
        waiting = np.flatnonzero((nearest < likeness) & has_words)
        if not len(waiting):
            break
        leaders.append(int(waiting[0]))
        # Only the newest leader is new to compare with: n * leaders products in all, not n².
        nearest = np.maximum(nearest, vectors @ vectors[waiting[0]])
    return np.array(leaders, dtype=np.int64)


def _nearest(vectors: Vectors, centres: Vectors, *, likeness: float) -> Codes:
    """Return the centre that each text is most like, -1 where it is like none."""
    if not len(centres):
        return np.full(len(vectors), -1)
    alike = vectors @ centres.T
    best = np.argmax(alike, axis=1)
    return np.where(alike[np.arange(len(vectors)), best] >= likeness, best, -1)


def _centres(vectors: Vectors, home: Codes, heavy: Floats, *, count: int) -> Vectors:
    sums = np.zeros((count, _DIMENSIONS), dtype=np.float32)
    housed = home >= 0
    # `sums[home] += …` would add only one text for each centre.
    np.add.at(sums, home[housed], vectors[housed] * heavy[housed, None].astype(np.float32))
    return _unit(sums)


def _shared_words(members: Sequence[Sequence[str]], everywhere: Counter[str]) -> tuple[str, ...]:
    """Return up to five words of at least half of the members, rarest elsewhere first."""
    here = Counter(word for found in members for word in set(found))
    shared = [word for word, seen in here.items() if 2 * seen >= len(members)]
    # First the words that this group has for itself, then the commoner ones.
    shared.sort(key=lambda word: (-here[word] / everywhere[word], -here[word], word))
    return tuple(shared[:5])
