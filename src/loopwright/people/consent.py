"""Consent: what a person, through the product, allows to be done with what they say.

`store` is needed to keep a fact at all, `analyze` to count it in reports, `train` to learn from it, `share` to let it
leave the house. A fact carries the consent it came with; a person's own word, once given, overrides that of all
their facts, earlier ones included.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from loopwright.core.errors import Invalid
from loopwright.core.feedback import CONSENT_SCOPES, ConsentScope


def scopes_of(
    names: Sequence[str] | None,
) -> tuple[tuple[ConsentScope, ...], tuple[str, ...]]:
    """Return the scopes that `names` grant, in their order, and the names that are no scope.

    None, nothing said, grants all: the product that sends asks its users. An unknown name grants nothing.
    """
    if names is None:
        return CONSENT_SCOPES, ()
    granted = tuple(scope for scope in CONSENT_SCOPES if scope in names)
    return granted, tuple(name for name in names if name not in CONSENT_SCOPES)


def checked(names: Sequence[str]) -> tuple[ConsentScope, ...]:
    """Return the scopes that a person grants; raises `Invalid` for a name that is none."""
    granted, unknown = scopes_of(names)
    if unknown:
        raise Invalid(
            f"scopes hold {unknown[0]!r}; expected any of {', '.join(CONSENT_SCOPES)}",
            found=list(unknown),
            expected=list(CONSENT_SCOPES),
        )
    return granted


def require_store(*grants: Sequence[str] | None) -> None:
    """Raise `Invalid` when a consent that was given does not allow to store."""
    if any(grant is not None and "store" not in grant for grant in grants):
        raise Invalid(
            "consent does not hold 'store', so nothing of this was kept; ask the person, or do not send it",
            expected="store",
        )


def is_limited(consent: Sequence[str]) -> bool:
    """Say whether a consent differs from the one that is assumed when nothing is said."""
    return len(consent) < len(CONSENT_SCOPES)


def said_consent(wire: Mapping[str, Any], consent: Sequence[str]) -> list[str] | None:
    """Return a consent as it was sent; None when it was left out."""
    if "consent" in wire:
        return [str(name) for name in wire["consent"]]
    return list(consent) if is_limited(consent) else None
