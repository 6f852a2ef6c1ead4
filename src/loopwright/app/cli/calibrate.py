"""`loopwright calibrate`: learn what early signals let expect of a late outcome."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from loopwright.core.errors import Invalid, SettingsInvalid

from .options import HERE, AsJson
from .show import console, number, percent, put_json, say, table

if TYPE_CHECKING:
    from loopwright.feedback.surrogate import Surrogate

_DAY_MS: Final = 86_400_000


def calibrate(
    task: Annotated[str, Parameter(help="The workflow whose outcome is late.")],
    /,
    *,
    metric: Annotated[str, Parameter(help="The late outcome that is to be expected.")],
    window_days: Annotated[
        float,
        Parameter(
            help="Days after which a decision's outcome is settled; younger ones are left out."
        ),
    ],
    tenant: Annotated[str | None, Parameter(help="Tenant; the default one when not given.")] = None,
    data: Annotated[
        Path,
        Parameter(
            env_var="LOOPWRIGHT__DATA_DIR",
            help="Data directory that no server holds at the moment.",
        ),
    ] = HERE.data,
    json: AsJson = False,
) -> None:
    """Fit what signals let expect of an outcome, say how well that holds, and keep it as the current surrogate."""
    from loopwright.app.surrogates import store
    from loopwright.catalog import DEFAULT_TENANT

    window_ms = _milliseconds(window_days)
    tenant_id = tenant or DEFAULT_TENANT
    found = _fitted(data, tenant_id, task, metric=metric, window_ms=window_ms)
    path = store(data, tenant_id, found)
    if json:
        put_json({"surrogate": found, "file": str(path)})
    else:
        _show(found, path)


def _milliseconds(days: float) -> int:
    if not 0 < days <= 3650:
        raise Invalid(f"window-days is {days}; give days above 0 and up to 3650")
    return max(round(days * _DAY_MS), 1)


def _fitted(data: Path, tenant_id: str, task: str, *, metric: str, window_ms: int) -> Surrogate:
    from contextlib import ExitStack

    from loopwright.app.surrogates import calibrate as fitted
    from loopwright.backends.files import DirectoryLock, FolderBlobStore
    from loopwright.backends.sqlite import SqliteEventLog
    from loopwright.core.clock import SystemClock
    from loopwright.eventlog import Reader, Segments
    from loopwright.warehouse import Warehouse

    if not (data / "log.db").is_file():
        raise SettingsInvalid(f"{data} is not a data directory; name one with --data")
    clock = SystemClock()
    with ExitStack() as opened:
        opened.enter_context(DirectoryLock(data))
        log = SqliteEventLog(data / "log.db")
        opened.callback(log.close)
        reader = Reader(log, Segments(FolderBlobStore(data / "segments")))
        warehouse = Warehouse(data / "warehouse", reader, clock=clock)
        opened.callback(warehouse.close)
        return fitted(
            warehouse, tenant_id, task, metric=metric, window_ms=window_ms, now_ms=clock.now_ms()
        )


def _show(found: Surrogate, path: Path) -> None:
    quality = found.calibration
    say(f"task {found.task}, metric {found.metric}, version {found.version}")
    say(
        f"{found.n:,} matured decisions with an outcome; left out: {found.unmatured:,} not matured, "
        f"{found.missing:,} without an outcome"
    )
    name = "Brier score" if found.link == "logistic" else "mean squared error"
    say(
        f"{name} {number(quality.error, 4)} (always the mean: {number(quality.base_error, 4)}; the signals "
        f"take away {percent(quality.explained)}), AUC {number(quality.auc)}"
    )
    bins = table("reliability", "n", "expected", "observed")
    for place, part in enumerate(quality.bins, 1):
        bins.add_row(f"bin {place}", f"{part.n:,}", number(part.predicted), number(part.observed))
    screen = console()
    screen.print(bins)
    said = table("signal", "when it occurs", "per unit of its value")
    for kind in sorted(found.present):
        said.add_row(kind, number(found.present[kind]), number(found.slopes[kind]))
    screen.print(said)
    say(f"kept in {path}, and current")
