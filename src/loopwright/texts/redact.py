"""Redaction of free text before it is stored: who and which secret is replaced, what joins is left alone.

Only fields declared as free text come here, never keys. One scan finds candidates at characters that ordinary
prose seldom has; each candidate is then proved (Luhn, mod 97, address syntax, dialling shapes), because a
13-digit timestamp that happens to pass Luhn must survive. What is found becomes a token such as
`<EMAIL:5f0c9a2b1e>`: a keyed digest of the normalised value, so equal values stay equal within a tenant, and
destroying the tenant's key cuts the link for good. Time is linear in the length of the text.

The rules know no names and no street addresses; a `Redactor` that does can take their place.
"""

from __future__ import annotations

import binascii
import hashlib
import re
import socket
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final, Literal, NamedTuple, Protocol

import msgspec

from loopwright.core.digest import check_key

VERSION: Final = "rules-1"
MAX_PEM_CHARS: Final = 16_384

Kind = Literal["EMAIL", "PHONE", "CARD", "IBAN", "IP", "SECRET"]


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


Span = tuple[Kind, int, int, str]
"""A proved find: its kind, where it begins and ends, and the spelling that its token is made from."""


class Rules:
    """The built-in redactor: e-mail, phone, payment card, IBAN, IP address, keys and tokens."""

    version: Final = VERSION

    def redact(self, text: str, key: bytes) -> Redacted:
        """Return `text` with a token for every find.

        Raises `SettingsInvalid` when the key does not have 16 to 64 bytes.
        """
        check_key(key)
        spans = find(text)
        if not spans:
            return Redacted(text, {}, VERSION)
        inner, outer = _hashed(key)
        parts: list[str] = []
        counts: dict[str, int] = {}
        done = 0
        for kind, start, end, normal in spans:
            first, second = inner.copy(), outer.copy()
            first.update(f"{kind}\0{normal}".encode())
            second.update(first.digest())
            parts += text[done:start], f"<{kind}:{second.hexdigest()[:10]}>"
            counts[kind] = counts.get(kind, 0) + 1
            done = end
        parts.append(text[done:])
        return Redacted("".join(parts), counts, VERSION)


_PADS: Final = tuple(bytes(byte ^ pad for byte in range(256)) for pad in (0x36, 0x5C))


@lru_cache(maxsize=1024)
def _hashed(key: bytes) -> tuple[Any, Any]:
    """Return the two halves of HMAC-SHA256 (RFC 2104) with the key's blocks already hashed: copy before use."""
    inner, outer = (hashlib.sha256(key.ljust(64, b"\0").translate(pad)) for pad in _PADS)
    return inner, outer


def find(text: str) -> list[Span]:
    """Return what has to go, from left to right and without overlap."""
    spans: list[Span] = []
    done = 0
    for candidate in _scan_of(text).finditer(text):
        if candidate.end() <= done:
            continue
        for span in _PROVE[candidate.lastgroup or ""](text, candidate, done):
            if span[1] >= done:
                spans.append(span)
                done = span[2]
    return spans


# A scan starts at a character class and stays there for most of a text: an anchor is the rarest character of
# each kind (the @ of an address, the J of eyJ), and what stands before it is looked up backwards. Kinds whose
# marks a text does not have are left out of its scan. Repeats are over one class each, so there is nothing to
# backtrack into.
_DIGITS: Final = r"""(?<=[0-9])(?:
    (?<![\w\#-].)(?<![0-9][.,:].)(?P<number>[0-9 ().\-/]{5,}(?<=[0-9]))
    |(?<=[A-Za-z]{2}[0-9])(?<!\w[A-Za-z]{2}[0-9])[0-9](?P<iban>)(?=(?:[ ]?[0-9A-Za-z]{4}){2}))"""

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
    rest = f"|(?<![0-9])(?:{'|'.join(others)})" if others else ""
    return re.compile(f"[{anchors}](?:{_DIGITS}{rest})", re.VERBOSE)


_LOCAL: Final = re.compile(r"[\w.%+&'-]{1,64}")

_PINS: Final = frozenset({"==", ">=", "<=", "~=", "!=", "^="})

_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"

