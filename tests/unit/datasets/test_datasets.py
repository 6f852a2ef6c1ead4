from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from tests.unit.datasets.conftest import Desk

from loopwright.backends.files import FolderBlobStore
from loopwright.core.errors import DiskFull, Invalid, LoopError, NotFound

ALL = {"train": 1.0}


def two_answers(desk: Desk, query: str = "How?", who: str = "ada", **more: Any) -> None:
    desk.say(
        desk.rating(query, "This way.", 5, who=who, **more),
        desk.rating(query, "No idea.", 1, who=who, **more),
    )


def test_a_pair_is_two_answers_to_one_input(desk: Desk) -> None:
    two_answers(desk)
    made = desk.loop.datasets.build({"name": "p", "splits": ALL})
    (row,) = desk.rows(made.id)
    assert (row["prompt"], row["chosen"], row["rejected"]) == ("How?", "This way.", "No idea.")
    assert (row["margin"], row["source"], row["events"]) == (1.0, "ratings", ["r1", "r2"])
    assert made.rows == 1
    assert made.shards[0].split == "train"


def test_a_correction_is_a_pair_by_itself(desk: Desk) -> None:
    desk.say(desk.correction("How?", "this way", "This way, please.", who="ada"))
    made = desk.loop.datasets.build({"name": "p", "splits": ALL})
    (row,) = desk.rows(made.id)
    assert (row["chosen"], row["rejected"]) == ("This way, please.", "this way")
    assert row["source"] == "correction"


def test_answers_of_different_people_or_inputs_are_no_pair(desk: Desk) -> None:
    desk.say(
        desk.rating("How?", "This way.", 5, who="ada"),
        desk.rating("How?", "No idea.", 1, who="bob"),
        desk.rating("Why?", "No idea.", 1, who="ada"),
    )
    with pytest.raises(Invalid, match="none has a partner"):
        desk.loop.datasets.build({"name": "p", "splits": ALL})


def test_the_same_rendered_input_makes_pairs_across_people(desk: Desk) -> None:
    desk.loop.feedback.interactions(
        [
            {"id": f"o{n}", "input_hash": "h1", "query": "How?", "response": said, "user_id": who}
            for n, (said, who) in enumerate([("This way.", "ada"), ("No idea.", "bob")])
        ]
    )
    desk.say(
        {"kind": "rating", "scale": "stars", "value": 5, "output_id": "o0", "user_id": "ada"},
        {"kind": "rating", "scale": "stars", "value": 1, "output_id": "o1", "user_id": "bob"},
    )
    made = desk.loop.datasets.build({"name": "p", "splits": ALL})
    (row,) = desk.rows(made.id)
    assert (row["chosen"], row["rejected"]) == ("This way.", "No idea.")


def test_no_tenant_sees_the_rows_of_another(desk: Desk) -> None:
    two_answers(desk)
    desk.services.truth.catalog.tenants.create("other")
    made = desk.loop.datasets.build({"name": "p", "splits": ALL})
    with pytest.raises(NotFound):
        desk.datasets.get("other", made.id)
    assert desk.datasets.list("other").items == ()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("kto", [("This way.", True), ("No idea.", False)]),
        ("sft", [("This way.", None)]),
        ("reward", [("This way.", None), ("No idea.", None)]),
    ],
)
def test_unpaired_kinds_have_a_row_for_each_answer(
    desk: Desk, kind: str, expected: list[tuple[str, bool | None]]
) -> None:
    two_answers(desk)
    made = desk.loop.datasets.build({"name": "p", "kind": kind, "splits": ALL})
    assert [(row["completion"], row.get("label")) for row in desk.rows(made.id)] == expected


def test_a_build_is_the_same_bytes_again_also_after_the_warehouse_was_made_anew(
    desk: Desk,
) -> None:
    for n in range(60):
        two_answers(desk, f"Question {n}?", who=f"u{n}")
    made = desk.loop.datasets.build({"name": "p", "days": 30})
    assert {shard.split for shard in made.shards} == {"train", "test"}
    assert desk.loop.datasets.build({"name": "p", "days": 30}).shards == made.shards
    desk.services.keeper.loader.run()
    desk.close()
    shutil.rmtree(desk.folder / "warehouse")
    desk.open()
    found = desk.loop.datasets.verify(made.id)
    assert (found.is_equal, found.reasons, found.damaged) == (True, (), ())


def test_what_came_later_does_not_change_what_was_built(desk: Desk) -> None:
    two_answers(desk)
    made = desk.loop.datasets.build({"name": "p", "splits": ALL, "from_ms": 0, "to_ms": 2**50})
    two_answers(desk, "Why?")
    assert desk.loop.datasets.verify(made.id).is_equal
    again = desk.loop.datasets.build({"name": "p", "splits": ALL, "from_ms": 0, "to_ms": 2**50})
    found = desk.loop.datasets.diff(made.id, again.id)
    assert (found.rows, found.common) == ((1, 2), 1)


def test_an_erased_person_is_gone_and_verify_says_so(desk: Desk) -> None:
    two_answers(desk, who="ada")
    two_answers(desk, "Why?", who="bob")
    made = desk.loop.datasets.build({"name": "p", "splits": ALL})
    desk.erase("ada")
    found = desk.loop.datasets.verify(made.id)
    assert not found.is_equal
    assert found.gone == 1
    assert "erased, withdrew their consent" in found.reasons[0]


def test_a_consent_that_is_withdrawn_between_build_and_verify_is_told(desk: Desk) -> None:
    two_answers(desk, who="ada")
    two_answers(desk, "Why?", who="bob")
    made = desk.loop.datasets.build({"name": "p", "splits": ALL})
    desk.consent("ada", "store", "analyze")
    found = desk.loop.datasets.verify(made.id)
    assert (found.is_equal, found.gone) == (False, 1)
    assert "dropped by consent: 0 then, 2 now" in found.reasons


