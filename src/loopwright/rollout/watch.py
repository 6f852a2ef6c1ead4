"""The watch over a promotion: has the mean of a bounded metric dropped below what the champion had?

One bet per promotion and guardrail, started at the promotion. Pure; the state is a value that travels with the rollout.

Reference: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS B 86 (2024).
"""

from __future__ import annotations

from typing import Final

import msgspec

from loopwright.core.errors import Invalid
from loopwright.stats.sequential import Wealth

DROP: Final = 0.01
"""Probability of an alarm without a drop, over the whole life of a promotion."""


DECAY: Final = 0.99
"""The stake follows the last hundred values or so: a drop after 2,000 good ratings is seen after 230 more, and not after
790 (bench gates, its law of ratings)."""


class Watch(msgspec.Struct, frozen=True, kw_only=True):
    """A bet that values in [0, 1] lie below `least` on average."""

    least: float
    """The mean below which the promotion is taken back."""
    wealth: Wealth
    alpha: float = DROP

    @classmethod
    def over(cls, mean: float, *, margin: float, alpha: float = DROP) -> Watch:
        """Return a new watch: it alarms when the mean is below `mean` by more than `margin`."""
        least = mean - margin
        if not 0 < least < 1:
            raise Invalid(
                f"the watch begins at {least:g}; a mean in [0, 1] less its margin must lie between 0 and 1"
            )
        # `least - value` is what is bet on: it is never below `least - 1`.
        return cls(least=least, wealth=Wealth(floor=1 - least, decay=DECAY), alpha=alpha)

    def after(self, value: float) -> Watch:
        """Return the watch once `value` has come. Raises `Invalid` outside [0, 1]."""
        if not 0 <= value <= 1:
            raise Invalid(f"found the value {value}; a watch takes values from 0 to 1")
        return msgspec.structs.replace(self, wealth=self.wealth.after(self.least - value))

    @property
    def has_dropped(self) -> bool:
        """Whether the drop is shown, at any of the looks so far."""
        return self.wealth.rejects(self.alpha)
