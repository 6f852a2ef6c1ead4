from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec
import pytest
from tests.unit.datasets.conftest import NOW, Desk

from loopwright.core.dataset import Recipe
from loopwright.core.errors import Invalid
from loopwright.datasets.builder import identity, split_of, window


def test_units_keep_their_split_and_fall_on_them_by_their_shares() -> None:
    recipe = Recipe(name="p", splits={"train": 0.8, "dev": 0.1, "test": 0.1})
    counts = Counter(split_of(recipe, f"u{n}") for n in range(5000))
    assert 3900 < counts["train"] < 4100
    assert 420 < counts["dev"] < 580
    assert split_of(recipe, "u1") == split_of(recipe, "u1")
    salted = msgspec.structs.replace(recipe, salt="x")
    assert any(split_of(salted, f"u{n}") != split_of(recipe, f"u{n}") for n in range(50))


def test_windows_are_days_or_instants() -> None:
    assert window(Recipe(name="p", days=1), NOW) == (NOW - 86_400_000, NOW + 1)
    assert window(Recipe(name="p", from_ms=5, to_ms=9), NOW) == (5, 9)
    with pytest.raises(Invalid, match="future"):
        window(Recipe(name="p", from_ms=NOW + 5, to_ms=NOW + 9), NOW)


def test_no_unit_and_no_input_is_in_two_splits(desk: Desk) -> None:
    # Forty people ask the same ten questions: by their hash the whole inputs are equal.
    calls, said = [], []
    for n in range(400):
        who, question = f"u{n % 40}", f"q{n % 10}"
        is_good = n // 10 % 2 == 1
        answer = "good" if is_good else "bad"
        calls.append({"id": f"o{n}", "input_hash": question, "query": f"Question {question}?",
                      "response": f"{answer} {n // 20 % 5}", "user_id": who})  # fmt: skip
        said.append({"kind": "rating", "scale": "stars", "value": 5 if is_good else 1,
                     "output_id": f"o{n}", "user_id": who, "event_id": f"e{n}"})  # fmt: skip
    desk.loop.feedback.interactions(calls)
    desk.say(*said)
    made = desk.loop.datasets.build(
        {"name": "p", "splits": {"train": 0.5, "test": 0.5}, "per_input": 100}
    )
    by_split = {split: desk.rows(made.id, split=split) for split in ("train", "test")}
    inputs = {split: {row["input"] for row in rows} for split, rows in by_split.items()}
    assert not inputs["train"] & inputs["test"]
    people = {
        split: {int(event[1:]) % 40 for row in rows for event in row["events"]}
        for split, rows in by_split.items()
    }
    assert not people["train"] & people["test"]
    assert made.dropped["other_split"] > 0


def test_goldens_and_inputs_that_are_excluded_stay_out(desk: Desk) -> None:
    for query in ("How?", "Why?"):
        desk.say(
            desk.rating(query, "This way.", 5, who="ada"),
            desk.rating(query, "No idea.", 1, who="ada"),
        )
    every = desk.loop.datasets.build({"name": "p", "splits": {"train": 1.0}})
    golden = next(row["input"] for row in desk.rows(every.id) if row["prompt"] == "How?")
    made = desk.loop.datasets.build({"name": "p", "splits": {"train": 1.0}, "exclude": [golden]})
    assert [row["prompt"] for row in desk.rows(made.id)] == ["Why?"]
    assert made.dropped["excluded"] == 2


def test_one_person_gives_at_most_so_many_rows(desk: Desk) -> None:
    for n in range(6):
        desk.say(
            desk.rating(f"Q{n}", "This way.", 5, who="ada"),
            desk.rating(f"Q{n}", "No idea.", 1, who="ada"),
        )
    made = desk.loop.datasets.build({"name": "p", "splits": {"train": 1.0}, "per_person": 4})
    assert (made.rows, made.dropped["per_person"]) == (4, 2)


def test_a_trap_set_forges_no_pair(desk: Desk) -> None:
    """Ten offers shown to many customers: a join on the offer would pair 95 % across customers."""
    items: list[dict[str, Any]] = []
    for n in range(1000):
        offer, customer, version = n % 10, f"u{n // 10 % 20}", f"v{n // 200 % 2}"
        items.append(
            desk.rating(
                f"Offer {offer} for {customer}",
                f"text {version} {n % 7}",
                1 + n // 200,
                who=customer,
            )
        )
    desk.say(*items)
    made = desk.loop.datasets.build({"name": "p", "splits": {"train": 0.5, "test": 0.5}})
    by_event = {item["event_id"]: item for item in items}
    assert made.rows > 10
    for row in desk.rows(made.id):
        about = [by_event[event] for event in row["events"]]
        assert len({item["query"] for item in about}) == 1
        assert len({item["user_id"] for item in about}) == 1
        assert row["chosen"] != row["rejected"]


def test_an_id_is_of_what_decides_the_bytes(desk: Desk) -> None:
    desk.say(
        desk.rating("How?", "This way.", 5, who="ada"), desk.rating("How?", "No.", 1, who="ada")
    )
    made = desk.loop.datasets.build({"name": "p", "splits": {"train": 1.0}})
    assert identity(made) == made.id
    later = msgspec.structs.replace(made, built_at_ms=5, actor="x")
    assert identity(later) == made.id
    assert identity(msgspec.structs.replace(made, watermark=1)) != made.id
