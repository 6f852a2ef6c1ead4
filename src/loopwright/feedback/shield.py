"""How a refused item is kept: without personal data, so that it can be replayed and erased.

Every string is redacted, whichever member it stands in; what stands in the place of a user id or an address becomes a
pseudonym, which erasure can find, or a digest. An item that is too large is cut. One that was cut, or changed
where a replay would need it as it was, cannot be replayed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from loopwright.core.digest import pseudonym
from loopwright.core.text import Redactor
from loopwright.people import Person
from loopwright.people.pseudonyms import address_pseudonym

from .draft import FREE_TEXT

BODY_BYTES: Final = 65_536
KEPT_CHARS: Final = 1024
"""Longest string that is kept of a body that is too large."""

PERSON: Final = "person:"
ADDRESS: Final = "address:"
"""Prefixes of the pseudonyms that replace user ids and addresses."""

HIDDEN: Final = "hidden:"
"""Prefix of the digest of what stands in the place of a user id and is none."""

USER_MEMBERS: Final = frozenset(
    {"user_id", "user", "customer_id", "customer", "reviewer", "reviewer_id", "person", "email"}
)
"""Also without underscores and in any case, as `userId`."""
ADDRESS_MEMBERS: Final = frozenset({"ip_address", "ip", "address"})
TOKEN_MEMBERS: Final = frozenset({"request_id"})

PEOPLE: Final = 100
"""Most people of one body that are looked up; others are digested."""
LONG_NUMBER: Final = 9
"""Digits from which a number may be a phone's or a card's."""
SHORTEST: Final = 3
QUOTED: Final = 60
"""Characters of a value that an error quotes."""


class Shielded(msgspec.Struct, frozen=True):
    """A body without personal data, the pseudonyms in it, and whether it is complete."""

    body: Any
    persons: tuple[str, ...]
    is_whole: bool
    changed: dict[str, str] = {}
    """Each text that was taken out, and what stands for it: not to be stored."""


def shield(
    item: Any,
    *,
    key: bytes,
    redactor: Redactor,
    resolve: Callable[[Sequence[str]], Mapping[str, Person]],
) -> Shielded:
    """Return `item` as the quarantine may keep it."""
    persons = resolve(list(dict.fromkeys(_users(item)))[:PEOPLE])
    shielding = _Shielding(key, redactor, persons)
    # Before it is cut: half of an address would not be found.
    item = shielding.value(item, "")
    if len(encode_body(item)) > BODY_BYTES:
        shielding.is_whole = False
        what = "a list" if isinstance(item, list) else "an object"
        item = _cut(item)
        if len(encode_body(item)) > BODY_BYTES:
            item = {"cut": f"{what} larger than {BODY_BYTES} bytes"}
    people = tuple(sorted({p.id for p in persons.values()}))
    return Shielded(item, people, shielding.is_whole, shielding.changed)


def known_person(user_id: str) -> str | None:
    """Return the pseudonym in a user id of a kept body."""
    return user_id[len(PERSON) :] if user_id.startswith(PERSON) else None


def known_address(address: str) -> str | None:
    """Return the pseudonym in an address of a kept body."""
    return address[len(ADDRESS) :] if address.startswith(ADDRESS) else None


def _users(value: Any, name: str = "") -> list[str]:
    """Return what stands in the places of user ids, whatever its type."""
    if isinstance(value, dict):
        return [
            user
            for inner, v in value.items()
            for user in _users(v, name if _is_user(name) else inner)
        ]
    if isinstance(value, list):
        return [user for inner in value for user in _users(inner, name)]
    if not _is_user(name) or value is None or isinstance(value, bool) or value == "":
        return []
    return [value if isinstance(value, str) else str(value)]


def _is_user(name: str) -> bool:
    return name.replace("_", "").lower() in _USER_MEMBERS


class _Shielding:
    """Goes through one body; `changed` holds each text that was taken out and what stands for it."""

    def __init__(self, key: bytes, redactor: Redactor, persons: Mapping[str, Person]) -> None:
        self._key = key
        self._redactor = redactor
        self._persons = persons
        self.is_whole = True
        self.changed: dict[str, str] = {}

    def value(self, value: Any, name: str) -> Any:
        """Return a value without personal data; `name` is the member that it stands in."""
        if isinstance(value, str):
            return self._text(value, name)
        if isinstance(value, dict):
            if _is_user(name):
                return self._digest(value)
            return {self._name(inner): self.value(v, inner) for inner, v in value.items()}
        if isinstance(value, list):
            return self._digest(value) if _is_user(name) else [self.value(v, name) for v in value]
        if value is None or isinstance(value, bool):
            return value
        return self._number(value, name)

    def _text(self, text: str, name: str) -> str:
        if _is_user(name):
            if not text:
                return text
            person = self._persons.get(text)
            return self._put(text, self._hidden(text) if person is None else PERSON + person.id)
        if name in ADDRESS_MEMBERS:
            return self._put(text, ADDRESS + address_pseudonym(self._key, text))
        if name in TOKEN_MEMBERS and _TOKEN.fullmatch(text):
            # Sealed, and a replay needs it as it is.
            return text
        redacted = self._redactor.redact(text, self._key).text
        if redacted != text and name not in _FREE_TEXT:
            # An id that was changed would be taken for another one.
            self.is_whole = False
        return self._put(text, redacted)

    def _name(self, name: str) -> str:
        if _PLAIN_NAME.fullmatch(name):
            return name
        redacted = self._redactor.redact(name, self._key).text
        self.is_whole = self.is_whole and redacted == name
        return self._put(name, redacted)

    def _number(self, number: float, name: str) -> Any:
        spelt = str(number)
        if _is_user(name):
            self.is_whole = False
            person = self._persons.get(spelt)
            return self._put(spelt, self._hidden(spelt) if person is None else PERSON + person.id)
        if len(spelt) < LONG_NUMBER or not isinstance(number, int):
            return number
        redacted = self._redactor.redact(spelt, self._key).text
        if redacted == spelt:
            return number
        self.is_whole = False
        return self._put(spelt, redacted)

    def _digest(self, value: Any) -> str:
        """Return what stands for an object or a list in the place of a user id."""
        self.is_whole = False
        for leaf in _users(value, "user"):
            self._put(leaf, HIDDEN)
        return self._hidden(encode_body(value))

    def _hidden(self, text: str) -> str:
        self.is_whole = False
        return HIDDEN + pseudonym(self._key, text)

    def _put(self, text: str, instead: str) -> str:
        if instead != text:
            self.changed[text] = instead
        return instead


_FREE_TEXT: Final = FREE_TEXT | {"before", "after"}
_USER_MEMBERS: Final = frozenset(name.replace("_", "") for name in USER_MEMBERS)
_PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z_.-]{0,63}")
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{60,}")


def shielded_reason(reason: str, shielded: Shielded, *, key: bytes, redactor: Redactor) -> str:
    """Return the sentence that says why a body was refused, without what was taken out of the body.

    Sentences quote values, long ones only in part.
    """
    for text, instead in sorted(shielded.changed.items(), key=lambda pair: -len(pair[0])):
        for spelt in dict.fromkeys((repr(text), repr(text)[:QUOTED], text)):
            # A single letter stands in every sentence; where it is a value it is quoted.
            if len(spelt) >= SHORTEST:
                reason = reason.replace(spelt, instead)
    return redactor.redact(reason, key).text


def _cut(value: Any) -> Any:
    if isinstance(value, str):
        return value if len(value) <= KEPT_CHARS else f"{value[:KEPT_CHARS]}…"
    if isinstance(value, dict):
        return {name: _cut(inner) for name, inner in value.items()}
    return [_cut(inner) for inner in value] if isinstance(value, list) else value


def lenient(item: bytes) -> Any:
    """Return JSON that strict decoding refuses as far as it can be kept, for people to look at.

    Half surrogate pairs and bytes that are not UTF-8 become U+FFFD, and numbers beyond a float their text.
    """
    try:
        return _without_surrogates(
            json.loads(
                item.decode("utf-8", "replace"), parse_float=_float_or_text, parse_constant=str
            )
        )
    except (ValueError, RecursionError):
        return {"cut": f"{len(item)} bytes that are no JSON"}


def _float_or_text(digits: str) -> float | str:
    number = float(digits)
    return number if math.isfinite(number) else digits


def _without_surrogates(value: Any) -> Any:
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, dict):
        return {
            _without_surrogates(name): _without_surrogates(inner) for name, inner in value.items()
        }
    return [_without_surrogates(inner) for inner in value] if isinstance(value, list) else value


_SURROGATE: Final = re.compile("[\ud800-\udfff]")


def encode_body(body: Any) -> str:
    """Return a refused body as JSON."""
    # Not msgspec: a refused body may hold integers of more than 64 bits.
    return json.dumps(body, ensure_ascii=False)
