from __future__ import annotations

from collections.abc import Mapping

from loopwright.core.decision import Decision
from loopwright.core.events import Expected, Reported
from loopwright.core.feedback import Outcome, Signal, Target
from loopwright.signals.derived import derived_facts
from loopwright.signals.facts import About
from loopwright.signals.fold import Action, Session
from loopwright.signals.store import Held

START = 1_750_000_000_000
DECISION = Decision("d" * 32, "acme", "greeting", "a", 0.5, 1, START)
SHOWN = Session("s", (Action("s", "output o", "shown", START),))


class Even:
    """Expects one half of every decision."""

    def metric(self, decision: Decision) -> str | None:
        return "resolved"

    def expect(
        self, decision: Decision, signals: Mapping[str, float], *, person: str | None
    ) -> tuple[float, str] | None:
        return 0.5, f"v-{sorted(signals)}"


def held(*, said: set[tuple[str, str]] | None = None, decision: Decision | None = None) -> Held:
    about = About(Target(output_id="o"), decision=decision)
    return Held((SHOWN,), START, {"output o": about}, said=said or set())


def test_an_abandoned_answer_gives_one_fact_whose_id_depends_on_the_session_alone() -> None:
    ((key, fact),) = derived_facts("acme", held(), SHOWN, at_ms=START + 1)
    assert isinstance(fact, Reported)
    assert (fact.feedback, fact.note.flags) == (Signal("abandonment", 1.0), ("derived",))
    ((again, _),) = derived_facts("acme", held(), SHOWN, at_ms=START + 99)
    ((other, _),) = derived_facts("other", held(), SHOWN, at_ms=START + 1)
    assert key == again != other


def test_a_signal_that_the_product_sent_itself_is_not_derived() -> None:
    said = {("output o", "abandonment")}
    assert derived_facts("acme", held(said=said), SHOWN, at_ms=START) == []


def test_what_is_expected_of_the_decision_follows_from_the_derived_signals() -> None:
    one = held(decision=DECISION)
    facts = [f for _, f in derived_facts("acme", one, SHOWN, at_ms=START, shaping=Even())]
    assert [type(fact) for fact in facts] == [Reported, Expected]
    assert isinstance(facts[1], Expected)
    assert facts[1].feedback == Outcome("resolved", 0.5)
    assert "abandonment" in facts[1].surrogate


def test_nothing_is_expected_of_a_decision_whose_outcome_is_known() -> None:
    one = held(said={("output o", "resolved")}, decision=DECISION)
    facts = derived_facts("acme", one, SHOWN, at_ms=START, shaping=Even())
    assert [type(fact) for _, fact in facts] == [Reported]
