"""`python -m bench [--quick] [NAME ...]`: run the measurements and show them against what is required.

Every script runs in a process of its own and prints `{"bench": NAME, "figures": {...}}` as its last line. The
lines are kept in `bench/results/`. Exit code 0 when every bound is met, 1 when one is not, 2 on wrong usage.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from bench.bounds import BOUNDS, Bound, of

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results"
BAR_CELLS: Final = 20


class ScriptFailed(Exception):
    """A script ended with an error or without its line of figures."""


def scripts() -> list[str]:
    """Return the names of the measurements, in the order of the table of bounds."""
    return list(dict.fromkeys(bound.script for bound in BOUNDS))


def measure(name: str, *, quick: bool) -> dict[str, Any]:
    """Run one script; return its line of figures."""
    command = [sys.executable, "-m", f"bench.{name}", *(["--quick"] if quick else [])]
    done = subprocess.run(
        command, cwd=HERE.parent, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )
    lines = done.stdout.strip().splitlines()
    for line in lines[:-1]:
        print(line)
    if done.returncode != 0 or not lines:
        raise ScriptFailed(f"bench/{name}.py ended with exit code {done.returncode}")
    try:
        line = json.loads(lines[-1])
        figures = {str(key): float(value) for key, value in line["figures"].items()}
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise ScriptFailed(
            f"bench/{name}.py: the last line is no line of figures: {error}"
        ) from error
    return {**line, "figures": figures, "quick": quick}


def keep(line: Mapping[str, Any], *, into: Path) -> None:
    """Append one line of figures to this run's file."""
    into.parent.mkdir(exist_ok=True)
    with into.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def bar(figure: float, bound: Bound, *, quick: bool) -> str:
    """Draw `figure` against its bound, which stands at the middle."""
    required = bound.required(quick=quick)
    if bound.direction == "printed" or required == 0:
        return ""
    cells = min(BAR_CELLS, round(figure / required * BAR_CELLS / 2))
    drawn = "█" * cells + "·" * (BAR_CELLS - cells)
    return drawn[: BAR_CELLS // 2] + "┃" + drawn[BAR_CELLS // 2 :]


def spell(figure: float) -> str:
    """Write a figure with three significant digits, or whole when it is large."""
    return f"{figure:,.0f}" if abs(figure) >= 100 else f"{figure:.3g}"


def rows(line: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return one table row for each figure of a script, missing ones included."""
    name, quick, figures = line["bench"], line["quick"], line["figures"]
    made: list[tuple[str, ...]] = []
    for bound in of(name).values():
        required = f"{bound.direction} {bound.required(quick=quick):g}"
        if bound.direction == "printed":
            required = "printed"
        if bound.name not in figures:
            made.append((name, bound.name, "-", required, "", "[red]missing", bound.what))
            continue
        figure = figures[bound.name]
        verdict = "[green]met" if bound.is_met(figure, quick=quick) else "[red]not met"
        verdict = "" if bound.direction == "printed" else verdict
        drawn = bar(figure, bound, quick=quick)
        made.append((name, bound.name, spell(figure), required, drawn, verdict, bound.what))
    others = [key for key in figures if key not in of(name)]
    made += [(name, key, spell(figures[key]), "printed", "", "", "") for key in others]
    return made


def table(lines: Sequence[Mapping[str, Any]]) -> Table:
    """Return the figures of all scripts against their bounds."""
    drawn = Table(box=None, header_style="bold")
    for column in ("bench", "figure", "measured", "required", "┃ = required", "", "what"):
        drawn.add_column(column, justify="right" if column == "measured" else "left")
    for line in lines:
        for row in rows(line):
            drawn.add_row(*row)
        drawn.add_section()
    return drawn


def all_met(lines: Sequence[Mapping[str, Any]]) -> bool:
    """Say whether every bound of every script that ran is met."""
    return all(
        bound.name in line["figures"]
        and bound.is_met(line["figures"][bound.name], quick=line["quick"])
        for line in lines
        for bound in of(line["bench"]).values()
        if bound.direction != "printed"
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run the scripts that were named, or all."""
    known = scripts()
    parser = argparse.ArgumentParser(prog="python -m bench", description="Run the measurements.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"any of: {', '.join(known)}")
    parser.add_argument("--quick", action="store_true", help="shorter runs, wider scatter")
    options = parser.parse_args(argv)
    if unknown := set(options.names) - set(known):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    into = RESULTS / f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.jsonl"
    console, lines, failures = Console(), [], []
    for name in options.names or known:
        console.print(f"[dim]bench.{name} ...", highlight=False)
        try:
            line = measure(name, quick=options.quick)
        except ScriptFailed as error:
            failures.append(str(error))
            continue
        keep(line, into=into)
        lines.append(line)
    console.print(table(lines))
    for failure in failures:
        console.print(f"[red]{failure}", highlight=False)
    return 0 if all_met(lines) and not failures else 1


if __name__ == "__main__":
    sys.exit(main())
