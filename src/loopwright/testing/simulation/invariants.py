"""The invariants of a loop at rest: after every restart, and at the end.

An invariant is data: `Invariant("name", check)`, with `check(world)` raising `Violated`. It runs in the process.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from loopwright.core.errors import LoopError, NotFound, TokenKeyRetired, Unauthenticated
from loopwright.core.events import Consented, Decided, Erased, Received, Reported
from loopwright.core.status import Status
from loopwright.people.scrubbing import REMAINS

from .parts import TENANT
from .recount import recount
from .world import Violated, World, key_of


@dataclass(frozen=True)
class Invariant:
    """A sentence that must be true, and the check of it."""

    name: str
    check: Callable[[World], None]

    def __repr__(self) -> str:
        return repr(self.name)


def stored_once(world: World) -> None:
    """Every acknowledged fact is in the log once, and nothing twice, and nothing that no client sent."""
    # The whole log, sealed parts included.
    found = Counter(
        fact.event_id for _, fact in world.parts.facts() if isinstance(fact, Received | Reported)
    )
    book = world.book
    for event_id, n in found.items():
        if n > 1:
            raise Violated("acknowledged = stored once", expected=f"{event_id} once", found=n)
    for sent in book.sent.values():
        if sent.is_acknowledged and sent.event_id not in found:
            raise Violated("acknowledged = stored once", expected=sent.event_id, found="nothing")
    missing = [event_id for event_id in book.reported if event_id not in found]
    for event_id in missing:
        if book.reported[event_id] not in book.erasures:
            raise Violated("acknowledged = stored once", expected=event_id, found="nothing")
    # What is left of an erased person's reports has ids of its own, one for each report.
    remains = [event_id for event_id in found if event_id.startswith(REMAINS)]
    if len(remains) < len(missing):
        raise Violated(
            "acknowledged = stored once", expected=f"remains of {missing}", found=remains
        )
    # Ids of the schedule's own feedback begin with "f"; Loopwright derives others.
    unknown = [e for e in found if e[0] == "f" and e not in book.sent]
    if unknown:
        raise Violated("acknowledged = stored once", expected="what was sent", found=unknown)


def learned_once(world: World) -> None:
    """A running experiment has learned each stored reward once, counted from the log by other code than its own."""
    lessons = recount(world.parts.facts(), untaught=world.book.untaught)
    for experiment in world.parts.experiments():
        # A window may still be open, and a paused experiment does not learn; `replay_is_state` covers both.
        if experiment.state != "running" or experiment.reward.window_s is not None:
            continue
        status = world.loop.experiments.status(experiment.id)
        if _is_given_up(world, status):
            continue
        expected = lessons.get(experiment.id, {})
        found = {
            arm.arm_id: (arm.n, round(arm.n * (arm.mean or 0.0), 6)) for arm in status.arms if arm.n
        }
        if found != expected:
            raise Violated(
                "acknowledged = learned once", expected=f"{experiment.id} {expected}", found=found
            )


def replay_is_state(world: World) -> None:
    """What each experiment has learned is, bit for bit, what the log alone teaches."""
    for (_, experiment_id), expected in world.parts.replayed().items():
        if world.parts.dump(experiment_id) != expected:
            status = world.loop.experiments.status(experiment_id)
            if _is_given_up(world, status):
                continue
            raise Violated(
                "replay = state",
                expected=f"{experiment_id} as the log says",
                found=f"{[(arm.arm_id, arm.n, arm.mean) for arm in status.arms]}, {status.learner} at "
                f"{status.snapshot} of {status.head}",
            )


def changes_hold(world: World) -> None:
    """An acknowledged change of the control plane is in force."""
    states = {experiment.id: experiment.state for experiment in world.parts.experiments()}
    for experiment_id, expected in world.book.states.items():
        # A set, because a change whose answer was lost may or may not have happened.
        if states.get(experiment_id) not in expected:
            raise Violated(
                "changes hold",
                expected=f"{experiment_id} {sorted(expected)}",
                found=states.get(experiment_id),
            )


def revoked_is_refused(world: World) -> None:
    """A revoked key is refused, a key in use is not."""
    for secret in world.book.revoked:
        try:
            world.parts.catalog.authenticate(secret)
        except Unauthenticated:
            continue
        raise Violated("revoked = refused", expected="a refusal", found="a principal")
    # The other half: a cache that refuses everything would pass the first.
    for secret in world.book.keys.values():
        world.parts.catalog.authenticate(secret)


def retired_is_refused(world: World) -> None:
    """A token of a retired signing key is refused, any other is read."""
    book, now_ms = world.book, world.clock.now_ms()
    for selection in book.selections:
        key_id = key_of(selection.request_id)
        try:
            world.parts.ring.signer.verify(selection.request_id, now_ms=now_ms)
        except TokenKeyRetired as error:
            if key_id in book.retiring:
                continue
            raise Violated("retired = refused", expected="a decision", found=error) from error
        if key_id in book.retired:
            raise Violated("retired = refused", expected="a refusal", found=f"key {key_id}")


def erased_is_gone(world: World) -> None:
    """Nothing leads to an erased person, their facts say nothing, and no raw copy of what they said can be read."""
    parts = world.parts
    for _, fact in parts.facts():
        if not isinstance(fact, Reported) or _person(fact) not in world.book.erased:
            continue
        if not fact.event_id.startswith(REMAINS) or fact.note.message is not None:
            raise Violated("erased = gone", expected="remains without words", found=fact)
    for person in world.book.erased:
        if parts.people.person_key(TENANT, person) is not None:
            raise Violated("erased = gone", expected="no key", found=f"the key of {person}")
        try:
            parts.people.find(TENANT, person)
        except NotFound:
            continue
        raise Violated("erased = gone", expected="nobody", found=person)
    if world.reports:
        world.kernel.nap(1.0)
        for person in world.book.erased:
            rows = parts.rows_of(person)
            if any(rows.values()):
                raise Violated("erased = gone", expected="no rows", found=dict(rows))


def report_is_recount(world: World) -> None:
    """What the warehouse counts is what a recount of the log finds, erased people left out."""
    if not world.reports:
        return
    # A question shares the rows of the one before for 400 ms.
    world.kernel.nap(1.0)
    facts = world.parts.facts()
    erased = {fact.person for _, fact in facts if isinstance(fact, Erased)}
    # The latest consent of a person holds for all they ever said.
    consents = {fact.person: fact.scopes for _, fact in facts if isinstance(fact, Consented)}
    expected: Counter[str] = Counter()
    for _, fact in facts:
        if isinstance(fact, Decided):
            expected[f"decisions {fact.decision.mode}"] += 1
        elif isinstance(fact, Received) and not fact.derived:
            expected["feedback outcome"] += 1
        elif isinstance(fact, Reported) and _person(fact) not in erased:
            allowed = consents.get(_person(fact), fact.note.consent)
            if not {"store", "analyze"} <= set(allowed):
                expected["withheld feedback"] += 1
                continue
            expected[f"feedback {fact.feedback.__struct_config__.tag}"] += 1
    try:
        found = dict(world.parts.counted())
    except LoopError as error:
        raise Violated(
            "report = recount", expected="a report", found=f"{error.code}: {error.message}"
        ) from error
    if found != expected:
        raise Violated("report = recount", expected=dict(expected), found=found)


def threads_are_well(world: World) -> None:
    """Every thread of the process is alive, or readiness or health names what has stopped."""
    world.check_threads()


def _is_given_up(world: World, status: Status) -> bool:
    """Whether the learner has given an experiment up until a restart, which it may only when an engine refused."""
    if status.learner != "degraded":
        return False
    # No engine refused anything, so the learner has no excuse.
    if world.is_undisturbed:
        raise Violated("it learns", expected=status.experiment_id, found=status.reason)
    return True


def _person(fact: Reported) -> Any:
    return getattr(fact.note, "person", None)


INVARIANTS: Final = (
    Invariant("every thread alive or named", threads_are_well),
    Invariant("acknowledged = stored once", stored_once),
    Invariant("changes hold", changes_hold),
    Invariant("acknowledged = learned once", learned_once),
    Invariant("replay = state", replay_is_state),
    Invariant("revoked = refused", revoked_is_refused),
    Invariant("retired = refused", retired_is_refused),
    Invariant("erased = gone", erased_is_gone),
    Invariant("report = recount", report_is_recount),
)
"""Checked whenever the loop has come to rest."""
