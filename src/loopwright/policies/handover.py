"""A snapshot as bytes: what a learner hands to a door in another process, and what that door serves from it.

State and experiment travel together, and the door prepares them as the learner does. So both choose alike, bit for bit.
"""

from __future__ import annotations

from typing import Final

import msgspec

from loopwright.core.errors import LoopError
from loopwright.core.experiment import Experiment

from .base import Allocation, Diverged, Policy, Problem, Served, State
from .catalog import policy_of
from .exact import StateCorrupt
from .published import Published


class _Handed(msgspec.Struct, frozen=True, array_like=True):
    """What the bytes hold."""

    experiment: Experiment
    policy: str
    state: bytes | None
    """None of an experiment that does not serve."""


def dump(experiment: Experiment, policy: Policy, state: State) -> bytes:
    """Return `state`, which has room for every arm of `experiment`, and the experiment that it serves in."""
    return _encode(_Handed(experiment, policy.spec.name, policy.dump(state)))


def withdrawal(experiment: Experiment) -> bytes:
    """Return the bytes that stand for an experiment that does not serve."""
    return _encode(_Handed(experiment, "", None))


def load(value: bytes, *, offset: int, previous: Served | None = None) -> Published | None:
    """Return what serves the state in `value`, learned through `offset`; None when the experiment does not serve.

    `previous`, an earlier result for the same experiment, may save work; it never changes the result. Raises
    `StateCorrupt` when the bytes are damaged or of another policy, and what `Policy.prepare` raises.
    """
    try:
        found = _decode(value)
    except msgspec.DecodeError as error:
        raise StateCorrupt(f"a snapshot cannot be read: {error}") from error
    if found.state is None:
        return None
    experiment = found.experiment
    policy = policy_of(experiment)
    # `auto` may stand for another policy in a door of another release.
    if policy.spec.name != found.policy:
        raise StateCorrupt(
            f"a snapshot of experiment {experiment.id!r} is of the policy {found.policy}; here it is "
            f"{policy.spec.name}: run one release of Loopwright in all processes",
            found=found.policy,
            expected=policy.spec.name,
        )
    problem = Problem.of(experiment)
    try:
        state = policy.load(found.state)
        served = policy.prepare(problem, state, Allocation.of(experiment), previous=previous)
    except LoopError:
        raise
    except Exception as error:
        raise Diverged(f"preparing the state failed: {type(error).__name__}: {error}") from error
    return Published(experiment, served, offset)


_encode: Final = msgspec.msgpack.Encoder().encode
_decode: Final = msgspec.msgpack.Decoder(_Handed).decode
