from __future__ import annotations

from tests.unit.feedback.world import THUMB, World

from loopwright.core.events import Reported
from loopwright.core.feedback import Correction, Note, Rating, Signal, Target


def test_declared_free_text_is_redacted_and_nothing_else(world: World) -> None:
    item = {
        "type": "query",
        "message_id": "a@example.com",
        "session_id": "4111111111111111",
        "data": {
            "thumbs": "down",
            "query": "of a@example.com",
            "deep": [{"stack_trace": "from 192.168.1.17", "owner": "b@example.com"}],
        },
        "tags": ["c@example.com"],
    }
    fact = world.fact(item)
    assert fact.note.query is not None
    assert fact.note.query.startswith("of <EMAIL:")
    assert fact.target.message_id == "a@example.com"
    assert fact.target.session_id == "4111111111111111"
    assert fact.note.tags == ("c@example.com",)
    deep = fact.note.wire["data"]["deep"][0]
    assert deep["stack_trace"].startswith("from <IP:")
    assert deep["owner"] == "b@example.com"
    assert fact.note.redactions == {"EMAIL": 1, "IP": 1}


def test_corrections_rationales_and_steps_are_redacted(world: World) -> None:
    mail = "a@example.com"
    fact = world.fact({"original": mail, "corrected": f"to {mail}", "message_id": "m"})
    assert isinstance(fact.feedback, Correction)
    assert mail not in fact.feedback.before + fact.feedback.after
    # Of the texts as they are kept, so that it can be computed again.
    assert fact.feedback.distance == 3 / len(fact.feedback.after)
    step = {"id": "1", "session_id": "s", "kind": "sql", "data": {"query": mail, "table": mail}}
    (stepped,) = world.take(step, path="step").facts
    assert stepped.step.data["table"] == mail  # type: ignore[union-attr]
    assert stepped.step.data["query"].startswith("<EMAIL:")  # type: ignore[union-attr]


def test_kinds_without_words_pass_redaction_untouched(world: World) -> None:
    fact = world.fact({"kind": "signal", "name": "a@example.com", "output_id": "o"})
    assert fact == Reported(
        fact.event_id,
        world.clock.now_ms(),
        "acme",
        Target(output_id="o"),
        Signal("a@example.com"),
        Note(occurred_at_ms=world.clock.now_ms(), wire={"undated": True}),
    )
    assert isinstance(world.fact(THUMB).feedback, Rating)
