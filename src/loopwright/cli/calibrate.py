"""`loopwright calibrate`: fit the surrogate that predicts a late outcome from early signals."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

from cyclopts import Parameter

from loopwright.core.errors import DirectoryLocked, Invalid

from .offline import warehouse_of
from .options import HERE, AsJson, Server
from .show import console, number, percent, put_json, say, table

if TYPE_CHECKING:
    from loopwright.signals.surrogate import Surrogate

_TIMEOUT_S: Final = 300.0
"""A server may have to read the whole log of a tenant."""


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
    tenant: Annotated[
        str | None, Parameter(help="Tenant; the key's own, or the default one, when not given.")
    ] = None,
    url: Annotated[
        str | None,
        Parameter(
            env_var="LOOPWRIGHT__URL",
            help="Address of a server. Without it the data directory is read, or the server on this machine that "
            "holds it is asked.",
        ),
    ] = None,
    api_key: Annotated[
        str | None,
        Parameter(
            env_var="LOOPWRIGHT__API_KEY", show_default=False, help="API key for the server."
        ),
    ] = None,
    data: Annotated[
        Path, Parameter(env_var="LOOPWRIGHT__DATA_DIR", help="Data directory.")
    ] = HERE.data,
    json: AsJson = False,
) -> None:
    """Fit the surrogate that predicts an outcome from signals, print its quality, and make it the current one."""
    server = Server(url, api_key, data)
    asked = _Asked(task, metric, window_days)
    if url:
        found = _fetched(server, tenant, asked)
    else:
        try:
            found = _fitted(data, tenant, asked)
        # A running server owns its directory, so it is the one to fit and to publish there.
        except DirectoryLocked:
            found = _fetched(server, tenant, asked)
    if json:
        put_json({"surrogate": found})
    else:
        _show(found)


@dataclass(frozen=True)
class _Asked:
    task: str
    metric: str
    window_days: float


def _fitted(data: Path, tenant: str | None, asked: _Asked) -> Surrogate:
    """Fit on a directory that no server holds."""
    from loopwright.backends.files import FolderBlobStore
    from loopwright.catalog import DEFAULT_TENANT
    from loopwright.core.clock import SystemClock
    from loopwright.signals.calibration import CalibrationRequest, Calibrator
    from loopwright.signals.registry import FOLDER, Surrogates

    request = CalibrationRequest(asked.task, asked.metric, asked.window_days)
    with warehouse_of(data) as warehouse:
        surrogates = Surrogates(FolderBlobStore(data / FOLDER))
        fits = Calibrator(surrogates, warehouse=lambda: warehouse, clock=SystemClock())
        return fits.calibrate(tenant or DEFAULT_TENANT, request, actor="command line")


def _fetched(server: Server, tenant: str | None, asked: _Asked) -> Surrogate:
    """Have the server fit it."""
    import msgspec

    from loopwright.signals.surrogate import Surrogate

    if tenant is not None:
        raise Invalid("a server fits for the tenant of the API key; leave --tenant out")
    content = server.ask("POST", "/api/v1/surrogates", timeout_s=_TIMEOUT_S, body=asked)
    return msgspec.json.decode(content, type=Surrogate)


def _show(found: Surrogate) -> None:
    quality = found.calibration
    say(f"task {found.task}, metric {found.metric}")
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
    say(f"version {found.version} is the current one from now on")
