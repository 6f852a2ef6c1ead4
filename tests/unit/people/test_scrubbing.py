from __future__ import annotations

from typing import Any

import msgspec
import pytest

from loopwright.core.decision import Decision
from loopwright.core.events import Decided, Expected, Fact, Interacted, Received, Reported, Stepped
from loopwright.core.feedback import Annotation, Correction, Note, Outcome, Target, Who
from loopwright.core.interaction import Interaction, Step
from loopwright.people.scrubbing import Erasing, Scrubber

PERSON, OTHER = "a" * 32, "b" * 32
ERASING = Erasing(
    tenant_id="acme", person=PERSON, at_ms=1, secret=bytes(32), ids=("unit:x", "jane")
)


def decision(**changes: Any) -> Decision:
    metadata = {"session_id": "jane-chat", "page": "jane-page"}
    made = {"vector": b"12345678", "metadata": metadata, **changes}
    return Decision("ab" * 16, "acme", "greeting", "a", 0.5, 1, 1, **made)


def note(**changes: Any) -> Note:
    made = {"person": PERSON, "message": "jane says", "labels": {"x": "jane"}, **changes}
    return Note(occurred_at_ms=5, **made)


THEIRS: list[Fact] = [
    Decided(decision(unit_id="unit:x")),
    Decided(decision(unit_id="jane")),
    Decided(decision(context_id="jane")),
    Decided(decision(metadata={"user_id": "jane"})),
    Received("jane-1", 2, decision(unit_id="jane"), Outcome("reward", 0.25)),
    Received("e", 2, decision(), Outcome("reward", 1.0), True, Who(PERSON, "jane-chat", "f")),
    Expected("e", 2, decision(unit_id="jane"), Outcome("reward", 0.5), "v1"),
    Reported("jane-1", 2, "acme", Target(output_id="jane-o"), Correction("jane", "jane"), note()),
    Reported(
        "e", 2, "acme", Target(decision(unit_id="jane")), Outcome("m", 1.0), note(person=None)
    ),
    Reported(
        "e", 2, "acme", Target(), Annotation("r", 1, "bad", PERSON, 0.5, "jane"), note(person=OTHER)
    ),
    Interacted(
        "e", 2, "acme", Interaction(id="jane", started_at_ms=1, person=PERSON, query="jane")
    ),
    Stepped(
        "e",
        2,
        "acme",
        Step(
            id="jane", session_id="jane", kind="k", taken_at_ms=1, person=PERSON, data={"a": "jane"}
        ),
    ),
]


@pytest.mark.parametrize("fact", THEIRS[:9] + THEIRS[10:])
def test_what_a_fact_says_of_an_erased_person_is_gone(fact: Fact) -> None:
    left = Scrubber(ERASING)(fact)
    assert type(left) is type(fact)
    assert b"jane" not in msgspec.msgpack.encode(left)
    assert Scrubber(ERASING)(left) in (left, Scrubber(ERASING)(fact))


@pytest.mark.parametrize("fact", [f for f in THEIRS if isinstance(f, Received | Expected)])
def test_what_teaches_stays(fact: Received | Expected) -> None:
    left = Scrubber(ERASING)(fact)
    assert isinstance(left, Received | Expected)
    assert (left.at_ms, left.feedback) == (fact.at_ms, fact.feedback)
    for name in ("id", "arm_id", "propensity", "snapshot", "decided_at_ms", "mode", "vector"):
        assert getattr(left.decision, name) == getattr(fact.decision, name)


def test_equal_ids_stay_equal_so_that_caps_count_as_before() -> None:
    scrub = Scrubber(ERASING)
    left = [scrub(fact) for fact in THEIRS if isinstance(fact, Received)]
    sessions = {f.decision.session_id for f in left if isinstance(f, Received)}
    assert len(sessions) == 1
    assert sessions != {"jane-chat"}


def test_a_reviewer_loses_their_words_and_the_fact_stays() -> None:
    left = Scrubber(ERASING)(THEIRS[9])
    assert isinstance(left, Reported)
    assert isinstance(left.feedback, Annotation)
    assert (left.feedback.rationale, left.feedback.label, left.note.person) == ("", "bad", OTHER)


@pytest.mark.parametrize("fact", THEIRS)
def test_facts_of_other_tenants_and_other_people_stay(fact: Fact) -> None:
    elsewhere = msgspec.structs.replace(ERASING, tenant_id="other")
    somebody = msgspec.structs.replace(ERASING, person="c" * 32, ids=("unit:y",))
    assert Scrubber(elsewhere)(fact) is fact
    assert Scrubber(somebody)(fact) is fact
