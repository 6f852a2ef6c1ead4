"""Consent: what a person, through the product, allows to be done with their feedback.

`store` is needed to keep a fact at all, `analyze` to count it in reports, `train` to learn from it, `share` to let it
leave the installation. A fact carries the consent it came with; a person's own consent, once given, overrides that of
all their facts, earlier ones included.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from loopwright.core.errors import Invalid, NotFound
from loopwright.core.events import Consented, Fact
from loopwright.core.feedback import CONSENT_SCOPES, ConsentScope
from loopwright.core.ports import Committed

from .people import People
from .pseudonyms import event_id_of
from .store import Person

Append = Callable[[Sequence[Fact], Sequence[bytes | None]], Committed]
"""Appends facts to the log and returns once they are durable; it waits, so it is called on a thread."""

Forget = Callable[[str, str], int]
"""Deletes, for a tenant and a person, what is about them; returns how many items that were."""


def scopes_of(
    names: Sequence[str] | None,
) -> tuple[tuple[ConsentScope, ...], tuple[str, ...]]:
    """Return the scopes that `names` grant, in canonical order, and the names that are not a scope.

    None grants all: the product that sends feedback asks its users. An unknown name grants nothing.
    """
    if names is None:
        return CONSENT_SCOPES, ()
    # In the order of the scopes: equal consents are equal tuples, whatever order they were sent in.
    granted = tuple(scope for scope in CONSENT_SCOPES if scope in names)
    return granted, tuple(name for name in names if name not in CONSENT_SCOPES)


def checked(names: Sequence[str]) -> tuple[ConsentScope, ...]:
    """Return the scopes that a person grants; raises `Invalid` for an unknown name."""
    granted, unknown = scopes_of(names)
    if unknown:
        raise Invalid(
            f"scopes hold {unknown[0]!r}; expected any of {', '.join(CONSENT_SCOPES)}",
            found=list(unknown),
            expected=list(CONSENT_SCOPES),
        )
    return granted


def require_store(*grants: Sequence[str] | None) -> None:
    """Raise `Invalid` when one of these consents lacks `store`; None stands for a consent that was not given."""
    if any(grant is not None and "store" not in grant for grant in grants):
        raise Invalid(
            "consent does not hold 'store', so nothing of this was kept; ask the person, or do not send it",
            expected="store",
        )


def is_limited(consent: Sequence[str]) -> bool:
    """Say whether a consent grants less than the default, which is every scope."""
    return len(consent) < len(CONSENT_SCOPES)


def said_consent(wire: Mapping[str, Any], consent: Sequence[str]) -> list[str] | None:
    """Return a consent as it was sent; None when it was left out."""
    if "consent" in wire:
        return [str(name) for name in wire["consent"]]
    return list(consent) if is_limited(consent) else None


def change_consent(
    people: People,
    append: Append,
    *,
    tenant_id: str,
    id: str,
    scopes: Sequence[str],
    at_ms: int,
    forget_raw: Forget | None = None,
) -> tuple[Person, int | None]:
    """Let a person's own consent override that of all their facts; return the person and the log's offset.

    It is appended to the log first: after a crash in between, repeating the request completes it. Without the scope
    `store`, the person's raw copies are deleted too, earlier ones included.
    """
    granted = checked(scopes)
    if not id:
        raise Invalid("the person's id is empty")
    # A person may object before their first feedback; the objection needs a pseudonym to hold for.
    try:
        person = people.find(tenant_id, id)
    except NotFound:
        person = people.resolve(tenant_id, [id])[id]
    # The time is part of the id: a consent that is given, withdrawn and given again is three facts.
    event_id = event_id_of(people.key(tenant_id), "consent", person.id, granted, at_ms)
    fact = Consented(event_id, at_ms, tenant_id, person.id, granted)
    committed = append([fact], [None])
    # After the log, which is the truth: projections read the consent there.
    people.consent(tenant_id, person.id, granted)
    if forget_raw is not None and "store" not in granted:
        forget_raw(tenant_id, person.id)
    return Person(person.id, granted, person.since_ms), committed.first_offset
