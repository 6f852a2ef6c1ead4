"""`loopwright simulate limits`: controllers of a refill rate in ten made-up worlds, and what each part of one is worth."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter

from loopwright.core.errors import Invalid

from .options import AsJson
from .show import console, number, percent, put_json, say, table

if TYPE_CHECKING:
    from rich.table import Table

    from loopwright.limiting.scenarios import Played

    Results = dict[str, dict[str, list[Played]]]

_WIDTH: Final = 320
_HEIGHT: Final = 90
_COLOURS: Final = ("#0b6e4f", "#1f77b4", "#9467bd", "#7f7f7f", "#e69f00", "#c62828")


def limits(
    *,
    runs: Annotated[int, Parameter(help="Runs per controller and scenario.")] = 3,
    hours: Annotated[float, Parameter(help="Simulated hours per run.")] = 2.0,
    seed: Annotated[int, Parameter(help="Same seed, same numbers.")] = 0,
    blind: Annotated[
        bool,
        Parameter(
            negative=(), help="Let the guard see overload only from 30 % above the capacity."
        ),
    ] = False,
    html: Annotated[
        Path | None, Parameter(help="Draw the rates of the first run into this HTML file.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Compare controllers of a refill rate in ten made-up worlds.

    Figures are goodput: the share of what an oracle that knows the capacity would have served well. "guard only" and
    "constant rate" show what the parts are worth; "naive rule" adds to the rate for each rating, without bounds.
    """
    from loopwright.limiting.scenarios import CONTROLLERS, NAIVE
    from loopwright.limiting.scenarios import table as play_all

    windows = round(hours * 360) if 0 < hours <= 24 else 0
    if runs < 1 or windows < 3:
        raise Invalid("--runs is at least 1, and --hours is from 0.01 to 24")
    results = play_all(
        runs=runs, seed=seed, windows=windows, controllers=[*CONTROLLERS, NAIVE], blind=blind
    )
    if html is not None:
        html.write_text(page(results), "utf-8")
    if json:
        put_json({"runs": runs, "hours": hours, "blind": blind, "results": _figures(results)})
        return
    console().print(_shown(results, blind=blind))
    if html is not None:
        say(f"Rates drawn in {html}")


def _figures(results: Results) -> list[dict[str, Any]]:
    figures = []
    for controller, by_scenario in results.items():
        goodput = {
            name: fmean(run.goodput for run in played) for name, played in by_scenario.items()
        }
        every = [run for played in by_scenario.values() for run in played]
        figures.append(
            {
                "controller": controller,
                "goodput": goodput,
                "mean": fmean(goodput.values()),
                "worst": min(goodput.values()),
                "overloaded": fmean(run.overloaded for run in every),
                "lowest_rate": min(min(run.rates) for run in every),
                "highest_rate": max(max(run.rates) for run in every),
            }
        )
    return figures


def _shown(results: Results, *, blind: bool) -> Table:
    """Return a table with a row per scenario, for ten columns of long names fit no terminal."""
    figures = _figures(results)
    sensor = "a blind overload sensor" if blind else "a good overload sensor"
    shown = table(
        "scenario",
        *(figure["controller"] for figure in figures),
        title=f"Goodput as a share of an oracle's, with {sensor}",
    )
    for name in figures[0]["goodput"]:
        shown.add_row(name, *(number(figure["goodput"][name]) for figure in figures))
    shown.add_section()
    shown.add_row("mean", *(number(figure["mean"]) for figure in figures))
    shown.add_row("worst", *(number(figure["worst"]) for figure in figures))
    shown.add_row("time overloaded", *(percent(figure["overloaded"]) for figure in figures))
    spans = (f"{figure['lowest_rate']:.0f} to {figure['highest_rate']:.0f}" for figure in figures)
    shown.add_row("rates, tokens/s", *spans)
    return shown


def page(results: Results) -> str:
    """Return one HTML page, with nothing from elsewhere, that draws the rates of each scenario's first run."""
    legend = "".join(
        f'<li style="color:{colour}">{controller}</li>'
        for controller, colour in zip(results, _COLOURS, strict=True)
    )
    charts = "".join(_chart(name, results) for name in next(iter(results.values())))
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Rates of controllers</title>'
        "<style>body{font:15px sans-serif;margin:2em;max-width:72em}ul{columns:3}"
        "main{display:flex;flex-wrap:wrap;gap:1.5em}h2{font-size:1em;margin:0}</style>"
        "<h1>Rates of controllers in ten made-up worlds</h1><p>Tokens per second over time, cut at 200; "
        f"the capacity is 100.</p><ul>{legend}</ul><main>{charts}</main></html>\n"
    )


def _chart(name: str, results: Results) -> str:
    lines = "".join(
        f'<polyline fill="none" stroke="{colour}" points="{_points(by_scenario[name][0].rates)}"/>'
        for by_scenario, colour in zip(results.values(), _COLOURS, strict=True)
    )
    return (
        f'<section><h2>{name}</h2><svg width="{_WIDTH}" height="{_HEIGHT}" role="img" '
        f'aria-label="rates in the scenario {name}">{lines}</svg></section>'
    )


def _points(rates: tuple[float, ...]) -> str:
    step = max(len(rates) // _WIDTH, 1)
    kept = rates[::step]
    return " ".join(
        f"{position * _WIDTH / len(kept):.1f},{_HEIGHT * (1 - min(rate, 200.0) / 200):.1f}"
        for position, rate in enumerate(kept)
    )