def test_consent_to_training_is_needed_and_what_lacks_it_is_counted(desk: Desk) -> None:
    two_answers(desk, who="ada", consent=["store", "analyze"])
    two_answers(desk, "Why?", who="bob")
    made = desk.loop.datasets.build({"name": "p", "splits": ALL})
    assert made.dropped["consent"] == 2
    assert [row["prompt"] for row in desk.rows(made.id)] == ["Why?"]


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"tasks": ["other"]}, "task 2"),
        ({"prompt_versions": ["v9"]}, "prompt_version 2"),
        ({"most_chars": 3}, "too_long 2"),
        ({"from_ms": 0, "to_ms": 5, "days": None}, "widen it"),
        ({"margin": 1.0, "kind": "preference"}, None),
    ],
    ids=["task", "version", "length", "window", "margin"],
)
def test_a_recipe_that_selects_nothing_says_which_rule_emptied_it(
    desk: Desk, recipe: dict[str, Any], said: str | None
) -> None:
    two_answers(desk)
    if said is None:
        assert desk.loop.datasets.build({"name": "p", "splits": ALL} | recipe).rows == 1
        return
    with pytest.raises(Invalid, match=said):
        desk.loop.datasets.build({"name": "p", "splits": ALL} | recipe)
    assert desk.loop.datasets.list().items == ()


@pytest.mark.parametrize(
    "recipe",
    [
        {"name": "p", "splits": {"train": 0.5}},
        {"name": "p", "splits": {}},
        {"name": "p", "days": None},
        {"name": "p", "from_ms": 9, "to_ms": 5},
        {"name": "p", "from_ms": 2**52, "to_ms": 2**53},
        {"name": "p", "kind": "poem"},
        {"name": "p", "surprise": 1},
        {"name": "a b"},
        {"name": "p", "least_edit": 0.9, "most_edit": 0.1},
        {},
    ],
    ids=str,
)
def test_a_recipe_that_makes_no_sense_is_refused(desk: Desk, recipe: dict[str, Any]) -> None:
    two_answers(desk)
    with pytest.raises(LoopError) as refused:
        desk.loop.datasets.build(recipe)
    assert isinstance(refused.value, Invalid)


def test_a_full_disk_in_the_middle_leaves_nothing_published(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_answers(desk)

    def full(self: FolderBlobStore, name: str, content: bytes) -> bool:
        raise DiskFull("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(FolderBlobStore, "put", full)
        with pytest.raises(DiskFull):
            desk.loop.datasets.build({"name": "p", "splits": ALL})
    assert desk.loop.datasets.list().items == ()
    assert desk.loop.datasets.build({"name": "p", "splits": ALL}).rows == 1


def test_a_shard_that_was_changed_by_hand_is_found(desk: Desk) -> None:
    two_answers(desk)
    made = desk.loop.datasets.build({"name": "p", "splits": ALL})
    (file,) = Path(desk.folder / "datasets").rglob("*.jsonl")
    file.chmod(0o600)
    file.write_bytes(file.read_bytes().replace(b"This way.", b"That way."))
    with pytest.raises(NotFound, match="was changed"):
        desk.loop.datasets.export(made.id)
    assert desk.loop.datasets.verify(made.id).damaged == (made.shards[0].name,)


def test_an_expired_set_keeps_its_manifest_and_loses_its_rows(desk: Desk) -> None:
    two_answers(desk)
    made = desk.loop.datasets.build({"name": "p", "splits": ALL})
    gone = desk.loop.datasets.expire(made.id)
    assert gone.expired_at_ms is not None
    assert list(Path(desk.folder / "datasets").rglob("*.jsonl")) == []
    with pytest.raises(NotFound, match="has expired"):
        desk.loop.datasets.export(made.id)
    assert desk.loop.datasets.get(made.id[:10]).rows == 1
    assert desk.loop.datasets.verify(made.id).is_equal


def test_shards_that_another_set_has_too_stay(desk: Desk) -> None:
    two_answers(desk)
    one = desk.loop.datasets.build({"name": "p", "splits": ALL})
    two = desk.loop.datasets.build({"name": "q", "splits": ALL})
    assert one.shards == two.shards
    desk.loop.datasets.expire(one.id)
    assert len(desk.rows(two.id)) == 1


def test_parquet_and_csv_hold_the_same_rows(desk: Desk, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    two_answers(desk, "How, exactly?")
    made = desk.loop.datasets.build({"name": "p", "splits": ALL})
    file = tmp_path / "p.parquet"
    file.write_bytes(desk.loop.datasets.export(made.id, format="parquet"))
    assert pq.read_table(file).to_pylist()[0]["chosen"] == "This way."
    lines = desk.loop.datasets.export(made.id, format="csv").decode().splitlines()
    assert lines[0].startswith("input,prompt,chosen,rejected")
    assert '"How, exactly?"' in lines[1]


def test_a_format_or_split_that_there_is_not_is_refused(desk: Desk) -> None:
    two_answers(desk)
    made = desk.loop.datasets.build({"name": "p", "kind": "reward", "splits": ALL})
    with pytest.raises(Invalid, match="has no format 'trl'"):
        desk.loop.datasets.export(made.id, format="trl")
    with pytest.raises(Invalid, match="no split 'test'"):
        desk.loop.datasets.export(made.id, split="test")
    with pytest.raises(Invalid, match="expected one of"):
        desk.loop.datasets.export(made.id, format="xml")
    with pytest.raises(NotFound):
        desk.loop.datasets.get("")
