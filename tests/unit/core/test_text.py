from __future__ import annotations

import pytest

from loopwright.core.text import Scores


def test_the_label_is_the_likeliest_and_of_equals_the_first() -> None:
    assert Scores({"a": 0.2, "b": 0.5, "c": 0.3}, "v").label == "b"
    even = Scores({"b": 0.4, "a": 0.4, "c": 0.2}, "v")
    assert (even.label, even.probability) == ("b", 0.4)


@pytest.mark.parametrize(
    ("probabilities", "mood"),
    [
        ({"positive": 0.7, "neutral": 0.2, "negative": 0.1}, 0.6),
        ({"positive": 0.0, "neutral": 0.0, "negative": 1.0}, -1.0),
        ({"accuracy": 1.0}, 0.0),
    ],
)
def test_mood_is_positive_less_negative_and_0_without_them(
    probabilities: dict[str, float], mood: float
) -> None:
    assert Scores(probabilities, "v").mood == mood
