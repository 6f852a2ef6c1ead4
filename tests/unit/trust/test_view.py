from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from tests.unit.warehouse.world import DAY, DOWN, NOW, UP, World, call, decision, feedback

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.core.clock import DAY_MS
from loopwright.core.events import Reported
from loopwright.core.feedback import Annotation, Feedback, Outcome, Signal, Target
from loopwright.people.people import People
from loopwright.testing import ManualClock
from loopwright.trust.clearances import Clearance
from loopwright.trust.figures import SHOWN_BURSTS
from loopwright.trust.policy import TrustPolicy
from loopwright.trust.view import Trusted, trusted, weights
from loopwright.warehouse.period import Period

MONTH = Period(from_ms=NOW - 30 * DAY, to_ms=NOW + 1)
POLICY = TrustPolicy(half_life_days=None)
MINUTE = 60_000
NOON = NOW // DAY * DAY - 12 * DAY + 47_820_000
"""Or a little after it: at 13:17, when nobody says anything usual."""


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def view(
    world: World, *, task: str | None = None, policy: TrustPolicy = POLICY, **known: Any
) -> Trusted:
    return trusted(world.warehouse(), "acme", MONTH, now_ms=NOW, policy=policy, task=task, **known)


def usual(*, arm_id: str | None = None) -> list[Reported]:
    """Forty people, half a day apart, about as many answers."""
    return [
        feedback(f"q{arm_id}{k}", at_ms=NOW - k * DAY // 2, person=f"p{k}",
                 target=about(arm_id, f"q{arm_id}{k}"))
        for k in range(40)
    ]  # fmt: skip


def rush(
    name: str,
    at_ms: int,
    *,
    arm_id: str | None = None,
    kind: Feedback = DOWN,
    n: int = 60,
    **note: Any,
) -> list[Reported]:
    """So many people about as many answers, one each tenth of a second."""
    return [
        feedback(f"{name}{k}", kind, at_ms=at_ms + 100 * k, target=about(arm_id, f"{name}{k}"),
                 **{"person": f"{name}{k}", **note})
        for k in range(n)
    ]  # fmt: skip


def about(arm_id: str | None, id: str) -> Target:
    return Target() if arm_id is None else Target(decision=decision(id, arm_id=arm_id))


def clearance(from_ms: int, to_ms: int, arm_id: str | None = None, by: str = "key-1") -> Clearance:
    return Clearance(
        id=f"of-{from_ms}",
        experiment_id=None if arm_id is None else "greeting",
        arm_id=arm_id,
        from_ms=from_ms,
        to_ms=to_ms,
        note="TV",
        released_by=by,
        released_at_ms=NOW,
    )


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


def test_the_bursts_of_a_period_are_listed_newest_first(world: World) -> None:
    world.say(*usual(arm_id="a"), *usual(), *rush("x", NOON, arm_id="a"))
    world.say(*rush("y", NOON + MINUTE, arm_id="a", kind=UP, n=30))
    world.say(feedback("s0", Signal("copy"), at_ms=NOON - DAY), *rush("w", NOON + 3 * DAY, n=20))
    world.say(*rush("z", NOON + DAY, n=40, kind=Signal("copy")))
    found = view(world).summary

    assert [
        (b.experiment_id, b.arm_id, b.kind, b.first_ms, b.last_ms, b.facts, b.held, b.praise, b.people)
        for b in found.bursts
    ] == [
        (None, None, "rating", NOON + 3 * DAY, NOON + 3 * DAY + 1900, 20, 20, 0, 20),
        (None, None, "signal", NOON + DAY, NOON + DAY + 3900, 40, 40, None, 40),
        ("greeting", "a", "rating", NOON, NOON + MINUTE + 2900, 90, 90, 30, 90),
    ]  # fmt: skip
    assert {(b.release, b.new_accounts) for b in found.bursts} == {(None, 0)}
    assert sum(b.held for b in found.bursts) == found.quarantined == 150
    assert (found.released, found.more_bursts) == (0, 0)


def test_rushes_that_are_far_apart_are_bursts_of_their_own_and_the_list_is_bounded(
    world: World,
) -> None:
    hours = SHOWN_BURSTS + 3
    for k in range(hours):
        world.say(*rush(f"x{k}-", NOON + k * 3_600_000, n=12))
    world.say(*usual())
    found = view(world).summary

    assert len(found.bursts) == SHOWN_BURSTS
    assert found.more_bursts == 3
    assert found.bursts[0].first_ms == NOON + (hours - 1) * 3_600_000
    assert found.quarantined == 12 * hours


def test_what_lies_in_a_clearance_counts_and_the_burst_says_who_let_it(world: World) -> None:
    world.say(*usual(arm_id="a"), *rush("x", NOON, arm_id="a"))
    half = view(world, clearances=[clearance(NOON, NOON + 2900, "a")])
    [burst] = half.summary.bursts

    assert (burst.facts, burst.held, half.summary.released) == (60, 30, 30)
    assert burst.release is not None
    assert (burst.release.released_by, burst.release.note) == ("key-1", "TV")
    assert [half.weights[f"x{k}"] > 0 for k in range(60)] == [True] * 30 + [False] * 30
    assert half.summary.of("rating") is not None
    assert half.summary.counted == 70

    whole = view(
        world,
        clearances=[
            clearance(NOON, NOON + 2900, "a"),
            clearance(NOON - 5, NOON + DAY, "a", "key-2"),
        ],
    )
    [burst] = whole.summary.bursts
    assert (burst.held, whole.summary.quarantined, whole.summary.released) == (0, 0, 60)
    assert burst.release is not None
    assert burst.release.released_by == "key-2"
    assert "burst" not in reasons(whole)


