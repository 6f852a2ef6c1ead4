"""People over HTTP: consent, erasure, and raw copies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final, Protocol

import msgspec
from litestar import Controller, Response, get, post
from litestar.di import NamedDependency
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Example
from litestar.params import Body, FromPath, SkipValidation

from loopwright.core.errors import RawNotKept
from loopwright.core.feedback import ConsentScope
from loopwright.web import Asking, needs, problems

from .consent import Append, change_consent
from .erasure import CountRows, Erasure, Scrub, erase_person
from .people import People
from .raw import OFF, RawCopies, RawCopy


class Quarantined(Protocol):
    """Keeps refused items, some of them about people."""

    def forget(self, tenant_id: str, person: str) -> int:
        """Delete the items about a person; return how many there were."""
        ...


Committing = NamedDependency[SkipValidation[Append]]
Known = NamedDependency[SkipValidation[People]]
Keeping = NamedDependency[SkipValidation[Quarantined]]
Counting = NamedDependency[SkipValidation[CountRows]]
Scrubbing = NamedDependency[SkipValidation[Scrub]]
Copies = NamedDependency[SkipValidation[RawCopies | None]]

_WHY: Final = {
    404: "There is no such person or raw copy for this tenant; the code says more.",
}


def _why(*statuses: int) -> dict[int, ResponseSpec]:
    return problems(*statuses, why=_WHY)


class ConsentWord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person allows: any of store, analyze, train, share. An empty list withdraws everything."""

    scopes: list[str]


class ConsentGiven(msgspec.Struct, frozen=True):
    """A person's consent from now on, for all their feedback, earlier feedback included."""

    person: str
    scopes: tuple[ConsentScope, ...]
    offset: int | None = None


class RawController(Controller):
    """Raw copies."""

    path = "/api/v1/feedback/raw"
    tags: Sequence[str] = ("feedback",)

    @get(
        "/{event_id:str}",
        summary="Read a raw copy",
        responses=_why(404, 503, 507),
        sync_to_thread=True,
        **needs("admin"),
    )
    def read(
        self, event_id: FromPath[str], principal: Asking, raw_copies: Copies, commit: Committing
    ) -> Response[RawCopy]:
        """Return feedback as it came, before redaction. The event log records the read before you see the copy."""
        # Not `read`: here is the text that redaction took out.
        if raw_copies is None:
            raise RawNotKept(OFF)
        copy = raw_copies.look(
            commit, tenant_id=principal.tenant_id, event_id=event_id, actor=principal.key_id
        )
        # No proxy or browser may keep it (RFC 9111, section 5.2.2.5).
        return Response(copy, headers={"cache-control": "no-store"})


class PeopleController(Controller):
    """People: consent and erasure."""

    path = "/api/v1/people"
    tags: Sequence[str] = ("people",)

    @post(
        "/{person_id:str}/consent",
        summary="Change a person's consent",
        responses=_why(422, 503, 507),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def consent(
        self,
        person_id: FromPath[str],
        data: Annotated[
            ConsentWord, Body(examples=[Example(value={"scopes": ["store", "analyze"]})])
        ],
        principal: Asking,
        people: Known,
        commit: Committing,
        raw_copies: Copies,
    ) -> ConsentGiven:
        """Set what a person, named by your user id, allows. It holds for all their feedback, earlier feedback included."""
        person, offset = change_consent(
            people,
            commit,
            tenant_id=principal.tenant_id,
            id=person_id,
            scopes=data.scopes,
            at_ms=people.now_ms(),
            forget_raw=None if raw_copies is None else raw_copies.forget,
        )
        return ConsentGiven(person.id, person.consent or (), offset)

    @post(
        "/{person_id:str}/erase",
        summary="Erase a person",
        responses=_why(404, 503, 507),
        status_code=200,
        sync_to_thread=True,
        **needs("manage"),
    )
    def erase(
        self,
        person_id: FromPath[str],
        principal: Asking,
        people: Known,
        commit: Committing,
        quarantine: Keeping,
        count_rows: Counting,
        raw_copies: Copies,
        scrub: Scrubbing,
    ) -> Erasure:
        """Destroy the link between a user id and a person's feedback, and drop their rows and texts."""
        return erase_person(
            people,
            commit,
            tenant_id=principal.tenant_id,
            id=person_id,
            count_rows=count_rows,
            forget_quarantined=quarantine.forget,
            at_ms=people.now_ms(),
            forget_raw=None if raw_copies is None else raw_copies.forget,
            scrub=scrub,
        )


CONTROLLERS: Final = (RawController, PeopleController)
"""What the application registers."""
