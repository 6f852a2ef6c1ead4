"""Every kind of find, in every spelling and beside every neighbour; and what looks like one and is none."""

from __future__ import annotations

import random
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.texts.redact import Rules

KEY = bytes(range(32))
TOKEN = re.compile(r"<(EMAIL|PHONE|CARD|IBAN|IP|SECRET):[0-9a-f]{10}>")

SPACES = [" ", "\u00a0", "\u202f", "\u2009", "\u2007", "\u3000", "\t"]
DASHES = ["-", "\u2010", "\u2011", "\u2012", "\u2013", "\u2014", "\u2212", "\uff0d"]

GROUPED = [
    ("CARD", "4111 1111 1111 1111", SPACES + DASHES),
    ("CARD", "3782 822463 10005", SPACES + DASHES),
    ("CARD", "4000 0000 0000 0000 006", SPACES + DASHES),
    ("IBAN", "DE89 3704 0044 0532 0130 00", SPACES + DASHES),
    ("IBAN", "GB29 NWBK 6016 1331 9268 19", SPACES + DASHES),
    ("IBAN", "NO93 8601 1117 947", SPACES + DASHES),
    ("PHONE", "+49 30 1234567", SPACES + DASHES),
    ("PHONE", "+1 212 555 0199", SPACES + DASHES),
    ("PHONE", "+33 1 23 45 67 89", SPACES + DASHES),
    ("PHONE", "212 555 0199", SPACES + DASHES),
    ("PHONE", "020 7946 0958", SPACES),
    ("PHONE", "0049 30 1234567", SPACES),
]
SPELT = [(kind, value.replace(" ", mark)) for kind, value, marks in GROUPED for mark in marks]

WHOLE = [
    ("CARD", "4111111111111111"),
    ("IBAN", "DE89370400440532013000"),
    ("PHONE", "+4915112345678"),
    ("PHONE", "(212) 555-0199"),
    ("EMAIL", "jane.doe@example.com"),
    ("IP", "192.168.1.17"),
    ("IP", "2001:db8::1"),
    ("SECRET", "AKIAIOSFODNN7EXAMPLE"),
    ("SECRET", "ghp_a1B2c3D4e5F6a7B8c9D0e1F2a3B4c5D6e7F8"),
    ("SECRET", "sk-abcdefghij0123456789ABCD"),
]  # fmt: skip

