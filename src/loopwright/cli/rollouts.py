"""`loopwright rollouts …`: roll a challenger out by evidence, see how it stands, move it by hand."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import App, Parameter

from loopwright.core.errors import Invalid

from .options import HERE, AsJson, Server
from .show import console, put_json, say, table

if TYPE_CHECKING:
    from loopwright.core.rollout import Rollout

app: Final = App(
    name="rollouts",
    help="Roll a challenger out by evidence, see how it stands, move it by hand.",
    help_format="plaintext",
)

Id = Annotated[str, Parameter(help="Id of the rollout.")]
Reason = Annotated[str, Parameter(help="Why; it is kept with the move.")]
_MARKS: Final = {"pass": "holds", "wait": "waits", "fail": "fails"}


@app.command
def begin(
    id: Id,
    /,
    *,
    experiment: Annotated[str, Parameter(help="Id of the experiment.")],
    champion: Annotated[str, Parameter(help="The arm that serves.")],
    challenger: Annotated[str, Parameter(help="The arm to promote.")],
    stages: Annotated[
        Path | None, Parameter(help="TOML or JSON file with `stages`; 5 % and then half without.")
    ] = None,
    assigned: Annotated[str, Parameter(help="unit, or decision where none is sticky.")] = "unit",
    again: Annotated[
        bool,
        Parameter(help="Try a challenger that was taken back less than a day ago.", negative=""),
    ] = False,
    note: Annotated[str, Parameter(help="What it is about.")] = "",
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Give a challenger its first share of the traffic; from then on its gates move it."""
    with server.client() as client:
        made = client.rollouts.begin(
            id,
            experiment_id=experiment,
            champion=champion,
            challenger=challenger,
            stages=None if stages is None else _stages(stages),
            assigned=assigned,
            again=again,
            note=note,
        )
    _told(made, as_json=json)


@app.command(name="list")
def list_(
    *,
    experiment: Annotated[str | None, Parameter(help="Rollouts of this experiment only.")] = None,
    limit: Annotated[int, Parameter(help="Most rollouts to list.")] = 50,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """List rollouts, newest first."""
    with server.client() as client:
        found = client.rollouts.list(experiment_id=experiment, limit=limit)
    if json:
        put_json(found)
        return
    shown = table("rollout", "experiment", "challenger", "champion", "state", "stage", left=6)
    for rollout in found.items:
        shown.add_row(
            rollout.id,
            rollout.experiment_id,
            rollout.challenger,
            rollout.champion,
            rollout.state,
            _place(rollout),
        )
    console().print(shown)


@app.command
def show(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Show how a rollout stands: its moves, what its gate says now, and what happens next."""
    with server.client() as client:
        found = client.rollouts.report(id)
    if json:
        put_json(found)
        return
    rollout = found.rollout
    say(
        f"rollout {rollout.id}: {rollout.challenger} against {rollout.champion} in {rollout.experiment_id}, "
        f"{rollout.state}, {_place(rollout)}"
    )
    for move in rollout.moves:
        say(f"  {move.action} {move.stage}".rstrip() + (f", by {move.actor}" if move.actor else ""))
        for reason in move.reasons:
            say(f"    {reason}")
    if found.verdict is not None:
        say("the gate at this moment:")
        for finding in found.verdict.findings:
            say(f"  {_MARKS[finding.outcome]:6} {finding.criterion}: {finding.sentence}")
    say(found.next)


@app.command
def hold(id: Id, /, *, reason: Reason = "", server: Server = HERE, json: AsJson = False) -> None:
    """Keep a rollout in its stage, whatever its gate says."""
    with server.client() as client:
        _told(client.rollouts.hold(id, reason=reason), as_json=json)


@app.command
def resume(id: Id, /, *, reason: Reason = "", server: Server = HERE, json: AsJson = False) -> None:
    """Let the gate of a held rollout decide again."""
    with server.client() as client:
        _told(client.rollouts.resume(id, reason=reason), as_json=json)


@app.command
def approve(id: Id, /, *, reason: Reason = "", server: Server = HERE, json: AsJson = False) -> None:
    """Let a held rollout go on; its gate has to pass at this moment."""
    with server.client() as client:
        _told(client.rollouts.approve(id, reason=reason), as_json=json)


@app.command(name="roll-back")
def roll_back(
    id: Id, /, *, reason: Reason = "", server: Server = HERE, json: AsJson = False
) -> None:
    """Restore the shares from before a rollout, also after a promotion."""
    with server.client() as client:
        _told(client.rollouts.roll_back(id, reason=reason), as_json=json)


@app.command
def cancel(id: Id, /, *, reason: Reason = "", server: Server = HERE, json: AsJson = False) -> None:
    """End an open rollout and restore the shares from before it."""
    with server.client() as client:
        _told(client.rollouts.cancel(id, reason=reason), as_json=json)


def _told(rollout: Rollout, *, as_json: bool) -> None:
    if as_json:
        put_json(rollout)
    else:
        say(f"rollout {rollout.id} is {rollout.state}, {_place(rollout)}")


def _place(rollout: Rollout) -> str:
    # A rollout that is over has no stage, whatever position it ended in.
    if not rollout.is_open:
        return "full" if rollout.state == "promoted" else "taken back"
    stage = rollout.stages[rollout.stage]
    return f"{stage.name} at {stage.share:.0%}"


def _stages(file: Path) -> list[Any]:
    try:
        content = file.read_text("utf-8")
        found = msgspec.json.decode(content) if file.suffix == ".json" else tomllib.loads(content)
    except (OSError, ValueError) as error:
        raise Invalid(f"cannot read {file}: {error}") from None
    stages = found.get("stages") if isinstance(found, dict) else found
    if not isinstance(stages, list):
        raise Invalid(f"{file} has no list of stages; write [[stages]] with name, share and gate")
    return stages
