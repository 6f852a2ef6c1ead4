"""The calls of limits. See `calls` for how a call becomes a method."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from loopwright.core.limit import Admission, LimitPage, LimitStatus

from .exchange import HARMLESS, Call, Terms
from .requests import API, change, get, segment

_read_status = msgspec.json.Decoder(LimitStatus).decode


def put_limit(
    terms: Terms,
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
) -> Call[LimitStatus]:
    """Set a limit: `prior` tokens per second to begin with, between `least` and `most` as overload and ratings move it.

    Ratings of `feature_id` alone trim it, or of all features. Its buckets keep their tokens, whatever changes.
    """
    body: dict[str, Any] = {
        "prior": prior,
        "least": least,
        "most": most,
        "burst": burst,
        "mode": mode,
        "feature_id": feature_id,
        "window_s": window_s,
        "trim": trim,
        "guarded": guarded,
        "probe": probe,
        "rule": rule,
    }
    return change("PUT", f"/limits/{segment(id)}", body=body, read=_read_status)


def limit_status(terms: Terms, id: str) -> Call[LimitStatus]:
    """Return a limit, its rate in force, and what moved it last."""
    return get(f"/limits/{segment(id)}", _read_status)


def list_limits(terms: Terms) -> Call[LimitPage]:
    """Return every limit with its rate in force, by id."""
    return get("/limits", msgspec.json.Decoder(LimitPage).decode)


def delete_limit(terms: Terms, id: str) -> Call[None]:
    """Remove a limit and its buckets."""
    return change("DELETE", f"/limits/{segment(id)}", body=None, read=lambda body: None)


def acquire(terms: Terms, id: str, *, key: str = "", cost: float = 1.0) -> Call[Admission]:
    """Take `cost` tokens of `key`'s bucket if they are there; a denial takes nothing."""
    return change(
        "POST",
        f"/limits/{segment(id)}/acquire",
        body={"key": key, "cost": cost},
        read=msgspec.json.Decoder(Admission).decode,
    )


def report_load(terms: Terms, id: str, *, overloaded: float) -> Call[None]:
    """Tell the guard how overloaded the service is: 0 is not at all, 1 is wholly."""
    return Call(
        method="POST",
        path=f"{API}/limits/{segment(id)}/load",
        body=msgspec.json.encode({"overloaded": overloaded}),
        read=lambda body: None,
        # A report that is counted twice is one more of many.
        retry_on=HARMLESS,
    )
