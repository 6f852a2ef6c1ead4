"""`loopwright experiments …`: the life of experiments, over HTTP."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast

from cyclopts import App, Parameter

from loopwright.core.errors import Invalid, NotFound

from .offline import unserved
from .options import HERE, AsJson, Server
from .show import bar, console, number, percent, put_json, say, table

if TYPE_CHECKING:
    from loopwright.app.wiring import Services
    from loopwright.core.experiment import Experiment
    from loopwright.core.status import Advice, Status

app: Final = App(
    name="experiments",
    help="Create experiments, start and end them, see how they do.",
    help_format="plaintext",
)
arms_app: Final = App(name="arms", help="Add arms and change them.", help_format="plaintext")
app.command(arms_app)

Id = Annotated[str, Parameter(help="Id of the experiment.")]
ArmId = Annotated[str, Parameter(help="Id of the arm.")]


@app.command(name="list")
def list_(*, server: Server = HERE, json: AsJson = False) -> None:
    """List experiments; those of a data directory that no server holds, too."""
    with unserved(server) as services:
        found = _asked(server) if services is None else list(services.truth.experiments())
    if json:
        put_json(found)
        return
    shown = table("experiment", "state", "policy", "reward", "arms", left=4)
    for experiment in found:
        shown.add_row(
            experiment.id,
            experiment.state,
            experiment.policy.name,
            experiment.reward.type,
            str(len(experiment.arms)),
        )
    console().print(shown)


@app.command
def create(
    file: Annotated[
        Path | None, Parameter(help="Definition as JSON or TOML; options add to it.")
    ] = None,
    /,
    *,
    id: Annotated[str | None, Parameter(help="Id of the experiment.")] = None,
    arms: Annotated[str | None, Parameter(help="Ids of the arms, separated by commas.")] = None,
    policy: Annotated[str | None, Parameter(help="Policy, or auto.")] = None,
    reward: Annotated[
        Literal["binary", "bounded", "continuous"] | None, Parameter(help="Type of the reward.")
    ] = None,
    dimension: Annotated[
        int | None, Parameter(help="Length of the context vector; without it, no context.")
    ] = None,
    start: Annotated[bool, Parameter(help="Start it at once.")] = True,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Create an experiment from a file, from options, or both, and start it."""
    definition = {} if file is None else _read(file)
    given = {
        "id": id,
        "arms": None if arms is None else [{"id": arm.strip()} for arm in arms.split(",")],
        "policy": None if policy is None else {"name": policy},
        "reward": None if reward is None else {"type": reward},
        "context": None if dimension is None else {"dimension": dimension},
    }
    # Options replace what the file says, so one file can define several experiments.
    definition |= {name: value for name, value in given.items() if value is not None}
    if "id" not in definition or "arms" not in definition:
        raise Invalid(
            "an experiment needs an id and arms: give --id and --arms, or a file with both"
        )
    with server.client() as client:
        created = client.experiments.define(definition, start=start)
    _tell(created, json=json)


