from __future__ import annotations

from typing import Any

from loopwright.insights.preferences import Pair, preference_pairs


def row(text: str, level: float | None, **changed: Any) -> dict[str, Any]:
    plain = {"output_id": "o", "person": "p", "query": None, "quarantined": None}
    return {
        **plain,
        "kind": "rating",
        "response": text,
        "satisfaction": level,
        "consent_train": True,
        **changed,
    }


def pairs(*rows: dict[str, Any]) -> list[Pair]:
    return list(preference_pairs(rows))


def test_the_best_text_is_paired_with_every_one_that_is_rated_lower() -> None:
    found = pairs(row("a", 1.0), row("b", 0.0), row("c", 0.5), row("d", 1.0), row("a", 1.0))
    assert [(pair.chosen, pair.rejected) for pair in found] == [("a", "b"), ("a", "c")]
    assert found[0].prompt == "offer_id: o"


def test_texts_for_another_person_or_offer_are_never_compared() -> None:
    assert pairs(row("a", 1.0), row("b", 0.0, person="q"), row("c", 0.0, output_id="x")) == []


def test_what_may_not_train_or_does_not_count_is_left_out() -> None:
    good = row("a", 1.0)
    assert pairs(good, row("b", 0.0, consent_train=False)) == []
    assert pairs(good, row("b", 0.0, quarantined="a burst")) == []
    assert pairs(good, row("b", None), row("", 0.0)) == []


def test_the_prompt_is_the_question_where_there_is_one() -> None:
    (pair,) = pairs(row("a", 1.0), row("b", 0.0, query="sell coffee"))
    assert pair == Pair(prompt="sell coffee", chosen="a", rejected="b")
