from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from loopwright.core.dataset import DatasetKind, Recipe
from loopwright.datasets.examples import Example, examples, input_digest
from loopwright.datasets.rows import Row


def row(**members: Any) -> Row:
    given: dict[str, Any] = {
        "event_id": "e", "log_offset": 1, "kind": "rating", "satisfaction": None, "query": "How?",
        "response": None, "before_text": None, "after_text": None, "person": None, "session_id": None,
        "task": None, "prompt_version": None, "input_hash": "h", "input": "h", "may": True,
    }  # fmt: skip
    return Row(**(given | members))


def rated(text: str, value: float, who: str, event: str = "") -> Row:
    return row(event_id=event or f"{text}-{who}", response=text, satisfaction=value, person=who)


def made(
    *rows: Row, kind: DatasetKind = "preference", **recipe: Any
) -> tuple[list[Example], Counter[str]]:
    dropped: Counter[str] = Counter()
    found = list(examples(Recipe(name="p", kind=kind, **recipe), rows, dropped))
    return found, dropped


def pairs(found: list[Example]) -> list[tuple[str | None, str | None]]:
    return [(each.chosen, each.rejected) for each in found]


def test_ratings_with_enough_margin_make_pairs_and_others_do_not() -> None:
    found, dropped = made(rated("good", 1.0, "a"), rated("fair", 0.75, "b"), rated("bad", 0.0, "c"))
    assert pairs(found) == [("good", "bad"), ("fair", "bad")]
    assert dropped == {"margin": 1}
    assert [each.margin for each in found] == [1.0, 0.75]


def test_a_mean_is_over_voices_and_each_person_has_one() -> None:
    found, dropped = made(
        rated("good", 1.0, "a"),
        rated("good", 0.0, "a", "again"),
        rated("bad", 0.0, "b"),
    )
    assert found[0].margin == 1.0
    assert dropped["same_voice"] == 1


def test_texts_that_differ_in_spaces_and_case_alone_are_no_pair() -> None:
    found, dropped = made(rated("This way.", 1.0, "a"), rated("this  way.", 0.0, "b"))
    assert (found, dropped) == ([], {"near_identical": 1})


def test_a_correction_goes_before_ratings_and_outweighs_the_reverse() -> None:
    found, dropped = made(
        rated("before it", 1.0, "a"),
        rated("after it", 0.0, "b"),
        row(kind="correction", event_id="c", before_text="before it", after_text="after it"),
    )
    assert pairs(found) == [("after it", "before it")]
    assert found[0].source == "correction"
    assert dropped == {"contradictory": 1}


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ("This way, please, and soon, and so on and so forth.", "This way, please, and soon, and so on and so forth!", "edit_size"),
        ("abc", "xyz", "edit_size"),
        ("", "new", "empty_text"),
        ("old", "  ", "empty_text"),
        ("a" * 30_000, "b" * 30_000, "edit_size"),
    ],
    ids=["slip", "another answer", "no before", "no after", "huge"],
)  # fmt: skip
def test_corrections_that_show_no_preference_are_left_out(
    before: str, after: str, reason: str
) -> None:
    found, dropped = made(row(kind="correction", before_text=before, after_text=after))
    assert (found, dropped) == ([], {reason: 1})


def test_the_same_correction_twice_is_one_pair() -> None:
    one = row(kind="correction", before_text="this way", after_text="This way, please")
    found, dropped = made(one, one)
    assert (len(found), dropped) == (1, {"duplicate": 1})


def test_an_input_has_at_most_so_many_rows() -> None:
    rows = [rated(f"t{n}", n % 2, f"u{n}") for n in range(20)]
    found, dropped = made(*rows, per_input=5)
    assert len(found) == 5
    assert dropped["per_input"] == 95


def test_unpaired_rows_say_liked_or_not_and_leave_out_what_is_neither() -> None:
    found, dropped = made(
        rated("good", 1.0, "a"), rated("so so", 0.5, "b"), rated("bad", 0.25, "c"), kind="kto"
    )
    assert [(each.completion, each.label) for each in found] == [("good", True), ("bad", False)]
    assert dropped == {"undecided": 1}


def test_demonstrations_are_corrections_first_and_then_liked_answers() -> None:
    found, dropped = made(
        rated("liked", 1.0, "a"),
        rated("This way, please", 1.0, "b"),
        rated("bad", 0.0, "c"),
        row(kind="correction", before_text="this way", after_text="This way, please"),
        kind="sft",
    )
    assert [each.completion for each in found] == ["This way, please", "liked"]
    assert dropped == {"duplicate": 1, "not_liked": 1}
    assert found[0].chosen is None


def test_rewards_are_means() -> None:
    found, _ = made(rated("t", 1.0, "a"), rated("t", 0.5, "b"), kind="reward")
    assert [(each.reward, each.events) for each in found] == [(0.75, ("t-a", "t-b"))]


def test_an_input_is_named_by_its_digest() -> None:
    found, _ = made(rated("good", 1.0, "a"), rated("bad", 0.0, "b"))
    assert found[0].input == input_digest("h")
    assert len(found[0].input) == 64
