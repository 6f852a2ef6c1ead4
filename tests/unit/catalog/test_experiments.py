from __future__ import annotations

import random
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from loopwright.backends.sqlite import SqliteDatabase
from loopwright.catalog import Catalog
from loopwright.catalog.outbox import Append
from loopwright.core.amendment import Amendment, ArmChange
from loopwright.core.errors import (
    Conflict,
    Invalid,
    LoopError,
    NoArms,
    NotFound,
    PolicyMismatch,
    StaleVersion,
)
from loopwright.core.events import Changed, ExperimentChanged, Fact
from loopwright.core.experiment import Arm, Caps, ContextSpec, Experiment, PolicyChoice
from loopwright.core.ids import Ids
from loopwright.core.reward import RewardSpec
from loopwright.testing import ManualClock


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[SqliteDatabase]:
    database = SqliteDatabase(tmp_path / "catalog.db")
    yield database
    database.close()


@pytest.fixture
def told() -> list[Changed]:
    return []


def catalog_on(database: SqliteDatabase, clock: ManualClock, **hooks: Any) -> Catalog:
    return Catalog(database, clock=clock, ids=Ids(clock, random.Random(1)), **hooks)


def into(told: list[Any], kind: type = Changed) -> Append:
    """An event log that keeps facts of one kind."""

    def append(facts: Sequence[Fact], keys: Sequence[bytes]) -> int:
        told.extend(fact for fact in facts if isinstance(fact, kind))
        return len(told)

    return append


@pytest.fixture
def catalog(database: SqliteDatabase, clock: ManualClock, told: list[Changed]) -> Catalog:
    catalog = catalog_on(database, clock, append=into(told))
    catalog.tenants.create("acme")
    catalog.tenants.create("globex")
    told.clear()
    return catalog


def experiment(*arms: Arm | str, **fields: Any) -> Experiment:
    made = [Arm(id=arm) if isinstance(arm, str) else arm for arm in arms or ("a", "b", "c")]
    return Experiment(**{"id": "greeting", "tenant_id": "acme", "arms": tuple(made), **fields})


def nested(levels: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(levels):
        value = [value]
    return value


def running(catalog: Catalog, *arms: Arm | str, **fields: Any) -> Experiment:
    catalog.experiments.create(experiment(*arms, **fields))
    return catalog.experiments.move("acme", "greeting", "start")


def change(catalog: Catalog, arm_id: str, **fields: Any) -> Experiment:
    return catalog.experiments.change_arm("acme", "greeting", arm_id, ArmChange(**fields))


def test_a_new_experiment_is_a_draft_at_revision_1(catalog: Catalog, clock: ManualClock):
    made = catalog.experiments.create(experiment(state="running", revision=7))
    assert (made.state, made.revision, made.created_at_ms) == ("draft", 1, clock.now_ms())
    assert catalog.experiments.get("acme", "greeting") is made


def test_an_experiment_survives_a_restart_with_payloads_and_metadata(
    catalog: Catalog, database: SqliteDatabase, clock: ManualClock
):
    arm = Arm(id="a", payload={"text": "Grüß Gott", "n": [1, 2.5, None]}, metadata={"tone": "warm"})
    made = catalog.experiments.create(
        experiment(arm, "b", context=ContextSpec(4), policy=PolicyChoice("GaussianThompson"),
                   reward=RewardSpec(type="bounded", low=-1, high=2, window_s=60, default=0))
    )  # fmt: skip
    again = catalog_on(database, clock)
    assert again.experiments.get("acme", "greeting") == made
    assert again.experiments.all("acme") == [made]


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        (experiment(id="a/b"), "experiment id is 'a/b'"),
        (experiment(id=""), "experiment id is ''"),
        (experiment("a", "x y"), "matching regex"),
        (experiment("a", "a/b"), "matching regex"),
        (experiment("a", ""), "matching regex"),
        (experiment("a", "b", "a"), "arm id 'a' occurs 2 times"),
        (experiment(arms=()), "has 0 arms"),
        (experiment(arms=tuple(Arm(id=f"a{i}") for i in range(1001))), "has 1001 arms"),
        (experiment(Arm(id="a", min_share=0.6), Arm(id="b", min_share=0.5)), "add up to 1.1"),
        (experiment(Arm(id="a", max_share=0.6), Arm(id="b", max_share=0.3)), "add up to 0.9"),
        (experiment(Arm(id="a", min_share=0.6, max_share=0.5), "b"), "at least 0.6 .* most 0.5"),
        (experiment(Arm(id="a", min_share=1.0), "b"), "explore_floor counts as 0.005"),
        (experiment(Arm(id="a", max_share=0.1), "b", explore_floor=0.5), "at least 0.25"),
        (experiment(Arm(id="a", min_share=float("nan")), "b"), "not acceptable"),
        (experiment(explore_floor=1.5), "explore_floor"),
        (experiment(explore_floor=-0.1), "explore_floor"),
        (experiment(Arm(id="a", payload=float("nan"))), "not a JSON number"),
        (experiment(Arm(id="a", metadata={"x": [float("inf")]})), "not a JSON number"),
        (experiment(Arm(id="a", payload=nested(65))), "deeper than 64 levels"),
        (experiment(Arm(id="a", payload=object())), "cannot be written as JSON"),
        (experiment(policy=PolicyChoice("auto", {"x": float("nan")})), "not a JSON number"),
    ],
)  # fmt: skip
def test_what_could_not_run_is_refused_with_the_reason(
    catalog: Catalog, broken: Experiment, says: str
):
    with pytest.raises(Invalid, match=says):
        catalog.experiments.create(broken)
    assert catalog.experiments.all("acme") == []


