"""The facts of the event log.

Facts are immutable and complete; every one is written once and never changed. They travel as MessagePack
arrays in record batches that name their `SCHEMA_VERSION`; fields are only ever added at the end, with a
default. A reader meets older versions through `upcast`. The kinds that come by the thousand are kept from
the garbage collector (`gc=False`): they are trees of plain values and can be in no cycle.
"""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .decision import Decision
from .experiment import Experiment
from .feedback import ConsentScope, Feedback, Note, Outcome, Target, Who
from .interaction import Interaction, Step
from .principal import StoredKey


class Decided(msgspec.Struct, frozen=True, tag="decided", array_like=True, gc=False):
    """An arm was selected."""

    decision: Decision

    @property
    def tenant_id(self) -> str:
        """The tenant the fact belongs to."""
        return self.decision.tenant_id

    @property
    def at_ms(self) -> int:
        """When it happened, by our clock."""
        return self.decision.decided_at_ms


class Received(msgspec.Struct, frozen=True, tag="received", array_like=True, gc=False):
    """The outcome of a decision arrived and was accepted; learning reads these facts."""

    event_id: str
    at_ms: int
    decision: Decision
    feedback: Outcome
    derived: bool = False
    """Whether it was computed from the `Reported` fact with the same `event_id`, which says it in full and is just
    before it in the log."""
    who: Who | None = None
    """Who sent what it was computed from. None for a plain reward, and in logs from before this field."""

    @property
    def tenant_id(self) -> str:
        """The tenant the fact belongs to."""
        return self.decision.tenant_id


class Reported(msgspec.Struct, frozen=True, tag="reported", array_like=True, gc=False):
    """Feedback of any kind arrived, about a decision, a call, a message or a session."""

    event_id: str
    at_ms: int
    tenant_id: str
    target: Target
    feedback: Feedback
    note: Note


class Interacted(msgspec.Struct, frozen=True, tag="interacted", array_like=True):
    """An AI product made a call."""

    event_id: str
    at_ms: int
    tenant_id: str
    interaction: Interaction


# Outcomes of steps come later than the steps, and a fact is never changed: so the later fact wins.
class Stepped(msgspec.Struct, frozen=True, tag="stepped", array_like=True):
    """An agent took a step, or the outcome of one became known: the later fact of one step id wins."""

    event_id: str
    at_ms: int
    tenant_id: str
    step: Step


class Consented(msgspec.Struct, frozen=True, tag="consented", array_like=True):
    """A person's consent changed; it holds for everything they ever said, earlier facts included."""

    event_id: str
    at_ms: int
    tenant_id: str
    person: str
    scopes: tuple[ConsentScope, ...]


class Erased(msgspec.Struct, frozen=True, tag="erased", array_like=True):
    """A person was erased: every projection drops their rows and texts."""

    event_id: str
    at_ms: int
    tenant_id: str
    person: str
    report: dict[str, Any] = msgspec.field(default_factory=dict)


class Ticked(msgspec.Struct, frozen=True, tag="ticked", array_like=True):
    """Time passed while nothing else happened; it closes attribution windows, so that replay is exact."""

    at_ms: int
    # Time passes for every tenant.
    tenant_id: str = ""


class RolledBack(msgspec.Struct, frozen=True, tag="rolled_back", array_like=True):
    """An experiment's learner was put back to an earlier snapshot; carries that state whole."""

    at_ms: int
    tenant_id: str
    experiment_id: str
    snapshot: int
    # The state itself, and no reference: a replay must not need a snapshot that may be deleted by then.
    state: bytes
    actor: str = ""


# Stored in the catalog's outbox and appended under a key made of `event_id`, so that a repetition after a crash
# is one fact (decision 0011).
class ExperimentChanged(msgspec.Struct, frozen=True, tag="experiment_changed", array_like=True):
    """An experiment is from here on as this fact says: the learner starts, pauses, resumes and ends it at this offset.

    Carries the whole experiment, so that a reader needs no catalog.
    """

    event_id: str
    at_ms: int
    experiment: Experiment
    actor: str = ""
    adopted: bool = False
    """Whether it tells of an experiment from before the log held these facts; it then holds for all that came
    before it too."""
    stands_at: int | None = None
    """Offset at which an adopted experiment that was paused or has ended had stopped learning."""

    @property
    def tenant_id(self) -> str:
        """The tenant the fact belongs to."""
        return self.experiment.tenant_id


class KeyChanged(msgspec.Struct, frozen=True, tag="key_changed", array_like=True):
    """An API key was created, rotated or revoked. Carries the whole key with digests, never a secret."""

    event_id: str
    at_ms: int
    # Digests suffice to check a key, so a process can authenticate from the log alone.
    stored: StoredKey
    actor: str = ""

    @property
    def tenant_id(self) -> str:
        """The tenant the fact belongs to."""
        return self.stored.key.tenant_id


class Changed(msgspec.Struct, frozen=True, tag="changed", array_like=True):
    """The control plane was changed: the audit trail."""

    at_ms: int
    tenant_id: str
    actor: str
    subject: str
    """What was changed, as `kind/id`: `experiment/greeting`, `key/…`."""
    action: str
    detail: dict[str, Any] = msgspec.field(default_factory=dict)


class Expected(msgspec.Struct, frozen=True, tag="expected", array_like=True, gc=False):
    """The predicted outcome of a decision, by what people did with it: learned from until the outcome is known.

    A fact, so that learning is replayed as it was whichever surrogate is the current one later.
    """

    event_id: str
    at_ms: int
    decision: Decision
    feedback: Outcome
    # The fact fixes the number: a later surrogate would give another, and the replay another state.
    surrogate: str
    """Version of the surrogate that says so."""

    @property
    def tenant_id(self) -> str:
        """The tenant the fact belongs to."""
        return self.decision.tenant_id


class RateMoved(msgspec.Struct, frozen=True, tag="rate_moved", array_like=True):
    """A window of a limit's controller ended: what it saw, and where the rate stands since.

    The ratings that it saw are the facts up to `through` that no earlier window of the limit saw. So a replay of the log
    gives the same rates, and a restart goes on from the latest of these facts.
    """

    event_id: str
    at_ms: int
    tenant_id: str
    limit_id: str
    through: int
    """Offset of the log through which ratings were read."""
    utilisation: float
    """Share of the rate that was used."""
    overloaded: float | None
    """Share of the reports that said overload; None without a report."""
    ratings: int
    rate: float
    """Tokens per second from here on."""
    control: dict[str, Any] = msgspec.field(default_factory=dict)
    """The controller's whole state after the window."""


# Tags and the order of fields are in every stored log: kinds are added, never renamed or removed.
Fact = (
    Decided
    | Received
    | Reported
    | Interacted
    | Stepped
    | Consented
    | Erased
    | Ticked
    | RolledBack
    | Changed
    | Expected
    | ExperimentChanged
    | KeyChanged
    | RateMoved
)

DERIVED: Final = "derived"
"""Flag of a signal that was drawn from a session, and not sent."""

_SENT: Final = (Reported, Interacted, Stepped)


def is_sent(fact: Fact) -> bool:
    """Say whether a fact is one that a tenant sent, and not one that was derived from others or made here."""
    if isinstance(fact, Received):
        return not fact.derived
    # Signals drawn from sessions are `Reported` too.
    return isinstance(fact, _SENT) and not (
        isinstance(fact, Reported) and DERIVED in fact.note.flags
    )
