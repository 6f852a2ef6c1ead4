"""The operations: requests, changes of the control plane, time, failing engines, crashes.

An operation is data. Write your own as `Operation("name", weight=…, apply=…)`: `apply(world, rng)` runs as a client on
a thread of the process, or, with `by="controller"`, outside the process, where it may end and start it.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from loopwright.core.errors import (
    Conflict,
    LoopError,
    NotFound,
    TokenForged,
    TokenKeyRetired,
    TokenMalformed,
)
from loopwright.core.feedback import CONSENT_SCOPES
from loopwright.core.reward import RewardSpec

from .changes import (
    change_arms,
    change_consent,
    create,
    make_key,
    move,
    retire_signing_key,
    revoke_key,
    roll_back,
    rotate_signing_key,
    take_snapshot,
)
from .world import Sent, Violated, World, key_of

Apply = Callable[[World, random.Random], None]


@dataclass(frozen=True)
class Operation:
    """One kind of operation, and its weight among the others."""

    name: str
    apply: Apply
    weight: float = 1.0
    by: Literal["client", "controller"] = "client"
    """Who does it: a client on a thread of the process, or the controller that outlives the process."""

    def __repr__(self) -> str:
        return self.name


EXPERIMENTS: Final = {
    "plain": RewardSpec(),
    "latest": RewardSpec(duplicates="latest"),
    "windowed": RewardSpec(window_s=60.0, default=0.0),
}
"""Experiments that every schedule begins with, running."""


def select(world: World, rng: random.Random) -> None:
    """Ask for an arm."""
    experiment_id = rng.choice(sorted(world.book.states))
    try:
        world.book.selections.append(world.loop.agent.select(experiment_id))
    except (Conflict, NotFound):
        if world.book.states[experiment_id] == {"running"}:
            raise


def feedback(world: World, rng: random.Random) -> None:
    """Send a reward for a decision."""
    _send(world, [_reward(world, rng)])


def feedback_batch(world: World, rng: random.Random) -> None:
    """Send a few rewards in one commit."""
    _send(world, [_reward(world, rng) for _ in range(rng.randint(2, 5))])


def retry(world: World, rng: random.Random) -> None:
    """Send again what was sent before, answered or not."""
    if world.book.sent:
        # Sorted, so that the choice does not depend on which client was answered first.
        _send(world, [world.book.sent[rng.choice(sorted(world.book.sent))]])


def report_typed(world: World, rng: random.Random) -> None:
    """Send a rating with a comment that has to be redacted."""
    event_id, user_id = world.new_id("t"), f"user-{rng.randint(1, 3)}"
    item = {
        "event_id": event_id,
        "kind": "rating",
        "scale": "thumbs",
        "value": rng.randint(0, 1),
        # Of an output of its own, so that no two ratings are taken for one person's repetition.
        "output_id": f"out-{event_id}",
        "user_id": user_id,
        "message": "write to jane@example.com",
    }
    _say(world, item)


def report_outcome(world: World, rng: random.Random) -> None:
    """Send what a decision earned as typed feedback of a person, who may have withdrawn consent."""
    if not world.book.selections:
        return
    chosen = rng.choice(world.book.selections)
    item = {
        "event_id": world.new_id("t"),
        "kind": "outcome",
        "metric": RewardSpec().metric,
        "value": rng.randint(0, 1),
        "request_id": chosen.request_id,
        "user_id": f"user-{rng.randint(1, 3)}",
    }
    _say(world, item)


def erase(world: World, rng: random.Random) -> None:
    """Erase a person."""
    user_id = f"user-{rng.randint(1, 3)}"
    # Before the call: what a crash interrupts is finished after the next start.
    world.book.erasures.add(user_id)
    try:
        person = world.parts.erase(user_id)
    except NotFound:
        return
    world.book.erased[person] = user_id


def ask_report(world: World, rng: random.Random) -> None:
    """Ask the warehouse for a report."""
    world.reports += 1
    world.parts.counted()


def project(world: World, rng: random.Random) -> None:
    """Project the log into the warehouse's files, as upkeep does."""
    try:
        world.parts.project()
    except Conflict:
        # Another loader is at work.
        return


def wait(world: World, rng: random.Random) -> None:
    """Let time pass: a moment, or long enough for upkeep."""
    world.kernel.nap(rng.choice((0.01, 0.3, 0.3, 6.0)))


def jump(world: World, rng: random.Random) -> None:
    """Set the wall clock, as NTP or an administrator does."""
    # Back and forth, beyond a minute (the reward window) and beyond an hour (tokens, leases).
    world.clock.jump(seconds=rng.choice((-90.0, -1.0, 0.5, 61.0, 3600.0)))


def break_engine(world: World, rng: random.Random) -> None:
    """Let an engine refuse its next calls."""
    names, refusals = rng.choice(world.machine.engines())
    if names:
        # One refusal finds a task that ends at its first error; eight, one that gives up after its retries.
        calls = rng.choice((1, 1, 2, 8))
        world.machine.refuse(rng.choice(names), rng.choice(refusals), calls=calls)


def repair(world: World, rng: random.Random) -> None:
    """Let every engine work again."""
    world.machine.repair()


