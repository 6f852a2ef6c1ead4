from __future__ import annotations

import base64
import hmac
import random
import re
import uuid
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.digest import pseudonym
from loopwright.core.errors import SettingsInvalid
from loopwright.core.ids import Ids
from loopwright.core.text import Redacted, Redactor
from loopwright.testing import ManualClock
from loopwright.texts.redact import Rules, find

KEY = bytes(range(32))
OTHER_KEY = bytes(range(32, 64))
TOKEN = re.compile(r"<(EMAIL|PHONE|CARD|IBAN|IP|SECRET):[0-9a-f]{10}>")

JWT = "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9PlFUP0THsR8U"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow+/IBAAKC\nAQEA1234==\n-----END RSA PRIVATE KEY-----"


def redact(text: str, key: bytes = KEY) -> Redacted:
    return Rules().redact(text, key)


PLANTED = [
    ("EMAIL", "a@b.co"),
    ("EMAIL", "jane.doe+x@mail.example.co.uk"),
    ("EMAIL", "1234567@qq.example"),
    ("EMAIL", "jürgen@bücher.example"),
    ("PHONE", "+49 30 1234567"),
    ("PHONE", "+49 (0)30 1234567"),
    ("PHONE", "+4915112345678"),
    ("PHONE", "+1-212-555-0199"),
    ("PHONE", "+1 (212) 555-0199"),
    ("PHONE", "+33 1 23 45 67 89"),
    ("PHONE", "+44 7700 900123"),
    ("PHONE", "+91 98765 43210"),
    ("PHONE", "0049 30 1234567"),
    ("PHONE", "(212) 555-0199"),
    ("PHONE", "212-555-0199"),
    ("PHONE", "212.555.0199"),
    ("PHONE", "1 212 555 0199"),
    ("PHONE", "020 7946 0958"),
    ("PHONE", "07700 900123"),
    ("PHONE", "030/1234567"),
    ("PHONE", "0171-1234567"),
    ("PHONE", "(030) 1234567"),
    ("PHONE", "01 23 45 67 89"),
    ("PHONE", "01.23.45.67.89"),
    ("CARD", "4111 1111 1111 1111"),
    ("CARD", "4111-1111-1111-1111"),
    ("CARD", "4111111111111111"),
    ("CARD", "5555555555554444"),
    ("CARD", "2223003122003222"),
    ("CARD", "6011111111111117"),
    ("CARD", "378282246310005"),
    ("CARD", "3782 822463 10005"),
    ("CARD", "30569309025904"),
    ("CARD", "3530111333300000"),
    ("CARD", "6200000000000005"),
    ("CARD", "4000000000000000006"),
    ("CARD", "4000 0000 0000 0000 006"),
    ("IBAN", "DE89 3704 0044 0532 0130 00"),
    ("IBAN", "DE89370400440532013000"),
    ("IBAN", "GB29 NWBK 6016 1331 9268 19"),
    ("IBAN", "FR14 2004 1010 0505 0001 3M02 606"),
    ("IBAN", "NO93 8601 1117 947"),
    ("IBAN", "ch93 0076 2011 6238 5295 7"),
    ("IP", "192.168.1.17"),
    ("IP", "8.8.8.8"),
    ("IP", "2001:db8::1"),
    ("IP", "2001:0db8:85a3:0000:0000:8a2e:0370:7334"),
    ("IP", "::ffff:10.0.0.1"),
    ("SECRET", "AKIAIOSFODNN7EXAMPLE"),
    ("SECRET", "ghp_a1B2c3D4e5F6a7B8c9D0e1F2a3B4c5D6e7F8"),
    ("SECRET", "github_pat_11ABCDEFG0abcdefghijkl_mnopqrstuvwxyz"),
    ("SECRET", "sk-abcdefghij0123456789ABCD"),
    ("SECRET", "sk-proj-abcdefghij_0123456789-ABCD"),
    ("SECRET", "sk_live_abcdefghij0123456789"),
    ("SECRET", "glpat-abcdefghij0123456789"),
    ("SECRET", "hf_abcdefghijABCDEFGHIJ0123456789abcd"),
    ("SECRET", "xoxb-123456789012-abcdefABCDEF"),
    ("SECRET", "AIzaSyA0123456789abcdefghijklmnopqrstuv"),
    ("SECRET", "lw_0123456789ab_abcdefghijklmnop-012345"),
    ("SECRET", JWT),
    ("SECRET", PEM),
]  # fmt: skip

AROUND = [
    "{}",
    "so {} and then",
    "({})",
    "'{}'",
    "see {}.",
    "first line\n{}\nlast",
    "{}, {}",
    "x: {}; y",
]


