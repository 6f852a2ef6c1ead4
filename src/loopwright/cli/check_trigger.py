"""`loopwright check-trigger`: is feedback bad enough to retrain? If so, log it and start what retrains."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from loopwright.core.errors import DirectoryLocked, LoopError

from .offline import warehouse_of, zone_in
from .options import HERE, AsJson, Server
from .show import FAILED, say

if TYPE_CHECKING:
    from loopwright.app.settings import Settings

logger = logging.getLogger("loopwright.rollout.trigger")

TIMEOUT_S: Final = 60.0
FIRINGS_FILE: Final = "firings.jsonl"


def check_trigger(
    tenant: Annotated[
        str | None, Parameter(help="Tenant; the key's own, or the default one, when not given.")
    ] = None,
    /,
    *,
    since_days: Annotated[int, Parameter(help="Judge the feedback of the last so many days.")] = 7,
    check: Annotated[
        bool, Parameter(negative=(), help="Exit with 1 when it fires; so it does without this too.")
    ] = False,
    dry_run: Annotated[
        bool, Parameter(negative=(), help="Only judge: log no firing and start nothing.")
    ] = False,
    server: Server = HERE,
    json: AsJson = False,
) -> int:
    """Judge whether to retrain; exit with 1 when the trigger fires.

    A firing is appended to firings.jsonl in the data directory, logged as critical, and dispatched to GitHub Actions
    when GITHUB_TOKEN and GITHUB_REPO are set.
    """
    from loopwright.app.logs import log_to_stderr
    from loopwright.app.settings import load_settings
    from loopwright.rollout import Seen, judge

    settings = load_settings(data_dir=server.data)
    log_to_stderr(level=settings.log_level, format=settings.log_format)
    found = _stats(server, tenant, since_days)
    thumbs = found["thumbs_up"] + found["thumbs_down"]
    seen = Seen(
        records=found["record_count"],
        average_rating=found["average_rating"],
        thumbs_down_rate=found["thumbs_down"] / thumbs if thumbs else None,
    )
    verdict = judge(seen)
    where = None
    if verdict.is_fired:
        fired = {"tenant_id": found["tenant_id"], "reason": verdict.reason}
        logger.critical("retraining trigger fired", extra=fired)
        if not dry_run:
            where = _dispatched(settings, verdict.reason)
            _log(settings, found["tenant_id"], since_days, seen, verdict.reason, where)
    told = {"fired": verdict.is_fired, "reason": verdict.reason, "dispatched": where}
    if json:
        import msgspec

        say(msgspec.json.encode(told).decode())
    else:
        say(f"{'fired' if verdict.is_fired else 'not fired'}: {verdict.reason}")
    return FAILED if verdict.is_fired else 0


def _stats(server: Server, tenant: str | None, since_days: int) -> dict[str, Any]:
    """Return the statistics: from the server that is named, from the data directory, or from the server that holds it."""
    import msgspec

    from loopwright.catalog import DEFAULT_TENANT
    from loopwright.core.clock import SystemClock
    from loopwright.insights.service import Insights
    from loopwright.warehouse.period import period

    try:
        # An address goes before a directory that happens to lie here: its figures would be those of another system.
        if server.url is not None or not (server.data / "log.db").is_file():
            raise DirectoryLocked("a server is asked")
        with warehouse_of(server.data) as warehouse:
            insights = Insights(warehouse, clock=SystemClock())
            name = tenant or DEFAULT_TENANT
            of = period(insights.now_ms(), days=since_days, tz=zone_in(server.data, name))
            stats = insights.stats(name, of)
        answer = msgspec.json.encode(stats)
    except DirectoryLocked:
        params = {"since_days": str(since_days)} | ({"tenant_id": tenant} if tenant else {})
        answer = server.ask("GET", "/api/v1/feedback/stats", timeout_s=TIMEOUT_S, params=params)
    found: dict[str, Any] = msgspec.json.decode(answer)
    return found


def _dispatched(settings: Settings, reason: str) -> str:
    """Start the workflow that retrains, if there is one; return where the firing went, or why it did not."""
    from loopwright.backends.github import GitHubWorkflow

    if settings.github_token is None or settings.github_repo is None:
        return "local"
    workflow = GitHubWorkflow(
        settings.github_url,
        token=settings.github_token.get_secret_value(),
        repo=settings.github_repo,
        workflow=settings.github_workflow,
        ref=settings.github_ref,
    )
    try:
        workflow.dispatch(reason)
    # Recorded with its failure and not raised: the trigger has fired, whether or not GitHub took it.
    except LoopError as error:
        logger.error("the firing was not dispatched", extra={"reason": error.message})
        return f"failed: {error.message}"
    return workflow.name


def _log(
    settings: Settings, tenant_id: str, since_days: int, seen: Any, reason: str, where: str, /
) -> None:
    from datetime import UTC, datetime

    from loopwright.core.clock import SystemClock
    from loopwright.rollout import Firing, Firings

    # Where a server was asked, this machine may have no data directory yet. Only its owner may
    # read a tenant's figures.
    settings.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    Firings(Path(settings.data_dir) / FIRINGS_FILE).append(
        Firing(
            at=datetime.fromtimestamp(SystemClock().now_ms() / 1000, UTC).isoformat(),
            tenant_id=tenant_id,
            reason=reason,
            since_days=since_days,
            record_count=seen.records,
            avg_rating=seen.average_rating,
            thumbs_down_rate=seen.thumbs_down_rate,
            dispatched=where,
        )
    )
