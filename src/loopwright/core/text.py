"""The two ports of free text, redaction and classification, and the values that they exchange."""

from __future__ import annotations

from functools import cached_property
from typing import Final, Protocol

import msgspec

READ_CHARS: Final = 4096
"""How much of a text a classifier reads: the subject of a comment is clear by then, and a megabyte pasted into one
cannot hold up intake."""

Span = tuple[str, int, int, str]
"""A find: its kind, where it begins and ends, and the normalised value that its token is made from."""


class Redacted(msgspec.Struct, frozen=True):
    """A text without what was found in it, how many of each kind that was, and by whose rules."""

    text: str
    counts: dict[str, int]
    version: str


class Redactor(Protocol):
    """Replaces personal data and secrets in free text."""

    @property
    def version(self) -> str:
        """Name the rules, so that what an older version missed can be found again."""
        ...

    def redact(self, text: str, key: bytes) -> Redacted:
        """Return `text` with stable tokens, made with the tenant's `key`, in place of what is found."""
        ...


class Finder(Redactor, Protocol):
    """A redactor that can also say where its finds are, so that another one can add its own."""

    def find(self, text: str) -> list[Span]:
        """Return the finds from left to right, without overlap."""
        ...


# `dict=True` gives `cached_property` a place to store: a struct has none by itself.
class Scores(msgspec.Struct, frozen=True, dict=True):
    """The probability of each label, adding up to 1, and who says so."""

    probabilities: dict[str, float]
    version: str

    @cached_property
    def label(self) -> str:
        """The likeliest label; of equals the one declared first."""
        return max(self.probabilities, key=self.probabilities.__getitem__)

    @cached_property
    def mood(self) -> float:
        """How much likelier positive is than negative, from -1 to 1; 0 where these are no labels."""
        shares = self.probabilities
        return round(shares.get("positive", 0.0) - shares.get("negative", 0.0), 4)

    @property
    def probability(self) -> float:
        """How likely that is."""
        return self.probabilities[self.label]


class Classifier(Protocol):
    """Says which of its labels fits a text."""

    @property
    def labels(self) -> tuple[str, ...]:
        """Return the labels it chooses from."""
        ...

    @property
    def version(self) -> str:
        """Name the rules or the weights, so that a trend never mixes two of them."""
        ...

    def classify(self, text: str) -> Scores:
        """Return the probability of each label for `text`."""
        ...
