"""Proofs of e-mail and IPv6 addresses, from the one character that every such address has."""

from __future__ import annotations

import re
import socket
from collections.abc import Sequence
from typing import Final

from loopwright.core.text import Span

_LOCAL: Final = re.compile(r"[\w.%+&'-]{1,64}")
_DIGIT: Final = re.compile(r"[0-9]")


def email(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    """Prove an e-mail address; the scan stopped at its `@`."""
    at = candidate.start()
    # RFC 5321 allows 64 characters before the `@`, so no more are looked at: the time stays linear.
    mirrored = text[max(done, at - 64) : at][::-1]
    local = _LOCAL.match(mirrored)
    # Punctuation in front belongs to the sentence, as in `'ann@example.com'`.
    name = local[0][::-1].lstrip(".%&'-") if local else ""
    if not name:
        return ()
    start, end = at - len(name), candidate.end()
    return (("EMAIL", start, end, text[start:end].casefold()),)


def ipv6(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    """Prove an IPv6 address; the scan stopped at its first colon."""
    start, end = candidate.span()
    # The scan stops at the first colon; the group before it has up to four digits.
    while start > max(done, candidate.start() - 4) and text[start - 1] in "0123456789abcdefABCDEF":
        start -= 1
    spelt = text[start:end].rstrip(".")
    # It belongs to the word before, as in `ip:2001:db8::1`.
    if spelt[:1] == ":" != spelt[1:2]:
        start, spelt = start + 1, spelt[1:]
    if spelt.endswith(":") and not spelt.endswith("::"):
        spelt = spelt[:-1]
    end = start + len(spelt)
    if is_word(text[start - 1 : start]) or is_word(text[end : end + 1]):
        return ()
    # `::` alone is a separator in several languages; eight pairs are a hardware address or a fingerprint.
    if not _DIGIT.search(spelt) or all(len(part) == 2 for part in spelt.split(":")):
        return ()
    try:
        # Packed by the system: every spelling of one address gets the same token.
        address = socket.inet_pton(socket.AF_INET6, spelt)
    except OSError:
        return ()
    return (("IP", start, end, address.hex()),)


def is_word(character: str) -> bool:
    """Say whether a character can be part of a word; an empty string cannot."""
    return character.isalnum() or character == "_"
