"""How much of what people said counts by trust, as values with the fields of the embedded loop's."""

from __future__ import annotations

import msgspec


class Period(msgspec.Struct, frozen=True, kw_only=True):
    """From `from_ms` up to, and not including, `to_ms`; its days begin at midnight in the time zone `tz`."""

    from_ms: int
    to_ms: int
    tz: str = "UTC"


class ReasonTally(msgspec.Struct, frozen=True, kw_only=True):
    """How many facts a reason holds for; a fact may have several."""

    reason: str
    sentence: str
    facts: int


class TrustTally(msgspec.Struct, frozen=True, kw_only=True):
    """How many facts of one kind count, and how many are left out."""

    kind: str
    facts: int
    counted: int
    """Facts of a weight above 0."""
    weight: float
    """Sum of the weights."""
    capped: int
    """Left out as repeated, or beyond the limit of a person, session or address."""
    quarantined: int
    """Held back as part of a burst."""
    released: int
    """Part of a burst that a person has cleared."""
    adversarial: int
    """Left out because their person is wrong more often than chance."""
    reasons: tuple[ReasonTally, ...]
    """The commonest first."""


class BurstClearance(msgspec.Struct, frozen=True, kw_only=True):
    """The clearance of a burst: by which key, when and why."""

    id: str
    released_by: str
    """Id of the API key, or `embedded`."""
    released_at_ms: int
    note: str


class Burst(msgspec.Struct, frozen=True, kw_only=True):
    """Facts of one kind about one arm that came in a rush; times are theirs, both included."""

    experiment_id: str | None
    """None: they are of no experiment."""
    arm_id: str | None
    kind: str
    first_ms: int
    last_ms: int
    facts: int
    held: int
    """Those held back now; the others count, as they are released."""
    praise: int | None
    """Ratings among them that say good; null for other kinds."""
    people: int
    """Different people among those who said it and are known."""
    new_accounts: int
    """Facts of accounts that were first seen less than a day before."""
    release: BurstClearance | None
    """The latest clearance of any of them; null when there is none."""


class TrustSummary(msgspec.Struct, frozen=True, kw_only=True):
    """A trust view in numbers: by which rules, how much was left out, and why."""

    tenant_id: str
    period: Period
    task: str | None
    version: int
    """Of the rules; views of different versions do not compare."""
    as_of_ms: int
    """When the age of the facts was taken."""
    offset: int
    """Log offset through which the view is true."""
    facts: int
    counted: int
    capped: int
    quarantined: int
    """Held back as part of a burst."""
    released: int
    """Part of a burst that a person has cleared."""
    adversarial: int
    goldens: int
    """Answers whose worth reviewers have settled."""
    reasons: tuple[ReasonTally, ...]
    kinds: tuple[TrustTally, ...]
    bursts: tuple[Burst, ...]
    """The newest first."""
    more_bursts: int
    """How many older ones are not listed."""


class Clearance(msgspec.Struct, frozen=True, kw_only=True):
    """A cleared burst: votes of one arm and time that count, unless the clearance was withdrawn."""

    id: str
    experiment_id: str | None
    arm_id: str | None
    from_ms: int
    to_ms: int
    """Included."""
    note: str
    released_by: str
    released_at_ms: int
    withdrawn_by: str | None = None
    withdrawn_at_ms: int | None = None
