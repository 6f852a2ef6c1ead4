from __future__ import annotations

import base64
import hashlib
import hmac
import string

import msgspec
import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.decision import Decision
from loopwright.core.errors import (
    ContextInvalid,
    LoopError,
    TokenExpired,
    TokenForged,
    TokenKeyRetired,
    TokenMalformed,
)
from loopwright.core.token import MAX_TOKEN_CHARS, SIGNED_VERSION, TAG_BYTES, VERSION, Signer

OLD = bytes(range(32))
NEW = bytes(range(32, 72))  # longer than 32 bytes
LONG = bytes(range(100))  # longer than a SHA-256 block, so HMAC hashes it first
NOW = 1_750_000_000_000

text = st.text(st.characters(codec="utf-8"), max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(allow_nan=False) | text,
    lambda children: st.lists(children, max_size=3) | st.dictionaries(text, children, max_size=3),
    max_leaves=6,
)
decisions = st.builds(
    Decision,
    id=st.uuids().map(lambda u: u.hex),
    tenant_id=text,
    experiment_id=text,
    arm_id=text,
    propensity=st.floats(1e-12, 1),
    snapshot=st.integers(0, 2**62),
    decided_at_ms=st.integers(0, 2**47),
    mode=st.sampled_from(["live", "shadow", "holdout", "fallback"]),
    unit_id=st.none() | text,
    context_id=st.none() | text,
    vector=st.none() | st.binary(max_size=64),
    metadata=st.none() | st.dictionaries(text, json_values, max_size=3),
)

DECISION = Decision(
    id="0190163d8694739bb2eba4e3f1c6ca00",
    tenant_id="default",
    experiment_id="greeting",
    arm_id="warm",
    propensity=0.25,
    snapshot=41,
    decided_at_ms=NOW,
)


def signer(max_age_s: float | None = None) -> Signer:
    return Signer({1: OLD}, active=1, max_age_s=max_age_s)


def raw_of(token: str) -> bytes:
    return base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))


