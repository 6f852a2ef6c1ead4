from __future__ import annotations

import pytest

from loopwright.feedback.wire.words import SOURCES, source_of, unknown_words


def test_each_word_that_is_not_known_gets_a_flag_of_its_own() -> None:
    assert unknown_words("query", "trace", "low", "cost") == ()
    assert unknown_words("q", "t", "l", "c") == (
        "unknown_type",
        "unknown_source",
        "unknown_severity",
        "unknown_category",
    )


def test_a_word_that_was_left_out_is_not_unknown_and_an_empty_one_is() -> None:
    assert unknown_words("query", None, "info", None) == ()
    assert unknown_words("query", "", "info", None) == ("unknown_source",)


@pytest.mark.parametrize(
    ("source", "kind", "who"),
    [
        ("user_comment", "log", "end_user"),
        ("trace", "explicit", "system"),
        (None, "explicit", "end_user"),
        ("a new one", "implicit", "end_user"),
        (None, "metric", "system"),
        ("a new one", "a new one", "system"),
    ],
)
def test_the_source_says_who_and_else_the_type_does(
    source: str | None, kind: str, who: str
) -> None:
    assert source_of(source, kind) == who


def test_sources_are_people_or_systems_and_nothing_else() -> None:
    assert set(SOURCES.values()) == {"end_user", "system"}
