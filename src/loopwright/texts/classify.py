"""The category of a comment and the mood of its writer, by rules that need no training data."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import Final

import msgspec

from loopwright.core.errors import Invalid
from loopwright.core.text import READ_CHARS, Scores

CATEGORIES: Final = (
    "accuracy",
    "latency",
    "cost",
    "error",
    "user_satisfaction",
    "quality",
    "security",
    "compliance",
)
SENTIMENTS: Final = ("negative", "neutral", "positive")


# One group for each thing that can be said, so that three words for one complaint do not outvote two complaints.
CATEGORY_TERMS: Final[Mapping[str, tuple[str, ...]]] = {
    "accuracy": (
        "wrong, incorrect*, inaccura*, false, mistake*, mistaken, untrue, not true, not right, not correct",
        "hallucinat*, made up, invents, invented, fabricat*, nonexistent, non existent, does not exist",
        "out of date, outdated, obsolete, stale, contradict*, misread*, misunderst*",
        "accura*, correct, correctly, precise, spot on, exactly right",
    ),
    "latency": (
        "slow*, lag, lags, laggy, lagging, latenc*, sluggish, delay, delays, delayed",
        "timeout*, timed out, time out, times out, too long to, forever, takes ages, still loading, still waiting, waiting for, load time",
        "fast, faster, quick, quicker, quickly, instant, instantly, responsive",
    ),
    "cost": (
        "cost, costs, costly, price*, pricing, pricey, expensive, cheap, cheaper, afford*, too much money",
        "bill, billed, billing, charge, charged, charges, invoice*, refund*, subscription*, budget, quota",
    ),
    "error": (
        "error, errors, exception*, traceback, stack trace, bug, bugs, buggy, broken, 404, 500, 502, 503, 504",
        "crash*, fail, fails, failed, failing, failure*, freezes, froze, frozen, not working, doesn't work, does not work, doesn't load, doesn't open",
        "blank page, blank screen, nothing happens, nothing happened, can't open, can't save, can't log, cannot open, cannot save, cannot log",
    ),
    "user_satisfaction": (
        "love, loved, loving, great, awesome, amazing, excellent, fantastic, perfect, thanks, thank you, happy",
        "hate, terrible, awful, horrible, useless, disappoint*, frustrat*, annoy*, unhappy, angry, waste of time",
        "helpful, unhelpful, satisfied, dissatisfied, recommend*, good job, well done",
    ),
    "quality": (
        "quality, vague, generic, shallow, verbose, too long, too short, rambl*, repetit*, repeats, repeated",
        "unclear, confus*, incoheren*, incomplete, missing, cut off, truncat*, irrelevant, off topic",
        "tone, format, formatting, grammar, spelling, typo, typos, wording, style, citation*, source, sources, well written, clear",
    ),
    "security": (
        "security, vulnerab*, exploit*, injection, injected, jailbreak*, xss, csrf, malware, phish*",
        "leak, leaks, leaked, leaking, breach*, expose, exposed, exposes, exposing, hack, hacked, hacker*, unauthorized, unauthorised, credential*",
        "password*, api key, api keys, secret, secrets, another customer's, another user's, other customers, other users, someone else's",
    ),
    "compliance": (
        "complian*, gdpr, hipaa, ccpa, sox, pci, iso 27001, regulat*, audit*, legal, legally, lawyer*, lawsuit*",
        "privacy, consent*, data protection, personal data, delete my data, delete my account, right to be forgotten, retention",
        "copyright*, licence*, license*, discriminat*, bias, biased, policy violation, terms of service, terms of use, minors",
    ),
}
"""Terms of each category, a group of like ones on a line: words, beginnings of words (`*`) and phrases."""

# Negated praise is listed as phrases: the longest phrase hides its words, so "good" in "not good" does not count.
SENTIMENT_TERMS: Final[Mapping[str, tuple[str, ...]]] = {
    "negative": (
        "not good, not great, not helpful, not right, not correct, not true, not happy, not useful, not working, not satisfied, not recommend, not easy, not nice, not clear, never again",
        "bad, wrong, poor, poorly, terrible, awful, horrible, useless, worse, worst, hate, broken, slow, annoy*, angry",
        "fail, fails, failed, failing, failure*, error, errors, crash*, disappoint*, frustrat*, confus*, unclear, misleading, ugly",
        "doesn't, don't, didn't, isn't, wasn't, can't, couldn't, wouldn't, won't, never works, waste, unfortunately, hallucinat*",
    ),
    "neutral": (),
    "positive": (
        "good, great, helpful, useful, happy, correct, right, clear",
        "love, loved, awesome, amazing, excellent, fantastic, perfect, brilliant, nice, wonderful, best, impress*",
        "thanks, thank you, well done, good job, recommend, recommended, exactly what, works well, works great, works fine, saved me, easy",
    ),
}

_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")


# One table look-up per byte splits and folds at once; `str.translate` would look up every character in a dict.
_SPACED: Final = bytes(
    ord(chr(code).lower()) if chr(code).isalnum() and code < 128 else ord(" ")
    for code in range(256)
)
"""Turns every byte of ASCII into a lower-case letter, a digit or a space."""


def words_of(text: str) -> list[str]:
    """Return the words of the beginning of a text, in small letters."""
    text = text[:READ_CHARS]
    # The same words, in a third of the time.
    if text.isascii() and "'" not in text:
        return text.encode().translate(_SPACED).decode().split()
    # Typographic apostrophes (U+2019) first: terms are written with the plain one.
    return _WORD.findall(text.casefold().replace("\u2019", "'"))


class RuleClassifier:
    """Scores each label by the terms that a text holds.

    `terms` gives each label groups of like terms, separated by commas: a word, the beginning of a word
    (`crash*`) or a phrase. A group counts once however often its terms occur. The longest phrase at a place
    wins and hides its words, so "not good" is not also "good". `prior` is what every label has before, and
    what `fallback` has on top, so a text without any term gets `fallback`. The shares are an order of
    evidence, not calibrated frequencies.
    """

    def __init__(
        self,
        terms: Mapping[str, Sequence[str]] = CATEGORY_TERMS,
        *,
        fallback: str = "quality",
        prior: float = 0.1,
    ) -> None:
        if fallback not in terms or prior <= 0:
            raise Invalid(
                f"fallback {fallback!r} with prior {prior}; give one of {sorted(terms)} and a prior above 0"
            )
        self.labels = tuple(terms)
        self._fallback, self._prior = fallback, prior
        self._index(terms)
        # From the rules themselves: a term that is added cannot be released under the old version.
        digest = msgspec.json.encode([list(map(list, terms.items())), fallback, prior])
        self.version = "rules-" + blake2b(digest, digest_size=4).hexdigest()

    def _index(self, terms: Mapping[str, Sequence[str]]) -> None:
        """Spread the terms over three tables: whole words, beginnings, and phrases by their first two words."""
        self._whole: dict[str, list[Group]] = {}
        self._begins: dict[str, list[Group]] = {}
        self._phrases: dict[str, dict[str, list[tuple[list[str], Group]]]] = {}
        for label, groups in terms.items():
            for number, group in enumerate(groups):
                for term in group.split(","):
                    words = term.split()
                    if len(words) > 1:
                        follows = self._phrases.setdefault(words[0], {})
                        follows.setdefault(words[1], []).append((words, (label, number)))
                    elif words[0].endswith("*"):
                        self._begins.setdefault(words[0][:-1], []).append((label, number))
                    else:
                        self._whole.setdefault(words[0], []).append((label, number))
        for follows in self._phrases.values():
            for phrases in follows.values():
                # Longest first, so that `_phrase` may stop counting shorter ones of the same place.
                phrases.sort(key=lambda phrase: -len(phrase[0]))
        self._lengths = sorted({len(begin) for begin in self._begins})

    def classify(self, text: str) -> Scores:
        """Return each label's share of the evidence."""
        # The prior keeps every share above 0 and one weak term from looking like certainty.
        weights = dict.fromkeys(self.labels, self._prior)
        weights[self._fallback] += self._prior
        for label, _ in self._found(words_of(text)):
            weights[label] += 1.0
        total = sum(weights.values())
        return Scores({label: w / total for label, w in weights.items()}, self.version)

    def _found(self, words: Sequence[str]) -> set[Group]:
        found: set[Group] = set()
        # Phrases before words: only then is known which words they hide.
        hidden: set[int] = set()
        for i, word in enumerate(words):
            if word in self._phrases:
                hidden.update(self._phrase(words, i, found=found))
        for word in {word for i, word in enumerate(words) if i not in hidden}:
            found.update(self._whole.get(word, ()))
            for length in self._lengths:
                found.update(self._begins.get(word[:length], ()))
        return found

    def _phrase(self, words: Sequence[str], at: int, *, found: set[Group]) -> range:
        """Take every label's longest phrase that begins at `at`; return the places it covers."""
        longest = 0
        following = words[at + 1] if at + 1 < len(words) else ""
        for phrase, group in self._phrases[words[at]].get(following, ()):
            if len(phrase) >= longest and words[at : at + len(phrase)] == phrase:
                found.add(group)
                longest = len(phrase)
        return range(at, at + longest)


Group = tuple[str, int]
"""A label and the number of one of its groups of terms."""


def sentiment_rules() -> RuleClassifier:
    """Return the rules for sentiment."""
    return RuleClassifier(SENTIMENT_TERMS, fallback="neutral", prior=0.25)
