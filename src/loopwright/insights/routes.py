"""The quality report, statistics, agent decisions, join health and exports over HTTP.

Handlers ask for `warehouse`, `catalog` and `principal` by name; the application provides them. A key sees only
its own tenant; a request for another one is answered as if that tenant did not exist.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Final

import msgspec
from litestar import Controller, MediaType, Request, Response, get
from litestar.di import NamedDependency, Provide
from litestar.openapi import ResponseSpec
from litestar.params import FromPath, QueryParameter, SkipValidation
from litestar.response import Stream

from loopwright.catalog.routes import Catalogued
from loopwright.core.clock import SystemClock
from loopwright.core.errors import Invalid
from loopwright.core.principal import OWN_TENANT, Principal
from loopwright.trust import Trust, TrustSummary
from loopwright.warehouse import Warehouse
from loopwright.warehouse.period import Period, period
from loopwright.web import TENANT, Acting, Asking, needs, problems

from .earlier import InsightsAnswer, QualityAnswer, insights_answer, quality_answer
from .exports import EVER_MS, ExportFormat, ExportScope, json_list
from .html import html
from .joins import JoinHealth
from .preferences import preference_pairs
from .sections import SECTIONS
from .service import Insights, SessionDecisions, Stats
from .trusted import trusted_report

Stored = NamedDependency[SkipValidation[Warehouse]]
Days = Annotated[
    str | None,
    QueryParameter(description="The last so many days; 30 when no other period is given."),
]
SameAsDays = Annotated[
    str | None, QueryParameter(description="The same as days, as earlier systems named it.")
]
Since = Annotated[
    str | None,
    QueryParameter(
        description="Start: a date, an ISO 8601 time, or milliseconds. In the time zone tz."
    ),
]
Until = Annotated[
    str | None, QueryParameter(description="End, itself not included; now when not given.")
]

Zone = Annotated[
    str | None,
    QueryParameter(
        description="Time zone whose midnights days begin at, as Europe/Berlin (IANA); the tenant's when not given."
    ),
]
Task = Annotated[str | None, QueryParameter(description="Only this task; all when not given.")]

_PAGE_HEADERS: Final = {
    # The page needs nothing but itself, so it may load nothing.
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "x-content-type-options": "nosniff",
    # One address has two forms, which a cache must keep apart (RFC 9110, 12.5.5).
    "vary": "accept",
}
_FORMATS: Final = ("json", "html")
_SWITCH: Final = ("on", "off")
_EXPORTS: Final[dict[str, ExportFormat]] = {"json": "json", "jsonl": "jsonl", "csv": "csv"}
_PERIOD: Final = frozenset({"days", "since", "until", "since_days", "period_days"})
_SCOPES: Final[dict[str, ExportScope]] = {"share": "share", "analyze": "analyze"}
_EXPORT_TYPES: Final = {
    "json": "application/json",
    "jsonl": "application/x-ndjson",
    "csv": "text/csv",
}


def insights(warehouse: Stored) -> Insights:
    """Return the `Insights` over `warehouse`."""
    return Insights(warehouse, clock=SystemClock())


Read = NamedDependency[SkipValidation[Insights]]


AsSent = NamedDependency[SkipValidation[Callable[[Sequence[Mapping[str, Any]]], list[Any]]]]
"""Returns the items that rows of the table of feedback came in, as they were sent."""

Weighing = NamedDependency[SkipValidation[Trust]]


def asked_period(
    insights: Read,
    catalog: Catalogued,
    principal: Asking,
    request: Request[Any, Any, Any],
    days: Days = None,
    since: Since = None,
    until: Until = None,
    tz: Zone = None,
    since_days: SameAsDays = None,
    period_days: SameAsDays = None,
) -> Period:
    """Return the period that a request is about."""
    given = [name for name in (days, since_days, period_days) if name is not None]
    # Two names for one thing that disagree cannot both be obeyed.
    if len(given) > 1:
        raise Invalid("days, since_days and period_days are the same; give one of them")
    days = given[0] if given else None
    # `isdigit` alone takes "²", which `int` refuses, and `int` of a very long text takes quadratic time.
    if days is not None and not (days.isascii() and days.isdigit() and len(days) <= 6):
        raise Invalid(f"days is '{days[:40]}'; expected a whole number", found=days[:40])
    return period(
        insights.now_ms(),
        days=None if days is None else int(days),
        since=since,
        until=until,
        # Of a tenant that the key may not read the handler says nothing, whatever its zone.
        tz=tz or catalog.zones.of(_tenant_of(request, principal)),
    )


def _tenant_of(request: Request[Any, Any, Any], principal: Principal) -> str:
    named = request.path_params.get("of_tenant") or request.query_params.get("tenant_id")
    return principal.tenant_id if named in (None, "", OWN_TENANT) else named


Asked = NamedDependency[SkipValidation[Period]]


class InsightsController(Controller):
    """Quality, statistics and exports of feedback."""

    # Handlers that query run on a thread (`sync_to_thread`): the event loop goes on serving selects meanwhile.
    # `acting_for` comes before the look-up of a tenant: a key must not learn which other tenants there are.

    path = "/api/v1/feedback"
    tags: Sequence[str] = ("insights",)
    dependencies = {
        **TENANT,
        "insights": Provide(insights, sync_to_thread=False),
        "of": Provide(asked_period, sync_to_thread=False),
    }

    @get(
        "/insights/{of_tenant:str}",
        summary="Read insights",
        responses=problems(404, 422),
        sync_to_thread=True,
        **needs("read"),
    )
    def insights_of(
        self,
        of_tenant: FromPath[str],
        of: Asked,
        insights: Read,
        catalog: Catalogued,
        principal: Asking,
        task: Task = None,
        include: Annotated[
            str | None,
            QueryParameter(
                description=f"Sections, separated by commas: {', '.join(SECTIONS)}; all when not given."
            ),
        ] = None,
    ) -> InsightsAnswer:
        """Return the sections asked for: metrics, segments, versions, failure patterns, corrections, joins, drift."""
        tenant = catalog.tenants.get(principal.acting_for(of_tenant)).id
        names = None if include is None else [name.strip() for name in include.split(",") if name]
        return insights_answer(insights.report(tenant, of, include=names, task=task))

    @get(
        "/quality/{of_tenant:str}",
        summary="Read the quality report",
        responses={
            200: ResponseSpec(
                QualityAnswer,
                generate_examples=False,
                description="The report; as a self-contained page when text/html is accepted.",
            ),
            **problems(404, 422),
        },
        sync_to_thread=True,
        **needs("read"),
    )
    def quality_of(
        self,
        of_tenant: FromPath[str],
        of: Asked,
        insights: Read,
        weighing: Weighing,
        catalog: Catalogued,
        principal: Asking,
        request: Request[Any, Any, Any],
        task: Task = None,
        format: Annotated[
            str | None, QueryParameter(description="json or html; else what Accept prefers.")
        ] = None,
        trust: Annotated[
            str, QueryParameter(description="on: the figures by trust too; off: as they were said.")
        ] = "on",
    ) -> Response[Any]:
        """Return the whole report of a period, the most urgent findings first."""
        tenant = catalog.tenants.get(principal.acting_for(of_tenant)).id
        wanted = _among("format", format or _accepted(request), _FORMATS)
        if _among("trust", trust, _SWITCH) == "on":
            report = trusted_report(insights, weighing, tenant, of, task=task)
        else:
            report = insights.report(tenant, of, task=task)
        if wanted == "json":
            return Response(
                quality_answer(report), media_type=MediaType.JSON, headers={"vary": "accept"}
            )
        return Response(html(report).encode(), media_type=MediaType.HTML, headers=_PAGE_HEADERS)

    @get(
        "/trust/{of_tenant:str}",
        summary="Read the trust view",
        responses=problems(404, 422),
        sync_to_thread=True,
        **needs("read"),
    )
    def trust_of(
        self,
        of_tenant: FromPath[str],
        of: Asked,
        insights: Read,
        catalog: Catalogued,
        principal: Asking,
        weighing: Weighing,
        task: Task = None,
    ) -> TrustSummary:
        """Return how many facts count, how many are capped or quarantined and why, and the bursts, newest first."""
        tenant = catalog.tenants.get(principal.acting_for(of_tenant)).id
        return weighing.summary(tenant, of, now_ms=insights.now_ms(), task=task)

    @get(
        "/decisions/{session_id:str}",
        summary="Read an agent's decisions",
        responses=problems(404),
        sync_to_thread=True,
        **needs("read"),
    )
    def decisions(
        self, session_id: FromPath[str], insights: Read, tenant: Acting
    ) -> SessionDecisions:
        """Return the decisions an agent took in one session, in order, with their outcomes."""
        return insights.decisions(tenant, session_id)

    @get(
        "/stats",
        summary="Read statistics",
        responses=problems(404, 422),
        sync_to_thread=True,
        **needs("read"),
    )
    def stats(self, of: Asked, insights: Read, tenant: Acting) -> Stats:
        """Return counts, average rating and thumbs rates, in all and by version and category."""
        return insights.stats(tenant, of)

    @get(
        "/join-health",
        summary="Read join health",
        responses=problems(404, 422),
        sync_to_thread=True,
        **needs("read"),
    )
    def join_health(self, of: Asked, insights: Read, tenant: Acting) -> JoinHealth:
        """Return, for each task, how many outcomes join to a model version and what waits for its target."""
        return insights.join_health(tenant, of)

    @get(
        "/export",
        summary="Export feedback",
        responses={
            200: ResponseSpec(
                str,
                generate_examples=False,
                media_type="application/json",
                description="A list of the items as they were sent, or one fact per line; in the order of the log.",
            ),
            **problems(404, 422),
        },
        sync_to_thread=True,
        **needs("read"),
    )
    def export(
        self,
        of: Asked,
        insights: Read,
        tenant: Acting,
        as_sent: AsSent,
        request: Request[Any, Any, Any],
        format: Annotated[
            str,
            QueryParameter(
                description="json: a list of the items as they were sent; jsonl or csv: all columns of each fact."
            ),
        ] = "json",
        consent: Annotated[
            str,
            QueryParameter(
                description="share: only what may leave the organisation; analyze: all that may be analysed."
            ),
        ] = "share",
    ) -> Stream:
        """Stream all feedback whose consent covers it, of all time when no period is given."""
        # The default of 30 days would cut an export without a word.
        if _PERIOD.isdisjoint(request.query_params):
            of = Period(from_ms=0, to_ms=EVER_MS)
        scope = _SCOPES[_among("consent", consent, tuple(_SCOPES))]
        asked = _EXPORTS[_among("format", format, tuple(_EXPORTS))]
        if asked == "json":
            # The form of earlier systems: a fact is read back from the log and shown as the item that held it.
            pages = json_list(map(as_sent, insights.exported(tenant, of, scope=scope)))
        else:
            pages = insights.export(tenant, of, format=asked, scope=scope)
        return Stream(
            pages,
            media_type=_EXPORT_TYPES[asked],
            headers={"content-disposition": f'attachment; filename="feedback.{asked}"'},
        )

    @get(
        "/preferences",
        summary="Export preference pairs",
        responses={
            200: ResponseSpec(
                str,
                generate_examples=False,
                media_type="application/x-ndjson",
                description="One pair per line: prompt, chosen, rejected.",
            ),
            **problems(404, 422),
        },
        sync_to_thread=True,
        **needs("read"),
    )
    def preferences(
        self,
        of: Asked,
        insights: Read,
        tenant: Acting,
        request: Request[Any, Any, Any],
    ) -> Response[bytes]:
        """Return pairs of texts for the same input whose ratings differ, of all time when no period is given."""
        if _PERIOD.isdisjoint(request.query_params):
            of = Period(from_ms=0, to_ms=EVER_MS)
        rows = (row for page in insights.exported(tenant, of) for row in page)
        # All pairs at once, because a text's partner may come on any later page.
        lines = msgspec.json.Encoder().encode_lines(list(preference_pairs(rows)))
        return Response(lines, media_type="application/x-ndjson")


def _accepted(request: Request[Any, Any, Any]) -> str:
    """Return html when the Accept header likes it better than JSON, as a browser's does."""
    # JSON first, so that a client that accepts anything gets JSON and only a browser the page.
    best = request.accept.best_match(
        [MediaType.JSON.value, MediaType.HTML.value], default=MediaType.JSON.value
    )
    return "html" if best == MediaType.HTML.value else "json"


def _among(name: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        # Cut, because the answer repeats it and a query may be long.
        raise Invalid(
            f"{name} is '{value[:40]}'; expected one of {', '.join(known)}",
            found=value[:40],
            expected=list(known),
        )
    return value