@pytest.mark.parametrize(("kind", "value"), PLANTED)
@pytest.mark.parametrize("around", AROUND)
def test_a_planted_value_is_replaced_whole_wherever_it_stands(kind: str, value: str, around: str):
    seen = redact(around.replace("{}", value))
    times = around.count("{}")
    assert seen.counts == {kind: times}
    assert TOKEN.sub("{}", seen.text) == around or value.startswith("(")
    assert value not in seen.text


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("Authorization: Bearer abcdef0123456789abcd", "Authorization: Bearer <SECRET>"),
        ("aws_secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "aws_secret_access_key = <SECRET>"),
        ("AWS_SECRET_ACCESS_KEY=wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "AWS_SECRET_ACCESS_KEY=<SECRET>"),
        ("tel: 5551234", "tel: <PHONE>"),
        ("My phone number is 912 34 56 78, thanks", "My phone number is <PHONE>, thanks"),
        ("tel 5551234567 212-555-0199", "tel <PHONE> <PHONE>"),
        ("http://10.0.0.1:8080/start", "http://<IP>:8080/start"),
        ("[2001:db8::1]:443", "[<IP>]:443"),
        ("mailto:bob@example.com?subject=hi", "mailto:<EMAIL>?subject=hi"),
        ("+49 30 123456 48213", "<PHONE> 48213"),
        ("+1 212 555 0199 2024", "<PHONE> 2024"),
        ("030 1234567 2024", "<PHONE> 2024"),
        ("4111 1111 1111 1111 212-555-0199", "<CARD> <PHONE>"),
        ("DE89 3704 0044 0532 0130 00 212-555-0199", "<IBAN> <PHONE>"),
        ("1712345678901 10.0.0.1 1712345678902", "1712345678901 <IP> 1712345678902"),
        ("-----BEGIN PRIVATE KEY-----\nMIIEow+/IBAAKC\nAQEA12", "<SECRET>"),
        ("bob@example.com.", "<EMAIL>."),
    ],
)  # fmt: skip
def test_only_the_value_goes_and_its_surroundings_stay(text: str, left: str):
    assert TOKEN.sub(r"<\1>", redact(text).text) == left


KEPT = [
    "1712345678901", "1700000000000", "1712345678901234", "1712345678901234567",
    "550e8400-e29b-41d4-a716-446655440000", "12345678-1234-4123-8123-123456789012",
    "41111111-1111-1111-8111-111111111111", "0123456789abcdef0123456789abcdef", "4bf92f3577b34da6a3ce929d0e0e4736",
    "v1.2.3", "2.3.4567", "version 1.2.3.4", "v10.0.0.1", "release: 10.4.2.1", "foo==1.2.3.4", "10.0.19041.1",
    "order 48213", "#48213", "PO-4500012345", "4500012345", "112-1234567-1234567", "ORD-2026-000123",
    "order number 4539578763621486", "order 0123-456789", "invoice no. 030 1234567", "100000123",
    "2026-11-05 10:30", "2026-11-05T12:34:56.789+02:00", "05-11-2026 12:30:22", "05/11/2026 1234",
    "05 11 2026 1234", "12:34:56.789", "std::vector", "a::b", "::", "aa:bb:cc:dd:ee:ff",
    "00:11:22:33:44:55:66:77", "$1,234,567.89", "1 234 567 890", "1.3.6.1.4.1", "1Z999AA10123456784",
    "risk-management-for-beginners", "task-list-of-twenty-five-things-2026", "sk-learn-compatible-estimators-for-all",
    "user@localhost", "@mention", "lw_0123456789ab", "ISO 8601-1:2019", "978-3-16-148410-0", "3.14159265358979",
    "2024 2025 2026 2027", "1 2 3 4 5 6 7 8 9 10 11 12", "C++11 +0200", "+1712345678901", "Bearer of good news again",
    "4111 1111 1111 1112", "DE89 3704 0044 0532 0130 01", "999.1.1.1", "eyJhello.there.world",
    "eyJ0eXAiOiJwYWdlIiwibiI6MX0.abc.def", "AQBx-sk-1BDilGKHLKm-BuGO4kMWhh_RmhYPl", "AQB_hf_pZpPcJuhQ6mmAUesA81yUOi5wGjhS4AUDq",
    "+0 1234567890", "tel 2026-11-05", "tel 12345678901234", "phone 1712345678901", "0049 in all 1234567", "order 0049 30 1234567",
    "XX12 3456 7890 1234 5678", "DE89 3704 0044 0532 0130", "20 7946 0958", "4111 1111-1111 1111",
]  # fmt: skip


