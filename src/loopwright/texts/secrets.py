"""Proofs of secrets: access keys by their prefix, bearer tokens, JSON web tokens and private keys."""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from loopwright.core.text import Span

# The longest keys in use, RSA with 16,384 bits, take about 13,000 characters.
MAX_PEM_CHARS: Final = 16_384
_DIGIT: Final = re.compile(r"[0-9]")


def secret(before: int) -> Callable[[str, re.Match[str], int], Sequence[Span]]:
    """Return a proof for a key whose anchor stands `before` characters into it: it must hold a digit."""

    def prove(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
        start, end = candidate.start() - before, candidate.end()
        # Random keys of this length practically always hold a digit; names of functions and paths seldom do.
        spelt = text[start:end]
        return (("SECRET", start, end, spelt),) if _DIGIT.search(spelt) else ()

    return prove


def bearer(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    """Prove the token after the word Bearer."""
    spelt = candidate[0].split()[-1].rstrip(".")
    # The word itself stays, so that a reader sees what was taken out.
    start = candidate.start() + candidate[0].rindex(spelt)
    return (("SECRET", start, start + len(spelt), spelt),) if _DIGIT.search(spelt) else ()


def aws_secret(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    """Take the key after a name such as `aws_secret_access_key`."""
    # 40 characters of base64 have no prefix and no checksum: the name before them is the only proof.
    spelt = candidate[0][-40:]
    return (("SECRET", candidate.end() - 40, candidate.end(), spelt),)


def jwt(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    """Prove a JSON web token: its header is JSON that names an algorithm."""
    start, end = candidate.start() - 2, candidate.end()
    header = text[start : text.index(".", start)]
    try:
        # base64url to base64 (RFC 4648, section 5); surplus padding is ignored, and JWTs have none.
        decoded = msgspec.json.decode(
            binascii.a2b_base64(header.replace("-", "+").replace("_", "/") + "==")
        )
    except (ValueError, msgspec.DecodeError):
        return ()
    if not isinstance(decoded, dict) or "alg" not in decoded:
        return ()
    spelt = text[start:end].rstrip(".")
    return (("SECRET", start, start + len(spelt), spelt),)


def pem(text: str, candidate: re.Match[str], done: int) -> Sequence[Span]:
    """Take a private key to the end of its block, or of its base64 where the end was cut off."""
    start, body = candidate.span()
    limit = body + MAX_PEM_CHARS
    # A key that is cut off is still a secret, so the end line is not needed.
    stop = _PEM_END.search(text, body, limit)
    rest = _PEM_BODY.match(text, body, limit)
    end = stop.end() if stop else rest.end() if rest else body
    return (("SECRET", start, end, text[start:end]),)


_PEM_END: Final = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
# The backslash is for keys inside JSON strings, whose line ends are written `\n`.
_PEM_BODY: Final = re.compile(r"[A-Za-z0-9+/=\s\\]*")
