"""Redaction of free text before it is stored: people and secrets are replaced, keys that join are left alone.

Only fields declared as free text come here, never keys. One scan finds candidates at characters that ordinary
prose seldom has; each candidate is then proved (Luhn, mod 97, address syntax, dialling shapes), because a
13-digit timestamp that happens to pass Luhn must survive. What is found becomes a token such as
`<EMAIL:5f0c9a2b1e>`: a keyed digest of the normalised value, so equal values stay equal within a tenant, and
destroying the tenant's key cuts the link for good. Time is linear in the length of the text.

The rules know no names and no street addresses; a `Redactor` that does can take their place.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final

from loopwright.core.digest import check_key
from loopwright.core.text import Redacted, Span

from . import addresses, numbers, payments, secrets
from .fold import DASHES, fold

VERSION: Final = "rules-4"


class Rules:
    """The built-in redactor: e-mail, phone, payment card, IBAN, IP address, keys and tokens."""

    version: Final = VERSION

    def find(self, text: str) -> list[Span]:
        """Return the finds from left to right, without overlap."""
        return find(text)

    def redact(self, text: str, key: bytes) -> Redacted:
        """Return `text` with a token for every find.

        Raises `SettingsInvalid` when the key does not have 16 to 64 bytes.
        """
        check_key(key)
        spans = find(text)
        if not spans:
            return Redacted(text, {}, VERSION)
        # HMAC by hand: the key's two blocks are hashed once per key, not once per find.
        inner, outer = _hashed(key)
        parts: list[str] = []
        counts: dict[str, int] = {}
        done = 0
        for kind, start, end, normal in spans:
            first, second = inner.copy(), outer.copy()
            # The kind is part of the digest, so equal digits as a card and as a telephone number get different tokens.
            first.update(f"{kind}\0{normal}".encode())
            second.update(first.digest())
            # 40 bits: enough to tell a tenant's values apart, short enough to read on.
            parts += text[done:start], f"<{kind}:{second.hexdigest()[:10]}>"
            counts[kind] = counts.get(kind, 0) + 1
            done = end
        parts.append(text[done:])
        return Redacted("".join(parts), counts, VERSION)


# ipad and opad of RFC 2104.
_PADS: Final = tuple(bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


@lru_cache(maxsize=1024)
def _hashed(key: bytes) -> tuple[Any, Any]:
    """Return the two halves of HMAC-SHA256 (RFC 2104) with the key's blocks already hashed: copy before use."""
    inner, outer = (hashlib.sha256(key.ljust(64, b"\0").translate(pad)) for pad in _PADS)
    return inner, outer


def find(text: str) -> list[Span]:
    """Return the finds from left to right, without overlap."""
    copy, places = fold(text)
    spans = _found(copy)
    if "\t" in copy:
        spans = _with_tabs(copy, spans)
    if places is None:
        return spans
    # The end by the last character that was found, as hidden ones may follow it in the text.
    return [(kind, places[start], places[end - 1] + 1, n) for kind, start, end, n in spans]


def _found(text: str) -> list[Span]:
    spans: list[Span] = []
    done = 0
    for candidate in _scan_of(text).finditer(text):
        # A find may run past its candidate, and the scan does not know.
        if candidate.end() <= done:
            continue
        for span in _PROVE[candidate.lastgroup or ""](text, candidate, done):
            if span[1] >= done:
                spans.append(span)
                done = span[2]
    return spans


def _with_tabs(text: str, spans: list[Span]) -> list[Span]:
    """Return `spans` and those beside them that are found when a tab is a space.

    A tab may stand inside a number, but mostly it parts columns. So what is whole inside one column goes first,
    and columns that would be a telephone number only together, in a row with more of them, are none.
    """
    beside = [
        span
        for span in _found(text.replace("\t", " "))
        if all(span[2] <= start or end <= span[1] for _, start, end, _ in spans)
        and not _is_row(text, span)
    ]
    return sorted([*spans, *beside], key=lambda span: span[1])


def _is_row(text: str, span: Span) -> bool:
    kind, start, end, _ = span
    if kind != "PHONE" or text[start] == "+" or "\t" not in text[start:end]:
        return False
    return "\t" in (text[start - 1 : start], text[end : end + 1])


# A scan starts at a character class and stays there for most of a text: an anchor is the rarest character of
# each kind (the @ of an address, the J of eyJ), and what stands before it is looked up backwards. Kinds whose
# marks a text does not have are left out of its scan. Repeats are over one class each, so there is nothing to
# backtrack into.
_DIGITS: Final = (
    r"""(?<=[0-9])(?:
    (?<![\w\#-].)(?<![0-9]\..)(?P<number>[0-9 ().\-/]{5,}(?<=[0-9]))
    |(?<=[A-Za-z]{2}[0-9])(?<!\w[A-Za-z]{2}[0-9])[0-9](?P<iban>)(?=(?:[ """
    + DASHES
    + r"""]?[0-9A-Za-z]{4}){2}))"""
)

_AT: Final = r"(?<=@)(?P<email>(?:[\w-]{1,63}\.){1,8}[^\W\d_][\w-]{1,62})"

_COLON: Final = r"(?<=:)(?P<ipv6>[0-9A-Fa-f]{0,4}:[0-9A-Fa-f:.]*)"

