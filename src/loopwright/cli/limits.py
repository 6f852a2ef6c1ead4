"""`loopwright limits …`: set limits, see where their rates stand, ask them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import App, Parameter

from .options import HERE, AsJson, Server
from .show import FAILED, console, number, put_json, say, table

if TYPE_CHECKING:
    from loopwright.core.limit import LimitStatus

app: Final = App(
    name="limits",
    help="Set limits whose rates follow overload and ratings, and ask them.",
    help_format="plaintext",
)

Id = Annotated[str, Parameter(help="Id of the limit.")]


@app.command(name="list")
def list_(*, server: Server = HERE, json: AsJson = False) -> None:
    """List limits with the rates in force."""
    with server.client() as client:
        found = client.limits.list()
    if json:
        put_json(found)
        return
    shown = table("limit", "mode", "rate/s", "least", "most", "burst", "why", left=2)
    for status in found.items:
        limit = status.limit
        shown.add_row(
            limit.id,
            limit.mode,
            number(status.rate, 2),
            number(limit.least, 2),
            number(limit.most, 2),
            number(limit.burst, 0),
            status.why,
        )
    console().print(shown)


@app.command(name="set")
def set_(
    id: Id,
    /,
    *,
    prior: Annotated[float, Parameter(help="Tokens per second to begin with.")],
    least: Annotated[float | None, Parameter(help="Lowest rate; a tenth of prior.")] = None,
    most: Annotated[float | None, Parameter(help="Highest rate, one that was tested.")] = None,
    burst: Annotated[float | None, Parameter(help="Tokens that a bucket holds.")] = None,
    mode: Annotated[
        Literal["off", "shadow", "enforce"], Parameter(help="shadow answers and refuses nobody.")
    ] = "enforce",
    feature: Annotated[str | None, Parameter(help="Ratings of this feature alone count.")] = None,
    trim: Annotated[float, Parameter(help="Share by which ratings may move the rate.")] = 0.1,
    probe: Annotated[bool, Parameter(help="Whether the guard looks for more capacity.")] = True,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Set a limit, new or in the place of what it was."""
    with server.client() as client:
        made = client.limits.put(
            id,
            prior=prior,
            least=least,
            most=most,
            burst=burst,
            mode=mode,
            feature_id=feature,
            trim=trim,
            probe=probe,
        )
    _told(made, as_json=json)


@app.command
def show(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Show a limit, its rate in force, and what moved it last."""
    with server.client() as client:
        _told(client.limits.status(id), as_json=json)


@app.command
def delete(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Remove a limit and its buckets."""
    with server.client() as client:
        client.limits.delete(id)
    if json:
        put_json({"deleted": id})
    else:
        say(f"limit {id} is deleted")


@app.command
def acquire(
    id: Id,
    /,
    *,
    key: Annotated[str, Parameter(help="Whose bucket.")] = "",
    cost: Annotated[float, Parameter(help="Tokens to take.")] = 1.0,
    server: Server = HERE,
    json: AsJson = False,
) -> int:
    """Ask for tokens; exit with 1 when they are denied."""
    with server.client() as client:
        told = client.limits.acquire(id, key=key, cost=cost)
    if json:
        put_json(told)
    else:
        wait = (
            ""
            if told.retry_after_s is None or told.fits
            else f", again in {told.retry_after_s:.2f} s"
        )
        say(f"{'allowed' if told.allowed else 'denied'}: {told.remaining:.1f} tokens left{wait}")
    return 0 if told.allowed else FAILED


def _told(status: LimitStatus, *, as_json: bool) -> None:
    if as_json:
        put_json(status)
        return
    limit = status.limit
    say(
        f"limit {limit.id} ({limit.mode}): {status.rate:.2f} tokens/s between {limit.least:g} and {limit.most:g}, "
        f"burst {limit.burst:g}"
    )
    say(
        f"  the guard has {status.guard:.2f} ({status.why}), ratings make it {status.trim:.3f} of that; "
        f"version {status.version}, {status.waiting} ratings wait"
    )
    if status.is_suspicious:
        say("  the ratings of the latest window were left out: a flood, or the voice of one")
