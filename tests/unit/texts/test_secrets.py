from __future__ import annotations

import base64
import json
import re

import pytest

from loopwright.texts.secrets import MAX_PEM_CHARS, aws_secret, bearer, jwt, pem, secret

BODY = "MIIEvQIBADANBgkqhkiG9w0BAQEFAASC"


def token(header: object) -> str:
    written = base64.urlsafe_b64encode(json.dumps(header).encode()).rstrip(b"=").decode()
    return f"{written}.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"


def tokens(text: str) -> list[str]:
    found = re.search(r"(?<=ey)J[\w-]+\.[\w.-]+", text)
    return [text[a:b] for _, a, b, _ in jwt(text, found, 0)] if found else []


def test_a_web_token_is_taken_whole_when_its_header_names_an_algorithm() -> None:
    made = token({"alg": "HS256", "typ": "JWT"})
    assert tokens(f"use {made}. Thanks") == [made]


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"algorithm": "HS256"}])
def test_base64_of_other_json_is_no_web_token(header: object) -> None:
    assert tokens(token(header)) == []


def test_a_header_that_is_no_json_is_no_web_token() -> None:
    assert tokens("eyJhbGciOiJIUzI1.eyJzdWIiOiIxIn0.c2ln") == []


def test_a_key_needs_a_digit_and_begins_before_its_anchor() -> None:
    prove = secret(2)
    for text, found in (("x sk-abc9def", ["sk-abc9def"]), ("x sk-abcxdef", [])):
        candidate = re.search(r"-\w+", text)
        assert candidate
        assert [text[a:b] for _, a, b, _ in prove(text, candidate, 0)] == found


def test_after_the_word_bearer_only_the_token_is_taken() -> None:
    text = "Authorization: Bearer  abc123def."
    candidate = re.search(r"Bearer\s+[\w.]+", text)
    assert candidate
    assert bearer(text, candidate, 0) == (("SECRET", 23, 32, "abc123def"),)
    plain = re.search(r"bearer\s+[\w.]+", "the bearer shares risk")
    assert plain
    assert bearer("the bearer shares risk", plain, 0) == ()


def test_of_a_named_key_its_last_forty_characters_are_taken() -> None:
    key = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
    text = f"aws_secret_access_key = {key}"
    candidate = re.search(r"aws.*", text)
    assert candidate
    assert aws_secret(text, candidate, 0) == (("SECRET", 24, 64, key),)


def blocks(text: str) -> list[str]:
    found = re.search("-----BEGIN [A-Z ]*PRIVATE KEY-----", text)
    assert found
    return [text[a:b] for _, a, b, _ in pem(text, found, 0)]


def test_a_private_key_is_taken_to_its_end_and_no_further() -> None:
    block = f"-----BEGIN RSA PRIVATE KEY-----\n{BODY}\n-----END RSA PRIVATE KEY-----"
    assert blocks(f"here:\n{block}\nand more") == [block]


def test_a_private_key_that_was_cut_off_is_taken_as_far_as_its_base64_goes() -> None:
    assert blocks(f"-----BEGIN PRIVATE KEY-----\n{BODY}, he said") == [
        f"-----BEGIN PRIVATE KEY-----\n{BODY}"
    ]


def test_a_private_key_without_end_stops_at_the_limit() -> None:
    begin = "-----BEGIN PRIVATE KEY-----"
    assert [len(block) for block in blocks(begin + "A" * 50_000)] == [len(begin) + MAX_PEM_CHARS]
