"""Proofs of payment cards and bank accounts: issuer ranges and Luhn, lengths by country and mod 97."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from loopwright.core.text import Span

from .fold import DASHES


def is_issued(digits: str) -> bool:
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


# Only ranges in use: all of 50 and 56 to 69 would let far more ids through.
_MAESTRO: Final = frozenset({5018, 5020, 5038, 5893, 6304, 6759, 6761, 6762, 6763})


def passes_luhn(digits: str) -> bool:
    """Say whether the check digit is right (ISO/IEC 7812-1, annex B)."""
    # From the right: doubling starts beside the check digit, whatever the length.
    mirrored = digits.encode()[::-1]
    return (
        sum(mirrored[::2]) + sum(mirrored[1::2].translate(_DOUBLED)) - 48 * len(digits)
    ) % 10 == 0


# Twice the digit, less 9 where that has two digits.
_DOUBLED: Final = bytes.maketrans(b"0123456789", b"0246813579")


def iban(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    """Prove an account number; the scan stopped at its second check digit."""
    start = candidate.start() - 2
    # Length by country first: mod 97 alone lets one word in ninety-seven through.
    length = _IBAN_LENGTHS.get(text[start : start + 2].upper())
    if length is None:
        return ()
    found = _spelt(length).match(text, start)
    if found is None:
        return ()
    spelt = found[0]
    normal = "".join(filter(str.isalnum, spelt)).upper()
    # Written in one piece and in small letters, it looks like an id.
    if not (spelt.isupper() or " " in spelt) or not _passes_mod_97(normal):
        return ()
    return (("IBAN", start, found.end(), normal),)


@lru_cache(maxsize=32)
def _spelt(length: int) -> re.Pattern[str]:
    """Match `length` letters and digits, with single spaces anywhere between them or a hyphen after every fourth."""
    # The length is fixed by the country, so repeats are exact, and there is nothing to backtrack into.
    fours, rest = divmod(length, 4)
    hyphened = rf"(?:[0-9A-Za-z]{{4}}[{DASHES}]){{{fours - (not rest)}}}[0-9A-Za-z]{{{rest or 4}}}"
    return re.compile(rf"(?:(?:[0-9A-Za-z] ?){{{length - 1}}}[0-9A-Za-z]|{hyphened})(?!\w)")


def _passes_mod_97(iban: str) -> bool:
    # ISO 13616: country and check digits go to the end, letters become 10 to 35, and the remainder is 1.
    return int((iban[4:] + iban[:4]).translate(_BASE_36)) % 97 == 1


_BASE_36: Final = {ord(letter): str(int(letter, 36)) for letter in "ABCDEFGHIJKLMNOPQRSTUVWXYZ"}


# As in the registry that SWIFT keeps for ISO 13616.
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
