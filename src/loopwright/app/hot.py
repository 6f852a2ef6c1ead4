"""The hot path: three endpoints and two probes in front of the web framework.

A dictionary look-up dispatches them; everything else goes on to Litestar, where the same endpoints stand once
more as documented reference. An `Endpoint` turns a principal and a body into a reply, without ASGI,
so both routes run the same code.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from time import perf_counter
from typing import Any, Final, Protocol, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from loopwright.catalog import Catalog, Meters
from loopwright.core.errors import BodyMalformed, EventConflict, Invalid, LoopError, Unauthenticated
from loopwright.core.events import Received
from loopwright.core.ports import Committed
from loopwright.core.principal import Principal
from loopwright.core.principal import Scope as KeyScope
from loopwright.core.problem import document_of, fault_of, unreadable
from loopwright.feedback import BatchRequest, FeedbackRequest, Intake, stored_id
from loopwright.feedback.batches import raw_items
from loopwright.serving import Selection, Selector, SelectRequest

from .asgi import (
    App,
    ClientGone,
    Receive,
    Reply,
    Scope,
    Send,
    check_media_type,
    problem,
    read_on,
    send_reply,
    too_large,
    whole_body,
)
from .encodings import decoded_body
from .health import Health
from .metrics import Metrics

SELECT: Final = "/api/v1/agent/select"
FEEDBACK: Final = "/api/v1/agent/feedback"
FEEDBACK_BATCH: Final = "/api/v1/agent/feedback/batch"

_encode: Final = msgspec.json.Encoder().encode

T = TypeVar("T")
Headers = Iterable[tuple[bytes, bytes]]
_Group = list[tuple[SelectRequest, asyncio.Future[Selection]]]
Append = Callable[[Sequence[Received], Sequence[bytes]], Awaitable[Committed]]


class RewardAccepted(msgspec.Struct, frozen=True):
    """Feedback that is durable; `duplicate` says that it was stored before and does not count again."""

    event_id: str
    decision_id: str
    duplicate: bool = False
    offset: int | None = None
    """Where the log keeps it: a snapshot at or beyond this offset has seen it. None for a duplicate."""
    flags: tuple[str, ...] | UnsetType = UNSET
    """What is odd: `foreign_metric` when the experiment learns from another metric; left out when nothing is."""


class RewardResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The result of one item: the status it would have had alone, and the problem if it was refused."""

    status: int
    event_id: str = ""
    decision_id: str = ""
    duplicate: bool = False
    offset: int | None = None
    problem: dict[str, Any] | None = None
    flags: tuple[str, ...] = ()
    """What is odd: `foreign_metric` when the experiment learns from another metric."""


class RewardBatch(msgspec.Struct, frozen=True):
    """The result of each item of a batch, in order."""

    accepted: int
    duplicates: int
    rejected: int
    results: list[RewardResult]


class Endpoint(Protocol):
    """Answers one authenticated request."""

    scope: KeyScope
    """The scope that the API key must have."""

    async def answer(self, principal: Principal, body: bytes) -> Reply:
        """Return the reply; raises `LoopError`."""
        ...


class Select:
    """`POST /api/v1/agent/select`.

    Where a policy chooses for many contexts at once for less, the selects of one experiment that the event loop
    found waiting in the same round are answered together. Nothing waits for a timer: a round is what has arrived.
    """

    scope: KeyScope = "select"

    def __init__(self, selector: Selector) -> None:
        self._selector = selector
        self._select = selector.select
        self._is_together = selector.together.__contains__
        self._decode = msgspec.json.Decoder(SelectRequest).decode
        self._groups: dict[tuple[str, str], _Group] = {}

    async def answer(self, principal: Principal, body: bytes) -> Reply:
        """Choose an arm."""
        request = decoded(self._decode, body)
        tenant_id, experiment_id = principal.tenant_id, request.experiment_id
        # A mask gives a request arms of its own, so it cannot share the draw of a group.
        if request.mask is None and self._is_together((tenant_id, experiment_id)):
            selection = await self._join(tenant_id, request)
        else:
            selection = self._select(
                tenant_id,
                experiment_id,
                context=request.context,
                unit_id=request.unit_id,
                mask=request.mask,
            )
        return Reply(200, _encode(selection))

    def _join(self, tenant_id: str, request: SelectRequest) -> asyncio.Future[Selection]:
        key = (tenant_id, request.experiment_id)
        loop = asyncio.get_running_loop()
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = []
            # Runs after the callbacks that are ready in this round, so each of their selects still joins.
            # LinThompson with ten arms takes 26 µs for a context alone and 6 µs for one of 16 (docs/decisions/0008).
            loop.call_soon(self._answer_group, key)
        answer: asyncio.Future[Selection] = loop.create_future()
        group.append((request, answer))
        return answer

    def _answer_group(self, key: tuple[str, str]) -> None:
        group = self._groups.pop(key)
        answers: Sequence[Selection | Exception]
        try:
            answers = self._selector.select_many(*key, [request for request, _ in group])
        except Exception as error:  # noqa: BLE001 - every waiting request gets the error
            answers = [error] * len(group)
        for (_, waiting), answer in zip(group, answers, strict=True):
            if waiting.done():  # cancelled
                continue
            if isinstance(answer, Exception):
                waiting.set_exception(answer)
            else:
                waiting.set_result(answer)