@pytest.mark.parametrize(
    "fields",
    [
        {"policy": PolicyChoice("NoSuchPolicy")},
        {"policy": PolicyChoice("BetaThompson"), "reward": RewardSpec(type="continuous")},
        {"policy": PolicyChoice("BetaThompson", {"no_such_parameter": 1})},
    ],
)
def test_a_policy_that_does_not_fit_is_refused(catalog: Catalog, fields: Mapping[str, Any]):
    with pytest.raises(PolicyMismatch):
        catalog.experiments.create(experiment(**fields))


def test_a_contextual_policy_needs_a_context(catalog: Catalog):
    with pytest.raises(PolicyMismatch, match="context"):
        catalog.experiments.create(experiment(policy=PolicyChoice("LinUCB")))
    catalog.experiments.create(experiment(policy=PolicyChoice("LinUCB"), context=ContextSpec(3)))


def test_shares_that_just_fit_are_accepted(catalog: Catalog):
    tenths = [Arm(id=f"a{i}", min_share=0.1, max_share=0.1) for i in range(10)]
    assert len(catalog.experiments.create(experiment(*tenths)).arms) == 10


def test_disabled_arms_have_no_share_to_fit(catalog: Catalog):
    off = Arm(id="off", state="disabled", min_share=0.9, max_share=0.9)
    catalog.experiments.create(experiment(off, Arm(id="on", min_share=0.9)))


def test_an_id_is_taken_once_per_tenant(catalog: Catalog):
    catalog.experiments.create(experiment())
    with pytest.raises(Conflict, match="already"):
        catalog.experiments.create(experiment())
    other = catalog.experiments.create(experiment(tenant_id="globex"))
    assert catalog.experiments.all("globex") == [other]
    with pytest.raises(NotFound, match="nobody"):
        catalog.experiments.create(experiment(tenant_id="nobody"))


def test_the_whole_life_of_an_experiment(catalog: Catalog):
    catalog.experiments.create(experiment())
    seen = [
        catalog.experiments.move("acme", "greeting", move).state
        for move in ("start", "pause", "resume", "pause", "end")
    ]
    assert seen == ["running", "paused", "running", "paused", "ended"]
    assert catalog.experiments.get("acme", "greeting").revision == 6