@pytest.mark.parametrize("value", KEPT)
@pytest.mark.parametrize("around", AROUND)
def test_what_only_looks_like_a_find_is_kept(value: str, around: str):
    text = around.replace("{}", value)
    assert redact(text) == Redacted(text, {}, "rules-4")


def order_number(rng: random.Random) -> str:
    shapes: list[Callable[[], str]] = [
        lambda: f"{rng.randrange(10**4, 10**6)}",
        lambda: f"#{rng.randrange(10**9)}",
        lambda: f"ORD-{rng.randrange(2020, 2030)}-{rng.randrange(10**6):06d}",
        lambda: f"PO-{rng.randrange(10**10):010d}",
        lambda: f"{rng.randrange(10**9, 10**10)}",
        lambda: f"{rng.randrange(1000):03d}-{rng.randrange(10**7):07d}-{rng.randrange(10**7):07d}",
        lambda: f"SO{rng.randrange(10**8):08d}",
        lambda: f"order {rng.randrange(10**15, 10**16)}",
    ]
    return rng.choice(shapes)()


def join_key(rng: random.Random) -> str:
    def number(digits: int) -> int:
        return rng.randrange(10**digits)

    new_id = Ids(ManualClock(rng.randrange(10**12, 2 * 10**12)), rng)
    shapes: list[Callable[[], str]] = [
        lambda: str(rng.randrange(10**12, 2 * 10**12)),
        lambda: str(uuid.UUID(int=rng.getrandbits(128), version=4)),
        new_id,
        lambda: str(uuid.UUID(new_id())),
        lambda: rng.randbytes(8).hex(),
        lambda: rng.randbytes(16).hex(),
        lambda: rng.randbytes(20).hex(),
        lambda: f"{number(2)}.{number(2)}.{number(rng.randrange(1, 5))}",
        lambda: f"v{number(1)}.{number(2)}.{number(3)}.{number(2)}",
        lambda: f"2026.{number(2)}.{number(1)}-rc{number(1)}",
        lambda: f"00-{rng.randbytes(16).hex()}-{rng.randbytes(8).hex()}-01",
        lambda: f"user_{number(10)}",
        lambda: f"sess-{number(13)}",
        lambda: f"{new_id()}_{number(4)}",
        lambda: order_number(rng),
    ]
    return rng.choice(shapes)()


def test_join_keys_of_a_generated_corpus_come_through_unchanged():
    rng = random.Random(20261121)
    before: set[str] = set()
    after: set[str] = set()
    for _ in range(4000):
        keys = [join_key(rng) for _ in range(3)]
        text = f"The answer {keys[0]} was wrong, compare {keys[1]}; see ({keys[2]})."
        before.update(keys)
        kept = redact(text)
        after.update(key for key in keys if key in kept.text)
        assert kept.counts == {}, text
    assert after == before


@given(st.integers(10**12, 2 * 10**12 - 1), st.uuids(), st.tuples(*[st.integers(0, 99)] * 3))
def test_timestamps_uuids_and_versions_are_never_touched(
    at_ms: int, key: uuid.UUID, version: tuple[int, ...]
):
    dotted = ".".join(map(str, version))
    text = f"{at_ms} {key} {dotted} {key.hex} id={at_ms} ({key}) v{dotted}"
    assert redact(text).text == text


@given(st.binary(min_size=20, max_size=300))
def test_a_request_id_is_never_touched(raw: bytes):
    request_id = base64.urlsafe_b64encode(b"\x01\x00" + raw).decode().rstrip("=")
    text = f"feedback for {request_id} was late"
    assert redact(text).text == text


@pytest.mark.parametrize("around", ["see {}: {}, then {}", "{} {} {}", "({}) '{}' [{}]"])
def test_every_planted_value_of_a_generated_corpus_is_found_and_the_keys_beside_it_stay(
    around: str,
):
    rng = random.Random(7)
    missed = []
    for _ in range(2000):
        kind, value = rng.choice(PLANTED)
        keys = join_key(rng), join_key(rng)
        text = around.format(keys[0], value, keys[1])
        seen = redact(text)
        if seen.counts != {kind: 1} or value in seen.text or not all(k in seen.text for k in keys):
            missed.append(text)
    assert missed == []


def luhn_card(rng: random.Random, prefix: str, length: int) -> str:
    body = prefix + "".join(rng.choices("0123456789", k=length - 1 - len(prefix)))
    doubled = [int(d) * (2 - i % 2) for i, d in enumerate(reversed(body))]
    return body + str(-sum(d - 9 if d > 9 else d for d in doubled) % 10)


def test_random_cards_of_the_common_issuers_are_all_found():
    rng = random.Random(3)
    for prefix, length in [
        ("4", 16),
        ("51", 16),
        ("2500", 16),
        ("34", 15),
        ("6011", 16),
        ("36", 14),
    ]:
        for _ in range(200):
            card = luhn_card(rng, prefix, length)
            assert redact(f"paid with {card} today").counts == {"CARD": 1}, card


