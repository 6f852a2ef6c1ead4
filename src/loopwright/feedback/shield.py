"""How a refused item is kept: without personal data, so that it can be replayed and erased.

Declared free text is redacted; user ids and addresses become pseudonyms, which erasure can find. An item that is too
large is cut, and then cannot be replayed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

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

USER_MEMBERS: Final = frozenset({"user_id", "user", "customer_id", "reviewer"})
ADDRESS_MEMBERS: Final = frozenset({"ip_address"})


class Shielded(msgspec.Struct, frozen=True):
    """A body without personal data, the pseudonyms in it, and whether it is complete."""

    body: Any
    persons: tuple[str, ...]
    is_whole: bool


def shield(
    item: Any,
    *,
    key: bytes,
    redactor: Redactor,
    resolve: Callable[[Sequence[str]], Mapping[str, Person]],
) -> Shielded:
    """Return `item` as the quarantine may keep it."""
    is_whole = len(encode_body(item)) <= BODY_BYTES
    if not is_whole:
        item = _cut(item)
        if len(encode_body(item)) > BODY_BYTES:
            item = {
                "cut": f"{'a list' if isinstance(item, list) else 'an object'} larger than {BODY_BYTES} bytes"
            }
    persons = resolve(_users(item))
    shielded = _shield(item, "", key=key, redactor=redactor, persons=persons)
    return Shielded(shielded, tuple(sorted({p.id for p in persons.values()})), is_whole)


def known_person(user_id: str) -> str | None:
    """Return the pseudonym in a user id of a kept body."""
    return user_id[len(PERSON) :] if user_id.startswith(PERSON) else None


def known_address(address: str) -> str | None:
    """Return the pseudonym in an address of a kept body."""
    return address[len(ADDRESS) :] if address.startswith(ADDRESS) else None


def _users(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [v for name, v in value.items() if name in USER_MEMBERS and isinstance(v, str) and v]
        return own + [user for inner in value.values() for user in _users(inner)]
    return [user for inner in value for user in _users(inner)] if isinstance(value, list) else []


def _shield(
    value: Any, name: str, *, key: bytes, redactor: Redactor, persons: Mapping[str, Person]
) -> Any:
    if isinstance(value, str):
        if name in USER_MEMBERS and value in persons:
            return PERSON + persons[value].id
        if name in ADDRESS_MEMBERS:
            return ADDRESS + address_pseudonym(key, value)
        return redactor.redact(value, key).text if name in _FREE_TEXT else value
    if isinstance(value, dict):
        return {
            inner: _shield(v, inner, key=key, redactor=redactor, persons=persons)
            for inner, v in value.items()
        }
    if isinstance(value, list):
        return [_shield(v, name, key=key, redactor=redactor, persons=persons) for v in value]
    return value


_FREE_TEXT: Final = FREE_TEXT | {"before", "after"}


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
        return {"cut": "JSON that cannot be decoded"}


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
