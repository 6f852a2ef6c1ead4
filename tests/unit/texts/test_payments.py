from __future__ import annotations

import re

import pytest

from loopwright.texts.payments import iban, is_issued, passes_luhn

CHECK = re.compile(r"(?<=[A-Za-z]{2})[0-9]{2}")


def accounts(text: str) -> list[tuple[str, str]]:
    found = CHECK.search(text)
    return [(text[a:b], value) for _, a, b, value in iban(text, found, 0)] if found else []


@pytest.mark.parametrize(
    "digits",
    ["4111111111111111", "5555555555554444", "2221000000000009", "2720990000000007", "378282246310005",
     "36227206271667", "6011000990139424", "3530111333300000", "6759649826438453", "4000000000000000006"],
)  # fmt: skip
def test_numbers_of_every_network_are_issued_and_check(digits: str) -> None:
    assert is_issued(digits)
    assert passes_luhn(digits)


@pytest.mark.parametrize(
    "digits",
    ["4222222222222", "1234567812345670", "5011111111111111", "5600000000000000", "2721000000000000",
     "2220990000000000", "388282246310005", "3910000000000000", "1764547200000000"],
)  # fmt: skip
def test_numbers_outside_every_issuers_range_are_none(digits: str) -> None:
    assert not is_issued(digits)


def test_one_wrong_digit_or_two_swapped_fail_the_check() -> None:
    right = "4539578763621486"
    assert passes_luhn(right)
    for at in range(16):
        wrong = right[:at] + str((int(right[at]) + 1) % 10) + right[at + 1 :]
        assert not passes_luhn(wrong)
    assert not passes_luhn("4593578763621486")


@pytest.mark.parametrize(
    ("text", "spelt"),
    [
        ("to DE89 3704 0044 0532 0130 00, please", "DE89 3704 0044 0532 0130 00"),
        ("GB29NWBK60161331926819", "GB29NWBK60161331926819"),
        ("de89 3704 0044 0532 0130 00", "de89 3704 0044 0532 0130 00"),
        ("NO93-8601-1117-947.", "NO93-8601-1117-947"),
    ],
)
def test_an_account_is_taken_to_its_countrys_length(text: str, spelt: str) -> None:
    normal = re.sub("[ -]", "", spelt).upper()
    assert accounts(text) == [(spelt, normal)]


@pytest.mark.parametrize(
    "text",
    [
        "DE88 3704 0044 0532 0130 00",  # a wrong check digit
        "ZZ89 3704 0044 0532 0130 00",  # no such country
        "DE89 3704 0044 0532 0130 0",  # too short
        "DE89370400440532013000x",  # it goes on
        "de89370400440532013000",  # an id in small letters
    ],
)
def test_what_looks_like_an_account_and_is_none_stays(text: str) -> None:
    assert accounts(text) == []
