"""`loopwright versions …`: register versions, compare them, see where they come from."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final

import msgspec
from cyclopts import App, Parameter

from loopwright.core.errors import Invalid

from .options import HERE, AsJson, Server
from .show import console, put_json, say, table

app: Final = App(
    name="versions",
    help="Register versions of prompts, models and tools, compare them, see where they come from.",
    help_format="plaintext",
)

Id = Annotated[str, Parameter(help="Id of the version.")]
SHORT: Final = 12
"""Digits of a digest that people compare."""


@app.command
def add(
    id: Id,
    file: Annotated[
        Path | None, Parameter(help="Its content: text, or JSON when the name ends in .json.")
    ] = None,
    /,
    *,
    kind: Annotated[str, Parameter(help="prompt, model, tool, retrieval_config, …")] = "prompt",
    reference: Annotated[
        str | None, Parameter(help="Where content lies that is not kept here.")
    ] = None,
    digest: Annotated[str | None, Parameter(help="SHA-256 of what the reference names.")] = None,
    parent: Annotated[
        list[str] | None, Parameter(help="A version that it was made from; may be repeated.")
    ] = None,
    dataset: Annotated[str | None, Parameter(help="Id of the data set it was made with.")] = None,
    reason: Annotated[str, Parameter(help="Why it was made.")] = "",
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Register an immutable version from a file, or by reference."""
    with server.client() as client:
        made = client.versions.add(
            id,
            kind=kind,
            content=None if file is None else _content(file),
            reference=reference,
            digest=digest,
            parents=parent or [],
            dataset=dataset,
            reason=reason,
        )
    if json:
        put_json(made)
    else:
        say(f"version {made.id} is registered: {made.kind}, digest {made.digest[:SHORT]}")


@app.command(name="list")
def list_(
    *,
    kind: Annotated[str | None, Parameter(help="Versions of this kind only.")] = None,
    limit: Annotated[int, Parameter(help="Most versions to list.")] = 50,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """List versions, newest first."""
    with server.client() as client:
        found = client.versions.list(kind=kind, limit=limit)
    if json:
        put_json(found)
        return
    shown = table("version", "kind", "digest", "parents", "reason", left=5)
    for version in found.items:
        shown.add_row(
            version.id,
            version.kind,
            version.digest[:SHORT],
            ", ".join(version.parents),
            version.reason,
        )
    console().print(shown)


@app.command
def show(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Show a version with its content."""
    with server.client() as client:
        found = client.versions.get(id)
    if json:
        put_json(found)
        return
    say(f"{found.id}: {found.kind}, digest {found.digest}")
    if found.reason:
        say(f"because: {found.reason}")
    if found.reference is not None:
        say(f"lies at {found.reference}")
    elif isinstance(found.content, str):
        say(found.content)
    else:
        put_json(found.content)


@app.command
def diff(
    first: Id,
    second: Annotated[str, Parameter(help="Id of the version to compare with.")],
    /,
    *,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Show what differs between two versions, line by line."""
    with server.client() as client:
        found = client.versions.diff(first, second)
    if json:
        put_json(found)
        return
    for name, (left, right) in found.members.items():
        if name != "digest":
            say(f"{name}: {left} -> {right}")
    for line in found.lines:
        say(line)
    if found.is_same:
        say("the content is the same")


@app.command
def lineage(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Show what a version was made from and what was made from it, with the arms that serve each."""
    with server.client() as client:
        found = client.versions.lineage(id)
    if json:
        put_json(found)
        return
    shown = table("version", "kind", "digest", "data set", "served by", left=5)
    for link in found.links:
        mark = "<- " if link.distance < 0 else "-> " if link.distance > 0 else ""
        shown.add_row(
            f"{mark}{link.id}",
            link.kind,
            link.digest[:SHORT],
            link.dataset or "",
            ", ".join(link.arms),
        )
    console().print(shown)


def _content(file: Path) -> Any:
    try:
        text = file.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Invalid(f"cannot read {file}: {error}") from None
    if file.suffix != ".json":
        return text
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Invalid(f"{file} is no JSON: {error}") from None