NEIGHBOURS = [
    ("", ""), ("so ", " then"), ("(", ")"), ("[", "]"), ('"', '"'), ("'", "'"), ("", "."), ("", "!"),
    ("x=", ";"), ("a,", ",b"), ("7,", ",2027"), ('7,"', '",2027'), ("7;", ";2027"), ("7|", "|2027"),
    ("7\t", "\t2027"), ("7: ", ""), ("\u00a0", "\u00a0"), ("\u201c", "\u201d"), ("\u2014", "\u2014"),
    ("\uff1a", "\uff0c"), ("<b>", "</b>"), ("line\n", "\nline"), ("\u200b", "\u200b"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value"), SPELT + WHOLE)
def test_a_value_is_found_whole_in_every_spelling_and_beside_every_neighbour(
    kind: str, value: str
) -> None:
    for before, after in NEIGHBOURS:
        seen = Rules().redact(f"{before}{value}{after}", KEY)
        if "\t" in before and "\t" in value and value[0] in "02":
            continue  # a row of numbers in a table
        assert seen.counts == {kind: 1}, (before, after)
        left = TOKEN.sub("*", seen.text).replace("\u200b", "")
        # A bracket that belongs to the number may stay.
        assert left in (f"{before}*{after}".replace("\u200b", ""), f"{before}(*{after}")


@pytest.mark.parametrize("behind", ["/123", "/12/27", " /123", ",123", ":123", "|123", ";12/27"])
@pytest.mark.parametrize("card", ["4111111111111111", "4111 1111 1111 1111", "4111-1111-1111-1111"])
def test_a_card_is_found_whatever_is_said_about_it_behind(card: str, behind: str) -> None:
    assert TOKEN.sub("*", Rules().redact(f"{card}{behind}", KEY).text) == f"*{behind}"


@pytest.mark.parametrize(("kind", "value"), WHOLE)
def test_full_width_characters_make_no_difference(kind: str, value: str) -> None:
    wide = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in value)
    plain = Rules().redact(f"so {value} then", KEY)
    assert Rules().redact(f"so {wide} then", KEY).text == plain.text
    assert plain.counts == {kind: 1}


@pytest.mark.parametrize("hidden", ["\u200b", "\u200d", "\u2060", "\ufeff", "\u00ad"])
@pytest.mark.parametrize(("kind", "value"), WHOLE)
def test_characters_without_width_hide_nothing(kind: str, value: str, hidden: str) -> None:
    for place in range(1, len(value)):
        text = f"so {value[:place]}{hidden}{value[place:]} then"
        seen = Rules().redact(text, KEY)
        assert seen.text == Rules().redact(f"so {value} then", KEY).text, place


def test_equal_values_have_equal_tokens_in_every_spelling() -> None:
    for _, value, marks in GROUPED:
        tokens = {Rules().redact(value.replace(" ", mark), KEY).text for mark in marks}
        assert len(tokens) == 1, value


def test_columns_beside_a_number_stay_in_a_table() -> None:
    row = "12\t020 7946 0958\t2026\t4111 1111 1111 1111\t123"
    assert TOKEN.sub(r"<\1>", Rules().redact(row, KEY).text) == "12\t<PHONE>\t2026\t<CARD>\t123"


ORDINARY = [
    "Between 2019\u20132024 we sold 1\u00a0234\u00a0567\u00a0890 units, pages 100\u2013200, \u22125 \u00b0C",
    "Preis: 1.234.567,89\u00a0\u20ac, am 05.11.2026 um 12:30:22, Art.-Nr. 4500012345",
    "SELECT a, b FROM t WHERE id IN (100000123, 100000124,100000125) AND day >= '2026-11-05' LIMIT 10,20",
    "INSERT INTO t VALUES (1,2345678901,'x',17.25,0.123456789,1712345678901),(2,2345678902,'y',18,0,1712345678902)",
    "41111111-1111-1111-8111-111111111111,550e8400-e29b-41d4-a716-446655440000;12345678-1234-4123-8123-123456789012",
    "2026-11-05T12:34:56.789+02:00,2026-11-06 10:30:00,05/11/2026 12:30,1712345678901,1712345678901234",
    "v1.2.3, 2.3.4567, version 1.2.3.4, numpy==2.1.3.1, >=10.0.19041.1, 1.3.6.1.4.1",
    "id\tname\tn\n100001\tann\t2026\n100002\tbob\t2027\n2026\t11\t05\n12\t345\t678\t9012",
    "1,234,567,890 rows; 12,345.678 s; 3,5 s; 192,168,1,17; 4,111,111,111,111,111",
    "https://example.com/orders/4111111111111111/items?page=12&t=1712345678901",
    "see #4111111111111111, row_4111111111111111, 4111111111111111_x, 0x4111111111111111, 4111111111111111.25",
    "\u96fb\u8a71\u756a\u53f7\u306f\u3042\u308a\u307e\u305b\u3093\u3002\uff12\uff10\uff12\uff16\u5e74\uff11\uff11\u6708\uff15\u65e5\u3001\u8a73\u7d30\u306f\uff11\uff12\u30da\u30fc\u30b8",
    "DE12-3456-7890-1234-5678-90 and GB29-NWBK-6016 and AB12-CD34-EF56-GH78 are serial numbers",
    "10.0\u20132.5, 1:2:3, 00:11:22:33:44:55, a\u2014b, 12\u201314 h, 3\u00d74, 100\u2009%, \u00a7\u00a012",
]  # fmt: skip


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_stays(text: str) -> None:
    assert Rules().redact(text, KEY).text == text


def test_uuids_dates_versions_and_timestamps_stay_with_every_mark_between_them() -> None:
    rng = random.Random(24)
    for mark in [*SPACES, ",", ";", "|", ", ", "\u2014", " \u2013 "]:
        for _ in range(300):
            at_ms = rng.randrange(10**12, 2 * 10**12)
            row = mark.join(
                [
                    f"{rng.getrandbits(128):032x}",
                    f"20{rng.randrange(10, 30)}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}",
                    f"{rng.randrange(10)}.{rng.randrange(30)}.{rng.randrange(5000)}",
                    str(at_ms),
                    f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}",
                    f"ORD-{rng.randrange(10**6):06}",
                ]
            )
            assert Rules().redact(row, KEY).text == row


@given(
    st.lists(
        st.tuples(st.sampled_from(NEIGHBOURS), st.sampled_from(SPELT + WHOLE)).map(
            lambda drawn: f"{drawn[0][0]}{drawn[1][1]}{drawn[0][1]}"
        ),
        max_size=5,
    ).map("\n".join)
)
def test_redacting_twice_changes_nothing_more(text: str) -> None:
    once = Rules().redact(text, KEY)
    assert Rules().redact(once.text, KEY).text == once.text
