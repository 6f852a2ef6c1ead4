"""The last look at a state before it serves.

A state that cannot serve is never published: the last good one stays in service, and the status says so in
a sentence. The sums themselves are exact integers, so a bad snapshot poisons nothing; the next batch, or a
rollback, may be good again.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from loopwright.core.errors import LoopError
from loopwright.core.experiment import Experiment
from loopwright.policies import Diverged, Served

_SLACK = 1e-6


def guarded(
    experiment: Experiment, prepare: Callable[[], Served], *, probe: bytes | None
) -> Served:
    """Return what `prepare` makes if it can serve.

    `probe` is a context vector to try it on. Raises `Diverged` when it cannot serve or when preparing failed
    in any way, and passes on what the policy refused with its own words.
    """
    try:
        served = prepare()
        law = served.law(probe) if experiment.context is None else None
        draw = served.select(probe, 0.5)
    except LoopError:
        raise
    except Exception as error:
        raise Diverged(f"preparing the state failed: {type(error).__name__}: {error}") from error
    if not 0 < draw.propensity <= 1 + _SLACK or draw.arm not in served.enabled:
        raise Diverged(
            f"the state draws arm {draw.arm} with probability {draw.propensity}; expected an enabled arm "
            "and a probability in (0, 1]"
        )
    if law is not None and not (abs(math.fsum(law) - 1) < _SLACK and min(law) >= 0):
        raise Diverged(f"the arms' probabilities are {law}; expected shares that add up to 1")
    return served