_SECRETS: Final = r"""(?<=_)(?:
      (?<=gh[opsru]_)(?<![\w-]gh[opsru]_)(?P<github>[A-Za-z0-9]{36,255})
      |(?<=github_pat_)(?<![\w-]github_pat_)(?P<pat>[A-Za-z0-9_]{22,255})
      |(?<=lw_)(?<![\w-]lw_)(?P<own>[0-9a-f]{12}_[A-Za-z0-9_-]{16,})
      |(?<=[prs]k_)(?<![\w-][prs]k_)(?P<stripe>(?:live|test)_[A-Za-z0-9]{16,})
      |(?<=hf_)(?<![\w-]hf_)(?P<hub>[A-Za-z0-9]{30,})
      |(?<=[Ss][Ee][Cc][Rr][Ee][Tt]_)(?P<awssecret>(?i:access_key)["']?\s{0,3}[:=]\s{0,3}["']?[A-Za-z0-9/+]{40}))
    |(?<=-)(?:
      (?<=sk-)(?<![\w-]sk-)(?P<openai>[A-Za-z0-9_-]{20,})
      |(?<=glpat-)(?<![\w-]glpat-)(?P<gitlab>[A-Za-z0-9_-]{20,})
      |(?<=xox[abeoprs]-)(?<![\w-]xox[abeoprs]-)(?P<slack>[A-Za-z0-9-]{10,})
      |(?P<pem>----BEGIN[ ][A-Z0-9 ]{0,40}PRIVATE[ ]KEY(?:[ ]BLOCK)?-----))
    |(?<=eyJ)(?<![\w-]eyJ)(?P<jwt>[A-Za-z0-9_-]{5,}(?:\.[A-Za-z0-9_-]*){2,4})
    |(?<=A)(?<![\w-]A)(?:(?P<aws>(?:KIA|SIA)[A-Z2-7]{16}\b)|(?P<google>Iza[A-Za-z0-9_-]{35}))
    |(?<=[Bb])(?<![\w-][Bb])(?P<bearer>earer\s{1,4}[A-Za-z0-9._~+/-]{16,}=*)"""


def _scan_of(text: str) -> re.Pattern[str]:
    """Return the scan for the kinds that `text` can hold."""
    # An address has seven colons, or two together (RFC 4291, section 2.2); times and ratios have fewer.
    has_colons = ":" in text and ("::" in text or text.count(":") >= 7)
    return _scan("@" in text, has_colons, _may_hold_secrets(text))


def _may_hold_secrets(text: str) -> bool:
    # Ask for one rare character first: that is a memchr, a string is 15 times as slow.
    return (
        ("_" in text and any([mark in text for mark in _UNDERSCORED]))  # noqa: C419 - faster so
        or ("J" in text and "eyJ" in text)
        or ("-" in text and ("sk-" in text or "lpat-" in text or "----" in text))
        or ("x" in text and "xox" in text)
        or ("I" in text and ("KIA" in text or "SIA" in text or "Iza" in text))
        or "earer" in text
    )


_UNDERSCORED: Final = ("gh", "lw_", "hf_", "k_live_", "k_test_", "access_key", "ACCESS_KEY")


# Three yes-or-no questions: eight scans in all, compiled once each.
@lru_cache(maxsize=8)
def _scan(has_at: bool, has_colons: bool, has_secrets: bool, /) -> re.Pattern[str]:
    anchors, others = "0-9", []
    for wanted, characters, pattern in (
        (has_at, "@", _AT),
        (has_colons, ":", _COLON),
        (has_secrets, "_JABb-", _SECRETS),
    ):
        if wanted:
            anchors += characters
            others.append(pattern)
    # No other kind begins at a digit, so these are not tried where the class found one.
    rest = f"|(?<![0-9])(?:{'|'.join(others)})" if others else ""
    return re.compile(f"[{anchors}](?:{_DIGITS}{rest})", re.VERBOSE)


# The last label of a domain has letters only (RFC 3696, section 2), or begins with xn--.
_GLUED: Final = re.compile(r"\.[^\W\d_]{2,}(?=[0-9][\w-]*\Z)")


def _email(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    """Prove an address, and a number that follows its domain without a space."""
    spans = addresses.email(text, candidate, done)
    glued = _GLUED.search(candidate[0]) if spans else None
    if glued is None:
        return spans
    end = candidate.start() + glued.end()
    # Proved first: a label such as `org2` alone stays in the address, where no part of it can be left over.
    following = numbers.behind(text, end)
    ((kind, start, _, _),) = spans
    return (
        spans if following is None else ((kind, start, end, text[start:end].casefold()), following)
    )


_PROVE: Final[dict[str, Callable[[str, re.Match[str], int], Sequence[Span]]]] = {
    "number": numbers.number,
    "iban": payments.iban,
    "email": _email,
    "ipv6": addresses.ipv6,
    "github": secrets.secret(3),
    "pat": secrets.secret(10),
    "own": secrets.secret(2),
    "stripe": secrets.secret(2),
    "hub": secrets.secret(2),
    "awssecret": secrets.aws_secret,
    "openai": secrets.secret(2),
    "gitlab": secrets.secret(5),
    "slack": secrets.secret(4),
    "pem": secrets.pem,
    "jwt": secrets.jwt,
    "aws": secrets.secret(0),
    "google": secrets.secret(0),
    "bearer": secrets.bearer,
}
