"""`loopwright datasets …`: build training sets by recipes, check, compare and export them."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
from cyclopts import App, Parameter

from loopwright.core.errors import Invalid

from .options import HERE, AsJson, Server
from .show import FAILED, console, put_json, say, table

if TYPE_CHECKING:
    from loopwright.core.dataset import Dataset

app: Final = App(
    name="datasets",
    help="Build training sets by recipes; check, compare and export them.",
    help_format="plaintext",
)

Id = Annotated[str, Parameter(help="Id of the data set, or its beginning.")]
SHORT: Final = 12


@app.command
def build(
    recipe: Annotated[Path, Parameter(help="Recipe as TOML or JSON.")],
    /,
    *,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Build a data set from what the log has now."""
    with server.client() as client:
        made = client.datasets.build(_recipe(recipe))
    _told(made, as_json=json)


@app.command(name="list")
def list_(
    *,
    name: Annotated[str | None, Parameter(help="Those of this recipe's name only.")] = None,
    limit: Annotated[int, Parameter(help="Most data sets to list.")] = 50,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """List data sets, newest first."""
    with server.client() as client:
        found = client.datasets.list(name=name, limit=limit)
    if json:
        put_json(found)
        return
    shown = table("data set", "recipe", "kind", "rows", "splits", left=3)
    for each in found.items:
        splits = ", ".join(sorted({shard.split for shard in each.shards}))
        rows = "expired" if each.expired_at_ms is not None else f"{each.rows:,}"
        shown.add_row(each.id[:SHORT], each.name, each.kind, rows, splits)
    console().print(shown)


@app.command
def show(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Show what a data set was built from, and what was left out."""
    with server.client() as client:
        _told(client.datasets.get(id), as_json=json)


@app.command
def export(
    id: Id,
    /,
    *,
    out: Annotated[Path | None, Parameter(help="File to write; standard output without.")] = None,
    format: Annotated[
        str, Parameter(help="rows, simple, trl, trl_conversational, openai, csv or parquet.")
    ] = "trl",
    split: Annotated[str | None, Parameter(help="One split alone.")] = None,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Write the rows of a data set in a form that training tools read."""
    with server.client() as client:
        content = client.datasets.export(id, format=format, split=split)
    if out is None:
        # Bytes, not text: Parquet would not survive an encoding.
        sys.stdout.buffer.write(content)
        return
    out.write_bytes(content)
    if json:
        put_json({"file": str(out), "bytes": len(content)})
    else:
        say(f"{out}: {len(content):,} bytes")


@app.command
def sample(
    id: Id,
    /,
    *,
    rows: Annotated[int, Parameter(help="How many rows.")] = 3,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Print the first rows of a data set; with --json one a line."""
    with server.client() as client:
        content = client.datasets.export(id)
    for line in content.splitlines()[:rows]:
        say((line if json else msgspec.json.format(line, indent=2)).decode())


@app.command
def verify(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> int:
    """Build a data set again and compare every byte; exit with 1 when something differs."""
    with server.client() as client:
        found = client.datasets.verify(id)
    if json:
        put_json(found)
    elif found.is_equal:
        say(f"data set {found.id[:SHORT]} is built again byte for byte")
    else:
        say(f"data set {found.id[:SHORT]} is not built again as it was")
        for line in (*found.reasons, *(f"damaged: {name}" for name in found.damaged)):
            say(f"  {line}")
    return 0 if found.is_equal else FAILED


@app.command
def diff(
    first: Id,
    second: Annotated[str, Parameter(help="Id of the data set to compare with.")],
    /,
    *,
    server: Server = HERE,
    json: AsJson = False,
) -> None:
    """Show what changed from one data set to another."""
    with server.client() as client:
        found = client.datasets.diff(first, second)
    if json:
        put_json(found)
        return
    say(f"rows: {found.rows[0]:,} -> {found.rows[1]:,}, {found.common:,} in both")
    for name, (left, right) in found.recipe.items():
        say(f"recipe {name}: {left} -> {right}")
    for name, (before, after) in found.dropped.items():
        if before != after:
            say(f"dropped by {name}: {before:,} -> {after:,}")


@app.command
def expire(id: Id, /, *, server: Server = HERE, json: AsJson = False) -> None:
    """Delete the rows of a data set; its manifest stays."""
    with server.client() as client:
        gone = client.datasets.expire(id)
    if json:
        put_json(gone)
    else:
        say(f"data set {gone.id[:SHORT]} has expired")


def _told(made: Dataset, *, as_json: bool) -> None:
    if as_json:
        put_json(made)
        return
    say(
        f"data set {made.id[:SHORT]} ({made.name}, {made.kind}): {made.rows:,} rows of {made.read:,} facts"
    )
    for shard in made.shards:
        say(f"  {shard.split}: {shard.rows:,} rows, {shard.size:,} bytes, {shard.digest[:SHORT]}")
    for name, n in made.dropped.items():
        say(f"  left out by {name}: {n:,}")
    if made.length_ratio is not None:
        say(f"  chosen texts are {made.length_ratio:.2f} times as long as rejected ones")


def _recipe(file: Path) -> dict[str, Any]:
    try:
        text = file.read_text("utf-8")
        found = msgspec.json.decode(text) if file.suffix == ".json" else tomllib.loads(text)
    except (OSError, ValueError) as error:
        raise Invalid(f"cannot read {file}: {error}") from None
    if not isinstance(found, dict):
        raise Invalid(f"{file} holds no recipe; write name, kind and days")
    return found
