from __future__ import annotations

from typing import Any

import numpy as np

from loopwright.trust.facts import Facts, coded, goldens_of
from loopwright.trust.votes import UNKNOWN

NAMES = (
    "event_id", "at_ms", "kind", "experiment_id", "arm_id", "decision", "wording", "call", "reference",
    "person", "source", "session_id", "address", "metric", "task", "label", "value",
)  # fmt: skip


def facts(*rows: dict[str, Any]) -> Facts:
    plain = {"at_ms": 1, "kind": "rating", "source": "end_user", "metric": "rating"}
    filled = [{"event_id": f"e{k}", **plain, **row} for k, row in enumerate(rows)]
    return Facts.of(NAMES, [tuple(row.get(name) for name in NAMES) for row in filled])


def annotation(**about: Any) -> dict[str, Any]:
    return {"kind": "annotation", "source": "reviewer", **about}


def test_codes_are_given_in_order_of_first_appearance() -> None:
    codes, names = coded(["b", None, "a", "b"])
    assert (codes.tolist(), names) == ([0, UNKNOWN, 1, 0], ("b", "a"))


def test_people_judge_the_first_thing_that_is_known_in_common() -> None:
    found = facts(
        {"decision": "d", "wording": "w"},
        {"decision": "d", "wording": "x", "call": "c"},
        {"wording": "w", "call": "c"},
        {"wording": "w", "call": "e"},
        {"reference": "d"},
        {},
    )
    first, second, third, fourth, fifth, nothing = found.items.tolist()
    assert first == second
    assert third == fourth
    assert len({first, third, fifth}) == 3
    assert nothing == UNKNOWN


def test_answers_that_only_read_alike_are_different_targets() -> None:
    found = facts({"wording": "w", "call": "c"}, {"wording": "w", "call": "e"})
    assert found.items[0] == found.items[1]
    assert found.targets[0] != found.targets[1]


def test_annotations_settle_answers_and_are_no_votes() -> None:
    found = facts({"call": "c"}, annotation(call="c", label="wrong"), {"call": "e"})
    assert found.event_ids == ["e0", "e2"]
    assert goldens_of(found) == {int(found.items[0]): False}


def test_a_reviewers_word_counts_before_the_score_and_any_other_word_does_not() -> None:
    given = [
        ("  GOOD ", 0.0),
        ("bad", 1.0),
        ("tone", 1.0),
        (None, 0.0),
        ("tone", None),
        ("tone", 7.0),
    ]
    rows = [
        annotation(call=f"c{k}", label=label, value=value) for k, (label, value) in enumerate(given)
    ]
    found = facts(*rows)
    settled = goldens_of(found)
    assert [settled.get(item) for item in found.items.tolist()] == [
        True,
        False,
        True,
        False,
        None,
        None,
    ]


def test_reviewers_who_are_evenly_divided_settle_nothing() -> None:
    divided = [annotation(call="c", label=label) for label in ("good", "bad")]
    assert goldens_of(facts(*divided)) == {}
    found = facts(*divided, annotation(call="c", label="bad"))
    assert list(goldens_of(found).values()) == [False]


def test_facts_about_nothing_known_repeat_no_other() -> None:
    votes = facts({"person": "p"}, {"person": "p"}, {"call": "c"}, {"call": "c"}).ballots()
    assert len(np.unique(votes.ballots[:2])) == 2
    assert votes.ballots[2] == votes.ballots[3]
    assert votes.ballots[2] not in votes.ballots[:2]


def test_an_arm_is_told_apart_by_kind_and_experiment() -> None:
    votes = facts(
        {"experiment_id": "x", "arm_id": "a"},
        {"experiment_id": "y", "arm_id": "a"},
        {"experiment_id": "x", "arm_id": "a", "kind": "signal"},
        {"experiment_id": "x", "arm_id": "a"},
        {},
    ).ballots()
    assert len(set(votes.arms.tolist())) == 4
    assert votes.arms[0] == votes.arms[3]


def test_a_task_picks_the_votes_of_that_task_and_none_picks_all() -> None:
    found = facts({"task": "t"}, annotation(task="t"), {"task": "u"}, {})
    assert found.of_task("t").tolist() == [True, False, False]
    assert found.of_task(None).tolist() == [True, True, True]


def test_no_rows_are_no_facts() -> None:
    assert (facts().event_ids, len(facts().ballots()), goldens_of(facts())) == ([], 0, {})
