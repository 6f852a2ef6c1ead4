"""The signed token: a decision that travels with the product and comes back with its feedback.

Layout, then base64url without padding:

    version (1 byte) | key id (1 byte) | decision (MessagePack) | HMAC-SHA256 of all before, first 16 bytes

The token is signed, not encrypted: whoever holds it can read the decision, nobody can change it. It needs no
server-side session and does not expire unless a maximum age is set.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .decision import Decision
from .errors import ContextInvalid, TokenExpired, TokenForged, TokenKeyRetired, TokenMalformed

VERSION: Final = 1
MAC_BYTES: Final = 16
MIN_KEY_BYTES: Final = 32
MAX_TOKEN_CHARS: Final = 16_384

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Decision).decode


class Signer:
    """Signs decisions with the newest key and verifies them with any key still in the ring.

    `keys` maps key ids (0 to 255) to secrets of at least 32 bytes; `active` is the id that signs. To rotate,
    add a key and make it active; to retire one, take it out of the ring.
    """

    def __init__(
        self, keys: Mapping[int, bytes], *, active: int, max_age_s: float | None = None
    ) -> None:
        if active not in keys:
            raise ValueError(f"active key {active} is not in the ring {sorted(keys)}")
        for key_id, secret in keys.items():
            if not 0 <= key_id <= 255 or len(secret) < MIN_KEY_BYTES:
                raise ValueError(
                    f"key {key_id}: ids run from 0 to 255 and secrets have at least {MIN_KEY_BYTES} bytes"
                )
        self._macs = {key_id: _Hmac(secret) for key_id, secret in keys.items()}
        self._header = bytes((VERSION, active))
        self._sign = self._macs[active]
        self._max_age_ms = None if max_age_s is None else max_age_s * 1000

    def sign(self, decision: Decision) -> str:
        """Return the token for `decision`.

        Raises `ContextInvalid` when its context makes it too large or holds what MessagePack cannot.
        """
        try:
            signed = self._header + _encode(decision)
        except (OverflowError, TypeError, ValueError, RecursionError) as error:
            raise ContextInvalid(
                f"the context cannot travel in a token: {error}; send strings, 64-bit integers, "
                "floats, booleans, null, and lists and objects of these"
            ) from None
        token = _spell(signed + self._sign(signed))
        if len(token) > MAX_TOKEN_CHARS:
            raise ContextInvalid(
                f"the context makes a token of {len(token)} characters; at most {MAX_TOKEN_CHARS} "
                "travel: send less metadata",
                found=len(token),
                expected=MAX_TOKEN_CHARS,
            )
        return token.decode("ascii")

    def verify(self, token: str, *, now_ms: int) -> Decision:
        """Return the decision in `token`.

        Raises `TokenMalformed`, `TokenForged`, `TokenKeyRetired` or `TokenExpired`; the messages never say
        which secret part differed.
        """
        if not 32 <= len(token) <= MAX_TOKEN_CHARS:
            raise _malformed(f"it has {len(token)} characters")
        try:
            text = token.encode("ascii")
            raw = binascii.a2b_base64(text.translate(_FROM_URL) + b"=" * (-len(text) % 4))
        except (ValueError, binascii.Error):
            raise _malformed("it is not base64url") from None
        # One spelling per token: stray characters and spare bits would otherwise be ignored.
        if _spell(raw) != text:
            raise _malformed("it is not base64url")
        if raw[0] != VERSION:
            raise _malformed(f"its version is {raw[0]}, not {VERSION}")
        mac = self._macs.get(raw[1])
        if mac is None:
            raise TokenKeyRetired(
                "request_id was signed by a key that is no longer in the ring; its decision can no "
                "longer take feedback"
            )
        signed = raw[:-MAC_BYTES]
        if not hmac.compare_digest(mac(signed), raw[-MAC_BYTES:]):
            raise TokenForged(
                "request_id does not match its signature; send it exactly as received"
            )
        try:
            decision = _decode(signed[2:])
        except ValueError:  # a decode error, or text that is not UTF-8
            raise _malformed("its content cannot be read") from None
        if self._max_age_ms is not None and now_ms - decision.decided_at_ms > self._max_age_ms:
            raise TokenExpired(
                f"request_id is older than {self._max_age_ms / 1000:g} s, the most this server accepts"
            )
        return decision


def _spell(raw: bytes) -> bytes:
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=")


def _malformed(why: str) -> TokenMalformed:
    return TokenMalformed(
        f"request_id is not a token of this service: {why}; send back what select returned"
    )


class _Hmac:
    """HMAC-SHA256 (RFC 2104) with the key's two blocks hashed once, cut to 128 bits.

    About half the cost of `hmac.digest` on the short messages that tokens are.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, key: bytes) -> None:
        if len(key) > 64:
            key = hashlib.sha256(key).digest()
        block = key.ljust(64, b"\0")
        self._inner: Any = hashlib.sha256(bytes(b ^ 0x36 for b in block))
        self._outer: Any = hashlib.sha256(bytes(b ^ 0x5C for b in block))

    def __call__(self, message: bytes) -> bytes:
        inner = self._inner.copy()
        inner.update(message)
        outer = self._outer.copy()
        outer.update(inner.digest())
        return outer.digest()[:MAC_BYTES]  # type: ignore[no-any-return]