_NUMBER: Final = re.compile(
    rf"""(?=[0-9(])(?<![\w\#-])(?<![0-9][.,])(?:
      (?P<ip>{_OCTET}(?:\.{_OCTET}){{3}}(?![0-9A-Za-z_]|\.[0-9]|-[A-Za-z]))
      |(?<!/)(?:
        (?P<card>[0-9]{{14,19}}
          |[0-9]{{4}}(?P<c4>[ -])[0-9]{{4}}(?P=c4)[0-9]{{4}}(?P=c4)[0-9]{{4}}(?:(?P=c4)[0-9]{{3}})?
          |[0-9]{{4}}(?P<c6>[ -])[0-9]{{6}}(?P=c6)[0-9]{{4,5}})
        |(?P<nanp>(?:1[ .-])?(?:\([2-9][0-9]{{2}}\)[ ]?|[2-9][0-9]{{2}}(?P<n>[ .-]))
          [2-9][0-9]{{2}}(?(n)(?P=n)|[ .-])[0-9]{{4}})
        |(?P<pairs>0[1-9](?:\.[0-9]{{2}}){{4}})
        |(?P<trunk>(?:\(0[1-9][0-9]{{0,4}}\)[ ]?|0[1-9][0-9]{{0,4}}(?:[ ]?[/-][ ]?|[ ]))[0-9]{{2,8}}
          (?:(?P<t>[ -])[0-9]{{2,8}}(?:(?P=t)[0-9]{{2,8}}){{0,2}})?)
        |(?P<exit>00[1-9][0-9]{{0,2}}[ /-][0-9 ()/-]{{6,20}}(?<=[0-9]))
      )(?![-_/]?[0-9A-Za-z_]|[.,:][0-9]|[@>])
    )""",
    re.VERBOSE,
)

_DATE: Final = re.compile(
    r"(?<![0-9])(?:(?:19|20)[0-9]{2}([-/. ])[01]?[0-9]\1[0-3]?[0-9]"
    r"|[0-3]?[0-9]([-/. ])[0-3]?[0-9]\2(?:19|20)[0-9]{2})(?![0-9])"
)


class _Word(NamedTuple):
    """Words that say what the digits after them are; `ends` are cheap to ask for first."""

    ends: tuple[str, ...]
    pattern: re.Pattern[str]

    def precedes(self, text: str, start: int) -> bool:
        """Say whether one of the words stands before `start`."""
        tail = text[max(0, start - _LOOKBACK) : start].rstrip(" .:=(").lower()
        return tail.endswith(self.ends) and self.pattern.search(tail) is not None


_ID: Final = _Word(
    (
        "er",
        "ice",
        "et",
        "se",
        "ref",
        "nce",
        "id",
        "sku",
        "po",
        "part",
        "al",
        "ch",
        "ing",
        "isbn",
        "nt",
        "no",
        "nr",
    ),
    re.compile(
        r"\b(?:order|invoice|ticket|case|ref|reference|id|sku|po|part|serial|batch|tracking|isbn|account)"
        r"(?:\s+(?:id|no|nr|number))?\Z"
    ),
)
_RELEASE: Final = _Word(
    ("v", "r", "n", "se", "ld"),
    re.compile(r"(?:\bv|\bver|version|release|build|revision|section)\Z"),
)
_DIAL: Final = _Word(
    (
        "tel",
        "one",
        "fon",
        "mobile",
        "mob",
        "cell",
        "fax",
        "app",
        "handy",
        "no",
        "nr",
        "number",
        "is",
    ),
    re.compile(
        r"\b(?:tel|telephone|telefon|phone|mobile|mob|cell|fax|whatsapp|handy)"
        r"(?:[\s.]+(?:no|nr|number))?(?:\s+is)?\Z"
    ),
)
_LOOKBACK: Final = 32
_CALLED: Final = re.compile(r"[0-9]+(?:[ ./-][0-9]+)*")


