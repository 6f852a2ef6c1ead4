from __future__ import annotations

import re

import pytest

from loopwright.texts.numbers import number
from loopwright.texts.redact import Rules, find

RUN = re.compile(r"[0-9][0-9 ()./-]*[0-9]")


def finds(text: str, *, done: int = 0) -> list[tuple[str, str, str]]:
    """Return kind, spelling and value of what the first run of digits holds."""
    run = RUN.search(text)
    assert run
    return [(kind, text[a:b], value) for kind, a, b, value in number(text, run, done)]


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("card 4111 1111 1111 1111", "CARD", "4111111111111111"),
        ("3782-822463-10005 expired", "CARD", "378282246310005"),
        ("host 192.168.0.17", "IP", "192.168.0.17"),
        ("+49 30 1234567", "PHONE", "+49301234567"),
        ("+44 (0)20 7946 0958", "PHONE", "+442079460958"),
        ("0049 30 1234567", "PHONE", "+49301234567"),
        ("212-555-0199", "PHONE", "+12125550199"),
        ("01.23.45.67.89", "PHONE", "0123456789"),
        ("phone: 5550199", "PHONE", "5550199"),
    ],
)
def test_what_is_found_is_normalised(text: str, kind: str, value: str) -> None:
    assert [(k, v) for k, _, v in finds(text)] == [(kind, value)]


def test_every_spelling_of_one_number_has_one_value() -> None:
    spellings = ["+1 212 555 0199", "(212) 555-0199", "212.555.0199", "1-212-555-0199"]
    assert {value for text in spellings for *_, value in finds(text)} == {"+12125550199"}


@pytest.mark.parametrize(
    "text",
    [
        "4111 1111 1111 1112",  # the check digit is wrong
        "order 4111111111111111",  # an id in one piece, and said to be one
        "ticket 212-555-0199",
        "version 10.0.19.1",
        "numpy==10.0.19.1",
        "256.1.1.1",
        "on 2026-11-28 10",
        "1764547200",  # a time in seconds
        "12345",
    ],
)
def test_what_looks_like_a_number_of_somebody_and_is_none_stays(text: str) -> None:
    assert finds(text) == []


def test_two_numbers_in_one_run_are_both_found() -> None:
    found = finds("4111 1111 1111 1111 / 5555 5555 5555 4444")
    assert [value for *_, value in found] == ["4111111111111111", "5555555555554444"]


def test_an_international_number_keeps_to_the_length_of_its_country() -> None:
    assert finds("+47 22 12 34 56 2026")[0] == ("PHONE", "+47 22 12 34 56", "+4722123456")
    assert finds("+47 22 12 34") == []


def test_what_was_found_before_is_not_read_again() -> None:
    text = "212-555-0199 212-555-0142"
    assert [value for *_, value in finds(text, done=13)] == ["+12125550142"]


FINDS = {
    "CARD": "4111 1111 1111 1111",
    "CARD in one piece": "4111111111111111",
    "IBAN": "DE89 3704 0044 0532 0130 00",
    "IP": "192.168.1.17",
    "IPv6": "2001:db8::1",
    "EMAIL": "jane@example.org",
    "PHONE": "+49 151 23456789",
    "PHONE with exit code": "0049 151 23456789",
    "PHONE in America": "(212) 555-0123",
    "PHONE in France": "01.23.45.67.89",
    "PHONE after its word": "tel 5550123",
    "TOKEN": "ghp_" + "a1" * 18,
}
NUMBERS = ["+49 30 1234567", "030 12345678", "(212) 555-0199", "01.23.45.67.88", "0049 30 1234567"]


@pytest.mark.parametrize("behind", NUMBERS)
@pytest.mark.parametrize("name", FINDS)
def test_a_number_right_behind_another_find_is_found(name: str, behind: str) -> None:
    missed = [
        text
        for between in (" ", "/", ", ", "; ", " / ")
        if len(find(text := FINDS[name] + between + behind)) != 2
    ]
    assert missed == []


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("0151 23456789-030 12345678", "PHONE-PHONE"),
        ("0151 23456789-030 12345678-0151 98765432", "PHONE-PHONE-PHONE"),
        ("4111 1111 1111 1111-212-555-0123", "CARD-PHONE"),
        ("4111111111111111-0151 23456789", "CARD-PHONE"),
        ("4111-1111-1111-1111-212-555-0123", "CARD-PHONE"),
        ("4111 1111 1111 1111-5500 0000 0000 0004", "CARD-CARD"),
        ("jane@ex.org0151 23456789", "EMAILPHONE"),
        ("jane@ex.org212-555-0123", "EMAILPHONE"),
        ("jane@ex.org4111 1111 1111 1111", "EMAILCARD"),
        ("tel 5550123, 5550124", "tel PHONE, PHONE"),
        ("tel 5550123, 5550124, 5550125", "tel PHONE, PHONE, PHONE"),
        ("phone: 555-0123 / 555-0124", "phone: PHONE / PHONE"),
        ("Tel. 5550123 oder 5550124; 3 Stück", "Tel. PHONE oder PHONE; 3 Stück"),
    ],
)
def test_numbers_that_stand_together_are_found_apart(text: str, kinds: str) -> None:
    assert re.sub("<([A-Z]+):[0-9a-f]{10}>", r"\1", Rules().redact(text, bytes(32)).text) == kinds


@pytest.mark.parametrize(
    "text",
    ["5550123, 5550124", "tel: see page 12, 5550124", "4111-1111-1111-1111-2", "a 0151-0301-1"],
)
def test_lists_and_dashes_alone_make_no_number(text: str) -> None:
    assert Rules().redact(text, bytes(32)).text == text


def test_a_list_behind_a_phone_number_ends_where_no_number_follows() -> None:
    assert Rules().redact("tel 5550123, 2027 units", bytes(32)).text.endswith(", 2027 units")