class Feedback:
    """`POST /api/v1/agent/feedback`: answered after the commit."""

    scope: KeyScope = "feedback"

    def __init__(self, intake: Intake, append: Append, metrics: Metrics, *, meters: Meters) -> None:
        self._accept = intake.accept
        self._flags_of = intake.flags_of
        self._append = append
        self._metrics = metrics
        self._meters = meters
        self._metered = meters.by_tenant
        self._decode = msgspec.json.Decoder(FeedbackRequest).decode

    async def answer(self, principal: Principal, body: bytes) -> Reply:
        """Store one reward."""
        try:
            fact, key = self._accept(principal.tenant_id, decoded(self._decode, body))
            if self._metered:
                self._meters.take(principal.tenant_id, (fact,))
        except LoopError:
            self._metrics.feedback["rejected"] += 1
            raise
        committed = await self._append([fact], [key])
        if committed.conflicts:
            self._metrics.feedback["rejected"] += 1
            raise EventConflict(fact.event_id)
        duplicate = committed.duplicates[0]
        self._metrics.feedback["duplicate" if duplicate else "accepted"] += 1
        flags = self._flags_of(fact) or UNSET
        event_id = stored_id(committed, 0, fact.event_id)
        accepted = RewardAccepted(
            event_id, fact.decision.id, duplicate, committed.first_offset, flags
        )
        return Reply(200 if duplicate else 201, _encode(accepted))


class FeedbackBatch:
    """`POST /api/v1/agent/feedback/batch`: one commit, a verdict per item."""

    scope: KeyScope = "feedback"

    def __init__(self, intake: Intake, append: Append, metrics: Metrics, *, meters: Meters) -> None:
        self._accept = intake.accept
        self._flags_of = intake.flags_of
        self._append = append
        self._metrics = metrics
        self._meters = meters
        self._metered = meters.by_tenant
        self._decode = msgspec.json.Decoder(BatchRequest).decode
        self._decode_item = msgspec.json.Decoder(FeedbackRequest).decode

    async def answer(self, principal: Principal, body: bytes) -> Reply:
        """Store many rewards."""
        results: list[RewardResult] = []
        facts, keys, places = [], [], []
        for place, item in enumerate(self._items(body)):
            try:
                if type(item) is msgspec.Raw:
                    item = decoded(self._decode_item, item)
                fact, key = self._accept(principal.tenant_id, item)
                if self._metered:
                    self._meters.take(principal.tenant_id, (fact,))
            except LoopError as error:
                results.append(RewardResult(error.status, problem=document_of(error)))
                continue
            results.append(_PENDING)
            facts.append(fact)
            keys.append(key)
            places.append(place)
        duplicates, rejected = 0, len(results) - len(facts)
        if facts:
            committed = await self._append(facts, keys)
            for n, (place, offset, fact) in enumerate(
                zip(places, committed.offsets(), facts, strict=True)
            ):
                ids = (stored_id(committed, n, fact.event_id), fact.decision.id)
                flags = self._flags_of(fact)
                if n in committed.conflicts:
                    conflict = EventConflict(fact.event_id)
                    results[place] = RewardResult(conflict.status, problem=document_of(conflict))
                elif offset is None:
                    duplicates += 1
                    results[place] = RewardResult(200, *ids, True, flags=flags)
                else:
                    results[place] = RewardResult(201, *ids, False, offset, flags=flags)
            rejected += len(committed.conflicts)
        accepted = len(results) - rejected - duplicates
        count = self._metrics.feedback
        count["accepted"] += accepted
        count["duplicate"] += duplicates
        count["rejected"] += rejected
        return Reply(200, _encode(RewardBatch(accepted, duplicates, rejected, results)))

    def _items(self, body: bytes) -> Sequence[FeedbackRequest | msgspec.Raw]:
        """Return the items, decoded at once, or undecoded when one is faulty, so that each is judged alone."""
        try:
            return self._decode(body).items
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return decoded(raw_items, body)


