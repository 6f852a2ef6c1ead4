"""`loopwright demo`: start a server and watch it learn from real data."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Protocol

from cyclopts import Parameter

from loopwright.core.errors import Invalid

from .options import AsJson
from .show import FAILED, bar, console, number, percent, put_json, say, sparkline, table

if TYPE_CHECKING:
    from rich.console import RenderableType

    from loopwright.cli.digits import Progress, Served

PORT: Final = 8400
LEARNED: Final = 0.8
"""Mean reward over the last tenth that counts as having learned; uniform choice earns 0.1."""
FRAME_S: Final = 0.1
LINES: Final = 10


def demo(
    *,
    exit: Annotated[
        bool,
        Parameter(negative=(), help="Stop after the summary; fail when it did not learn."),
    ] = False,
    rounds: Annotated[int | None, Parameter(help="Images to show; 8985 when not given.")] = None,
    port: Annotated[
        int | None, Parameter(help="Port of the server; 8400, or a free one when that is taken.")
    ] = None,
    data: Annotated[Path, Parameter(help="Data directory of the demo's server.")] = Path(
        "loopwright-data/demo"
    ),
    seed: Annotated[int, Parameter(help="Decides the order of the images.")] = 1,
    json: AsJson = False,
) -> int:
    """Start a server and watch it learn from real data.

    It shows 1,797 handwritten digits five times; the server learns which digit is which from nothing but whether
    it was right.
    """
    from loopwright.cli.digits import ROUNDS, is_free, play, server

    rounds = ROUNDS if rounds is None else rounds
    if rounds < 1:
        raise Invalid(f"--rounds is {rounds}; show at least one image")
    if port is None:
        # Only the default gives way to another program; a port that was asked for and is taken is an error.
        port = PORT if is_free(PORT) else 0
    # The handler first: a demo that is ended between the two would leave its server running.
    with _terminable(), server(data, port=port) as served:
        with _view(quiet=json) as view:
            view.begin(served)
            progress = play(served, rounds=rounds, seed=seed, show=view.show)
        learned = progress.last >= LEARNED
        if json:
            put_json(_figures(progress, served))
        else:
            _summarise(progress, served)
        if exit:
            return 0 if learned else FAILED
        try:
            if not json:
                say("Serving until Ctrl-C.")
            served.process.wait()
        except KeyboardInterrupt:
            if not json:
                say("Stopping.")
    return 0


@contextmanager
def _terminable() -> Iterator[None]:
    """Take SIGTERM like Ctrl-C, so that the server is stopped too."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class View(Protocol):
    """Shows progress."""

    def begin(self, served: Served) -> None:
        """Say what is about to happen."""
        ...

    def show(self, progress: Progress) -> None:
        """Show how far it has come."""
        ...


class Silence:
    """Shows nothing, for programs."""

    def begin(self, served: Served) -> None:
        """Say nothing."""

    def show(self, progress: Progress) -> None:
        """Show nothing."""


