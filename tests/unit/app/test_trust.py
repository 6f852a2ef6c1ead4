from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.unit.warehouse.world import DAY, DOWN, NOW, UP, World, call, decision, feedback

from loopwright.app.trust import Trusted, trusted, weights
from loopwright.core.feedback import Annotation, Outcome, Signal, Target
from loopwright.feedback.trust import DAY_MS, TrustPolicy
from loopwright.insights.period import Period

MONTH = Period(from_ms=NOW - 30 * DAY, to_ms=NOW + 1)
POLICY = TrustPolicy(half_life_days=None)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def view(world: World, *, task: str | None = None, policy: TrustPolicy = POLICY) -> Trusted:
    return trusted(world.warehouse(), "acme", MONTH, now_ms=NOW, policy=policy, task=task)


def reasons(found: Trusted) -> dict[str, int]:
    return {tally.reason: tally.facts for tally in found.summary.reasons}


def test_one_person_has_one_vote_on_a_decision(world: World) -> None:
    about = Target(decision=decision("d1"))
    world.say(
        feedback("f1", UP, target=about, person="ann"),
        feedback("f2", DOWN, target=about, person="ann"),
        feedback("f3", DOWN, target=about, person="bob"),
        feedback("f4", DOWN, target=Target(decision=decision("d2")), person="ann"),
    )
    found = view(world)

    assert found.weights["f2"] == 0
    assert min(found.weights[id] for id in ("f1", "f3", "f4")) > 0
    assert reasons(found)["repeated"] == 1


def test_a_decision_is_one_whether_the_feedback_names_it_or_its_call(world: World) -> None:
    world.say(
        call("o1", decision_id="d1"),
        feedback("f1", target=Target(output_id="o1"), person="ann"),
        feedback("f2", target=Target(decision_id="d1"), person="ann"),
    )

    assert view(world).weights == {"f1": 1.0, "f2": 0.0}


def test_facts_about_nothing_known_repeat_no_other(world: World) -> None:
    world.say(*(feedback(f"f{k}", person="ann") for k in range(3)))

    assert set(view(world).weights.values()) == {1.0}


@pytest.mark.parametrize(
    ("who", "most", "reason"),
    [("person", 5, "capped_user"), ("session_id", 5, "capped_session"), ("address", 50, "capped_address")],
)  # fmt: skip
def test_beyond_the_limit_of_an_arm_and_day_votes_do_not_count(
    world: World, who: str, most: int, reason: str
) -> None:
    for day in (1, 2):
        for k in range(most + 3):
            at_ms = NOW - day * DAY + k * 600_000
            said: dict[str, Any] = {who: "same"}
            world.say(feedback(f"f{day}-{k}", at_ms=at_ms, **said))
    found = view(world)

    assert found.summary.counted == 2 * most
    assert found.summary.capped == 6
    assert reasons(found) == {reason: 6}


def test_each_arm_and_each_kind_has_limits_of_its_own(world: World) -> None:
    for arm in ("a", "b"):
        for k in range(5):
            about = Target(decision=decision(f"{arm}{k}", arm_id=arm))
            world.say(
                feedback(f"r{arm}{k}", target=about, at_ms=NOW - k, person="ann"),
                feedback(f"s{arm}{k}", Signal("copy"), target=about, at_ms=NOW - k, person="ann"),
                feedback(f"o{arm}{k}", Outcome("resolved", 1.0), target=about, at_ms=NOW - k, person="ann"),
            )  # fmt: skip
    found = view(world)

    assert found.summary.capped == 0
    assert [(tally.kind, tally.facts) for tally in found.summary.kinds] == [
        ("rating", 10), ("signal", 10), ("outcome", 10),
    ]  # fmt: skip


