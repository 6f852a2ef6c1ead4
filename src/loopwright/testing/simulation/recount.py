"""What experiments have to have learned, recounted from the log by other code than the learner's own.

The rules are written again here, so that a fault in the learner's code is not repeated.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from loopwright.core.decision import Decision
from loopwright.core.events import Fact, Received, Reported, RolledBack
from loopwright.core.feedback import Outcome

Counts = Mapping[str, tuple[int, float]]
"""How many rewards of each arm are learned, and their sum."""


@dataclass
class Lessons:
    """What one experiment has learned, offset by offset."""

    rewards: dict[str, tuple[str, float]] = field(default_factory=dict)
    """The reward of each decision that the state holds: its arm and value."""
    taught_at: dict[str, int] = field(default_factory=dict)
    """Offset at which each decision taught last, those that were rolled back over included."""
    sealed: int = 0
    """Offset of the latest rollback: what taught before it can no longer be revised."""
    history: list[tuple[int, dict[str, tuple[str, float]]]] = field(default_factory=list)

    def receive(self, offset: int, decision: Decision, value: float, *, is_latest: bool) -> None:
        """Learn a reward: the first of a decision, or the latest."""
        taught = self.taught_at.get(decision.id)
        if taught is not None and (not is_latest or taught < self.sealed):
            return
        self.taught_at[decision.id] = offset
        self._set(offset, {**self.rewards, decision.id: (decision.arm_id, value)})

    def roll_back(self, offset: int, version: int) -> None:
        """Hold what was held at the offset `version`, which is what the fact names."""
        earlier = [rewards for at, rewards in self.history if at <= version]
        self.sealed = offset
        self._set(offset, earlier[-1] if earlier else {})

    def counts(self) -> Counts:
        """Return what the state holds."""
        values: dict[str, list[float]] = {}
        for arm_id, value in self.rewards.values():
            values.setdefault(arm_id, []).append(float(value))
        return {arm: (len(said), round(sum(said), 6)) for arm, said in values.items()}

    def _set(self, offset: int, rewards: dict[str, tuple[str, float]]) -> None:
        self.rewards = rewards
        self.history.append((offset, rewards))


def recount(
    facts: Iterable[tuple[int, Fact]], *, untaught: Collection[str] = ()
) -> dict[str, Counts]:
    """Return what each experiment without a window has to have learned; `untaught` are outcomes that must not teach."""
    lessons: dict[str, Lessons] = {}
    for offset, fact in facts:
        if isinstance(fact, RolledBack):
            lessons.setdefault(fact.experiment_id, Lessons()).roll_back(offset, fact.snapshot)
            continue
        rewarded = _rewarded(fact, untaught)
        if rewarded is not None:
            decision, value = rewarded
            of = decision.experiment_id
            lessons.setdefault(of, Lessons()).receive(
                offset, decision, value, is_latest=of == "latest"
            )
    return {experiment_id: of.counts() for experiment_id, of in lessons.items()}


def _rewarded(fact: Fact, untaught: Collection[str]) -> tuple[Decision, float] | None:
    if isinstance(fact, Received):
        return fact.decision, fact.feedback.value
    if not isinstance(fact, Reported) or fact.target.decision is None:
        return None
    is_allowed = "train" in fact.note.consent and fact.event_id not in untaught
    if not isinstance(fact.feedback, Outcome) or fact.note.quarantined is not None:
        return None
    return (fact.target.decision, fact.feedback.value) if is_allowed else None