def spell(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def refused(token: str, *, by: Signer | None = None) -> LoopError:
    with pytest.raises(LoopError) as caught:
        (by or signer()).verify(token, now_ms=NOW)
    return caught.value


@given(decisions)
def test_a_token_gives_back_the_decision_it_was_made_of(decision: Decision) -> None:
    assert signer().verify(signer().sign(decision), now_ms=NOW) == decision


def signed(decision: Decision, key: bytes, key_id: int = 1) -> str:
    """Return a token of version 1, as it was made until November 2026."""
    body = bytes((SIGNED_VERSION, key_id)) + msgspec.msgpack.encode(decision)
    return spell(body + hmac.digest(key, body, hashlib.sha256)[:TAG_BYTES])


def sealed(content: bytes, key: bytes, key_id: int = 1, id: str = DECISION.id) -> str:
    """Return a token of version 2 around `content`, made by its description alone."""
    header, nonce = bytes((VERSION, key_id)), bytes.fromhex(id)
    day = int(id[:12], 16) // 86_400_000
    daily = hmac.digest(key, b"loopwright token\0" + day.to_bytes(4, "big"), "sha256")
    return spell(header + nonce + AESGCM(daily).encrypt(nonce, content, header))


@given(decisions, st.sampled_from([OLD, NEW, LONG]))
def test_a_token_is_sealed_as_it_is_described(decision: Decision, key: bytes) -> None:
    plain = msgspec.msgpack.encode(decision)
    without_id = plain[:1] + plain[35:]
    assert Signer({7: key}, active=7).sign(decision) == sealed(without_id, key, 7, decision.id)


@given(decisions, st.sampled_from([OLD, NEW, LONG]))
def test_a_token_of_version_1_is_still_accepted(decision: Decision, key: bytes) -> None:
    assert Signer({1: key}, active=1).verify(signed(decision, key), now_ms=NOW) == decision


def test_nothing_of_a_decision_is_legible_in_its_token() -> None:
    telling = msgspec.structs.replace(
        DECISION, unit_id="jane.doe", context_id="cart-4711", metadata={"email": "jane@example.org"}
    )
    raw = raw_of(signer().sign(telling))
    for word in (b"jane", b"cart-4711", b"example", b"greeting", b"default", b"warm"):
        assert word not in raw


def test_a_token_of_one_decision_cannot_carry_the_id_of_another() -> None:
    raw = bytearray(raw_of(signer().sign(DECISION)))
    other = msgspec.structs.replace(DECISION, id="0190163d8694739bb2eba4e3f1c6ca01")
    raw[2:18] = bytes.fromhex(other.id)
    assert isinstance(refused(spell(bytes(raw))), TokenForged)


def test_tokens_that_claim_any_day_do_not_fill_the_memory_and_are_forged() -> None:
    found = signer()
    raw = raw_of(found.sign(DECISION))
    for day in range(5_000):
        claimed = (day * 86_400_000).to_bytes(6, "big")
        bent = spell(raw[:2] + claimed + raw[8:])
        assert isinstance(refused(bent, by=found), TokenForged)
    assert found.verify(spell(raw), now_ms=NOW) == DECISION


@pytest.mark.parametrize("version", [1, 2])
def test_a_flipped_bit_in_either_version_is_refused(version: int) -> None:
    raw = raw_of(signed(DECISION, OLD) if version == 1 else signer().sign(DECISION))
    for at in range(2, len(raw)):
        bent = bytearray(raw)
        bent[at] ^= 4
        assert isinstance(refused(spell(bytes(bent))), TokenForged)


@given(decisions)
def test_a_token_travels_in_urls_and_headers_unescaped(decision: Decision) -> None:
    assert set(signer().sign(decision)) <= set(string.ascii_letters + string.digits + "-_")


def test_a_flipped_bit_anywhere_is_refused_with_the_code_of_its_place() -> None:
    raw = raw_of(signer().sign(DECISION))
    for at in range(len(raw)):
        for bit in range(8):
            bent = bytearray(raw)
            bent[at] ^= 1 << bit
            expected = {0: TokenMalformed, 1: TokenKeyRetired}.get(at, TokenForged)
            assert type(refused(spell(bytes(bent)))) is expected, (at, bit)


@given(st.data())
def test_a_changed_character_is_refused(data: st.DataObject) -> None:
    token = signer().sign(DECISION)
    at = data.draw(st.integers(0, len(token) - 1))
    other = data.draw(st.characters().filter(lambda c: c != token[at]))
    refused(token[:at] + other + token[at + 1 :])


def test_a_token_cut_anywhere_is_refused() -> None:
    token = signer().sign(DECISION)
    for kept in range(len(token)):
        refused(token[:kept])


@given(st.text(string.ascii_letters + string.digits + "-_=+/ \n", min_size=1, max_size=30))
def test_an_extended_token_is_refused(tail: str) -> None:
    token = signer().sign(DECISION)
    refused(token + tail)
    refused(tail + token)


def test_other_spellings_of_the_same_bytes_are_refused() -> None:
    decision = msgspec.structs.replace(DECISION, vector=bytes([0xFB, 0xEF, 0xBE] * 4))
    token = signer().sign(decision)
    assert "-" in token
    standard = token.replace("-", "+").replace("_", "/")
    padded = token + "=" * (-len(token) % 4 or 4)
    spread = token[:10] + "\n" + token[10:]
    for other in (standard, padded, spread, f" {token}"):
        assert isinstance(refused(other), TokenMalformed)


def test_the_spare_bits_of_the_last_character_must_be_zero() -> None:
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    lengths = set()
    for extra in range(3):
        token = signer().sign(msgspec.structs.replace(DECISION, unit_id="u" * extra))
        lengths.add(len(raw_of(token)) % 3)
        spare = {0: 0, 1: 4, 2: 2}[len(raw_of(token)) % 3]
        for bits in range(1, 2**spare):
            bent = token[:-1] + alphabet[alphabet.index(token[-1]) | bits]
            assert raw_of(bent) == raw_of(token)
            assert isinstance(refused(bent), TokenMalformed)
    assert lengths == {0, 1, 2}


@pytest.mark.parametrize(
    "junk",
    ["", "x", "A" * 31, "A" * (MAX_TOKEN_CHARS + 1), "é" * 40, "A" * 41, "\x00" * 40, "!" * 40],
)
def test_what_was_never_a_token_is_called_malformed(junk: str) -> None:
    assert isinstance(refused(junk), TokenMalformed)


def test_rubbish_made_by_a_key_holder_is_malformed_not_a_crash() -> None:
    for content in (b"\xc1" * 10, b"\x9c" + b"\xa2\xff\xff" * 12, msgspec.msgpack.encode([1, 2])):
        body = bytes((SIGNED_VERSION, 1)) + content
        old = spell(body + hmac.digest(OLD, body, "sha256")[:TAG_BYTES])
        for forged in (old, sealed(content, OLD)):
            assert isinstance(refused(forged), TokenMalformed)


def test_rotation_keeps_old_tokens_valid_and_signs_with_the_new_key() -> None:
    before = signer().sign(DECISION)
    rotated = Signer({1: OLD, 2: NEW}, active=2)
    assert rotated.verify(before, now_ms=NOW) == DECISION
    after = rotated.sign(DECISION)
    assert raw_of(after)[1] == 2
    assert isinstance(refused(after), TokenKeyRetired)


def test_a_retired_key_is_named_as_such() -> None:
    retired = Signer({2: NEW}, active=2)
    assert isinstance(refused(signer().sign(DECISION), by=retired), TokenKeyRetired)


def test_another_secret_under_the_same_key_id_is_a_forgery() -> None:
    assert isinstance(refused(signer().sign(DECISION), by=Signer({1: NEW}, active=1)), TokenForged)


@pytest.mark.parametrize("at", [2, 20, -1])
def test_the_message_of_a_forgery_does_not_say_where_it_differs(at: int) -> None:
    raw = bytearray(raw_of(signer().sign(DECISION)))
    raw[at] ^= 1
    error = refused(spell(bytes(raw)))
    assert error.message == "request_id does not match its seal; send it exactly as received"
    assert error.detail == {}


def test_a_token_never_expires_unless_asked() -> None:
    token = signer().sign(DECISION)
    assert signer().verify(token, now_ms=NOW + 10**13) == DECISION


def test_maximum_age_counts_from_the_decision() -> None:
    hour = signer(max_age_s=3600)
    token = hour.sign(DECISION)
    assert hour.verify(token, now_ms=NOW + 3_600_000) == DECISION
    with pytest.raises(TokenExpired, match="3600 s"):
        hour.verify(token, now_ms=NOW + 3_600_001)
    assert hour.verify(token, now_ms=NOW - 1) == DECISION


def test_a_context_too_large_for_a_token_is_refused_at_select() -> None:
    with pytest.raises(ContextInvalid, match="at most 16384") as caught:
        signer().sign(msgspec.structs.replace(DECISION, metadata={"note": "x" * 20_000}))
    assert caught.value.detail["found"] > caught.value.detail["expected"] == MAX_TOKEN_CHARS


@pytest.mark.parametrize("value", [2**64, -(2**63) - 1, object(), "\ud800"])
def test_metadata_that_cannot_travel_is_refused_at_select(value: object) -> None:
    with pytest.raises(ContextInvalid, match="cannot travel"):
        signer().sign(msgspec.structs.replace(DECISION, metadata={"x": value}))


@pytest.mark.parametrize(
    ("keys", "active"),
    [({1: OLD}, 2), ({}, 1), ({1: b"short"}, 1), ({256: OLD}, 256), ({-1: OLD}, -1)],
)
def test_an_unusable_key_ring_is_refused(keys: dict[int, bytes], active: int) -> None:
    with pytest.raises(ValueError, match="key"):
        Signer(keys, active=active)
