"""The built-in rules with a memory: what single words say is looked up once per word, not once per comment.

A set of groups of terms is a number with a bit for each, so that what the words of a comment say together is one
`or` over all of them. Rules that read the same comments share a `Vocabulary`: then it is one `or` for all of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Final

from loopwright.core.text import Scores

from .classify import CATEGORY_TERMS, SENTIMENT_TERMS, Group, RuleClassifier, words_of

# Far more than the words of a language in use; only random strings fill it.
REMEMBERED_WORDS: Final = 50_000


_Reading = tuple[str, list[str], list[int], int]
_NOTHING_READ: Final[_Reading] = ("", [], [], 0)


class Vocabulary(dict[str, int]):
    """What every word says to the rules that share it, learned at its first use; and the latest text that was read."""

    def __init__(self) -> None:
        super().__init__()
        self._rules: list[RememberedRules] = []
        self._numbers: set[str] = set()
        self._bits = 0
        self._latest = _NOTHING_READ

    def join(self, rules: RememberedRules, terms: Iterable[str], *, bits: int) -> int:
        """Let `rules` say something of words with so many bits of their own; return the place of the first."""
        first, self._bits = self._bits, self._bits + bits
        self._rules.append(rules)
        self._numbers.update([word for word in terms if word[0].isdigit()])
        # Cached words know nothing of the new rules.
        self.clear()
        self._latest = _NOTHING_READ
        return first

    def read(self, text: str) -> tuple[list[str], list[int], int]:
        """Return the words of `text`, what each says, and what all say together."""
        read, words, each, together = self._latest
        # Two classifiers read the same comment one after the other.
        if read is not text:
            words = words_of(text)
            each = list(map(self.__getitem__, words))
            together = reduce(or_, each, 0)
            self._latest = (text, words, each, together)
        return words, each, together

    def __missing__(self, word: str) -> int:
        # Numbers are endless, and they say nothing.
        if word[0].isdigit() and word not in self._numbers:
            return 0
        # Emptied whole: common words are back within a few comments, and no order of use has to be kept.
        if len(self) >= REMEMBERED_WORDS:
            self.clear()
        said = self[word] = reduce(or_, [rules.look_up(word) for rules in self._rules])
        return said


class RememberedRules(RuleClassifier):
    """`RuleClassifier` with the same answers and the same version, several times as fast at intake."""

    def __init__(
        self,
        terms: Mapping[str, Sequence[str]] = CATEGORY_TERMS,
        *,
        fallback: str = "quality",
        prior: float = 0.1,
        vocabulary: Vocabulary | None = None,
    ) -> None:
        super().__init__(terms, fallback=fallback, prior=prior)
        groups = [(label, number) for label in terms for number in range(len(terms[label]))]
        self._vocabulary = Vocabulary() if vocabulary is None else vocabulary
        self._seconds = {word for follows in self._phrases.values() for word in follows}
        spelt = self._whole.keys() | self._phrases.keys() | self._seconds
        first = self._vocabulary.join(self, spelt, bits=len(groups) + 2)
        # Two bits say whether the text has any first word, and any second word, of a phrase: without both it has none.
        self._opens, self._goes_on = 1 << first, 2 << first
        self._phrased = self._opens | self._goes_on
        self._bits = {group: 4 << first + place for place, group in enumerate(groups)}
        self._all = reduce(or_, self._bits.values(), 0)
        # Comments say few different things, so most scores are looked up; equal ones share one object.
        self._scores: dict[int, Scores] = {}

    def classify(self, text: str) -> Scores:
        """Return each label's share of the evidence."""
        words, each, said = self._vocabulary.read(text)
        if said & self._phrased == self._phrased:
            said = self._with_phrases(words, each, said)
        said &= self._all
        scores = self._scores.get(said)
        if scores is None:
            if len(self._scores) >= REMEMBERED_WORDS:
                self._scores.clear()
            scores = self._scores[said] = self._weighed(said)
        return scores

    def look_up(self, word: str) -> int:
        """Return what a word says that stands alone, and its part in phrases."""
        said = self._opens if word in self._phrases else 0
        said |= self._goes_on if word in self._seconds else 0
        return reduce(or_, map(self._bits.__getitem__, self._found([word])), said)

    def _with_phrases(self, words: list[str], each: list[int], said: int) -> int:
        """Return what a text says with its phrases: `each` is what its words say one by one, `said` together."""
        found: set[Group] = set()
        shown = each.copy()
        phrases = self._phrases
        # A phrase needs a second word, so the last word begins none.
        for i in [i for i, word in enumerate(words[:-1]) if word in phrases]:
            if words[i + 1] in phrases[words[i]]:
                for hidden in self._phrase(words, i, found=found):
                    shown[hidden] = 0
        if found:
            said = reduce(or_, map(self._bits.__getitem__, found), reduce(or_, shown))
        return said

    def _weighed(self, said: int) -> Scores:
        weights = dict.fromkeys(self.labels, self._prior)
        weights[self._fallback] += self._prior
        for (label, _), bit in self._bits.items():
            if said & bit:
                weights[label] += 1.0
        total = sum(weights.values())
        return Scores({label: w / total for label, w in weights.items()}, self.version)


def remembered_sentiment(vocabulary: Vocabulary | None = None) -> RememberedRules:
    """Return the rules for sentiment."""
    return RememberedRules(SENTIMENT_TERMS, fallback="neutral", prior=0.25, vocabulary=vocabulary)