def decoded(decode: Callable[[bytes], T], body: bytes) -> T:
    """Return the decoded body; raises `BodyMalformed` or `Invalid` with the place of the fault."""
    try:
        return decode(body)
    except msgspec.ValidationError as error:
        raise Invalid(f"the body does not fit: {fault_of(error)}") from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise BodyMalformed(unreadable(error)) from None


class Front:
    """Dispatches the hot endpoints by path and hands everything else to the application behind it.

    `health` returns whether the process can serve, and what of its background work fails.
    """

    def __init__(
        self,
        behind: App,
        *,
        endpoints: dict[str, Endpoint],
        catalog: Catalog,
        metrics: Metrics,
        health: Callable[[], Health],
        body_limit: int,
    ) -> None:
        self.behind = behind
        """What answers every other path."""
        self._health = health
        self._endpoints = {
            path: (endpoint, metrics.route(path)) for path, endpoint in endpoints.items()
        }
        self._authenticate = catalog.authenticate
        self._meters = catalog.meters
        self._metrics = metrics
        self.body_limit = body_limit
        """Bytes that a body may have."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        # A dictionary costs no more than bare ASGI. A framework's shell measured 11 to 14 µs a request, and its
        # router up to 76 µs more, by the place of the route among the others.
        path = scope["path"] if scope["type"] == "http" else ""
        found = self._endpoints.get(path)
        # With a query it goes to the documented twin, which refuses unknown parameters.
        if found is not None and scope["method"] == "POST" and not scope.get("query_string"):
            started = perf_counter()
            endpoint, route = found
            try:
                principal, coding = self.admit(endpoint.scope, scope["headers"])
                message = await receive()
                body = whole_body(message, limit=self.body_limit)
                if body is None:
                    body = await read_on(message, receive, limit=self.body_limit)
                if coding is not None:
                    body = decoded_body(body, coding, limit=self.body_limit)
                reply = await endpoint.answer(principal, body)
            except ClientGone:
                self._metrics.gone += 1
                return
            except LoopError as error:
                reply = problem(error)
            await send_reply(send, reply)
            route.observe(reply.status, perf_counter() - started)
        elif path == "/health/live":
            await send_reply(send, _ALIVE)
        elif path == "/health/ready":
            await send_reply(send, self.readiness())
        else:
            await self.behind(scope, receive, send)

    def readiness(self) -> Reply:
        """Return 200 when selects and feedback are served, else 503 with the reason."""
        health = self._health()
        return Reply(200 if health.is_serving else 503, _encode(health))

    def admit(self, scope: KeyScope, headers: Headers) -> tuple[Principal, bytes | None]:
        """Return the principal of a request with these headers and the coding of its body; raises `LoopError`.

        Its key must have the scope, and its body must be declared as JSON and fit the limit.
        """
        authorization = media_type = coding = None
        for name, value in headers:
            if name == b"authorization":
                authorization = value
            elif name == b"content-type":
                media_type = value
            elif name == b"content-encoding":
                coding = value
            elif name == b"content-length" and int(value) > self.body_limit:
                raise too_large(self.body_limit)
        principal = authenticated(self._authenticate, authorization)
        principal.require(scope)
        check_media_type(media_type)
        if self._meters.by_tenant:
            count_request(self._meters, principal)
        return principal, coding

    def is_operator(self, headers: Headers) -> bool:
        """Say whether a request has an operator key; raises `Unauthenticated` when its key is not valid."""
        header = next((value for name, value in headers if name == b"authorization"), None)
        return bool(header) and authenticated(self._authenticate, header).is_operator


def count_request(meters: Meters, principal: Principal) -> None:
    """Count a request of the principal's tenant; raises `QuotaExceeded`."""
    # The operator must be able to raise a quota that is used up, also that of the tenant whose key it has.
    if not principal.is_operator:
        meters.request(principal.tenant_id)


def authenticated(authenticate: Callable[[bytes], Principal], header: bytes | None) -> Principal:
    """Return the principal of the key in the authorization header; raises `Unauthenticated`."""
    if header is None:
        raise Unauthenticated("no API key; send the header 'Authorization: Bearer <key>'")
    scheme, _, key = header.partition(b" ")
    # The scheme's name has no case (RFC 9110, 11.1).
    if scheme.lower() != b"bearer" or not key:
        raise Unauthenticated("the authorization header is not 'Bearer <key>'")
    return authenticate(key)


_PENDING: Final = RewardResult(202)
"""Stands in an item's place until its commit is known."""

_ALIVE: Final = Reply(200, b'{"status":"alive"}')
