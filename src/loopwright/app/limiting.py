"""Limits of an embedded loop."""

from __future__ import annotations

import builtins
from typing import Final, Literal

from loopwright.client.arguments import number, text
from loopwright.core.limit import Admission, LimitPage, LimitStatus, NewLimit
from loopwright.limiting.routes import AskFor, Load, slug

from .arguments import Part, checked

_ACTOR: Final = "embedded"


class Limits(Part):
    """Set limits, ask them, report overload."""

    def put(
        self,
        id: str,
        *,
        prior: float,
        least: float | None = None,
        most: float | None = None,
        burst: float | None = None,
        mode: Literal["off", "shadow", "enforce"] = "enforce",
        feature_id: str | None = None,
        window_s: float = 10.0,
        trim: float = 0.1,
        guarded: bool = True,
        probe: bool = True,
        rule: Literal["trim", "literal"] = "trim",
    ) -> LimitStatus:
        """Set a limit: `prior` tokens per second to begin with, between `least` and `most` as overload and ratings move it.

        Ratings of `feature_id` alone trim it, or of all features. Its buckets keep their tokens, whatever changes.
        """
        new = checked(
            NewLimit,
            prior=prior,
            least=least,
            most=most,
            burst=burst,
            mode=mode,
            feature_id=feature_id,
            window_s=window_s,
            trim=trim,
            guarded=guarded,
            probe=probe,
            rule=rule,
        )
        return self._services.door.limits.put(
            self._tenant_id, slug(text("id", id)), new, actor=_ACTOR
        )

    def status(self, id: str) -> LimitStatus:
        """Return a limit, its rate in force, and what moved it last."""
        return self._services.door.limits.status(self._tenant_id, text("id", id))

    def list(self) -> LimitPage:
        """Return every limit with its rate in force, by id."""
        return self._services.door.limits.list(self._tenant_id)

    def delete(self, id: str) -> None:
        """Remove a limit and its buckets."""
        self._services.door.limits.delete(self._tenant_id, text("id", id), actor=_ACTOR)

    def acquire(self, id: str, *, key: str = "", cost: float = 1.0) -> Admission:
        """Take `cost` tokens of `key`'s bucket if they are there; a denial takes nothing."""
        asked = checked(AskFor, key=key, cost=number("cost", cost))
        return self._services.door.limits.acquire(
            self._tenant_id, text("id", id), key=asked.key, cost=asked.cost
        )

    def report(self, id: str, *, overloaded: float) -> None:
        """Tell the guard how overloaded the service is: 0 is not at all, 1 is wholly."""
        load = checked(Load, overloaded=number("overloaded", overloaded))
        self._services.door.limits.report(
            self._tenant_id, text("id", id), overloaded=load.overloaded
        )


__all__: Final[builtins.list[str]] = ["Limits"]
