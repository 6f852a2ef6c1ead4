"""A learner with everything around it, in memory: a log to put facts into, a catalog, a clock to move."""

from __future__ import annotations

import random
import struct

import msgspec

from loopwright.backends.memory import MemoryEventLog, memory_database
from loopwright.core import upcast
from loopwright.core.decision import Decision
from loopwright.core.events import (
    Decided,
    Expected,
    ExperimentChanged,
    Received,
    Reported,
    Ticked,
)
from loopwright.core.experiment import (
    Arm,
    Caps,
    ContextSpec,
    Experiment,
    ExperimentState,
    PolicyChoice,
)
from loopwright.core.feedback import Note, Outcome, Rating, Target, Who
from loopwright.core.ids import Ids
from loopwright.core.ports import SnapshotStore
from loopwright.core.reward import RewardSpec
from loopwright.eventlog import Reader, Writer
from loopwright.learning import Learner, Pace, replay
from loopwright.policies import Snapshots
from loopwright.testing import ManualClock

TENANT = "default"
EAGER = Pace(checkpoint_s=0.0)
LAZY = Pace(checkpoint_s=1e9)


def experiment(
    id: str = "greeting",
    *,
    arms=("a", "b", "c"),
    policy: str = "auto",
    params=None,
    context: int | None = None,
    intercept: bool = True,
    state: ExperimentState = "running",
    caps: Caps | None = None,
    **reward,
) -> Experiment:
    """A running experiment; further keywords go into its reward spec."""
    return Experiment(
        id=id,
        tenant_id=TENANT,
        state=state,
        arms=tuple(Arm(id=arm) for arm in arms),
        policy=PolicyChoice(policy, params or {}),
        reward=RewardSpec(**reward),
        context=None if context is None else ContextSpec(context, intercept),
        caps=caps,
    )


def pack(*vector: float) -> bytes:
    return struct.pack(f"<{len(vector)}d", *vector)


class World:
    """A log, a catalog and the learners that live on them."""

    def __init__(self, *experiments: Experiment) -> None:
        self.clock = ManualClock()
        self.log = MemoryEventLog()
        self.database = memory_database()
        self.reader = Reader(self.log)
        self.catalog: dict[tuple[str, str], Experiment] = {}
        self.ids = Ids(self.clock, random.Random(1))
        self.snapshots = Snapshots()
        self._writers: list[Writer] = []
        for made in experiments:
            self.change(made)
        self._told = self.log.head()

    def learner(self, pace: Pace = EAGER, outlet: SnapshotStore | None = None) -> Learner:
        """A learner as after a start of the process: from the last checkpoint, with what the world began with read."""
        self.snapshots = Snapshots()
        learner = Learner(
            self.reader,
            self.writer,
            database=self.database,
            snapshots=self.snapshots,
            outlet=outlet,
            head=self.log.head,
            clock=self.clock,
            pace=pace,
            stopwatch=lambda: 0.0,  # checkpoints and publishing are as eager as `pace` says
        )
        while learner.offset < min(self._told, self.log.head()):
            learner.step()
        return learner

    @property
    def writer(self) -> Writer:
        """A real writer, started when a test first needs it."""
        if not self._writers:
            self._writers.append(Writer(self.log, self.clock))
            self._writers[0].subscribe(self.reader.wake)
        return self._writers[0]

    def close(self) -> None:
        for writer in self._writers:
            writer.close()
        self.database.close()

    def change(self, changed: Experiment, learner: Learner | None = None, **told) -> Experiment:
        """Log that an experiment is from now on as `changed`, and let the learner read to there."""
        self.catalog[changed.tenant_id, changed.id] = changed
        offset = self.put(ExperimentChanged(self.ids(), self.clock.now_ms(), changed, **told))
        while learner is not None and learner.offset < offset:
            learner.step()
        return changed

    def move(
        self, state: ExperimentState, learner: Learner | None = None, id: str = "greeting"
    ) -> Experiment:
        """Pause, resume or end an experiment."""
        return self.change(msgspec.structs.replace(self.catalog[TENANT, id], state=state), learner)

    def decision(
        self, arm: str = "a", *, id: str = "greeting", p: float = 0.5, **fields
    ) -> Decision:
        """A decision of now, not in the log yet."""
        fields.setdefault("decided_at_ms", self.clock.now_ms())
        return Decision(self.ids(), TENANT, id, arm, p, 0, **fields)

    def feedback(self, decision: Decision, value: float, *, metric: str = "reward") -> Received:
        """Feedback of now, not in the log yet."""
        return Received(self.ids(), self.clock.now_ms(), decision, Outcome(metric, value))

    def rated(
        self, decision: Decision, value: float, *, at_ms: int | None = None, **said
    ) -> tuple[Reported, Received]:
        """A rating as intake writes it, with the reward that is computed from it; `said` goes into its note."""
        at_ms = self.clock.now_ms() if at_ms is None else at_ms
        session_id = said.pop("session_id", None)
        note = Note(occurred_at_ms=at_ms, **said)
        rating = Rating(value, "numeric")
        target = Target(decision, session_id=session_id)
        metric = self.catalog[decision.tenant_id, decision.experiment_id].reward.metric
        event_id = self.ids()
        return (
            Reported(event_id, at_ms, decision.tenant_id, target, rating, note),
            Received(
                event_id,
                at_ms,
                decision,
                Outcome(metric, value),
                derived=True,
                who=Who(note.person, session_id, note.address),
            ),
        )

    def expected(
        self, decision: Decision, value: float, *, at_ms: int | None = None, metric: str = "reward"
    ) -> Expected:
        """What a surrogate expects of a decision, not in the log yet."""
        at_ms = self.clock.now_ms() if at_ms is None else at_ms
        return Expected(self.ids(), at_ms, decision, Outcome(metric, value), "v1")

    def put(self, *facts) -> int:
        """Append facts as one batch; return the offset of the last."""
        body = upcast.encode(facts)
        first = self.log.append(body, count=len(facts), version=upcast.SCHEMA_VERSION, keys=[])
        return first + len(facts) - 1

    def decide(self, arm: str = "a", **fields) -> Decision:
        """A decision that is in the log."""
        decision = self.decision(arm, **fields)
        self.put(Decided(decision))
        return decision

    def reward(self, decision: Decision, value: float) -> int:
        """Feedback that is in the log."""
        return self.put(self.feedback(decision, value))

    def tick(self) -> int:
        return self.put(Ticked(self.clock.now_ms()))

    def replayed(self, id: str = "greeting", through: int | None = None) -> bytes:
        """What the log alone teaches an experiment."""
        return replay(self.reader, through=through)[TENANT, id]


def settle(learner: Learner) -> Learner:
    """Let the learner read the log to its end."""
    while learner.step():
        pass
    return learner


def arms(learner: Learner, id: str = "greeting") -> dict[str, tuple[int, float | None]]:
    """Each arm's rewards learned and their mean."""
    status = learner.status(TENANT, id)
    return {
        arm.arm_id: (arm.n, None if arm.mean is None else round(arm.mean, 6)) for arm in status.arms
    }
