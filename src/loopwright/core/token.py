"""The token: a decision that travels with the product and comes back with its feedback.

Layout, then base64url without padding:

    version (1 byte) | key id (1 byte) | decision id (16 bytes) | sealed rest of the decision | tag (16 bytes)

The rest of the decision is MessagePack under AES-256-GCM (NIST SP 800-38D): tokens travel through browsers, and
hold a unit, a context and the odds, so nobody but the server can read or change them. The token needs no
server-side session and does not expire unless a maximum age is set.

Tokens of version 1, signed with HMAC-SHA256 and legible, were issued until November 2026. They are still accepted.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from .clock import DAY_MS
from .decision import Decision
from .errors import ContextInvalid, TokenExpired, TokenForged, TokenKeyRetired, TokenMalformed

VERSION: Final = 2
SIGNED_VERSION: Final = 1
TAG_BYTES: Final = 16
ID_BYTES: Final = 16
MIN_KEY_BYTES: Final = 32
MAX_TOKEN_CHARS: Final = 16_384

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")
_HEADER: Final = 2
_BODY: Final = _HEADER + ID_BYTES
_ID_HEAD: Final = b"\xd9\x20"
"""How MessagePack begins a text of 32 bytes."""
_MOST_DAYS: Final = 4096
_ID_END: Final = 1 + len(_ID_HEAD) + 2 * ID_BYTES
_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(Decision).decode


class Signer:
    """Seals decisions with the newest key and opens them with any key still in the ring.

    `keys` maps key ids (0 to 255) to secrets of at least 32 bytes; `active` is the id that seals. To rotate,
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
        self._header = bytes((VERSION, active))
        self._ciphers = {key_id: _DailyCiphers(secret) for key_id, secret in keys.items()}
        self._seal = self._ciphers[active]
        self._macs = {key_id: _Hmac(secret) for key_id, secret in keys.items()}
        self._max_age_ms = None if max_age_s is None else max_age_s * 1000

    def sign(self, decision: Decision) -> str:
        """Return the token for `decision`.

        Raises `ContextInvalid` when its context makes it too large or holds what MessagePack cannot.
        """
        try:
            plain = _encode(decision)
        except (OverflowError, TypeError, ValueError, RecursionError) as error:
            raise ContextInvalid(
                f"the context cannot travel in a token: {error}; send strings, 64-bit integers, "
                "floats, booleans, null, and lists and objects of these"
            ) from None
        nonce = bytes.fromhex(decision.id)
        if len(nonce) != ID_BYTES:
            raise ValueError(f"decision id {decision.id!r} is not 32 hexadecimal digits")
        # The id travels once, as the nonce; the array's own first byte says how many fields follow.
        sealed = self._seal(nonce).encrypt(nonce, plain[:1] + plain[_ID_END:], self._header)
        token = _spell(self._header + nonce + sealed)
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
        if raw[1] not in self._ciphers and raw[0] in (VERSION, SIGNED_VERSION):
            raise TokenKeyRetired(
                "request_id was made with a key that is no longer in the ring; its decision can no "
                "longer take feedback"
            )
        if raw[0] == VERSION:
            plain = self._opened(raw)
        elif raw[0] == SIGNED_VERSION:
            plain = self._checked(raw)
        else:
            raise _malformed(f"its version is {raw[0]}, not {VERSION}")
        try:
            decision = _decode(plain)
        except ValueError:  # a decode error, or text that is not UTF-8
            raise _malformed("its content cannot be read") from None
        if self._max_age_ms is not None and now_ms - decision.decided_at_ms > self._max_age_ms:
            raise TokenExpired(
                f"request_id is older than {self._max_age_ms / 1000:g} s, the most this server accepts"
            )
        return decision

    def _opened(self, raw: bytes) -> bytes:
        """Return the decision in a sealed token, as MessagePack."""
        nonce = raw[_HEADER:_BODY]
        if len(raw) <= _BODY + TAG_BYTES:
            raise _malformed("it is cut short")
        cipher = self._ciphers[raw[1]]
        try:
            plain = cipher(nonce).decrypt(nonce, raw[_BODY:], raw[:_HEADER])
        except cipher.wrong_tag:
            raise _forged() from None
        return plain[:1] + _ID_HEAD + nonce.hex().encode() + plain[1:]

    def _checked(self, raw: bytes) -> bytes:
        """Return the decision in a token of version 1, as MessagePack."""
        signed = raw[:-TAG_BYTES]
        if not hmac.compare_digest(self._macs[raw[1]](signed), raw[-TAG_BYTES:]):
            raise _forged()
        return signed[_HEADER:]


def _spell(raw: bytes) -> bytes:
    return binascii.b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=")


def _malformed(why: str) -> TokenMalformed:
    return TokenMalformed(
        f"request_id is not a token of this service: {why}; send back what select returned"
    )


def _forged() -> TokenForged:
    return TokenForged("request_id does not match its seal; send it exactly as received")


class _DailyCiphers:
    """AES-256-GCM under a key of its own for each day of a decision's id.

    GCM loses all when one nonce serves twice under one key. The nonce is the decision's id, a UUIDv7 with 74 random
    bits in each millisecond, and a key that serves one day stays far below the 2^32 messages that SP 800-38D allows.
    """

    __slots__ = ("_by_day", "_cipher", "_secret", "wrong_tag")

    def __init__(self, secret: bytes) -> None:
        # Imported here: a program that only talks to a server seals nothing.
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._secret = secret
        self._cipher = AESGCM
        self._by_day: dict[int, AESGCM] = {}
        self.wrong_tag = InvalidTag

    def __call__(self, decision_id: bytes) -> AESGCM:
        """Return the cipher of the day in which the decision was made."""
        day = int.from_bytes(decision_id[:6], "big") // DAY_MS
        cipher = self._by_day.get(day)
        if cipher is None:
            # Anyone can send a token that claims any day, so what they make us keep is bounded.
            if len(self._by_day) >= _MOST_DAYS:
                self._by_day.clear()
            key = hmac.digest(
                self._secret, b"loopwright token\0" + day.to_bytes(4, "big"), "sha256"
            )
            cipher = self._by_day[day] = self._cipher(key)
        return cipher


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
        return outer.digest()[:TAG_BYTES]  # type: ignore[no-any-return]