def crash(world: World, rng: random.Random) -> None:
    """End the process at one of its next points: at a call of an engine, or at a lock."""
    world.crash_after(int(rng.expovariate(1 / 25)))


def kill(world: World, rng: random.Random) -> None:
    """End the process now and start it again."""
    world.kill(power_is_lost=rng.random() < 0.4)


def restart(world: World, rng: random.Random) -> None:
    """Shut the process down in order and start it again."""
    world.stop()
    world.start()


OPERATIONS: Final = (
    Operation("select", select, 5),
    Operation("feedback", feedback, 6),
    Operation("feedback_batch", feedback_batch, 1),
    Operation("retry", retry, 1.5),
    Operation("report_typed", report_typed, 0.7),
    Operation("report_outcome", report_outcome, 0.7),
    Operation("change_consent", change_consent, 0.5),
    Operation("erase", erase, 0.3),
    Operation("move", move, 2.5),
    Operation("create", create, 0.4),
    Operation("change_arms", change_arms, 0.2),
    Operation("take_snapshot", take_snapshot, 0.5),
    Operation("roll_back", roll_back, 0.5),
    Operation("make_key", make_key, 0.3),
    Operation("revoke_key", revoke_key, 0.4),
    Operation("rotate_signing_key", rotate_signing_key, 0.3),
    Operation("retire_signing_key", retire_signing_key, 0.3),
    Operation("wait", wait, 1.5, by="controller"),
    Operation("jump", jump, 0.3, by="controller"),
    Operation("break_engine", break_engine, 0.5, by="controller"),
    Operation("repair", repair, 0.3, by="controller"),
    Operation("crash", crash, 0.8, by="controller"),
    Operation("kill", kill, 0.4, by="controller"),
    Operation("restart", restart, 0.5, by="controller"),
)
"""What happens in every schedule."""

REPORTING: Final = (
    Operation("select", select, 4),
    Operation("feedback", feedback, 4),
    Operation("report_typed", report_typed, 1),
    Operation("change_consent", change_consent, 0.5),
    Operation("erase", erase, 0.3),
    Operation("ask_report", ask_report, 6),
    Operation("project", project, 5),
    Operation("wait", wait, 0.5, by="controller"),
    Operation("break_engine", break_engine, 0.3, by="controller"),
    Operation("crash", crash, 0.4, by="controller"),
    Operation("restart", restart, 0.2, by="controller"),
)
"""What happens in the few schedules that use the engine of reports, which takes ten times as long as all else."""


def _say(world: World, item: dict[str, Any]) -> None:
    """Send typed feedback of a person, and note what their consent says of it."""
    book, user_id = world.book, item["user_id"]
    said = book.consents.get(user_id)
    # An erased person who comes again is another one, without that consent.
    allowed = CONSENT_SCOPES if said is None or user_id in book.erasures else said
    if "train" not in allowed:
        book.untaught.add(item["event_id"])
    (result,) = world.loop.feedback.send([item])
    if book.consents.get(user_id) is not said or user_id in book.erasures:
        # It changed meanwhile, so either may have held.
        book.untaught.discard(item["event_id"])
        allowed = CONSENT_SCOPES
    if result.status == 201:
        if "store" not in allowed:
            raise Violated("withdrawn = withheld", expected="a refusal", found=item)
        book.reported[item["event_id"]] = user_id


def _reward(world: World, rng: random.Random) -> Sent:
    book = world.book
    if not book.selections:
        select(world, rng)
    if not book.selections:
        raise Conflict("nothing could be selected")
    chosen = rng.choice(book.selections)
    sent = Sent(
        event_id=world.new_id("f"),
        experiment_id=chosen.experiment_id,
        decision_id=chosen.decision_id,
        arm_id=chosen.arm.id,
        reward=float(rng.randint(0, 1)),
        request_id=chosen.request_id,
    )
    book.sent[sent.event_id] = sent
    return sent


def _send(world: World, batch: list[Sent]) -> None:
    items = [
        {"request_id": sent.request_id, "reward": sent.reward, "event_id": sent.event_id}
        for sent in batch
    ]
    # Before the call: what is retired while it runs may still be accepted.
    refused = [key_of(sent.request_id) in world.book.retired for sent in batch]
    answers = world.loop.agent.feedback_batch(items).results
    first: LoopError | None = None
    for sent, answer, is_refused in zip(batch, answers, refused, strict=True):
        if isinstance(answer, LoopError):
            _check_refusal(world, sent, answer)
            first = first or answer
        elif is_refused:
            raise Violated("retired = refused", expected=f"{sent.event_id} refused", found=answer)
        # A duplicate was acknowledged before, or by another sender; it promises nothing new.
        elif not answer.duplicate:
            sent.is_acknowledged = True
    if first is not None:
        raise first


def _check_refusal(world: World, sent: Sent, answer: LoopError) -> None:
    """Raise `Violated` when a token is refused that a key made which nobody retired."""
    is_retired = key_of(sent.request_id) in world.book.retiring
    is_refused = isinstance(answer, TokenMalformed | TokenForged | TokenKeyRetired)
    if is_refused and not is_retired:
        raise Violated("old tokens are accepted", expected=sent.event_id, found=answer.message)