def _number(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    """Prove cards, IPv4 addresses and phone numbers in one run of digits and separators."""
    start, end = candidate.span()
    spelt = candidate[0]
    count = end - start - sum(map(spelt.count, " -./()"))
    may_be_address = spelt.count(".") >= 3
    if count < 7 and not may_be_address:
        return ()
    before = text[start - 1 : start]
    spans: list[Span] = []
    if before == "+":
        if not _is_word(text[start - 2 : start - 1]) and (dialled := _dialled(text, start, end)):
            spans.append(("PHONE", start - 1, *dialled))
            start = dialled[0]
    elif start >= done and (called := _called(text, start, end)):
        spans.append(called)
        start = called[2]
    elif (count < 10 and not may_be_address) or (count == end - start < 14):
        return ()
    elif before == "(":
        start -= 1
    if end - start < 7:
        return spans
    # Two characters past the end are shown to the patterns, which look ahead but cannot match there.
    start = max(start, done)
    while found := _NUMBER.search(text, start, end + 2):
        if span := _PROVE_NUMBER[found.lastgroup or ""](text, found):
            spans.append(span)
        start = span[2] if span else found.end()
    return spans


def _ipv4(text: str, found: re.Match[str]) -> Span | None:
    start, end = found.span()
    if text[start - 2 : start] in _PINS or _RELEASE.precedes(text, start):
        return None
    return "IP", start, end, found[0]


def _card(text: str, found: re.Match[str]) -> Span | None:
    start, end = found.span()
    digits = found[0].replace(" ", "").replace("-", "")
    if not (_is_issued(digits) and _passes_luhn(digits)):
        return None
    if len(digits) == end - start and _ID.precedes(text, start):
        return None
    return "CARD", start, end, digits


def _is_issued(digits: str) -> bool:
    """Say whether an issuer gives out numbers that begin and measure like this.

    13-digit Visa numbers are left out on purpose: they are no longer issued, and look like timestamps and
    article numbers.
    """
    two, four = int(digits[:2]), int(digits[:4])
    match len(digits):
        case 14:
            return two in (36, 38, 39) or 3000 <= four <= 3059 or four == 3095
        case 15:
            return two in (34, 37)
        case 16:
            return (
                digits[0] == "4"
                or 51 <= two <= 55
                or 2221 <= four <= 2720
                or 2200 <= four <= 2204
                or two in (62, 65)
                or four == 6011
                or 6440 <= four <= 6499
                or 3528 <= four <= 3589
                or four in _MAESTRO
            )
        case 19:
            return digits[0] == "4" or two == 62 or four in _MAESTRO
        case _:
            return False


_MAESTRO: Final = frozenset({5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763})


def _passes_luhn(digits: str) -> bool:
    mirrored = digits.encode()[::-1]
    return (
        sum(mirrored[::2]) + sum(mirrored[1::2].translate(_DOUBLED)) - 48 * len(digits)
    ) % 10 == 0


_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")


def _national(text: str, found: re.Match[str]) -> Span | None:
    """Prove a number written the way people write it inside their own country."""
    start, end = found.span()
    digits = _digits(found[0])
    if len(digits) > 12:
        end = _shorten(text, start, end, most=12)
        digits = _digits(text[start:end])
    if not 10 <= len(digits) <= 12 or _holds_date(text[start:end]) or _ID.precedes(text, start):
        return None
    return "PHONE", start, end, "+1" + digits[-10:] if found.lastgroup == "nanp" else digits


def _exit(text: str, found: re.Match[str]) -> Span | None:
    """Prove an international number written with 00 in place of the plus."""
    start = found.start()
    dialled = None if _ID.precedes(text, start) else _dialled(text, start + 2, found.end())
    return dialled and ("PHONE", start, *dialled)


def _dialled(text: str, start: int, end: int) -> tuple[int, str] | None:
    """Return where an international number ends whose country code begins at `start`, and its spelling."""
    if text[start] == "0":
        return None
    least, most = 9, 13
    for width in (1, 2, 3):
        least, most = _LENGTHS.get(text[start : start + width], (least, most))
    following = text[end : end + 2]
    if _is_word(following[:1]) or (following[:1] == "-" and _is_word(following[1:])):
        end = max(start, text.rfind(" ", start, end))  # the last group begins something else
    for stop in ("  ", ". "):
        if (cut := text.find(stop, start, end)) > 0:
            end = cut
    digits = _digits(text[start:end])
    if len(digits) > most:
        end = _shorten(text, start, end, most=most)
        digits = _digits(text[start:end])
    return (end, "+" + digits) if least <= len(digits) <= most else None


# Digits in all, country code included: how few and how many. Where one is missing, 9 to 13.
_LENGTHS: Final = {
    "1": (11, 11), "7": (11, 11), "20": (11, 12), "27": (11, 11), "30": (12, 12), "31": (11, 11),
    "32": (10, 11), "33": (11, 11), "34": (11, 11), "36": (10, 11), "39": (10, 13), "40": (11, 11),
    "41": (11, 11), "43": (9, 13), "44": (11, 12), "45": (10, 10), "46": (9, 12), "47": (10, 10),
    "48": (11, 11), "49": (9, 13), "51": (10, 11), "52": (12, 13), "54": (12, 13), "55": (12, 13),
    "56": (11, 11), "57": (12, 12), "60": (10, 12), "61": (11, 11), "62": (10, 13), "63": (11, 12),
    "64": (10, 12), "65": (10, 10), "66": (10, 11), "81": (11, 12), "82": (11, 12), "84": (11, 12),
    "86": (12, 13), "90": (12, 12), "91": (12, 12), "92": (12, 12), "351": (12, 12),
    "352": (9, 12), "353": (11, 12), "358": (9, 13), "380": (12, 12), "420": (12, 12),
    "421": (12, 12), "852": (11, 11), "886": (11, 12), "971": (11, 12), "972": (11, 12),
}  # fmt: skip


def _called(text: str, start: int, end: int) -> Span | None:
    """Prove digits of any shape when the word before says that they are a phone number."""
    if not _DIAL.precedes(text, start):
        return None
    found = _CALLED.match(text, start, end)
    assert found is not None
    end = _shorten(text, start, found.end(), most=12)
    digits = _digits(text[start:end])
    if not 7 <= len(digits) <= 12 or _holds_date(text[start:end]):
        return None
    following = text[end : end + 1]
    return None if _is_word(following) or following in ("@", ">") else ("PHONE", start, end, digits)


def _holds_date(spelt: str) -> bool:
    return ("20" in spelt or "19" in spelt) and _DATE.search(spelt) is not None


def _shorten(text: str, start: int, end: int, *, most: int) -> int:
    """Return where the number ends when it keeps to `most` digits, cut at a space only; else `start`."""
    kept, count = start, 0
    for group in _GROUP.finditer(text, start, end):
        count += 0 if group[0] == "0" and text[group.start() - 1] == "(" else len(group[0])
        if count > most:
            return kept if text[kept] == " " else max(start, text.rfind(" ", start, kept))
        kept = group.end()
    return kept


_GROUP: Final = re.compile(r"[0-9]+")
_SEPARATORS: Final = re.compile(r"[^0-9]+")


def _digits(spelt: str) -> str:
    return _SEPARATORS.sub("", spelt.replace("(0)", ""))


def _email(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    at = candidate.start()
    mirrored = text[max(done, at - 64) : at][::-1]
    local = _LOCAL.match(mirrored)
    name = local[0][::-1].lstrip(".%&'-") if local else ""
    if not name:
        return ()
    start, end = at - len(name), candidate.end()
    return (("EMAIL", start, end, text[start:end].casefold()),)


def _ipv6(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    start, end = candidate.span()
    while start > max(done, candidate.start() - 4) and text[start - 1] in "0123456789abcdefABCDEF":
        start -= 1
    spelt = text[start:end].rstrip(".")
    if spelt.endswith(":") and not spelt.endswith("::"):
        spelt = spelt[:-1]
    end = start + len(spelt)
    if _is_word(text[start - 1 : start]) or _is_word(text[end : end + 1]):
        return ()
    # `::` alone is a separator in several languages; eight pairs are a hardware address or a fingerprint.
    if not _GROUP.search(spelt) or all(len(part) == 2 for part in spelt.split(":")):
        return ()
    try:
        address = socket.inet_pton(socket.AF_INET6, spelt)
    except OSError:
        return ()
    return (("IP", start, end, address.hex()),)


def _is_word(character: str) -> bool:
    return character.isalnum() or character == "_"


def _iban(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    start = candidate.start() - 2
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
    if length is None:
        return ()
    found = _spaced(length).match(text, start)
    if found is None:
        return ()
    spelt = found[0]
    normal = spelt.replace(" ", "").upper()
    # Written in one piece and in small letters, it looks like an id.
    if not (spelt.isupper() or " " in spelt) or not _passes_mod_97(normal):
        return ()
    return (("IBAN", start, found.end(), normal),)


@lru_cache(maxsize=32)
def _spaced(length: int) -> re.Pattern[str]:
    """Match `length` letters and digits with single spaces between them, as a whole."""
    return re.compile(rf"(?:[0-9A-Za-z] ?){{{length - 1}}}[0-9A-Za-z](?!\w)")


def _passes_mod_97(iban: str) -> bool:
    return int((iban[4:] + iban[:4]).translate(_BASE_36)) % 97 == 1


_BASE_36: Final = {ord(letter): str(int(letter, 36)) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


_IBAN_LENGTHS: Final = {
    "AD": 24, "AE": 23, "AL": 28, "AT": 20, "AZ": 28, "BA": 20, "BE": 16, "BG": 22, "BH": 22, "BI": 27,
    "BR": 29, "BY": 28, "CH": 21, "CR": 22, "CY": 28, "CZ": 24, "DE": 22, "DJ": 27, "DK": 18, "DO": 28,
    "EE": 20, "EG": 29, "ES": 24, "FI": 18, "FK": 18, "FO": 18, "FR": 27, "GB": 22, "GE": 22, "GI": 23,
    "GL": 18, "GR": 27, "GT": 28, "HR": 21, "HU": 28, "IE": 22, "IL": 23, "IQ": 23, "IS": 26, "IT": 27,
    "JO": 30, "KW": 30, "KZ": 20, "LB": 28, "LC": 32, "LI": 21, "LT": 20, "LU": 20, "LV": 21, "LY": 25,
    "MC": 27, "MD": 24, "ME": 22, "MK": 19, "MN": 20, "MR": 27, "MT": 31, "MU": 30, "NI": 28, "NL": 18,
    "NO": 15, "OM": 23, "PK": 24, "PL": 28, "PS": 29, "PT": 25, "QA": 29, "RO": 24, "RS": 22, "RU": 33,
    "SA": 24, "SC": 31, "SD": 18, "SE": 24, "SI": 19, "SK": 24, "SM": 27, "SO": 23, "ST": 25, "SV": 28,
    "TL": 23, "TN": 24, "TR": 26, "UA": 29, "VA": 22, "VG": 24, "XK": 20, "YE": 30,
}  # fmt: skip


def _secret(before: int) -> Callable[[str, re.Match[str], int], Sequence[Span]]:
    """Return a proof for a key whose anchor stands `before` characters into it: it must hold a digit."""

    def prove(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
        start, end = candidate.start() - before, candidate.end()
        spelt = text[start:end]
        return (("SECRET", start, end, spelt),) if _GROUP.search(spelt) else ()

    return prove


def _bearer(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    spelt = candidate[0].split()[-1].rstrip(".")
    start = candidate.start() + candidate[0].rindex(spelt)
    return (("SECRET", start, start + len(spelt), spelt),) if _GROUP.search(spelt) else ()


def _aws_secret(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    spelt = candidate[0][-40:]
    return (("SECRET", candidate.end() - 40, candidate.end(), spelt),)


def _jwt(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    start, end = candidate.start() - 2, candidate.end()
    header = text[start : text.index(".", start)]
    try:
        decoded = msgspec.json.decode(
            binascii.a2b_base64(header.replace("-", "+").replace("_", "/") + "==")
        )
    except (ValueError, msgspec.DecodeError):
        return ()
    if not isinstance(decoded, dict) or "alg" not in decoded:
        return ()
    spelt = text[start:end].rstrip(".")
    return (("SECRET", start, start + len(spelt), spelt),)


def _pem(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    """Take a private key to the end of its block, or of its base64 where the end was cut off."""
    start, body = candidate.span()
    limit = body + MAX_PEM_CHARS
    stop = _PEM_END.search(text, body, limit)
    rest = _PEM_BODY.match(text, body, limit)
    end = stop.end() if stop else rest.end() if rest else body
    return (("SECRET", start, end, text[start:end]),)


_PEM_END: Final = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_BODY: Final = re.compile(r"[A-Za-z0-9+/=\s\\]*")

_PROVE_NUMBER: Final[dict[str, Callable[[str, re.Match[str]], Span | None]]] = {
    "ip": _ipv4,
    "card": _card,
    "nanp": _national,
    "pairs": _national,
    "trunk": _national,
    "exit": _exit,
}

_PROVE: Final[dict[str, Callable[[str, re.Match[str], int], Sequence[Span]]]] = {
    "number": _number,
    "iban": _iban,
    "email": _email,
    "ipv6": _ipv6,
    "github": _secret(3),
    "pat": _secret(10),
    "own": _secret(2),
    "stripe": _secret(2),
    "hub": _secret(2),
    "awssecret": _aws_secret,
    "openai": _secret(2),
    "gitlab": _secret(5),
    "slack": _secret(4),
    "pem": _pem,
    "jwt": _jwt,
    "aws": _secret(0),
    "google": _secret(0),
    "bearer": _bearer,
}
