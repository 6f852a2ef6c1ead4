"""How much feedback there is, and why a report may have none to show."""

from __future__ import annotations

from typing import Literal

import msgspec

from loopwright.warehouse.period import Calendar

from .figures import date


class Census(msgspec.Struct, frozen=True, kw_only=True):
    """How much feedback there is, counted before anything is left out."""

    facts: int = 0
    quarantined: int = 0
    """Kept, but not counted for now."""
    withheld: int = 0
    """Facts that consent, their own or that of their person, keeps out of reports."""
    calls: int = 0
    first_ms: int | None = None
    last_ms: int | None = None

    @property
    def counted(self) -> int:
        """Facts that a report may count."""
        return self.facts - self.quarantined - self.withheld


class Emptiness(msgspec.Struct, frozen=True, kw_only=True):
    """Why a report has nothing to show."""

    reason: Literal["no feedback at all", "none in this period", "consent", "quarantine"]
    sentence: str


def emptiness(
    now: Census, ever: Census, *, task: str | None = None, calendar: Calendar | None = None
) -> Emptiness | None:
    """Return why there is no feedback to report on, or None when there is some."""
    if now.counted > 0:
        return None
    days = calendar or Calendar()
    # Withheld facts are not joined to calls, so nobody knows whether some of them are of this task.
    if task is not None and not ever.facts:
        return Emptiness(
            reason="no feedback at all",
            sentence=f"No feedback of task '{task}' that may be analysed has ever arrived.",
        )
    if not ever.facts:
        return Emptiness(
            reason="no feedback at all",
            sentence="No feedback has ever arrived for this tenant. Send some to POST /api/v1/feedback; "
            "it is in the report within a second.",
        )
    if not now.facts:
        return Emptiness(
            reason="none in this period",
            sentence=f"No feedback in this period. There is some from {date(days, ever.first_ms)} to "
            f"{date(days, ever.last_ms)}; choose a period that meets it.",
        )
    left = f"All {now.facts:,} facts of this period are left out: "
    # The commoner cause gives the advice; the sentence names both numbers.
    if now.withheld >= now.quarantined:
        return Emptiness(
            reason="consent",
            sentence=f"{left}{now.withheld:,} because consent does not cover analysis, "
            f"{now.quarantined:,} are in quarantine.",
        )
    return Emptiness(
        reason="quarantine",
        sentence=f"{left}{now.quarantined:,} are in quarantine, {now.withheld:,} lack consent to analysis. "
        "See GET /api/v1/quarantine for the reasons.",
    )
