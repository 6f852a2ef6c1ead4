"""`loopwright triggers …`: start something when quality drops, see what was started, and send again what failed."""

from __future__ import annotations

import tomllib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import App, Parameter

from loopwright.core.errors import Invalid

from .options import HERE, AsJson, Server
from .show import FAILED, console, put_json, say, table

if TYPE_CHECKING:
    from loopwright.core.trigger import Action, Trigger

app: Final = App(
    name="triggers",
    help="Start something when quality drops, see what was started, send again what failed.",
    help_format="plaintext",
)

Id = Annotated[str, Parameter(help="Id of the trigger.")]
Of = Annotated[str | None, Parameter(help="Those of this trigger only.")]


@app.command
def add(
    id: Id,
    file: Annotated[
        Path | None,
        Parameter(help="TOML or JSON file with `condition` and what else the trigger has."),
    ] = None,
    /,
    *,
    webhook: Annotated[
        list[str] | None, Parameter(help="Address to POST a signed message to; may be repeated.")
    ] = None,
    github: Annotated[
        bool, Parameter(help="Start the GitHub workflow of the server's settings.", negative="")
    ] = False,
    command: Annotated[
        list[str] | None,
        Parameter(help="Name of a command of the server's settings; may be repeated."),
    ] = None,
    window_days: Annotated[float | None, Parameter(help="Length of the window; 7 without.")] = None,
    cool_down_s: Annotated[
        int | None, Parameter(help="Least seconds between two firings; a day without.")
    ] = None,
    note: Annotated[str | None, Parameter(help="What it is about.")] = None,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Add a trigger. Without a file its condition is the rule of `loopwright check-trigger`."""
    members: dict[str, Any] = {"condition": {"kind": "retrain"}} | (
        {} if file is None else _read(file)
    )
    actions = [
        *members.pop("actions", ()),
        *({"kind": "webhook", "url": url} for url in webhook or ()),
        *([{"kind": "github"}] if github else ()),
        *({"kind": "command", "name": name} for name in command or ()),
    ]
    said = {"window_days": window_days, "cool_down_s": cool_down_s, "note": note}
    members |= {name: value for name, value in said.items() if value is not None}
    with server.client() as client:
        try:
            made = client.triggers.add(id, actions=actions, **members)
        except TypeError:
            raise Invalid(
                f"{file} has a member that triggers lack; they take condition, actions, window_days, cool_down_s, note"
            ) from None
    _told(made, as_json=json)


@app.command(name="list")
def list_(*, server: Server = HERE, json: AsJson = False) -> None:
    """List the triggers."""
    with server.client() as client:
        found = client.triggers.list()
    if json:
        put_json(found)
        return
    shown = table("trigger", "condition", "state", "last fired", "starts", left=5)
    for trigger in found.items:
        actions = ", ".join(map(_action, trigger.actions)) or "nothing"
        shown.add_row(
            trigger.id, _kind(trigger), _state(trigger), _time(trigger.fired_at_ms), actions
        )
    console().print(shown)


@app.command
def show(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> int:
    """Show how a trigger's condition stands at this moment; exit with 1 when it holds."""
    with server.client() as client:
        found = client.triggers.report(id)
    if json:
        put_json(found)
    else:
        trigger = found.trigger
        say(
            f"trigger {trigger.id}: {_kind(trigger)} over {trigger.window_days:g} days, {_state(trigger)}"
        )
        for action in trigger.actions:
            say(f"  starts {_action(action)}")
        say(f"{found.judged.standing}: {found.judged.reason}")
        say(found.next)
    return FAILED if found.judged.standing == "bad" else 0


@app.command
def remove(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Remove a trigger and cancel what of it still waits; its firings stay."""
    with server.client() as client:
        made = client.triggers.remove(id)
    if json:
        put_json(made)
    else:
        say(f"trigger {made.id} is removed")


@app.command
def enable(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Let a trigger be looked at again, and addresses that answered 410 be sent to again."""
    with server.client() as client:
        _told(client.triggers.enable(id), as_json=json)


@app.command
def disable(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Let a trigger be looked at no longer; what it started goes on."""
    with server.client() as client:
        _told(client.triggers.disable(id), as_json=json)


@app.command
def secret(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Write what the webhooks of a trigger are signed with, for the receiver to check them."""
    with server.client() as client:
        found = client.triggers.secret(id)
    if json:
        put_json(found)
    else:
        say(found.secret)


@app.command
def firings(
    *,
    trigger: Of = None,
    limit: Annotated[int, Parameter(help="Most firings to list.")] = 50,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """List firings, newest first."""
    with server.client() as client:
        found = client.triggers.firings(trigger_id=trigger, limit=limit)
    if json:
        put_json(found)
        return
    shown = table("at", "trigger", "reason", "firing", left=4)
    for firing in found.items:
        shown.add_row(_time(firing.fired_at_ms), firing.trigger_id, firing.reason, firing.id)
    console().print(shown)


@app.command
def deliveries(
    *,
    trigger: Of = None,
    state: Annotated[
        str | None, Parameter(help="waiting, delivered, dead, gone or cancelled; all without.")
    ] = None,
    limit: Annotated[int, Parameter(help="Most deliveries to list.")] = 50,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """List what firings started, newest first, with the latest attempt of each."""
    with server.client() as client:
        found = client.triggers.deliveries(trigger_id=trigger, state=state, limit=limit)
    if json:
        put_json(found)
        return
    shown = table("delivery", "trigger", "starts", "state", "tries", "latest attempt", left=6)
    for delivery in found.items:
        latest = delivery.attempts[-1].outcome if delivery.attempts else "-"
        shown.add_row(
            delivery.id,
            delivery.trigger_id,
            _action(delivery.action),
            delivery.state,
            str(delivery.tries),
            latest,
        )
    console().print(shown)


@app.command(name="send-again")
def send_again(
    id: Annotated[str, Parameter(help="Id of the delivery.")],
    /,
    *,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Send a delivery that was given up once more, under its old id."""
    with server.client() as client:
        made = client.triggers.send_again(id)
    if json:
        put_json(made)
    else:
        say(f"delivery {made.id} waits for its next attempt")


def _told(trigger: Trigger, *, as_json: bool) -> None:
    if as_json:
        put_json(trigger)
    else:
        say(f"trigger {trigger.id} is {_state(trigger)}")


def _kind(trigger: Trigger) -> str:
    return str(trigger.condition.__struct_config__.tag)


def _state(trigger: Trigger) -> str:
    if not trigger.is_enabled:
        return "disabled"
    return "firing" if trigger.is_firing else "enabled"


def _action(action: Action) -> str:
    told = msgspec.to_builtins(action)
    return " ".join(str(told[name]) for name in ("kind", "url", "name") if name in told)


def _time(at_ms: int | None) -> str:
    if at_ms is None:
        return "-"
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%Y-%m-%d %H:%M:%S}"


def _read(file: Path) -> dict[str, Any]:
    try:
        content = file.read_text("utf-8")
        found = msgspec.json.decode(content) if file.suffix == ".json" else tomllib.loads(content)
    except (OSError, ValueError) as error:
        raise Invalid(f"cannot read {file}: {error}") from None
    if not isinstance(found, dict):
        raise Invalid(f'{file} holds no table; write condition = {{ kind = "retrain" }}')
    found.pop("id", None)
    return found