def test_a_rush_is_held_back(world: World) -> None:
    world.say(*(feedback(f"q{k}", at_ms=NOW - k * DAY // 2, person=f"p{k}") for k in range(40)))
    world.say(*(feedback(f"x{k}", DOWN, at_ms=NOW - DAY - k, person=f"x{k}") for k in range(60)))
    found = view(world)

    assert found.summary.quarantined >= 60
    assert all(found.weights[f"x{k}"] == 0 for k in range(60))
    assert reasons(found)["burst"] == found.summary.quarantined


def test_facts_without_a_person_count_least(world: World) -> None:
    world.say(
        feedback("f1", target=Target(output_id="o1")),
        feedback("f2", target=Target(output_id="o1"), session_id="s1"),
    )
    found = view(world)

    assert found.weights == {"f1": 0.1, "f2": 1.0}
    assert reasons(found)["unidentified"] == 1


def test_the_role_decides_how_much_a_vote_counts(world: World) -> None:
    world.say(
        feedback("f1", person="ann"),
        feedback("f2", person="rob", source="reviewer"),
        feedback("f3", person="bot", source="evaluator"),
    )

    assert view(world).weights == {"f1": 1.0, "f2": 2.0, "f3": 0.5}


def test_who_contradicts_the_reviewers_stops_counting(world: World) -> None:
    for k in range(40):
        at_ms = NOW - (k % 20) * DAY - k * 600_000
        about = Target(output_id=f"o{k}")
        world.say(
            call(f"o{k}", at_ms=at_ms),
            feedback(f"a{k}", UP, target=about, at_ms=at_ms, person="ann"),
            feedback(f"e{k}", DOWN, target=about, at_ms=at_ms, person="eve"),
            feedback(f"g{k}", Annotation("quality", 1, "Correct", "rob"), target=about, at_ms=at_ms,
                     source="reviewer"),
        )  # fmt: skip
    found = view(world)

    assert found.summary.goldens == 40
    assert {found.weights[f"e{k}"] for k in range(40)} == {0.0}
    assert min(found.weights[f"a{k}"] for k in range(40)) > 1.0
    assert found.summary.adversarial == 40
    assert "g0" not in found.weights


def test_annotations_of_end_users_and_divided_reviewers_settle_nothing(world: World) -> None:
    about = [Target(output_id=f"o{k}") for k in range(3)]
    world.say(
        feedback("g1", Annotation("quality", 1, "good", "rob"), target=about[0]),
        feedback("g2", Annotation("quality", 1, "good", "rob"), target=about[1], source="reviewer"),
        feedback("g3", Annotation("quality", 1, "bad", "sue"), target=about[1], source="reviewer"),
        feedback("g4", Annotation("tone", 1, "7", "rob", 7.0), target=about[2], source="reviewer"),
    )

    assert view(world).summary.goldens == 0


def test_people_who_saw_the_same_answer_judge_each_other(world: World) -> None:
    people = ("ann", "bob", "cid", "dan", "eve")
    for k in range(20):
        for n, person in enumerate(people):
            at_ms = NOW - k * DAY - n * 600_000
            is_praised = (k % 2 == 0) != (person == "eve")
            world.say(
                call(f"{person}{k}", at_ms=at_ms, query=f"question {k}", response="42"),
                feedback(f"f{person}{k}", UP if is_praised else DOWN, at_ms=at_ms, person=person,
                         target=Target(output_id=f"{person}{k}")),
            )  # fmt: skip
    found = view(world)

    assert {found.weights[f"feve{k}"] for k in range(20)} == {0.0}
    assert all(found.weights[f"f{person}{k}"] > 1 for person in people[:4] for k in range(20))


def test_an_empty_period_has_no_weights(world: World) -> None:
    found = view(world)

    assert found.weights == {}
    assert (found.summary.facts, found.summary.version) == (0, 1)


def test_the_numbers_of_a_task_are_of_that_task_and_the_weights_of_all(world: World) -> None:
    world.say(
        call("o1", task="sql"),
        feedback("f1", target=Target(output_id="o1"), person="ann"),
        feedback("f2", person="bob", task="chat"),
        feedback("f3", person="cid"),
    )
    found = view(world, task="sql")

    assert found.summary.facts == 1
    assert set(found.weights) == {"f1", "f2", "f3"}


def test_what_is_quarantined_already_is_not_weighed_and_nor_is_another_tenants(
    world: World,
) -> None:
    world.say(feedback("f1", quarantined="held"), feedback("f2", tenant_id="rival"))

    assert weights(world.warehouse(), "acme", MONTH, now_ms=NOW, policy=POLICY) == {}


def test_facts_age_until_the_end_of_the_period_however_late_one_asks(world: World) -> None:
    world.say(feedback("f1", at_ms=NOW - 20 * DAY, person="ann"))
    warehouse, policy = world.warehouse(), TrustPolicy()
    soon = weights(warehouse, "acme", MONTH, now_ms=NOW, policy=policy)
    late = weights(warehouse, "acme", MONTH, now_ms=NOW + 300 * DAY_MS, policy=policy)

    assert soon == late
    assert soon["f1"] == pytest.approx(0.5 ** (20 / 90))