@pytest.mark.parametrize(
    ("path", "move"),
    [
        ([], "pause"), ([], "resume"), (["start"], "start"), (["start"], "resume"),
        (["start", "pause"], "pause"), (["start", "pause"], "start"),
        (["end"], "start"), (["end"], "resume"), (["end"], "end"), (["start", "end"], "pause"),
    ],
)  # fmt: skip
def test_a_move_from_the_wrong_state_says_where_it_is_and_where_it_should_be(
    catalog: Catalog, path: list[Any], move: Any
):
    before = catalog.experiments.create(experiment())
    for step in path:
        before = catalog.experiments.move("acme", "greeting", step)
    with pytest.raises(Conflict, match=f"is {before.state}; {move} is possible from") as refused:
        catalog.experiments.move("acme", "greeting", move)
    assert refused.value.detail["found"] == before.state
    assert catalog.experiments.get("acme", "greeting") is before


def test_starting_settles_what_auto_means(catalog: Catalog):
    catalog.experiments.create(experiment())
    assert catalog.experiments.get("acme", "greeting").policy.name == "auto"
    assert catalog.experiments.move("acme", "greeting", "start").policy.name == "BetaThompson"


def test_it_cannot_start_or_resume_without_an_enabled_arm(catalog: Catalog):
    catalog.experiments.create(experiment(Arm(id="a", state="disabled")))
    with pytest.raises(NoArms, match="without an enabled arm"):
        catalog.experiments.move("acme", "greeting", "start")
    change(catalog, "a", state="enabled")
    catalog.experiments.move("acme", "greeting", "start")
    catalog.experiments.move("acme", "greeting", "pause")
    change(catalog, "a", state="disabled")
    with pytest.raises(NoArms):
        catalog.experiments.move("acme", "greeting", "resume")


def test_the_last_enabled_arm_of_a_running_experiment_stays(catalog: Catalog):
    running(catalog, "a", "b")
    change(catalog, "a", state="disabled")
    with pytest.raises(NoArms, match="pause the experiment"):
        change(catalog, "b", state="retired")


def test_a_draft_may_change_in_everything(catalog: Catalog):
    catalog.experiments.create(experiment())
    amendment = Amendment(
        name="New",
        arms=[Arm(id="x"), Arm(id="y")],
        policy=PolicyChoice("GaussianThompson"),
        reward=RewardSpec(type="continuous"),
        context=ContextSpec(2),
        explore_floor=0.2,
    )
    after = catalog.experiments.update("acme", "greeting", amendment)
    assert [arm.id for arm in after.arms] == ["x", "y"]
    assert (after.name, after.reward.type, after.explore_floor) == ("New", "continuous", 0.2)
    assert catalog.experiments.update("acme", "greeting", Amendment(context=None)).context is None


def test_a_draft_change_is_checked_like_a_new_experiment(catalog: Catalog):
    catalog.experiments.create(experiment(policy=PolicyChoice("BetaThompson")))
    with pytest.raises(PolicyMismatch):
        catalog.experiments.update(
            "acme", "greeting", Amendment(reward=RewardSpec(type="continuous"))
        )


@pytest.mark.parametrize(
    "amendment",
    [
        Amendment(policy=PolicyChoice("GaussianThompson")),
        Amendment(reward=RewardSpec(type="continuous")),
        Amendment(context=ContextSpec(3)),
        Amendment(caps=Caps()),
    ],
)
@pytest.mark.parametrize("path", [["start"], ["start", "pause"]])
def test_what_learning_depends_on_is_frozen_once_started(
    catalog: Catalog, amendment: Amendment, path: list[Any]
):
    catalog.experiments.create(experiment())
    for step in path:
        catalog.experiments.move("acme", "greeting", step)
    with pytest.raises(Conflict, match="make a new experiment"):
        catalog.experiments.update("acme", "greeting", amendment)


def test_repeating_a_frozen_value_changes_nothing(catalog: Catalog):
    before = running(catalog)
    same = Amendment(policy=before.policy, reward=before.reward, context=before.context)
    assert catalog.experiments.update("acme", "greeting", same) is before


