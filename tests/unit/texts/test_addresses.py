from __future__ import annotations

import re

import pytest

from loopwright.core.text import Span
from loopwright.texts.addresses import email, ipv6, is_word

AT = re.compile(r"@[\w-]+(?:\.[\w-]+)+")
COLON = re.compile(r":[0-9A-Fa-f:.]+")


def mails(text: str, *, done: int = 0) -> list[Span]:
    found = AT.search(text)
    assert found
    return list(email(text, found, done))


def addresses(text: str) -> list[tuple[str, str]]:
    found = COLON.search(text)
    return [(text[a:b], value) for _, a, b, value in ipv6(text, found, 0)] if found else []


def test_an_address_reaches_back_to_its_first_character_and_is_compared_without_case() -> None:
    assert mails("mail Jane.Roe+x@Example.COM now") == [
        ("EMAIL", 5, 27, "jane.roe+x@example.com"),
    ]


def test_quotes_and_dots_before_a_name_are_no_part_of_it() -> None:
    assert [value for *_, value in mails("'..a@example.com'")] == ["a@example.com"]


def test_an_at_sign_without_a_name_is_no_address() -> None:
    assert mails("see @example.com") == []
    assert mails("see -.@example.com") == []


def test_a_name_never_reaches_into_the_find_before_it() -> None:
    assert mails("a@b.co,x@example.com".replace("a@b.co,", "aaaaaa"), done=6) == [
        ("EMAIL", 6, 19, "x@example.com"),
    ]
    assert mails("aaaaaa@example.com", done=6) == []


def test_spellings_of_one_ipv6_address_have_one_value() -> None:
    short, long = addresses("from 2001:db8::1."), addresses("2001:0db8:0:0:0:0:0:0001")
    assert [spelt for spelt, _ in short] == ["2001:db8::1"]
    assert short[0][1] == long[0][1] == "20010db8000000000000000000000001"


def test_a_colon_of_the_word_before_is_left_outside() -> None:
    assert [spelt for spelt, _ in addresses("ip:2001:db8::1 x")] == ["2001:db8::1"]
    assert [spelt for spelt, _ in addresses("2001:db8::7: hello")] == ["2001:db8::7"]


@pytest.mark.parametrize(
    "text",
    [
        "std::vec",
        "a::b",
        "::",
        "00:1a:2b:3c:4d:5e",
        "at 12:30:45",
        "1:2:3:4:5:6:7:8:9",
        "x2001:db8::1",
    ],
)
def test_what_looks_like_an_ipv6_address_and_is_none_stays(text: str) -> None:
    assert addresses(text) == []


def test_an_empty_neighbour_is_no_word() -> None:
    assert [is_word(c) for c in ("a", "7", "_", "é", "", " ", "-")] == [True] * 4 + [False] * 3