class Lines:
    """Writes a line now and then, for logs and pipes."""

    def begin(self, served: Served) -> None:
        """Say what is about to happen."""
        say(f"server ready at {served.url}")

    def show(self, progress: Progress) -> None:
        """Write a line at every tenth of the way."""
        step = max(progress.rounds // LINES, 1)
        if progress.done % step == 0 or progress.done == progress.rounds:
            say(
                f"{progress.done:>6,} of {progress.rounds:,}  "
                f"reward now {progress.reward_now:.3f}  so far {progress.reward_so_far:.3f}  "
                f"uniform 0.100  feedback to serving {number(progress.delay_ms(0.5), 1)} ms"
            )


class Screen:
    """Draws a live picture on a terminal."""

    def __init__(self) -> None:
        from rich.live import Live

        # Without rich's thread, which would take processor time from the rounds whose delay is being
        # measured.
        self._live = Live(console=console(), auto_refresh=False)
        self._drawn_at = 0.0
        self._curve: list[float] = []
        self._url = ""

    def begin(self, served: Served) -> None:
        """Open the picture."""
        self._url = served.url
        self._live.start()

    def show(self, progress: Progress) -> None:
        """Draw, at most ten times a second."""
        if progress.done % max(progress.rounds // 48, 1) == 0:
            self._curve.append(progress.reward_now)
        now = time.monotonic()
        if now - self._drawn_at >= FRAME_S or progress.done == progress.rounds:
            self._drawn_at = now
            self._live.update(self.picture(progress), refresh=True)

    def close(self) -> None:
        """Leave the last picture standing."""
        self._live.stop()

    def picture(self, progress: Progress) -> RenderableType:
        """Return what the screen shows of `progress`."""
        from rich.console import Group
        from rich.panel import Panel
        from rich.text import Text

        speed = progress.done / max(progress.seconds, 1e-9)
        head = Text.assemble(
            ("Which digit is this? ", "bold"),
            f"{progress.done:,} of {progress.rounds:,} images  ",
            (bar(progress.done / progress.rounds, 30), "cyan"),
            f"  {speed:,.0f} rounds/s",
        )
        rewards = Text.assemble(
            "reward now ",
            (f"{progress.reward_now:6.1%}", "bold green"),
            f"   so far {progress.reward_so_far:6.1%}   uniform choice {0.1:6.1%}\n",
            ("           " + sparkline(self._curve, high=1.0), "green"),
        )
        delay = Text(
            f"feedback to serving  p50 {number(progress.delay_ms(0.5), 1)} ms   "
            f"p99 {number(progress.delay_ms(0.99), 1)} ms"
        )
        arms = Text("share of the recent traffic\n")
        for arm, share in progress.shares.items():
            arms.append(f"  {arm} ")
            # Every digit is shown equally often, so shares stay near a tenth: a quarter fills the bar.
            arms.append(bar(min(share * 4, 1.0), 40), style="blue")
            arms.append(f" {share:5.1%}\n")
        return Panel(
            Group(head, Text(), rewards, Text(), delay, Text(), arms),
            title=f"Loopwright at {self._url}",
            width=min(console().width, 92),
        )


@contextmanager
def _view(*, quiet: bool) -> Iterator[View]:
    if quiet:
        yield Silence()
    elif not sys.stdout.isatty():
        yield Lines()
    else:
        screen = Screen()
        try:
            yield screen
        finally:
            screen.close()


def _figures(progress: Progress, served: Served) -> dict[str, object]:
    return {
        "rounds": progress.done,
        "reward_first": progress.first,
        "reward_last": progress.last,
        "reward": progress.reward_so_far,
        "uniform": 0.1,
        "regret": progress.regret,
        "delay_p50_ms": progress.delay_ms(0.5),
        "delay_p99_ms": progress.delay_ms(0.99),
        "seconds": progress.seconds,
        "rounds_per_s": progress.done / progress.seconds,
        "learned": progress.last >= LEARNED,
        "url": served.url,
        "key_file": str(served.key_file),
    }


def _summarise(progress: Progress, served: Served) -> None:
    shown = table("", "learned", "uniform choice")
    shown.add_row("mean reward, first tenth", percent(progress.first), percent(0.1))
    shown.add_row("mean reward, last tenth", percent(progress.last), percent(0.1))
    shown.add_row("mean reward, all", percent(progress.reward_so_far), percent(0.1))
    shown.add_row(
        "regret (rewards missed)", number(progress.regret, 0), number(0.9 * progress.done, 0)
    )
    shown.add_row("feedback to serving, p50", f"{number(progress.delay_ms(0.5), 1)} ms", "")
    shown.add_row("feedback to serving, p99", f"{number(progress.delay_ms(0.99), 1)} ms", "")
    shown.add_row("seconds", number(progress.seconds, 1), "")
    shown.add_row(
        "selects and feedbacks per second", number(progress.done / progress.seconds, 0), ""
    )
    console().print(shown)
    say(f"server    {served.url}")
    say(f"API docs  {served.url}/docs")
    say(f"API key   in {served.key_file}")