def test_a_running_experiment_may_change_name_floor_and_arms(catalog: Catalog):
    running(catalog)
    amendment = Amendment(
        name="Autumn",
        explore_floor=0.05,
        arms={"a": ArmChange(max_share=0.5, payload="Hi"), "b": ArmChange(state="disabled")},
    )
    after = catalog.experiments.update("acme", "greeting", amendment)
    assert (after.name, after.explore_floor) == ("Autumn", 0.05)
    assert (after.arms[0].max_share, after.arms[0].payload) == (0.5, "Hi")
    assert after.arms[1].state == "disabled"


def test_changes_of_several_arms_apply_together_or_not_at_all(catalog: Catalog):
    before = running(catalog, Arm(id="a", max_share=0.6), Arm(id="b", max_share=0.6), "c")
    swap = {"a": ArmChange(min_share=0.6), "b": ArmChange(min_share=0.5)}
    with pytest.raises(Invalid, match="add up to"):
        catalog.experiments.update("acme", "greeting", Amendment(arms=swap))
    assert catalog.experiments.get("acme", "greeting") is before


def test_the_list_of_arms_cannot_be_replaced_once_started(catalog: Catalog):
    running(catalog)
    with pytest.raises(Conflict, match="keep their position"):
        catalog.experiments.update("acme", "greeting", Amendment(arms=[Arm(id="x")]))


def test_an_ended_experiment_stays_as_it_was(catalog: Catalog):
    running(catalog)
    catalog.experiments.move("acme", "greeting", "end")
    for attempt in (
        lambda: catalog.experiments.update("acme", "greeting", Amendment(name="x")),
        lambda: catalog.experiments.add_arm("acme", "greeting", Arm(id="x")),
        lambda: change(catalog, "a", state="disabled"),
    ):
        with pytest.raises(Conflict, match="has ended"):
            attempt()


def test_a_new_arm_takes_the_last_position_and_its_id_is_taken_for_ever(catalog: Catalog):
    running(catalog, "a", "b")
    after = catalog.experiments.add_arm("acme", "greeting", Arm(id="c", payload=1))
    assert [arm.id for arm in after.arms] == ["a", "b", "c"]
    change(catalog, "b", state="retired")
    with pytest.raises(Conflict, match="already has an arm 'b'"):
        catalog.experiments.add_arm("acme", "greeting", Arm(id="b"))


def test_a_retired_arm_keeps_its_position_and_never_comes_back(catalog: Catalog):
    running(catalog)
    after = change(catalog, "a", state="retired")
    assert (after.arms[0].id, after.arms[0].state) == ("a", "retired")
    assert change(catalog, "a", state="retired") is after
    with pytest.raises(Conflict, match="for good"):
        change(catalog, "a", state="enabled")


def test_a_disabled_arm_comes_back(catalog: Catalog):
    running(catalog)
    change(catalog, "a", state="disabled")
    assert change(catalog, "a", state="enabled").arms[0].state == "enabled"


def test_an_arm_that_is_not_there_is_not_found(catalog: Catalog):
    running(catalog)
    with pytest.raises(NotFound, match="no arm 'z'"):
        change(catalog, "z", state="disabled")


def test_a_share_out_of_range_is_refused(catalog: Catalog):
    before = running(catalog)
    with pytest.raises(Invalid, match="min_share"):
        change(catalog, "a", min_share=1.5)
    assert catalog.experiments.get("acme", "greeting") is before


def test_a_stale_revision_is_refused_with_both_numbers(catalog: Catalog):
    catalog.experiments.create(experiment())
    catalog.experiments.update("acme", "greeting", Amendment(name="mine"), revision=1)
    with pytest.raises(StaleVersion, match="at revision 2, not 1") as refused:
        catalog.experiments.update("acme", "greeting", Amendment(name="yours"), revision=1)
    assert refused.value.detail == {"found": 2, "expected": 1}
    with pytest.raises(StaleVersion):
        catalog.experiments.move("acme", "greeting", "start", revision=1)
    with pytest.raises(StaleVersion):
        catalog.experiments.add_arm("acme", "greeting", Arm(id="z"), revision=3)


