"""The dependencies of the control plane's handlers: one typed table, keyed once.

Litestar hands a dependency over by the name of the parameter. The name is a field here, so a test can compare the
type of every field with what the handlers of that name expect (docs/decisions/0014).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from litestar import Request
from litestar.di import Provide

from loopwright.catalog import Catalog
from loopwright.catalog.routes import SigningRing, UsageOf
from loopwright.core.ports import Columnar
from loopwright.core.principal import Principal
from loopwright.datasets import Datasets
from loopwright.feedback import AsSent, Quarantine, TypedIntake
from loopwright.feedback.routes import Append
from loopwright.learning import Learner
from loopwright.limiting.limits import Limits
from loopwright.people.consent import Append as Commit
from loopwright.people.erasure import CountRows, Scrub
from loopwright.people.people import People
from loopwright.people.raw import RawCopies
from loopwright.rollout import Deliveries, Rollouts, Triggers, Versions
from loopwright.rollout.routes import SecretOf
from loopwright.signals.calibration import Calibrator
from loopwright.trust.clearances import Clearances, Clearing
from loopwright.trust.view import Trust
from loopwright.warehouse import Warehouse
from loopwright.web.guard import Connection, Guard, principal_of

from .acks import COMMIT_TIMEOUT_S
from .hot import authenticated, count_request
from .unprefixed import KEYLESS
from .wiring import Services


@dataclass(frozen=True, kw_only=True)
class Given:
    """The dependencies: a handler gets the field that its parameter is named like."""

    catalog: Catalog
    learner: Learner
    signing_ring: SigningRing
    typed_intake: TypedIntake
    as_sent: Callable[[Sequence[Mapping[str, Any]]], list[Any]]
    """Returns rows of the warehouse as their facts were sent."""
    append: Append
    """Waits for the commit on the event loop."""
    commit: Commit
    """Waits for the commit on the thread that calls it, for handlers that have one."""
    people: People
    quarantine: Quarantine
    raw_copies: RawCopies | None
    calibrator: Calibrator
    clearances: Clearances
    clearing: Clearing
    datasets: Datasets
    limits: Limits
    versions: Versions
    rollouts: Rollouts
    triggers: Triggers
    deliveries: Deliveries
    secret_of: SecretOf
    """Returns what the webhooks of a trigger are signed with."""
    columnar: Columnar
    """Writes the tables that people export."""
    count_rows: CountRows
    scrub: Scrub
    usage_of: UsageOf


@dataclass(frozen=True, kw_only=True)
class GivenLate:
    """Dependencies made for each request, on a thread: the first opens the warehouse, which can take seconds."""

    warehouse: Callable[[], Warehouse]
    weighing: Callable[[], Trust]


def given_by(services: Services, append: Append) -> tuple[Given, GivenLate]:
    """Return what `services` give to handlers; `append` stores facts for those on the event loop."""
    truth, door, reports = services.truth, services.door, services.reports
    given = Given(
        catalog=truth.catalog,
        learner=services.learner,
        signing_ring=door.ring,
        typed_intake=door.typed_intake,
        as_sent=AsSent(truth.reader.pick),
        append=append,
        commit=partial(truth.writer.append, timeout_s=COMMIT_TIMEOUT_S),
        people=truth.people,
        quarantine=door.quarantine,
        raw_copies=truth.raw,
        calibrator=Calibrator(
            services.keeper.surrogates,
            warehouse=lambda: reports.warehouse,
            clock=truth.clock,
            audit=truth.catalog.record,
        ),
        clearances=reports.clearances,
        clearing=reports.clearing,
        datasets=reports.datasets,
        limits=door.limits,
        versions=reports.versions,
        rollouts=reports.rollouts,
        triggers=services.reacting.triggers,
        deliveries=services.reacting.deliveries,
        secret_of=services.reacting.secret,
        columnar=truth.columnar,
        count_rows=reports.rows_of,
        scrub=services.eraser.scrub,
        usage_of=truth.usage_of,
    )
    return given, GivenLate(warehouse=lambda: reports.warehouse, weighing=reports.trust)


def guarding(catalog: Catalog) -> Guard:
    """Return the guard of every route: it knows who asks by the API key, or by a path that needs none."""

    def authenticate(connection: Connection) -> Principal:
        tenant = connection.scope.get(KEYLESS)
        if isinstance(tenant, str):
            # Only for the paths of `unprefixed`, and only when the settings name a tenant that needs no key.
            return Principal(catalog.tenants.get(tenant).id, "", frozenset({"feedback", "read"}))
        # Litestar decodes header bytes as Latin-1, so encoding them so gives back what came in.
        header = connection.headers.get("authorization")
        return authenticated(
            catalog.authenticate, None if header is None else header.encode("latin-1")
        )

    def count(principal: Principal) -> None:
        if catalog.meters:
            count_request(catalog.meters, principal)

    return Guard(authenticate, count)


def provided(given: Given, late: GivenLate) -> dict[str, Provide]:
    """Return the table as Litestar wants it, with the principal of each request."""

    def principal(request: Request[Any, Any, Any]) -> Principal:
        return principal_of(request)

    return {
        "principal": Provide(principal, sync_to_thread=False),
        **{field.name: _ready(getattr(given, field.name)) for field in fields(given)},
        **{field.name: _made(getattr(late, field.name)) for field in fields(late)},
    }


# Litestar reads the annotations of a provider, so it takes functions and no `partial`.
def _ready(value: Any) -> Provide:
    def give() -> Any:
        return value

    return Provide(give, sync_to_thread=False)


def _made(make: Callable[[], Any]) -> Provide:
    def give() -> Any:
        return make()

    # On a thread: while the first call opens the warehouse, the event loop goes on serving selects.
    return Provide(give, sync_to_thread=True)