@pytest.mark.parametrize(
    ("arm_id", "from_ms", "to_ms"),
    [("b", 0, 6000), (None, 0, 6000), ("a", -DAY, -1), ("a", 5901, DAY)],
)
def test_a_clearance_of_another_arm_or_time_changes_nothing(
    world: World, arm_id: str | None, from_ms: int, to_ms: int
) -> None:
    world.say(*usual(arm_id="a"), *rush("x", NOON, arm_id="a"))
    before = view(world)
    after = view(world, clearances=[clearance(NOON + from_ms, NOON + to_ms, arm_id)])

    assert after.summary == before.summary
    assert after.weights == before.weights


def test_cleared_votes_are_still_capped(world: World) -> None:
    world.say(*usual(), *rush("x", NOON, person="one"))
    found = view(world, clearances=[clearance(NOON, NOON + DAY)])

    assert found.summary.released == 60
    assert reasons(found)["capped_user"] == 55
    assert found.summary.counted == 45


def test_with_a_task_only_its_bursts_are_listed(world: World) -> None:
    world.say(*usual(), *rush("x", NOON, task="sql"), *rush("y", NOON + DAY, task="chat"))
    found = view(world, task="sql").summary

    assert [b.first_ms for b in found.bursts] == [NOON]
    assert found.quarantined == 60


class Crowd:
    """People who were first seen when the test says so."""

    def __init__(self, database: SqliteDatabase) -> None:
        self.clock = ManualClock(0)
        self.people = People(database, clock=self.clock)

    def see(self, user_id: str, at_ms: int) -> str:
        self.clock.advance(seconds=(at_ms - self.clock.now_ms()) / 1000)
        return self.people.resolve("acme", [user_id])[user_id].id


@pytest.fixture
def crowd() -> Iterator[Crowd]:
    with closing(SqliteDatabase(":memory:")) as database:
        yield Crowd(database)


def mixed(world: World, crowd: Crowd, *, seen_ms: int) -> Trusted:
    """In one minute, 30 accounts first seen at `seen_ms` damn, and 5 regular people praise."""
    world.say(*usual())
    for k in range(30):
        person = crowd.see(f"x{k}", seen_ms)
        world.say(feedback(f"x{k}", DOWN, at_ms=NOON + k, person=person))
    for k in range(5):
        world.say(feedback(f"r{k}", UP, at_ms=NOON + 40 * k, person=crowd.see(f"p{k}", NOW)))
    return view(world, people=crowd.people)


def regulars_count(found: Trusted) -> bool:
    return min(found.weights[f"r{k}"] for k in range(5)) > 0


def test_a_rush_of_new_accounts_is_held_back_and_the_minutes_other_votes_count(
    world: World, crowd: Crowd
) -> None:
    for k in range(5):
        crowd.see(f"p{k}", NOON - 90 * DAY)
    found = mixed(world, crowd, seen_ms=NOON - 60_000)
    [burst] = found.summary.bursts

    assert regulars_count(found)
    assert {found.weights[f"x{k}"] for k in range(30)} == {0.0}
    assert (burst.held, burst.new_accounts, burst.people) == (30, 30, 30)


def test_accounts_of_a_tenants_first_week_may_be_old_and_are_not_new(
    world: World, crowd: Crowd
) -> None:
    for k in range(5):
        crowd.see(f"p{k}", NOON - 6 * DAY)
    found = mixed(world, crowd, seen_ms=NOON - 60_000)

    assert not regulars_count(found)
    assert (found.summary.quarantined, found.summary.bursts[0].new_accounts) == (35, 0)


def test_an_account_is_not_new_after_a_day_nor_in_history_that_was_brought_in(
    world: World, crowd: Crowd, tmp_path: Path
) -> None:
    for k in range(5):
        crowd.see(f"p{k}", NOON - 90 * DAY)
    assert mixed(world, crowd, seen_ms=NOON - DAY - 60_000).summary.quarantined == 35

    other = World(tmp_path / "other")
    with closing(other), closing(SqliteDatabase(":memory:")) as database:
        later = Crowd(database)
        for k in range(5):
            later.see(f"p{k}", NOON - 90 * DAY)
        assert mixed(other, later, seen_ms=NOON + 2 * DAY).summary.quarantined == 35


def test_nobody_is_asked_how_old_accounts_are_where_no_burst_can_be(world: World) -> None:
    class Unasked:
        """Fails whoever asks."""

    world.say(*usual())
    assert view(world, people=Unasked()).summary.counted == 40


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
    assert (found.summary.facts, found.summary.version) == (0, 2)


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
