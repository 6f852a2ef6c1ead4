"""The stages in order, with a counter for each: validate → deduplicate → redact → enrich → classify → append → route."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import msgspec

from loopwright.core.decision import Decision
from loopwright.core.errors import BodyMalformed, LoopError, TokenForeign
from loopwright.core.ids import Ids
from loopwright.core.text import Classifier, Redactor
from loopwright.core.token import Signer
from loopwright.people import Person
from loopwright.people.pseudonyms import address_pseudonym
from loopwright.texts.redact import Rules
from loopwright.texts.wordmemo import RememberedRules, Vocabulary, remembered_sentiment

from .draft import Draft, Verify
from .memory import Memory
from .rewards import Shielded, unchanged
from .shield import known_address
from .stages.classify import classify
from .stages.enrich import enrich
from .stages.facts import Keyed, facts_of
from .stages.identify import Asked, Find, Taken, deduplicate
from .stages.redact import redact, with_texts
from .stages.validate import validate_item
from .wire import check_text


class Counter(msgspec.Struct):
    """How many items a stage saw, changed and refused."""

    seen: int = 0
    changed: int = 0
    refused: int = 0


class Pipeline:
    """The stages with their counters. Not safe to use from several threads at once."""

    def __init__(
        self,
        signer: Signer,
        *,
        find: Find,
        ids: Ids,
        redactor: Redactor | None = None,
        categories: Classifier | None = None,
        sentiments: Classifier | None = None,
        former: Taken | None = None,
        shielded: Shielded = unchanged,
    ) -> None:
        self.signer = signer
        self._shielded = shielded
        self.asks_others = False
        """Whether a classifier or redactor waits for another machine, so that `finish` belongs on a thread."""
        vocabulary = Vocabulary()
        # One vocabulary for both classifiers: a comment is cut into words once.
        self.categories = categories or RememberedRules(vocabulary=vocabulary)
        """The classifier of categories; an endpoint can take its place."""
        self.sentiments = sentiments or remembered_sentiment(vocabulary)
        self.redactor = redactor or Rules()
        self.counters: dict[str, Counter] = {
            name: Counter()
            for name in (
                "validate",
                "deduplicate",
                "redact",
                "enrich",
                "classify",
                "append",
                "route",
            )
        }
        self._find = find
        self._ids = ids
        self._former = former
        self._recall = Memory()

    def validate(
        self,
        items: Sequence[Any],
        path: str,
        *,
        tenant_id: str,
        received_ms: int,
        are_objects: bool = False,
    ) -> tuple[list[tuple[int, Draft]], dict[int, LoopError]]:
        """Read and validate items; return drafts and errors by the place of their item.

        Items that `are_objects` of Python, not decoded from JSON, may hold text that no log can store.
        """
        verify = _verifier(self.signer, self._shielded, tenant_id, received_ms)
        drafts: list[tuple[int, Draft]] = []
        errors: dict[int, LoopError] = {}
        flagged = 0
        for place, item in enumerate(items):
            try:
                if are_objects:
                    check_text(item)
                draft = validate_item(item, path, tenant_id, received_ms, verify, self._find)
            except BodyMalformed as error:
                # JSON as a whole must be UTF-8; anything else that cannot be decoded is this item's own fault.
                if type(item) is not msgspec.Raw or not _is_utf8(item):
                    raise
                errors[place] = error
                continue
            except LoopError as error:
                errors[place] = error
                continue
            flagged += bool(draft.note.flags)
            drafts.append((place, draft))
        self._count("validate", len(items), flagged, len(errors))
        return drafts, errors

    def finish(
        self,
        drafts: Sequence[Draft],
        persons: Mapping[str, Person],
        *,
        tenant_id: str,
        received_ms: int,
        key: bytes,
        is_replay: bool,
    ) -> list[Keyed]:
        """Take valid drafts through the other stages; return the facts of each with their keys."""
        hide_address = _hiding(key, is_replay=is_replay)
        identities = deduplicate(
            drafts,
            Asked(
                tenant_id=tenant_id,
                received_ms=received_ms,
                key=key,
                persons=persons,
                hide_address=hide_address,
                find=self._find,
                new_id=self._ids,
                former=self._former,
            ),
        )
        texts = with_texts(drafts)
        redacted = redact(texts, redactor=self.redactor, key=key)
        enriched = enrich(
            drafts,
            persons,
            tenant_id=tenant_id,
            received_ms=received_ms,
            hide_address=hide_address,
            recall=self._recall,
        )
        classified = classify(texts, categories=self.categories, sentiments=self.sentiments)
        for stage, changed in (
            ("deduplicate", sum([derived for _, _, derived in identities])),
            ("redact", redacted),
            ("enrich", enriched),
            ("classify", classified),
        ):
            self._count(stage, len(drafts), changed)
        return facts_of(
            drafts,
            identities,
            persons=persons,
            tenant_id=tenant_id,
            received_ms=received_ms,
            find=self._find,
        )

    def _count(self, stage: str, seen: int, changed: int, refused: int = 0) -> None:
        counter = self.counters[stage]
        counter.seen += seen
        counter.changed += changed
        counter.refused += refused


def _is_utf8(item: msgspec.Raw) -> bool:
    try:
        bytes(item).decode()
    except UnicodeDecodeError:
        return False
    return True


def _verifier(signer: Signer, shielded: Shielded, tenant_id: str, now_ms: int) -> Verify:
    def verify(token: str) -> Decision:
        decision = signer.verify(token, now_ms=now_ms)
        if decision.tenant_id != tenant_id:
            raise TokenForeign("request_id was issued to another tenant; use that tenant's API key")
        return shielded(decision)

    return verify


def _hiding(key: bytes, *, is_replay: bool) -> Callable[[str], str]:
    """Return the function that makes pseudonyms of addresses; in a replay some are pseudonyms already."""
    if is_replay:
        return lambda address: known_address(address) or address_pseudonym(key, address)
    return partial(address_pseudonym, key)
