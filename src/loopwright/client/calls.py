"""Every request of the data plane, as a function from arguments to a `Call`.

Each function appears as a method on `Client` and `AsyncClient` (see `groups`), with the same arguments and
documentation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import urlencode

import msgspec

from loopwright.core.context import Context
from loopwright.core.errors import Invalid, LoopError
from loopwright.core.principal import OWN_TENANT

from . import arguments
from .answers import (
    SKIPPED,
    BatchReceipt,
    FeedbackItem,
    RawCopy,
    Receipt,
    Selection,
    TypedReceipt,
    read_batch,
    read_receipt,
    read_selection,
)
from .exchange import HARMLESS, IDEMPOTENT, Call, Done, Terms
from .quality import QualityReport
from .requests import API, change, get, segment
from .trust import Clearance, TrustSummary


def select(
    terms: Terms,
    experiment_id: str,
    context: Context | Mapping[str, Any] | None = None,
    *,
    unit_id: str | None = None,
    mask: Sequence[str] | None = None,
) -> Call[Selection]:
    """Return the arm to use for `context`, with the token to send feedback with.

    `context` has `id`, `vector` (numbers, as many as the experiment declares) and `metadata`; `mask` lists the
    ids of the arms allowed this time. When the server cannot be asked and the client has a default arm for the
    experiment, that arm comes back with `is_fallback` set; without one `Unreachable` is raised.
    """

    def fallback(reason: str) -> Selection | None:
        arm = terms.default_arm(experiment_id)
        if arm is None:
            return None
        terms.fell_back(experiment_id, reason)
        return Selection(experiment_id=experiment_id, arm=arm, mode="fallback", reason=reason)

    body = {
        "experiment_id": arguments.text("experiment_id", experiment_id),
        "context": arguments.context(context),
        "unit_id": None if unit_id is None else arguments.text("unit_id", unit_id),
        "mask": None if mask is None else arguments.texts("mask", mask),
    }
    return Call(
        method="POST",
        path=f"{API}/agent/select",
        body=arguments.encoded({name: value for name, value in body.items() if value is not None}),
        read=lambda body: terms.remembered(read_selection(body)),
        # A repeated select leaves one decision without feedback, which teaches nothing. On 503 the default arm
        # answers at once: a product does not wait for a pause.
        retry_on=HARMLESS,
        fallback=fallback,
    )


def feedback(
    terms: Terms,
    request_id: str | None,
    reward: float,
    *,
    metric: str | None = None,
    event_id: str | None = None,
) -> Call[Receipt] | Done[Receipt]:
    """Say what a selection earned; the receipt means that it is stored durably.

    An `event_id` is made when none is given and every retry repeats it, so a retry never counts twice. For a
    fallback selection, whose `request_id` is None, nothing is sent: the receipt says `skipped`.
    """
    if request_id is None:
        terms.skip()
        return Done(SKIPPED)
    item = _identified(terms, FeedbackItem(request_id, reward, metric, event_id))
    return Call(
        method="POST",
        path=f"{API}/agent/feedback",
        body=arguments.encoded(item),
        read=read_receipt,
        retry_on=IDEMPOTENT,
    )


def feedback_batch(
    terms: Terms, items: Iterable[FeedbackItem | Mapping[str, Any]]
) -> Call[BatchReceipt] | Done[BatchReceipt]:
    """Send up to 1000 rewards at once; each is accepted, known already, or refused on its own."""
    kept: list[Receipt | LoopError | None] = []
    sending = []
    for given in arguments.listed("items", items):
        if not isinstance(given, FeedbackItem | Mapping):
            raise Invalid(f"a feedback item is {arguments.shown(given)}; it must be a mapping")
        try:
            item = _item(given)
            # A fallback has no token, and the server would refuse it; its place in the result is kept.
            if item.request_id is None:
                kept.append(SKIPPED)
                continue
            sending.append(_identified(terms, item))
        except LoopError as error:
            kept.append(error)
        else:
            kept.append(None)
    terms.skip(kept.count(SKIPPED))
    if not sending:
        return Done(read_batch(b'{"results":[]}', kept=kept))
    return Call(
        method="POST",
        path=f"{API}/agent/feedback/batch",
        body=arguments.encoded({"items": sending}),
        read=lambda body: read_batch(body, kept=kept),
        retry_on=IDEMPOTENT,
    )


def identified(terms: Terms, item: FeedbackItem | Mapping[str, Any]) -> FeedbackItem:
    """Return `item` checked and with an event id, so that sending it twice is sending it once."""
    return _identified(terms, _item(item))


def _item(item: FeedbackItem | Mapping[str, Any]) -> FeedbackItem:
    if isinstance(item, FeedbackItem):
        return item
    if not isinstance(item, Mapping):
        raise Invalid(f"a feedback item is {arguments.shown(item)}; it must be a mapping")
    members = dict(item)
    if "reward" in members:
        # Before `convert`, which refuses NumPy's numbers.
        members["reward"] = arguments.reward(members["reward"])
    try:
        return msgspec.convert(members, FeedbackItem)
    except (msgspec.ValidationError, TypeError, ValueError) as error:
        raise Invalid(f"a feedback item cannot be used: {error}") from None


def _identified(terms: Terms, item: FeedbackItem) -> FeedbackItem:
    return FeedbackItem(
        arguments.text("request_id", item.request_id),
        arguments.reward(item.reward),
        None if item.metric is None else arguments.text("metric", item.metric),
        terms.new_id() if item.event_id is None else arguments.text("event_id", item.event_id),
    )


def send_feedback(terms: Terms, items: Iterable[Mapping[str, Any]]) -> Call[TypedReceipt]:
    """Send up to 1000 pieces of feedback of any kind, in any shape the server reads (see the wire shapes).

    An item without an id is given one, so that a retry never counts twice. Items are accepted or refused one by
    one: look at `rejected`.
    """
    return _send(terms, "/feedback", items)


def send_interactions(terms: Terms, items: Iterable[Mapping[str, Any]]) -> Call[TypedReceipt]:
    """Send up to 1000 calls of your AI product: versions, tokens, latencies, errors."""
    return _send(terms, "/interactions", items)


def send_steps(terms: Terms, items: Iterable[Mapping[str, Any]]) -> Call[TypedReceipt]:
    """Send up to 1000 steps that an agent took, or their outcomes, by session."""
    return _send(terms, "/steps", items)


def quality_report(
    terms: Terms, tenant_id: str | None = None, *, days: int = 30, tz: str | None = None
) -> Call[QualityReport]:
    """Return the quality report of a tenant, its own by default, over the last `days`, weighed by trust.

    Days begin at midnight in the time zone `tz` (IANA), the tenant's when not given.
    """
    asked = {"days": days} if tz is None else {"days": days, "tz": arguments.text("tz", tz)}
    return get(f"/feedback/quality/{_tenant(tenant_id)}?{urlencode(asked)}", _read_quality)


def trust_view(terms: Terms, tenant_id: str | None = None, *, days: int = 30) -> Call[TrustSummary]:
    """Return how much of the last `days` counts by trust, why the rest does not, and the bursts."""
    return get(f"/feedback/trust/{_tenant(tenant_id)}?{urlencode({'days': days})}", _read_trust)


def release_burst(
    terms: Terms,
    tenant_id: str | None = None,
    *,
    from_ms: int,
    to_ms: int,
    experiment_id: str | None = None,
    arm_id: str | None = None,
    note: str = "",
) -> Call[Clearance]:
    """Let what was held back as a burst of this arm and time, both ends included, count from now on."""
    body = {
        "from_ms": from_ms,
        "to_ms": to_ms,
        "experiment_id": experiment_id,
        "arm_id": arm_id,
        "note": note,
    }
    path = f"/feedback/trust/{_tenant(tenant_id)}/releases"
    return change("POST", path, body=body, read=_read_clearance)


def withdraw_release(
    terms: Terms, release_id: str, tenant_id: str | None = None
) -> Call[Clearance]:
    """Take a release back: what it let count is held back again. Raises `NotFound`."""
    path = f"/feedback/trust/{_tenant(tenant_id)}/releases/{segment(release_id)}"
    return change("DELETE", path, body=None, read=_read_clearance)


def raw_copy(terms: Terms, event_id: str) -> Call[RawCopy]:
    """Return feedback as it came, before redaction; the log records the read before it returns.

    Raises `NotFound`, with a code that says why, when there is no raw copy of it.
    """
    return get(f"/feedback/raw/{segment(event_id)}", _read_raw)


def timezone(terms: Terms) -> Call[str]:
    """Return the time zone (IANA) at whose midnights the days of reports begin when a call names none."""
    return get("/timezone", _zone_of)


def set_timezone(terms: Terms, tz: str) -> Call[str]:
    """Let the days of reports, and the dates of exports, begin at midnight in `tz` (IANA); return its name."""
    body = {"tz": arguments.text("tz", tz)}
    # Setting it twice is setting it once.
    return replace(change("PUT", "/timezone", body=body, read=_zone_of), retry_on=IDEMPOTENT)


def export_page(
    terms: Terms,
    table: str,
    *,
    format: str = "parquet",
    since: date | int | str | None = None,
    until: date | int | str | None = None,
    tz: str | None = None,
    experiment_id: str | None = None,
    consent: str = "share",
    cursor: int = 0,
    limit: int = 10_000,
) -> Call[bytes]:
    """Return a page of decisions, feedback, interactions or steps as a file in `format`: parquet, jsonl or csv.

    `cursor` is the `log_offset` of the last row of the page before; a page with fewer than `limit` rows is the last.
    `since` and `until` are dates, times or milliseconds; all time without them.
    """
    asked = {
        "format": format,
        "since": None if since is None else arguments.moment("since", since),
        "until": None if until is None else arguments.moment("until", until),
        "tz": tz,
        "experiment_id": experiment_id,
        "consent": consent,
        "cursor": cursor,
        "limit": limit,
    }
    query = urlencode({name: value for name, value in asked.items() if value is not None})
    return get(f"/export/{segment(table)}?{query}", bytes)


def _send(terms: Terms, path: str, items: Iterable[Mapping[str, Any]]) -> Call[TypedReceipt]:
    given = arguments.mappings("items", items)
    for item in given:
        # Before the first try: a retry after an answer that was lost must carry the same id.
        member = _id_member(path, item)
        if item.get(member) is None:
            item[member] = terms.new_id()
    return Call(
        method="POST",
        path=API + path,
        body=arguments.encoded({"items": given}),
        read=_read_typed,
        retry_on=IDEMPOTENT,
    )


def _tenant(id: str | None) -> str:
    return segment(OWN_TENANT if id is None else id)


def _zone_of(body: bytes) -> str:
    return str(_read_object(body)["tz"])


def _id_member(path: str, item: Mapping[str, Any]) -> str:
    """Return the member by which the server knows an item again."""
    # Only feedback events call it `id`. An action of the browser snippet has a `type` too, and `at_ms`; on the other
    # two paths `id` is the id of the answer or the step, which further items may be about.
    is_event = path == "/feedback" and "type" in item and "at_ms" not in item
    return "id" if is_event else "event_id"


_read_typed = msgspec.json.Decoder(TypedReceipt).decode
_read_quality = msgspec.json.Decoder(QualityReport).decode
_read_trust = msgspec.json.Decoder(TrustSummary).decode
_read_clearance = msgspec.json.Decoder(Clearance).decode
_read_raw = msgspec.json.Decoder(RawCopy).decode
_read_object = msgspec.json.Decoder(dict[str, Any]).decode
