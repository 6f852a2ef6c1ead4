"""Changes of the control plane: what operators of a loop ask for, and what they may rely on once it is answered."""

from __future__ import annotations

import random
from typing import Final

from loopwright.core.errors import Conflict, NotFound, Unauthenticated
from loopwright.core.feedback import CONSENT_SCOPES

from .parts import TENANT
from .world import Violated, World

LASTING: Final = ("plain", "latest", "windowed")
"""Experiments that no operation ends."""


def move(world: World, rng: random.Random) -> None:
    """Pause or resume an experiment, or end one that a schedule created."""
    book, experiment_id = world.book, rng.choice(sorted(world.book.states))
    action, after = ("pause", "paused") if rng.random() < 0.5 else ("resume", "running")
    # Those that every schedule begins with go on: most of what can be found needs one that runs.
    if experiment_id not in LASTING and rng.random() < 0.4:
        action, after = "end", "ended"
    others = book.moving.setdefault(experiment_id, [])
    mine = {"overlaps": bool(others)}
    for other in others:
        other["overlaps"] = True
    others.append(mine)
    before = book.states[experiment_id]
    # Before the call: a crash within it leaves both states possible.
    book.states[experiment_id] = book.states[experiment_id] | {after}
    try:
        getattr(world.loop.experiments, action)(experiment_id)
    except Conflict:
        # It may not be moved there, or another client moved it at this moment; a refusal changes nothing.
        if not mine["overlaps"]:
            book.states[experiment_id] = before
        return
    finally:
        others.remove(mine)
    # Of two changes at once nobody knows which came last.
    if not mine["overlaps"]:
        book.states[experiment_id] = {after}


def create(world: World, rng: random.Random) -> None:
    """Create an experiment and start it."""
    experiment_id = world.new_id("x")
    world.loop.experiments.create(experiment_id, arms=["a", "b"], policy="beta_thompson")
    world.book.states[experiment_id] = {"running"}


def change_arms(world: World, rng: random.Random) -> None:
    """Add an arm to an experiment."""
    experiment_id = rng.choice(sorted(world.book.states))
    try:
        world.loop.experiments.add_arm(experiment_id, world.new_id("arm"))
    except Conflict:
        return


def take_snapshot(world: World, rng: random.Random) -> None:
    """Keep what an experiment has learned."""
    experiment_id = rng.choice(sorted(world.book.states))
    try:
        kept = world.parts.learner.take_snapshot(TENANT, experiment_id)
    except NotFound:
        # The learner has not read yet that it was created, or an engine refused to keep the snapshot.
        return
    world.book.snapshots.append((experiment_id, kept.version))


def roll_back(world: World, rng: random.Random) -> None:
    """Put an experiment back to a snapshot that was kept; no crash takes such a snapshot away."""
    if not world.book.snapshots:
        return
    experiment_id, version = rng.choice(world.book.snapshots)
    learner = world.parts.learner
    try:
        learner.roll_back(TENANT, experiment_id, version=version, actor="simulation")
    except Conflict:
        # It has ended.
        return
    except NotFound as error:
        found = f"{error.message}, {learner.status(TENANT, experiment_id).learner}"
        if world.is_undisturbed:
            raise Violated(
                "snapshots are kept", expected=f"{experiment_id} at {version}", found=found
            ) from error


def make_key(world: World, rng: random.Random) -> None:
    """Make an API key and use it."""
    issued = world.parts.catalog.keys.create(TENANT, ["select"], name="client")
    world.book.keys[issued.key.id] = issued.secret
    # Used at once, so that a cache holds it when it is revoked.
    world.parts.catalog.authenticate(issued.secret)


def revoke_key(world: World, rng: random.Random) -> None:
    """Revoke a key that was made; from then on it is refused."""
    if not world.book.keys:
        return
    key_id = rng.choice(sorted(world.book.keys))
    secret = world.book.keys.pop(key_id)
    world.parts.catalog.keys.revoke(TENANT, key_id)
    # Only after the answer: an unanswered revocation promises nothing.
    world.book.revoked.append(secret)
    try:
        world.parts.catalog.authenticate(secret)
    except Unauthenticated:
        return
    raise Violated("revoked = refused", expected="a refusal at once", found="a principal")


def rotate_signing_key(world: World, rng: random.Random) -> None:
    """Sign with a fresh key from now on."""
    world.parts.ring.rotate()


def retire_signing_key(world: World, rng: random.Random) -> None:
    """Take a key out of the ring; from then on its tokens are refused."""
    *old, _ = world.parts.ring.ids()
    if not old:
        return
    key_id = rng.choice(old)
    world.book.retiring.add(key_id)
    try:
        world.parts.ring.retire(key_id)
    except NotFound:
        # Another client was faster, and may not have been answered yet.
        return
    world.book.retired.add(key_id)


def change_consent(world: World, rng: random.Random) -> None:
    """Let a person withdraw or give consent."""
    book, user_id = world.book, f"user-{rng.randint(1, 3)}"
    scopes = rng.choice((("store", "analyze"), ("store", "train"), ("analyze",), CONSENT_SCOPES))
    # A number for each change: one that finds another's there when it is answered does not know which came last.
    book.consenting[user_id] = mine = book.consenting.get(user_id, 0) + 1
    is_alone = book.consents.get(user_id, ()) is not None
    book.consents[user_id] = None
    world.parts.consent(user_id, scopes)
    if is_alone and book.consenting[user_id] == mine:
        book.consents[user_id] = tuple(scopes)