def test_a_change_by_another_process_is_not_overwritten(
    catalog: Catalog, database: SqliteDatabase, clock: ManualClock
):
    catalog.experiments.create(experiment())
    catalog_on(database, clock).experiments.update("acme", "greeting", Amendment(name="theirs"))
    with pytest.raises(StaleVersion, match="another process"):
        catalog.experiments.update("acme", "greeting", Amendment(name="mine"))
    assert catalog_on(database, clock).experiments.get("acme", "greeting").name == "theirs"


def test_the_log_is_told_of_each_change_with_the_whole_experiment_in_order(
    database: SqliteDatabase, clock: ManualClock
):
    told: list[ExperimentChanged] = []
    catalog = catalog_on(database, clock, append=into(told, ExperimentChanged))
    catalog.tenants.create("acme")
    running(catalog)
    change(catalog, "a", state="disabled")
    after = [fact.experiment for fact in told]
    assert [(e.revision, e.state) for e in after] == [(1, "draft"), (2, "running"), (3, "running")]
    assert after[-1] == catalog.experiments.get("acme", "greeting")


def test_the_log_is_not_told_of_a_refused_change_or_one_that_changes_nothing(
    catalog: Catalog, told: list[Changed]
):
    before = running(catalog)
    told.clear()
    assert catalog.experiments.update("acme", "greeting", Amendment(name="")) is before
    with pytest.raises(LoopError):
        change(catalog, "z", state="disabled")
    assert told == []


def test_every_change_is_audited(catalog: Catalog, told: list[Changed], clock: ManualClock):
    catalog.experiments.create(experiment(), actor="key-1")
    catalog.experiments.change_arm(
        "acme", "greeting", "b", ArmChange(state="disabled", payload=True), actor="key-2"
    )
    issued = catalog.keys.create("acme", ["read"], actor="key-1")
    assert told[1] == Changed(
        clock.now_ms(),
        "acme",
        "key-2",
        "experiment/greeting",
        "change_arm",
        {"revision": 2, "changed": ["arms/b"]},
    )
    assert [(c.actor, c.subject, c.action) for c in told] == [
        ("key-1", "experiment/greeting", "create"),
        ("key-2", "experiment/greeting", "change_arm"),
        ("key-1", f"key/{issued.key.id}", "create"),
    ]
    assert issued.secret not in str(told)
    assert msgspec.msgpack.encode(told)


def test_a_payload_that_equals_in_python_but_not_in_json_is_a_change(catalog: Catalog):
    running(catalog, Arm(id="a", payload=1))
    assert change(catalog, "a", payload=True).arms[0].payload is True


def test_a_change_that_cannot_be_committed_leaves_memory_alone(catalog: Catalog, tmp_path: Path):
    before = catalog.experiments.create(experiment())
    with sqlite3.connect(tmp_path / "catalog.db") as other:
        other.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON experiments "
            "BEGIN SELECT RAISE(ABORT, 'no room'); END"
        )
    other.close()
    with pytest.raises(LoopError):
        catalog.experiments.update("acme", "greeting", Amendment(name="x"))
    assert catalog.experiments.get("acme", "greeting") is before


def test_the_time_of_change_never_runs_backwards(catalog: Catalog, clock: ManualClock):
    made = catalog.experiments.create(experiment())
    clock.advance(seconds=-60)
    after = catalog.experiments.update("acme", "greeting", Amendment(name="x"))
    assert after.updated_at_ms == made.updated_at_ms


def test_tables_of_a_tenant_without_experiments_are_empty_not_missing(catalog: Catalog):
    assert catalog.experiments.all("acme") == []
    with pytest.raises(NotFound, match="no experiment 'x'"):
        catalog.experiments.get("acme", "x")
