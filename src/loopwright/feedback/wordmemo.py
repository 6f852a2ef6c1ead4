"""The built-in rules with a memory: what single words say is looked up once per word, not once per comment."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from .classify import SENTIMENT_TERMS, RuleClassifier, Scores, _Group, _words

REMEMBERED_WORDS: Final = 50_000


class RememberedRules(RuleClassifier):
    """`RuleClassifier` with the same answers and the same version, several times as fast at intake."""

    _said: dict[str, tuple[_Group, ...]]

    def classify(self, text: str) -> Scores:
        """Return each label's share of the evidence."""
        weights = dict.fromkeys(self.labels, self._prior)
        weights[self._fallback] += self._prior
        for label, _ in self._found(_split(text)):
            weights[label] += 1.0
        total = sum(weights.values())
        return Scores({label: w / total for label, w in weights.items()}, self.version)

    def _found(self, words: Sequence[str]) -> set[_Group]:
        said = self.__dict__.setdefault("_said", {})
        found: set[_Group] = set()
        hidden: set[int] = set()
        if not self._phrases.keys().isdisjoint(words):
            for i, word in enumerate(words):
                if word in self._phrases:
                    hidden.update(self._phrase(words, i, found=found))
        for word in [w for i, w in enumerate(words) if i not in hidden] if hidden else words:
            groups = said.get(word)
            if groups is None:
                if (
                    word[0].isdigit() and word not in self._whole
                ):  # numbers are endless and say nothing
                    continue
                if len(said) >= REMEMBERED_WORDS:
                    said.clear()
                groups = said[word] = tuple(super()._found([word]))
            if groups:
                found.update(groups)
        return found


def remembered_sentiment() -> RememberedRules:
    """Return the rules for sentiment."""
    return RememberedRules(SENTIMENT_TERMS, fallback="neutral", prior=0.25)


@lru_cache(maxsize=4)
def _split(text: str) -> list[str]:
    # Two classifiers read the same comment one after the other.
    return _words(text)
