from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from tests.unit.warehouse.test_queries import REQUIRED
from tests.unit.warehouse.world import NOW, World, call, feedback

from loopwright.core.events import Fact
from loopwright.core.feedback import (
    Annotation,
    Correction,
    Feedback,
    Measurement,
    Outcome,
    Rating,
    Signal,
    Target,
)
from loopwright.warehouse import QUERIES
from loopwright.warehouse.relations import REFERENCES

KINDS: tuple[Feedback, ...] = (
    Rating(1.0, "thumbs"),
    Rating(0.0, "thumbs"),
    Rating(4, "stars", 1, 5),
    Correction("a", "b", "wrong", 0.5),
    Outcome("resolved", 1.0),
    Outcome("resolved", 0.25),
    Measurement("latency", 3.0, "s"),
    Annotation("tone", 1, "good", "r1", 0.9),
    *(Signal(name) for name in ("copy", "export", "dashboard", "accept", "retry", "refinement")),
    Signal("abandonment"),
    Signal("dwell", 3.0),
)


def generated(rng: random.Random, count: int) -> Iterator[Fact]:
    """Calls and feedback in any order, whose references repeat, are missing, or point to several calls."""

    def one_of(letter: str) -> str | None:
        return rng.choice([None, *(f"{letter}{k}" for k in range(12))])

    for k in range(count):
        tenant = rng.choice(["acme", "other"])
        about: dict[str, Any] = {
            "decision_id": one_of("d"),
            "trace_id": one_of("t"),
            "span_id": one_of("p"),
            "session_id": one_of("s"),
            "message_id": one_of("m"),
        }
        if rng.random() < 0.3:
            yield call(f"i{k % 40}", tenant_id=tenant, **about)
            continue
        target = Target(output_id=rng.choice([None, f"i{rng.randrange(60)}"]), **about)
        quarantined = "a burst" if rng.random() < 0.1 else None
        kind = rng.choice(KINDS)
        yield feedback(f"f{k}", kind, target=target, tenant_id=tenant, quarantined=quarantined)


def first_match(fact: dict[str, Any], calls: Sequence[dict[str, Any]]) -> tuple[int, int] | None:
    """The rule in plain words: references in their order, and within one the earliest call."""
    for place, key in enumerate(REFERENCES.values(), 1):
        found = [c["log_offset"] for c in calls if c[key] is not None and c[key] == fact[key]]
        if found:
            return min(found), place
    return None


def totals(facts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What `wide` says of a call, counted one by one."""
    rated = [f["satisfaction"] for f in facts if f["satisfaction"] is not None]
    ended = [f["value"] for f in facts if f["kind"] == "outcome"]
    signals = [f["metric"] for f in facts if f["kind"] == "signal"]
    thumbs = [f["satisfaction"] >= 0.5 for f in facts if f["scale"] == "thumbs"]
    return {
        "feedback": len(facts),
        "ratings": len(rated),
        "satisfaction": pytest.approx(sum(rated) / len(rated)) if rated else None,
        "thumbs_up": sum(thumbs),
        "thumbs_down": len(thumbs) - sum(thumbs),
        "corrections": sum(f["kind"] == "correction" for f in facts),
        "signals": len(signals),
        "is_retried": "retry" in signals,
        "is_refined": "refinement" in signals,
        "is_abandoned": "abandonment" in signals,
        "is_used": not {"copy", "export", "dashboard", "accept"}.isdisjoint(signals),
        "outcomes": len(ended),
        "outcome_value": pytest.approx(sum(ended) / len(ended)) if ended else None,
        "annotations": sum(f["kind"] == "annotation" for f in facts),
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("tenant_id", ["acme", None])
def test_links_and_totals_are_what_counting_one_by_one_gives(
    world: World, tenant_id: str | None, seed: int
) -> None:
    facts = list(generated(random.Random(seed), 400))
    world.say(*facts[:250])
    world.loader().run()
    world.say(*facts[250:])
    warehouse = world.warehouse()
    said = warehouse.query("export_rows", tenant_id=tenant_id).dicts()
    for name in ("overview", "join_health"):
        warehouse.query(name, tenant_id=tenant_id, from_ms=NOW - 1, to_ms=NOW + 1)

        rows = world.table
        calls = rows("calls")
        best = {f["log_offset"]: first_match(f, calls) for f in said}
        if name == "join_health":
            found = {row["fact"]: (row["target"], row["place"]) for row in rows("links")}
            assert found == {fact: match for fact, match in best.items() if match is not None}
            continue
        of: dict[int, list[dict[str, Any]]] = {c["log_offset"]: [] for c in calls}
        for f in said:
            match = best[f["log_offset"]]
            if match is not None and f["quarantined"] is None:
                of[match[0]].append(f)
        wide = {row["log_offset"]: row for row in rows("wide")}
        assert wide.keys() == of.keys()
        assert sum(map(len, of.values())) > 50
        for target, its in of.items():
            expected = totals(its)
            assert {key: wide[target][key] for key in expected} == expected


@pytest.mark.parametrize("task", [None, "sql"])
def test_a_tenants_copy_answers_as_the_views_of_everything_do(
    world: World, task: str | None
) -> None:
    """With one tenant there is nothing else to see: the two ways of reading have to agree."""
    rng = random.Random(11)
    facts = [fact for fact in generated(rng, 600) if fact.tenant_id == "acme"]
    of_tasks = [
        call(
            f"i{k}", decision_id=f"d{k}", task=rng.choice(["sql", "chat"]), person=f"u{k % 7}",
            prompt_version=f"p{k % 3}", cost=0.5, query="Where is it?",
        )
        for k in range(60)
    ]  # fmt: skip
    world.say(*of_tasks, *facts[:150])
    world.loader().run()
    world.say(*facts[150:])
    warehouse = world.warehouse()
    for name in QUERIES:
        params = {**REQUIRED.get(name, {}), "from_ms": NOW - 1, "to_ms": NOW + 1, "task": task}
        one = warehouse.query(name, tenant_id="acme", **params).rows
        every = warehouse.query(name, tenant_id=None, **params).rows
        assert sorted(map(repr, one)) == sorted(map(repr, every)), name
        if name in ("by_prompt_version", "unit_totals", "negative_texts", "overview"):
            assert one, name
