"""`loopwright replay`: a logged stream through the real select, feedback and learning, in this process.

A full-information row tells the reward of whatever arm is selected. A logged bandit row tells it only when the
arm selected is the arm that was shown; other rows are passed over. Over a log that chose uniformly at random,
what is left is distributed as if the policy had served live (Li, Chu, Langford, Wang 2011, "Unbiased offline
evaluation of contextual-bandit-based news article recommendation algorithms"). When the log chose with other
propensities, each matched row counts with the inverse of its own.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec
from cyclopts import Parameter

from loopwright.core.errors import Invalid
from loopwright.core.reward import RewardSpec

from .estimate import Estimate, Tally
from .options import AsJson
from .show import console, number, percent, put_json, say, table

if TYPE_CHECKING:
    from loopwright.app.embedded import Loop
    from loopwright.cli.streams import Outline, Row, Source

TAIL = 0.1
"""Share of the rows, at the end, over which the reward late in the stream is taken."""


class Played(msgspec.Struct, frozen=True, kw_only=True):
    """The result of a replay."""

    rows: int
    matched: int
    reward: Estimate | None
    """Mean reward of the rows that count."""
    late_reward: Estimate | None
    """The same over the last tenth of the rows."""
    seconds: float


@Parameter(name="*")
@dataclass(frozen=True)
class Mapped:
    """How to read the file, and the meaning of its columns."""

    format: Annotated[
        Literal["jsonl", "csv", "parquet"] | None,
        Parameter(help="Format of the file; told from its name when not given."),
    ] = None
    kind: Annotated[
        Literal["full-information", "logged"] | None,
        Parameter(help="What a row tells; told from the columns named when not given."),
    ] = None
    label: Annotated[str | None, Parameter(help="Column of the right arm.")] = None
    arm: Annotated[str | None, Parameter(help="Column of the arm that was shown.")] = None
    reward: Annotated[str | None, Parameter(help="Column of what it earned.")] = None
    propensity: Annotated[
        str | None, Parameter(help="Column of the probability it was shown with.")
    ] = None
    vector: Annotated[
        str | None, Parameter(help="Column that holds the context vector as a list.")
    ] = None
    features: Annotated[
        str | None, Parameter(help="Pattern of the columns of the context, such as 'pixel_*'.")
    ] = None
    id: Annotated[str | None, Parameter(help="Column of the context's id.")] = None
    unit_norm: Annotated[
        bool | None, Parameter(help="Scale each vector to length 1.", negative=())
    ] = None

    def source(self, stream: str, limit: int | None) -> Source:
        """Return the stream called `stream`, read as these options say; raises `Invalid`."""
        from loopwright.cli.streams import locate

        if limit is not None and limit < 1:
            raise Invalid(f"--limit is {limit}; read at least one row")
        bundled = locate(stream, self.format)
        named = {field: getattr(self, field) for field in bundled.columns.__struct_fields__}
        source = msgspec.structs.replace(
            bundled,
            columns=msgspec.structs.replace(
                bundled.columns, **{field: column for field, column in named.items() if column}
            ),
            unit_norm=bundled.unit_norm if self.unit_norm is None else self.unit_norm,
            limit=limit,
        )
        if self.kind not in (None, source.columns.kind):
            raise Invalid(
                f"--kind is {self.kind}, but the columns named describe a {source.columns.kind} stream"
            )
        return source


def replay(
    stream: Annotated[
        str, Parameter(help="A CSV, JSONL or Parquet file (may end in .gz), or a bundled name.")
    ],
    /,
    *,
    columns: Mapped = Mapped(),
    policy: Annotated[str, Parameter(help="Policy that chooses and learns.")] = "auto",
    experiment: Annotated[
        str | None, Parameter(help="Id of the experiment; the stream's name when not given.")
    ] = None,
    data: Annotated[
        Path | None,
        Parameter(help="Data directory to keep the result in; a temporary one when not given."),
    ] = None,
    limit: Annotated[int | None, Parameter(help="Rows to read at most.")] = None,
    seed: Annotated[int | None, Parameter(help="Same seed, same draws.")] = None,
    json: AsJson = False,
) -> None:
    """Drive a logged stream through select, feedback and learning.

    Bundled streams: digits, open-bandit-random, open-bandit-bts.
    """
    from loopwright.cli.streams import outline

    source = columns.source(stream, limit)
    found = outline(source)
    experiment_id = experiment or source.path.name.split(".")[0]
    with _data_dir(data) as folder, _opened(folder, seed) as loop:
        loop.experiments.create(
            experiment_id,
            arms=found.arms,
            policy=policy,
            reward=_reward_spec(found, source),
            dimension=found.dimension,
        )
        played = _play(loop, experiment_id, source, found, quiet=json)
        status = loop.experiments.status(experiment_id)
    report = _report(source, found, played, status)
    if json:
        put_json(report)
    else:
        _show(report, found)


def _data_dir(data: Path | None) -> Any:
    return nullcontext(data) if data else tempfile.TemporaryDirectory(prefix="loopwright-replay-")


@contextmanager
def _opened(folder: Path | str, seed: int | None) -> Iterator[Loop]:
    from loopwright.app.embedded import Loop
    from loopwright.app.settings import load_settings
    from loopwright.app.wiring import Services
    from loopwright.catalog import DEFAULT_TENANT

    rng = random.SystemRandom() if seed is None else random.Random(seed)
    services = Services(load_settings(data_dir=folder), rng=rng)
    services.start()
    with Loop(services, DEFAULT_TENANT) as loop:
        yield loop


def _reward_spec(found: Outline, source: Source) -> RewardSpec:
    if source.columns.kind == "full-information" or found.whole:
        return RewardSpec(type="binary")
    # Widened to 0 and 1: a log in which every shown row earned the same would give a range without width.
    return RewardSpec(type="bounded", low=min(found.low, 0.0), high=max(found.high, 1.0))


def _play(loop: Loop, experiment_id: str, source: Source, found: Outline, *, quiet: bool) -> Played:
    from loopwright.cli.streams import rows

    all_rows, late_rows = Tally(), Tally()
    # By rows and not by matches: policies that match differently are then compared over the same stretch.
    late_from = found.rows - max(round(found.rows * TAIL), 1)
    started = time.perf_counter()
    with _progress(found.rows, quiet=quiet) as step:
        for position, row in enumerate(rows(source)):
            selection = loop.agent.select(experiment_id, {"id": row.id, "vector": row.vector})
            earned = _earned(row, selection.arm.id)
            step(all_rows.rows)
            if earned is None:
                continue
            loop.agent.feedback(selection.request_id, earned)
            # The next row is chosen by what this one taught: the draws then depend on the seed alone.
            loop.wait_until_learned()
            # In a uniform log all weights are equal and cancel, as the estimate divides by their sum.
            weight = 1.0 if found.uniform or row.propensity is None else 1 / row.propensity
            all_rows.add(earned, weight)
            if position >= late_from:
                late_rows.add(earned, weight)
    return Played(
        rows=found.rows,
        matched=all_rows.rows,
        reward=all_rows.estimate(),
        late_reward=late_rows.estimate(),
        seconds=time.perf_counter() - started,
    )


def _earned(row: Row, selected: str) -> float | None:
    """Return what the selected arm earned; None when the row does not tell."""
    if row.label is not None:
        return float(selected == row.label)
    return row.reward if selected == row.arm else None


@contextmanager
def _progress(total: int, *, quiet: bool) -> Iterator[Any]:
    """Show a bar on a terminal; nothing anywhere else."""
    if quiet or not sys.stderr.isatty():
        yield lambda matched: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    # On stderr, so that stdout holds nothing but the result, also in a pipe.
    bar = Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[matched]} counted"),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        transient=True,
    )
    with bar:
        task = bar.add_task("replay", total=total, matched=0)
        yield lambda matched: bar.update(task, advance=1, matched=matched)


def _report(source: Source, found: Outline, played: Played, status: Any) -> dict[str, Any]:
    return {
        "stream": source.path.name,
        "kind": source.columns.kind,
        "experiment_id": status.experiment_id,
        "policy": status.policy,
        **msgspec.structs.asdict(played),
        "unmatched": played.rows - played.matched,
        "log_reward": found.mean_reward if source.columns.kind == "logged" else None,
        "log_uniform": found.uniform,
        "arms": [msgspec.structs.asdict(arm) for arm in status.arms],
    }


def _show(report: dict[str, Any], found: Outline) -> None:
    say(
        f"{report['stream']}: {report['rows']:,} {report['kind']} rows, {len(found.arms)} arms, "
        f"policy {report['policy']}, {report['seconds']:.1f} s"
    )
    if report["kind"] == "logged":
        say(f"matched    {report['matched']:,} (the policy chose the arm that was shown)")
        say(
            f"unmatched  {report['unmatched']:,} (passed over: what another arm would have earned is unknown)"
        )
        say(f"log        mean reward {report['log_reward']:.4f}")
        weighing = "" if report["log_uniform"] else ", weighted by 1/propensity"
        say(f"policy     {_told(report['reward'])}{weighing}")
    else:
        say(f"reward     {_told(report['reward'])}; uniform choice earns {1 / len(found.arms):.4f}")
        say(f"at the end {_told(report['late_reward'])}")
    shown = table("arm", "n", "mean", "low", "high", "share", "best")
    for arm in sorted(report["arms"], key=lambda arm: -(arm["share"] or 0))[:12]:
        shown.add_row(
            arm["arm_id"],
            f"{arm['n']:,}",
            number(arm["mean"], 4),
            number(arm["low"], 4),
            number(arm["high"], 4),
            percent(arm["share"]),
            percent(arm["p_best"]),
        )
    console().print(shown)


def _told(estimate: Estimate | None) -> str:
    if estimate is None:
        return "unknown: no row matched"
    return (
        f"mean reward {estimate.mean:.4f}, 95 % interval {estimate.low:.4f} to {estimate.high:.4f}, "
        f"worth {estimate.effective:,.0f} rows"
    )
