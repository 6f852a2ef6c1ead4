"""Redaction with Microsoft Presidio on top of built-in rules; needs the extra `pii`.

The rules go first and keep their tokens; Presidio adds identifiers that they do not know, such as national numbers and
wallets. Only its patterns are used, without a language model, so it finds no names. It looks for the listed entities
only, because others of its patterns (bank numbers, dates, UUIDs) mistake order numbers and ids for personal data. A
text of 1 KB takes about a quarter of a millisecond, several times as long as the rules alone.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from importlib import import_module, metadata
from typing import Any, Final

from loopwright.core.errors import SettingsInvalid
from loopwright.core.text import Finder, Redacted, Span

ENTITIES: Final = (
    "CRYPTO",
    "MAC_ADDRESS",
    "MEDICAL_LICENSE",
    "US_ITIN",
    "US_SSN",
)
"""The entities that are searched for by default, by Presidio's names.

Not `UK_NHS`: one in eleven numbers of ten digits passes its check, and order numbers have ten digits.
"""
LEAST_SCORE: Final = 0.5


class PresidioRedactor:
    """The finds of `rules`, and beside them Presidio's for `entities` whose score is at least `least_score`."""

    def __init__(
        self,
        rules: Finder,
        entities: Sequence[str] = ENTITIES,
        *,
        least_score: float = LEAST_SCORE,
    ) -> None:
        """Load Presidio, which takes seconds.

        Raises `SettingsInvalid` when it is not installed, or does not know one of `entities`.
        """
        if not LEAST_SCORE <= least_score <= 1:
            raise SettingsInvalid(f"least_score is {least_score}; give {LEAST_SCORE} to 1")
        # Imported here and not above: the extra may be missing, and loading takes seconds.
        analyzer = _presidio()
        nlp = _NoLanguage(import_module("presidio_analyzer.nlp_engine").NlpArtifacts)
        registry = analyzer.RecognizerRegistry()
        # Without an engine given, Presidio loads the large English model of spaCy.
        registry.load_predefined_recognizers(languages=["en"], nlp_engine=nlp)
        # Names and places need a language model. An entity without a pattern would be accepted and never found,
        # so it is refused.
        patterned = {
            name
            for recognizer in registry.recognizers
            if isinstance(recognizer, analyzer.PatternRecognizer)
            for name in recognizer.supported_entities
        }
        if strange := sorted(set(entities) - patterned) or not entities:
            raise SettingsInvalid(
                f"Presidio has no pattern for {strange if entities else 'an empty list'}; "
                f"it has {sorted(patterned)}"
            )
        self._entities, self._least_score = sorted(entities), least_score
        self._engine = analyzer.AnalyzerEngine(
            registry=registry, nlp_engine=nlp, supported_languages=["en"]
        )
        self._rules = rules
        said = f"{self._entities}{least_score}".encode()
        # Its patterns change with its releases: the same settings and another release are another redaction.
        installed = metadata.version("presidio-analyzer")
        digest = blake2b(said, digest_size=4).hexdigest()
        self.version = f"{self._rules.version}+presidio-{installed}-{digest}"

    def redact(self, text: str, key: bytes) -> Redacted:
        """Return `text` with a token for every find of the rules, and for Presidio's beside them.

        Raises `SettingsInvalid` when the key does not have 16 to 64 bytes.
        """
        by_rules = self._rules.redact(text, key)
        if not text.strip():
            return Redacted(text, {}, self.version)
        # Most texts have nothing to hide; then the second scan by the rules is saved.
        ours: list[Span] = self._rules.find(text) if by_rules.counts else []
        added = list(_beside(ours, self._found(text)))
        if not added:
            return Redacted(by_rules.text, by_rules.counts, self.version)
        parts: list[str] = []
        counts: dict[str, int] = {}
        done = 0
        # Both kinds of finds are replaced in one pass: a second pass could find digits within the tokens of the
        # first.
        for kind, start, end, normal in sorted([*ours, *added], key=lambda span: span[1]):
            # Keyed: a bare digest of a number of ten digits is reversed by trying all of them. NUL keeps kind
            # and value apart.
            token = hmac.digest(key, f"{kind}\0{normal}".encode("utf-8", "surrogatepass"), "sha256")
            parts += text[done:start], f"<{kind}:{token.hex()[:10]}>"
            counts[kind] = counts.get(kind, 0) + 1
            done = end
        parts.append(text[done:])
        return Redacted("".join(parts), counts, self.version)

    def _found(self, text: str) -> Iterator[Span]:
        """Yield Presidio's finds, the surest and longest first."""
        found = self._engine.analyze(
            text, language="en", entities=self._entities, score_threshold=self._least_score
        )
        # `_beside` keeps the first of two that overlap.
        for one in sorted(found, key=lambda one: (-one.score, one.start - one.end, one.start)):
            # Spaces and dashes do not make another number, so they do not make another token.
            normal = "".join(c for c in text[one.start : one.end] if c.isalnum())
            yield one.entity_type, one.start, one.end, normal


class _NoLanguage:
    """A language model that knows no words, because Presidio requires one; so only patterns find anything."""

    def __init__(self, artifacts: Any) -> None:
        self._artifacts = artifacts

    def load(self) -> None:
        """There is nothing to load."""

    def is_loaded(self) -> bool:
        """Say that it is ready."""
        return True

    def process_text(self, text: str, language: str) -> Any:
        """Return a result without any known word."""
        return self._artifacts(
            entities=[],
            tokens=[],
            tokens_indices=[],
            lemmas=[],
            nlp_engine=self,
            language=language,
        )

    def process_batch(
        self, texts: Iterable[str], language: str, **_: Any
    ) -> Iterator[tuple[str, Any]]:
        """Yield each text with its result."""
        for text in texts:
            yield text, self.process_text(text, language)

    def is_stopword(self, word: str, language: str) -> bool:
        """Say no: it knows no words."""
        return False

    def is_punct(self, word: str, language: str) -> bool:
        """Say no: it knows no words."""
        return False

    def get_supported_entities(self) -> list[str]:
        """Return that it finds nothing by itself."""
        return []

    def get_supported_languages(self) -> list[str]:
        """Return the language whose patterns are loaded; they hold for texts of any."""
        return ["en"]


def _presidio() -> Any:
    try:
        return import_module("presidio_analyzer")
    except ImportError as error:
        raise SettingsInvalid(
            f"redaction with Presidio needs the extra pii ({error}); run: pip install 'loopwright[pii]'"
        ) from error


def _beside(taken: Sequence[Span], found: Iterable[Span]) -> Iterator[Span]:
    """Yield the finds that overlap none of `taken` and none before them."""
    spans = list(taken)
    for span in found:
        if all(span[2] <= start or end <= span[1] for _, start, end, _ in spans):
            spans.append(span)
            yield span
