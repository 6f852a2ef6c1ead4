"""Gates as values: what a challenger has to show, and what was found. They are judged in `rollout.gates`."""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

GateOutcome = Literal["pass", "fail", "wait"]
Better = Literal["higher", "lower"]
MetricName = Annotated[str, Meta(min_length=1, max_length=128)]

PLANNED_UNITS: Final = 5000
"""Units at which a confidence sequence is tuned to be narrowest; it is valid before and after."""


class Primary(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The one metric that has to become better."""

    metric: MetricName = "reward"
    better: Better = "higher"


class Guardrail(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A metric that must not become worse by more than `margin`, in its own units."""

    metric: MetricName
    margin: Annotated[float, Meta(gt=0)]
    better: Better = "higher"


class Safety(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A scanner's finding that the challenger must not have, whatever else people like about it.

    `metric` is a measurement or an annotation of a scanner that is above 0 when it found something.
    """

    metric: MetricName
    most: Annotated[int, Meta(ge=0)] = 0
    """Findings that are put up with."""


class Gate(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a challenger must show before it moves on; every criterion has to hold."""

    primary: Primary | None = Primary()
    """None asks only for no harm, as a first small share does."""
    guardrails: tuple[Guardrail, ...] = ()
    safety: tuple[Safety, ...] = ()
    suite: MetricName | None = None
    """The evaluation suite that the challenger must have passed."""
    least_units: Annotated[int, Meta(ge=2)] = 100
    """Units per arm before anything is judged: below some hundred the statistics are not exact."""
    planned_units: Annotated[int, Meta(ge=10)] = PLANNED_UNITS
    """Units of both arms at which the bounds are narrowest."""
    most_units: Annotated[int, Meta(ge=10)] | None = None
    """Units of both arms after which a challenger that has not passed fails; None waits for ever."""
    whole_weeks: Annotated[int, Meta(ge=0, le=52)] = 0
    """Weeks that the evidence must span."""
    alpha: Annotated[float, Meta(gt=0, lt=0.5)] = 0.05
    """Probability of promoting what is no better, over all looks together."""
    rollback_alpha: Annotated[float, Meta(gt=0, lt=0.5)] = 0.01
    """Probability of taking back what does no harm, for each guardrail."""
    candidates: Annotated[int, Meta(ge=1)] = 1
    """How many challengers are tried against one champion; alpha is divided among them."""


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One criterion and how it stands."""

    criterion: str
    outcome: GateOutcome
    sentence: str
    figures: dict[str, float | None] = {}


class Verdict(msgspec.Struct, frozen=True, kw_only=True):
    """Pass when every criterion holds, fail when one cannot any more, else wait."""

    outcome: GateOutcome
    findings: tuple[Finding, ...]
    is_harmful: bool = False
    """Whether a guardrail or a scanner shows harm: then the challenger is taken back, at any stage."""
    more_units: int | None = None
    """Units of both arms that are still needed, if everything goes on as it did; None when that cannot be said."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """The sentences that decide: of a pass all, else those of the criteria that stand as the verdict does."""
        return tuple(f.sentence for f in self.findings if f.outcome == self.outcome)
