"""From facts to rows that a policy learns from.

Pure but for the tally and the memory it is given: what a fact teaches depends on the experiment and on the
facts before it, never on a clock or on how facts are cut into batches. Time is event time, the latest time
that any fact of the log has shown so far.

Two ways lead to the same rewards. One feedback per decision, no window and no caps needs no memory: the log
drops duplicates, so each fact is a row. Everything else goes decision by decision, in log order; a revision
takes the old row out exactly and puts the new one in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loopwright.core.decision import Decision
from loopwright.core.events import Decided
from loopwright.core.experiment import Experiment

from .direct import Direct
from .group import Group
from .memory import Memory, Spent
from .revising import Revising
from .rows import Joined
from .tally import Tally
from .terms import Terms


class Joiner:
    """Joins the facts of one experiment to the decisions they are about."""

    def __init__(
        self, experiment: Experiment, tally: Tally, memory: Memory, *, spent: Spent
    ) -> None:
        terms = Terms(experiment, tally)
        self._spec = experiment.reward
        self._tally = tally
        self._direct = Direct(terms)
        self._revising = Revising(experiment, terms, memory, spent=spent)

    def join(self, group: Group, *, sealed: int = 0) -> Joined:
        """Return what `group` teaches.

        What decisions taught through offset `sealed` was rolled back over: it can no longer be revised.
        """
        joined = Joined()
        if group.traced is None:
            self._count(group.decided)
            self._direct.join(group.received, joined)
        elif group.traced:
            self._count([fact.decision for _, _, fact, _ in group.traced if type(fact) is Decided])
            self._revising.join(group.traced, joined, sealed=sealed)
        self._take(joined.times, joined.values)
        return joined

    def close(self, event_ms: int, *, offset: int, sealed: int = 0) -> Iterator[Joined]:
        """Yield, in batches, what windows that ended before `event_ms` teach: their default reward."""
        return self._revising.close(event_ms, offset=offset, sealed=sealed)

    def _count(self, decisions: Sequence[Decision]) -> None:
        if decisions:
            self._tally.decisions.update([d.arm_id for d in decisions if d.mode == "live"])

    def _take(self, times: list[int], values: list[float]) -> None:
        low, high = self._spec.range
        if values and (min(values) < low or max(values) > high):
            self._tally.clipped += sum(not low <= value <= high for value in values)
        self._tally.take(times, values)