def test_a_card_with_one_digit_changed_is_no_card():
    rng = random.Random(4)
    for _ in range(200):
        card = luhn_card(rng, "4", 16)
        at = rng.randrange(1, 16)
        changed = card[:at] + str((int(card[at]) + rng.randrange(1, 10)) % 10) + card[at + 1 :]
        assert redact(f"paid with {changed} today").counts == {}, changed


def test_equal_values_have_equal_tokens_however_they_are_written():
    def token(text: str, key: bytes = KEY) -> str:
        return redact(text, key).text

    assert token("Bob@Example.com") == token("bob@example.com")
    assert token("+49 30 1234567") == token("+49-30-1234567") == token("0049 30 1234567")
    assert token("(212) 555-0199") == token("+1 212 555 0199") == token("212.555.0199")
    assert token("4111 1111 1111 1111") == token("4111111111111111")
    assert token("DE89 3704 0044 0532 0130 00") == token("DE89370400440532013000")
    assert token("2001:db8:0::1") == token("2001:0db8::0001")
    assert token("bob@example.com") != token("bob@example.org")
    assert token("bob@example.com") != token("bob@example.com", OTHER_KEY)


def test_the_same_value_of_another_kind_has_another_digest():
    digests = {
        TOKEN.sub("", t) or t[-11:-1]
        for t in (redact("tel 2125550199").text, redact("+12125550199").text)
    }
    assert len(digests) == 2


@given(st.binary(min_size=16, max_size=64))
def test_a_token_is_the_hmac_of_kind_and_value(key: bytes):
    digest = hmac.digest(key, b"EMAIL\0bob@example.com", "sha256").hex()
    assert redact("Bob@example.com", key).text == f"<EMAIL:{digest[:10]}>"


@given(st.text(max_size=300))
def test_any_text_is_redacted_once_and_stays_so(text: str):
    once = redact(text)
    again = redact(once.text)
    assert again.text == once.text
    assert sum(once.counts.values()) == len(TOKEN.findall(once.text)) - len(TOKEN.findall(text))


@given(
    st.lists(st.sampled_from([value for _, value in PLANTED] + KEPT), max_size=6),
    st.sampled_from([" ", "\n", ", ", "; "]),
)
def test_redacting_a_mixture_twice_changes_nothing_more(parts: list[str], glue: str):
    once = redact(glue.join(parts))
    assert redact(once.text).text == once.text
    assert "@b.co" not in once.text
    assert JWT not in once.text


@given(st.text(alphabet="0123456789 +-./():@abcdefAKI_skeyJ", max_size=400))
def test_finds_never_overlap_and_stand_in_order(text: str):
    done = 0
    for span in find(text):
        _, start, end, normal = span
        assert done <= start < end <= len(text)
        assert normal
        done = end


def test_a_hostile_text_of_200_kb_is_read_to_its_end_without_backtracking():
    for piece in (
        "1 ",
        "1.",
        "@",
        "a@",
        ":",
        "1:",
        "DE89 3704 ",
        "-----BEGIN PRIVATE KEY-----",
        "sk-",
        "Bearer ",
    ):
        text = piece * (200_000 // len(piece))
        assert len(redact(text).text) <= len(text)


def test_lone_surrogates_do_not_break_redaction():
    text = "broken \udc80 text of bob@example.com \ud800"
    assert redact(text).counts == {"EMAIL": 1}
    assert len(pseudonym(KEY, "user\udc80")) == 32


def test_a_pseudonym_is_stable_within_a_tenant_and_foreign_to_others():
    assert pseudonym(KEY, "user-1") == pseudonym(KEY, "user-1")
    assert re.fullmatch(r"[0-9a-f]{32}", pseudonym(KEY, "user-1"))
    assert pseudonym(KEY, "user-1") != pseudonym(KEY, "user-2")
    assert pseudonym(KEY, "user-1") != pseudonym(OTHER_KEY, "user-1")


def test_a_key_of_another_length_is_refused_with_what_to_do():
    with pytest.raises(SettingsInvalid, match="has 3 bytes; give 16 to 64"):
        redact("hello", b"abc")
    with pytest.raises(SettingsInvalid, match="has 65 bytes"):
        redact("hello", bytes(65))
    with pytest.raises(SettingsInvalid, match="has 0 bytes"):
        pseudonym(b"", "user")


def test_the_rules_are_a_redactor_like_any_other():
    redactor: Redactor = Rules()
    assert redactor.version == "rules-4"
    assert redactor.redact("mail bob@example.com", KEY).version == redactor.version
