"""Proofs of cards, IPv4 addresses and phone numbers in one run of digits and separators."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from loopwright.core.text import Span

from .addresses import is_word
from .payments import is_issued, passes_luhn

# Before four numbers with dots these say "version": `requests==2.31.0.1`.
_PINS: Final = frozenset({"==", ">=", "<=", "~=", "!=", "^="})

# Without leading zeros: some systems read 010 as octal, so its meaning is open.
_OCTET: Final = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"

# What is surely a number of its own, where a dash and more digits would else say that a card goes on.
_WHOLE: Final = r"""(?:
      \(?[2-9][0-9]{2}\)?[ .-][2-9][0-9]{2}[ .-][0-9]{4}(?![0-9])
      |0[1-9][0-9]{0,4}[ /-][0-9]{2,8}
      |[0-9]{4}(?:[ -]?[0-9]{4}){3}(?![0-9])
    )"""

# A number that stands behind `2,` or `2:` is one column, key or line further on; behind `2.` it is a fraction. A card
# or an address proves itself, so little may forbid it. A phone number is a guess: what is behind it must not go on.
_SHAPES: Final = rf"""(?:
      (?P<ip>{_OCTET}(?:\.{_OCTET}){{3}}(?![0-9A-Za-z_]|\.[0-9]|-[A-Za-z]))
      |%s(?P<card>[0-9]{{14,19}}
        |[0-9]{{4}}(?P<c4>[ -])[0-9]{{4}}(?P=c4)[0-9]{{4}}(?P=c4)[0-9]{{4}}(?:(?P=c4)[0-9]{{3}})?
        |[0-9]{{4}}(?P<c6>[ -])[0-9]{{6}}(?P=c6)[0-9]{{4,5}})(?:(?=-{_WHOLE})|(?![-_]?[0-9A-Za-z_]|/[A-Za-z_]|\.[0-9]|@))
      |%s(?:
        (?P<nanp>(?:1[ .-])?(?:\([2-9][0-9]{{2}}\)[ ]?|[2-9][0-9]{{2}}(?P<n>[ .-]))
          [2-9][0-9]{{2}}(?(n)(?P=n)|[ .-])[0-9]{{4}})
        |(?P<pairs>0[1-9](?:\.[0-9]{{2}}){{4}})
        |(?P<trunk>(?:\(0[1-9][0-9]{{0,4}}\)[ ]?|0[1-9][0-9]{{0,4}}(?:[ ]?[/-][ ]?|[ ]))[0-9]{{2,8}}
          (?:(?P<t>[ -])[0-9]{{2,8}}(?:(?P=t)[0-9]{{2,8}}){{0,2}})?)
        |(?P<exit>00[1-9][0-9]{{0,2}}[ /-][0-9 ()/-]{{6,20}}(?<=[0-9]))
      )(?![-_]?[0-9A-Za-z_]|/[A-Za-z_]|[.:][0-9]|[@>])
    )"""

_NUMBER: Final = re.compile(
    r"(?=[0-9(])(?<![\w\#-])(?<![0-9]\.)" + _SHAPES % (r"(?<!/)", r"(?<!/)(?<![0-9]:)"), re.VERBOSE
)
# What stands before a candidate may forbid it, but a find is whole: right behind one, a number begins.
_BEHIND: Final = re.compile(r"(?=[0-9(])" + _SHAPES % ("", ""), re.VERBOSE)
_BETWEEN: Final = re.compile(r"[ /,;|-]{0,3}")

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
        # A bounded look back, and a cheap test of endings before the regular expression.
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
# Four-part versions look like addresses.
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
_LISTED: Final = re.compile(r"(?: ?[,;/|&] ?| (?:or|and|oder|und|ou|et|y|o) )(?=[0-9])")
_RUN: Final = re.compile(r"[0-9 ().\-/]{5,}(?<=[0-9])")
_CALLED: Final = re.compile(r"[0-9]+(?:[ ./-][0-9]+)*")


def number(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    """Prove cards, IPv4 addresses and phone numbers in one run of digits and separators."""
    start, end = candidate.span()
    spelt = candidate[0]
    count = end - start - sum(map(spelt.count, " -./()"))
    may_be_address = spelt.count(".") >= 3
    # Seven digits are the shortest telephone number; an address can have four.
    if count < 7 and not may_be_address:
        return ()
    before = text[start - 1 : start]
    spans: list[Span] = []
    # A plus is the strongest sign of a telephone number, so it is tried before cards and addresses.
    if before == "+":
        is_inside = done < start - 1 and is_word(text[start - 2 : start - 1])
        if not is_inside and (dialled := _dialled(text, start, end)):
            spans.append(("PHONE", start - 1, *dialled))
            start = dialled[0]
    elif start >= done and (called := _called(text, start, end)):
        spans += _listed(text, called)
        start = spans[-1][2]
    # Without a plus or a word before it, fewer than ten digits are mostly an amount or an id, and plain digits below
    # fourteen a timestamp.
    elif (count < 10 and not may_be_address) or (count == end - start < 14):
        return ()
    elif before == "(":
        start -= 1
    if end - start < 7:
        return spans
    done = max(done, spans[-1][2]) if spans else done
    start = max(start, done)
    while found := _next(text, start, end, done):
        if span := _PROVE_NUMBER[found.lastgroup or ""](text, found):
            spans.append(span)
            done = span[2]
        start = span[2] if span else found.end()
    return spans


def _next(text: str, start: int, end: int, done: int) -> re.Match[str] | None:
    """Return the next candidate from `start` on; `done` is where the last find ended, 0 before the first."""
    if done:
        between = _BETWEEN.match(text, done, end)
        assert between is not None
        if start <= between.end() and (found := _BEHIND.match(text, between.end(), end + 2)):
            return found
    # Two characters past the end are shown to the patterns, which look ahead but cannot match there.
    return _NUMBER.search(text, start, end + 2)


def _ipv4(text: str, found: re.Match[str]) -> Span | None:
    start, end = found.span()
    if text[start - 2 : start] in _PINS or _RELEASE.precedes(text, start):
        return None
    return "IP", start, end, found[0]


def _card(text: str, found: re.Match[str]) -> Span | None:
    start, end = found.span()
    digits = found[0].replace(" ", "").replace("-", "")
    # Luhn alone lets one number in ten through.
    if not (is_issued(digits) and passes_luhn(digits)):
        if found["c4"] is None or len(digits) != 19:
            return None
        # The last three digits may begin the next number.
        end -= 4
        digits = digits[:16]
        if not (is_issued(digits) and passes_luhn(digits)):
            return None
    # An order number may pass both tests by chance; in one piece, after such a word, it is one.
    if len(digits) == end - start and _ID.precedes(text, start):
        return None
    return "CARD", start, end, digits


def _national(text: str, found: re.Match[str]) -> Span | None:
    """Prove a number written the way people write it inside their own country."""
    start, end = found.span()
    digits = _digits(found[0])
    # An extension or the next number follows: the leading groups are proved by themselves.
    if len(digits) > 12:
        end = _shorten(text, start, end, most=12)
        digits = _digits(text[start:end])
    if not 10 <= len(digits) <= 12 or _holds_date(text[start:end]) or _ID.precedes(text, start):
        return None
    # North American numbers are normalised with their country code, so both spellings get one token.
    return "PHONE", start, end, "+1" + digits[-10:] if found.lastgroup == "nanp" else digits


def _exit(text: str, found: re.Match[str]) -> Span | None:
    """Prove an international number written with 00 in place of the plus."""
    start = found.start()
    dialled = None if _ID.precedes(text, start) else _dialled(text, start + 2, found.end())
    return dialled and ("PHONE", start, *dialled)


def _dialled(text: str, start: int, end: int) -> tuple[int, str] | None:
    """Return where an international number ends whose country code begins at `start`, and its spelling."""
    # No country code begins with 0 (ITU-T E.164).
    if text[start] == "0":
        return None
    least, most = 9, 13
    # The codes of E.164 are prefix-free, so at most one of these is found.
    for width in (1, 2, 3):
        least, most = _LENGTHS.get(text[start : start + width], (least, most))
    following = text[end : end + 2]
    if is_word(following[:1]) or (following[:1] == "-" and is_word(following[1:])):
        # The last group begins something else.
        end = max(start, text.rfind(" ", start, end))
    # Two spaces or the end of a sentence separate the number from what follows.
    for stop in ("  ", ". "):
        if (cut := text.find(stop, start, end)) > 0:
            end = cut
    digits = _digits(text[start:end])
    if len(digits) > most:
        cut = _shorten(text, start, end, most=most)
        end = _before_trunk(text, start, cut, least=least) or cut
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


def behind(text: str, start: int) -> Span | None:
    """Prove a card or phone number that begins at `start`, where a find ended; what stands before forbids nothing."""
    found = _BEHIND.match(text, start)
    return _PROVE_NUMBER[found.lastgroup or ""](text, found) if found else None


def _called(text: str, start: int, end: int) -> Span | None:
    """Prove digits of any shape when the word before says that they are a phone number."""
    return _dialable(text, start, end) if _DIAL.precedes(text, start) else None


def _listed(text: str, called: Span) -> list[Span]:
    """Return a number that was called a phone number, and those that are listed behind it: the word is for all."""
    spans = [called]
    while between := _LISTED.match(text, spans[-1][2]):
        run = _RUN.match(text, between.end())
        if run is None or (found := _dialable(text, *run.span())) is None:
            break
        spans.append(found)
    return spans


def _dialable(text: str, start: int, end: int) -> Span | None:
    """Prove digits of any shape that were said to be a phone number."""
    found = _CALLED.match(text, start, end)
    assert found is not None
    end = _shorten(text, start, found.end(), most=12)
    if end < found.end():
        end = _before_trunk(text, start, found.end(), least=7) or end
    digits = _digits(text[start:end])
    if not 7 <= len(digits) <= 12 or _holds_date(text[start:end]):
        return None
    following = text[end : end + 1]
    return None if is_word(following) or following in ("@", ">") else ("PHONE", start, end, digits)


def _holds_date(spelt: str) -> bool:
    return ("20" in spelt or "19" in spelt) and _DATE.search(spelt) is not None


def _shorten(text: str, start: int, end: int, *, most: int) -> int:
    """Return where the number ends when it keeps to `most` digits, cut at a space or slash only; else `start`."""
    kept, count = start, 0
    for group in _GROUP.finditer(text, start, end):
        # The trunk 0 in `+44 (0)20` is not dialled from abroad and does not count.
        count += 0 if group[0] == "0" and text[group.start() - 1] == "(" else len(group[0])
        if count > most:
            if text[kept] in " /" or _begins_another(text, kept):
                return kept
            return max(start, text.rfind(" ", start, kept))
        kept = group.end()
    return kept


def _begins_another(text: str, at: int) -> bool:
    """Say whether a dash at `at` parts two numbers: what stands behind it is long enough for one with a trunk 0."""
    found = _PARTED.match(text, at)
    # With and without further groups: those may belong to a third number.
    return found is not None and any(10 <= len(_digits(part)) <= 12 for part in found.group(0, 1))


_PARTED: Final = re.compile(r"(-0[1-9][0-9]{0,4}[ /][0-9]{2,8})(?:[ -][0-9]{2,8}){0,2}(?![0-9])")


def _before_trunk(text: str, start: int, end: int, *, least: int) -> int | None:
    """Return the end of a number that is too long: before a group that begins the next number with a trunk 0."""
    for group in _TRUNK.finditer(text, start, end):
        if len(_digits(text[start : group.start()])) >= least:
            return group.start()
    return None


_TRUNK: Final = re.compile(r"[ /]+(?=0[0-9])")
_GROUP: Final = re.compile(r"[0-9]+")
_SEPARATORS: Final = re.compile(r"[^0-9]+")


def _digits(spelt: str) -> str:
    return _SEPARATORS.sub("", spelt.replace("(0)", ""))


_PROVE_NUMBER: Final[dict[str, Callable[[str, re.Match[str]], Span | None]]] = {
    "ip": _ipv4,
    "card": _card,
    "nanp": _national,
    "pairs": _national,
    "trunk": _national,
    "exit": _exit,
}
