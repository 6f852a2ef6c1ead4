"""The figures of a trust view: how much counts, what does not and why, and the bursts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from loopwright.core.clock import MINUTE_MS
from loopwright.stats.agreement import Codes
from loopwright.warehouse.queries import POSITIVE

from .bursts import is_new
from .clearances import Clearance
from .facts import OF_ARMS, Facts
from .policy import TrustPolicy
from .summary import Burst, BurstClearance, ReasonTally, TrustSummary, TrustTally
from .votes import UNKNOWN, Mask, Votes
from .weights import Reason, TrustView

KINDS: Final = ("rating", "signal", "outcome")
"""Kinds of facts that are weighed. Each has limits of its own, so a busy day of signals uses up no ratings."""

SENTENCES: Final[Mapping[Reason, str]] = {
    Reason.AGED: "counts less with age",
    Reason.SKILL: "counts by how often the person was right",
    Reason.CLIPPED: "kept within the least and the greatest weight",
    Reason.UNIDENTIFIED: "of no known person, session or address",
    Reason.REPEATED: "said before by the same person about the same",
    Reason.CAPPED_USER: "beyond what one person may say of an arm in a day",
    Reason.CAPPED_SESSION: "beyond what one session may say of an arm in a day",
    Reason.CAPPED_ADDRESS: "beyond what one address may say of an arm in a day",
    Reason.BURST: "held back as part of a burst",
    Reason.ADVERSARIAL: "of a person who is wrong more often than chance",
}

SHOWN_BURSTS: Final = 50
# A rush has gaps: a pause of some minutes in it must not ask a person to clear it twice.
_APART_MS: Final = 10 * MINUTE_MS
"""Rushes on an arm that are further apart are told as two bursts."""
_CAPS: Final = Reason.REPEATED | Reason.CAPPED_USER | Reason.CAPPED_SESSION | Reason.CAPPED_ADDRESS
LEFT_OUT: Final = _CAPS | Reason.BURST | Reason.ADVERSARIAL
"""Reasons for which a fact counts nothing."""


def bursts_of(
    facts: Facts,
    votes: Votes,
    view: TrustView,
    *,
    among: Mask,
    clearances: Sequence[Clearance],
    policy: TrustPolicy,
) -> tuple[tuple[Burst, ...], int]:
    """Return the newest bursts, the newest first, and how many more there are.

    Minutes of a burst that lie close together are told as one.
    """
    # Cleared ones too: they stay on the list, with who let them count.
    rows = np.flatnonzero((view.quarantined | view.cleared) & among)
    # By arm and then by time (the last key leads), so that each burst is one run of rows.
    rows = rows[np.lexsort((votes.at_ms[rows], votes.arms[rows]))]
    is_next = (np.diff(votes.arms[rows]) != 0) | (np.diff(votes.at_ms[rows]) > _APART_MS)
    groups = np.split(rows, np.flatnonzero(is_next) + 1) if len(rows) else []
    groups.sort(key=lambda group: int(votes.at_ms[group[-1]]), reverse=True)
    # Columns of Python objects are made only where there is a burst to describe.
    wanted = (*OF_ARMS, "satisfaction") if groups else ()
    columns = {name: facts.voted(name) for name in wanted}
    new = is_new(votes, policy)
    found = [
        _burst(group, votes, view, columns=columns, new=new, clearances=clearances)
        for group in groups[:SHOWN_BURSTS]
    ]
    return tuple(found), len(groups) - len(found)


def _burst(
    rows: Codes,
    votes: Votes,
    view: TrustView,
    *,
    columns: Mapping[str, Sequence[Any]],
    new: Mask,
    clearances: Sequence[Clearance],
) -> Burst:
    kind, experiment_id, arm_id = (columns[name][rows[0]] for name in OF_ARMS)
    said = [columns["satisfaction"][row] for row in rows.tolist()]
    at_ms = votes.at_ms[rows]
    # Any overlap: a clearance may hold for a part of the burst only.
    holding = [
        clearance
        for clearance in clearances
        if (clearance.experiment_id, clearance.arm_id) == (experiment_id, arm_id)
        and np.any((at_ms >= clearance.from_ms) & (at_ms <= clearance.to_ms))
    ]
    users = votes.users[rows]
    return Burst(
        experiment_id=experiment_id,
        arm_id=arm_id,
        kind=kind,
        first_ms=int(at_ms[0]),
        last_ms=int(at_ms[-1]),
        facts=len(rows),
        held=int(np.count_nonzero(view.quarantined[rows])),
        praise=sum(value is not None and value >= POSITIVE for value in said)
        if kind == "rating"
        else None,
        # Facts of nobody known are no person, and would all count as one.
        people=len(np.unique(users[users != UNKNOWN])),
        new_accounts=int(np.count_nonzero(new[rows])),
        release=_mark(holding[-1]) if holding else None,
    )


def _mark(clearance: Clearance) -> BurstClearance:
    return BurstClearance(
        id=clearance.id,
        released_by=clearance.released_by,
        released_at_ms=clearance.released_at_ms,
        note=clearance.note,
    )


def summary_of(
    view: TrustView, kinds: NDArray[np.str_], *, among: Mask, about: dict[str, Any]
) -> TrustSummary:
    """Return a view in numbers, of the rows in `among`; `about` holds the other members of the summary."""
    # Zero for kinds without facts in the sums, but no line for them in the list.
    tallies = [_tally(view, kind, among & (kinds == kind)) for kind in KINDS]
    return TrustSummary(
        **about,
        facts=sum(tally.facts for tally in tallies),
        counted=sum(tally.counted for tally in tallies),
        capped=sum(tally.capped for tally in tallies),
        quarantined=sum(tally.quarantined for tally in tallies),
        released=sum(tally.released for tally in tallies),
        adversarial=sum(tally.adversarial for tally in tallies),
        reasons=_reasons(view.reasons[among]),
        kinds=tuple(tally for tally in tallies if tally.facts),
    )


def _tally(view: TrustView, kind: str, rows: Mask) -> TrustTally:
    reasons, known = view.reasons[rows], view.weights[rows]
    return TrustTally(
        kind=kind,
        facts=len(known),
        counted=int(np.count_nonzero(known > 0)),
        weight=float(known.sum()),
        capped=int(np.count_nonzero(reasons & _CAPS)),
        quarantined=int(np.count_nonzero(view.quarantined[rows])),
        released=int(np.count_nonzero(view.cleared[rows])),
        adversarial=int(np.count_nonzero(reasons & Reason.ADVERSARIAL)),
        reasons=_reasons(reasons),
    )


def _reasons(reasons: NDArray[np.uint16]) -> tuple[ReasonTally, ...]:
    found = [
        ReasonTally(
            reason=(reason.name or "").lower(),
            sentence=sentence,
            facts=int(np.count_nonzero(reasons & reason)),
        )
        for reason, sentence in SENTENCES.items()
    ]
    return tuple(sorted((r for r in found if r.facts), key=lambda r: (-r.facts, r.reason)))