@app.command
def show(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Show how an experiment is doing: its arms, and advice. The same as `status`."""
    status(id, server=server, json=json)


@app.command
def status(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Show how an experiment is doing: its arms, and advice; in a directory that no server holds, too."""
    with unserved(server) as services:
        if services is None:
            with server.client() as client:
                report = _report(client.experiments.status(id), client.experiments.advice(id))
        else:
            report = _status_of(services, id)
    if json:
        put_json(report)
        return
    _show_status(report)


@app.command
def start(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Let a draft serve and learn."""
    _move(id, "start", server, json=json)


@app.command
def pause(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Stop serving and learning for now; feedback is kept."""
    _move(id, "pause", server, json=json)


@app.command
def resume(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Serve and learn again."""
    _move(id, "resume", server, json=json)


@app.command
def end(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Stop for good."""
    _move(id, "end", server, json=json)


@arms_app.command
def add(
    id: Id,
    arm: ArmId,
    /,
    *,
    payload: Annotated[
        str | None, Parameter(help="What a select returns with the arm: JSON, else taken as text.")
    ] = None,
    min_share: Annotated[float, Parameter(help="Least share of the traffic.")] = 0.0,
    max_share: Annotated[float, Parameter(help="Largest share of the traffic.")] = 1.0,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Add an arm; a running experiment serves it at once."""
    with server.client() as client:
        changed = client.experiments.add_arm(
            id, arm, payload=_payload(payload), min_share=min_share, max_share=max_share
        )
    _tell(changed, json=json)


@arms_app.command(name="set")
def set_(
    id: Id,
    arm: ArmId,
    /,
    *,
    state: Annotated[
        Literal["enabled", "disabled", "retired"] | None,
        Parameter(help="Whether it is served; retiring is for good."),
    ] = None,
    min_share: Annotated[float | None, Parameter(help="Least share of the traffic.")] = None,
    max_share: Annotated[float | None, Parameter(help="Largest share of the traffic.")] = None,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Enable, disable or retire an arm, or change its shares."""
    with server.client() as client:
        changed = client.experiments.change_arm(
            id, arm, state=state, min_share=min_share, max_share=max_share
        )
    _tell(changed, json=json)


def _asked(server: Server) -> list[Experiment]:
    """Return every experiment that a server has, page by page."""
    with server.client() as client:
        page = client.experiments.list()
        found = list(page.items)
        while page.next_cursor is not None:
            page = client.experiments.list(cursor=page.next_cursor)
            found += page.items
    return found


def _status_of(services: Services, id: str) -> dict[str, Any]:
    """Return what a server of the same directory would answer."""
    from loopwright.catalog import DEFAULT_TENANT
    from loopwright.learning.advice import advise

    experiment = services.truth.catalog.experiments.get(DEFAULT_TENANT, id)
    # What the log has beyond the latest checkpoint is learned first, as by a server when it starts.
    while services.learner.step():
        pass
    found = services.learner.status(DEFAULT_TENANT, id)
    return _report(found, advise(found, experiment))


def _report(status: Status, advice: list[Advice]) -> dict[str, Any]:
    import msgspec

    report = {"status": status, "feedback_rate": status.feedback_rate, "advice": advice}
    return cast("dict[str, Any]", msgspec.to_builtins(report))


def _move(id: str, move: str, server: Server, *, json: bool) -> None:
    with server.client() as client:
        moved = getattr(client.experiments, move)(id)
    _tell(moved, json=json)


def _tell(experiment: Any, *, json: bool) -> None:
    if json:
        put_json(experiment)
        return
    arms = ", ".join(
        arm.id if arm.state == "enabled" else f"{arm.id} ({arm.state})" for arm in experiment.arms
    )
    say(f"{experiment.id} is {experiment.state}: policy {experiment.policy.name}, arms {arms}")


def _show_status(report: dict[str, Any]) -> None:
    status = report["status"]
    rate = report["feedback_rate"]
    say(
        f"{status['experiment_id']} is {status['state']}: policy {status['policy']}, "
        f"{status['decisions']:,} decisions, feedback for {percent(rate)}, learner {status['learner']}"
    )
    # Where nothing can wait, a column of zeros would only ask what it means.
    waits = any(arm["pending"] for arm in status["arms"])
    pending = ["pending"] if waits else []
    shown = table("arm", "traffic", "share", "n", *pending, "mean", "low", "high", "best", left=2)
    for arm in status["arms"]:
        shown.add_row(
            arm["arm_id"] if arm["state"] == "enabled" else f"{arm['arm_id']} ({arm['state']})",
            bar(arm["share"] or 0.0, 10),
            percent(arm["share"]),
            f"{arm['n']:,}",
            *([f"{arm['pending']:,}"] if waits else []),
            number(arm["mean"]),
            number(arm["low"]),
            number(arm["high"]),
            percent(arm["p_best"]),
        )
    console().print(shown)
    for advice in report["advice"]:
        say(f"{advice['severity']}: {advice['sentence']}")


def _read(file: Path) -> dict[str, Any]:
    import msgspec

    if not file.is_file():
        raise NotFound(f"there is no file {file}")
    try:
        # utf-8-sig, because Windows editors put a byte order mark first, which neither format allows.
        if file.suffix.lower() == ".toml":
            return tomllib.loads(file.read_text("utf-8-sig"))
        return msgspec.json.decode(file.read_text("utf-8-sig"), type=dict[str, Any])
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.DecodeError) as error:
        kind = "TOML" if file.suffix.lower() == ".toml" else "JSON"
        raise Invalid(f"{file} is not a {kind} object: {error}") from None


def _payload(text: str | None) -> Any:
    import msgspec

    if text is None:
        return None
    try:
        # JSON first: what is meant as text is rarely valid JSON, and quotes around it say so where it is.
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text
