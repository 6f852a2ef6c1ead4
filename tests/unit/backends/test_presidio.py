from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.backends.presidio import PresidioRedactor
from loopwright.core.errors import SettingsInvalid
from loopwright.core.text import Redactor
from loopwright.texts.redact import Rules

KEY = bytes(range(32))


@pytest.fixture(scope="module")
def presidio() -> Redactor:
    pytest.importorskip("presidio_analyzer", reason="needs the extra pii")
    return PresidioRedactor(Rules())


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("US_SSN", "856-45-6789"),
        ("US_ITIN", "911-70-1234"),
        ("CRYPTO", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
        ("MAC_ADDRESS", "00:1A:2B:3C:4D:5E"),
    ],
)
def test_what_the_rules_do_not_know_is_found(presidio: Redactor, kind: str, text: str) -> None:
    found = presidio.redact(f"mine is {text}, thanks", KEY)

    assert found.counts == {kind: 1}
    assert found.text.startswith(f"mine is <{kind}:")
    assert found.text.endswith(">, thanks")
    assert presidio.redact(f"again {text}", KEY).text.split()[-1] in found.text
    assert found.version == presidio.version != Rules.version


def test_what_the_rules_find_keeps_its_token(presidio: Redactor) -> None:
    text = "jane@example.com, 4111 1111 1111 1111, 203.0.113.9, DE89 3704 0044 0532 0130 00"
    alone = Rules().redact(text, KEY)
    both = presidio.redact(text + " ssn 856-45-6789", KEY)

    assert presidio.redact(text, KEY).text == alone.text
    assert both.text.startswith(alone.text)
    assert both.counts == {**alone.counts, "US_SSN": 1}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        "answer 7d444840-9dc0-4df5-a5b4-6f1c9bd5a2f0 of 1732096200000",
        "order 9434765919 and 4711-0815-99, version 3.11.4, ticket 123456789",
        "https://www.example.com/a?b=1 on 2026-11-20",
    ],
)
def test_ids_and_what_is_on_no_list_stay(presidio: Redactor, text: str) -> None:
    found = presidio.redact(text, KEY)

    assert (found.text, found.counts) == (text, {})


def test_an_entity_without_a_pattern_is_refused(presidio: Redactor) -> None:
    for entities in (["PERSON"], ["US_SSN", "SHOE_SIZE"], []):
        with pytest.raises(SettingsInvalid):
            PresidioRedactor(Rules(), entities)
    with pytest.raises(SettingsInvalid):
        PresidioRedactor(Rules(), least_score=0.1)
    with pytest.raises(SettingsInvalid):
        presidio.redact("text", b"short")


@pytest.mark.skipif(
    importlib.util.find_spec("presidio_analyzer") is not None, reason="the extra pii is installed"
)
def test_without_the_extra_the_error_says_what_to_install() -> None:
    with pytest.raises(SettingsInvalid) as refused:
        PresidioRedactor(Rules())
    assert "loopwright[pii]" in refused.value.message


@pytest.mark.skipif(
    importlib.util.find_spec("presidio_analyzer") is not None, reason="the extra pii is installed"
)
def test_a_start_with_presidio_as_the_setting_needs_the_extra(tmp_path: Path) -> None:
    settings = load_settings(data_dir=tmp_path, redactor="presidio")
    with pytest.raises(SettingsInvalid, match=r"loopwright\[pii\]"):
        Services(settings)
    Services(load_settings(data_dir=tmp_path)).close()  # the failed start let the directory go
