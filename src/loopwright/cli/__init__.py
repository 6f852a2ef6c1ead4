"""The command line: `loopwright serve`, `demo`, `replay`, `simulate`, `experiments`, `report`, `export`, `check-trigger`, `calibrate`, `keys`,
`tenants`, `timezone`, `datasets`, `limits`, `versions`, `rollouts`, `triggers`, `doctor`.

Exit codes: 0 fine, 1 the condition asked about holds or a check failed, 2 the command was used wrongly, 3 the
configuration or the installation is wrong, 4 the server cannot be reached. Each command lives in a module of its
own that is imported when it runs, so that help answers at once.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Sequence
from typing import Final, NoReturn

from cyclopts import App, CycloptsError

from loopwright import __version__
from loopwright.core.errors import LoopError

from .show import WRONG_SETUP, WRONG_USE, exit_code, say, say_error

# 128 + SIGINT, as shells report a process that Ctrl-C has ended.
INTERRUPTED: Final = 130

_COMMANDS: Final = {
    "serve": ("serve:serve", "Serve select and feedback over HTTP, and learn."),
    "demo": ("demo:demo", "Start a server and watch it learn from real data."),
    "replay": ("replay:replay", "Drive a logged stream through select, feedback and learning."),
    "simulate": ("simulate:app", "Compare policies on made-up arms, or limits in made-up worlds."),
    "experiments": ("experiments:app", "Create experiments, start and end them, see how they do."),
    "report": ("report:report", "Tell how good the product is: metrics, trends, failures, drift."),
    "check-trigger": ("check_trigger:check_trigger", "Tell whether to retrain; start it if so."),
    "export": (
        "export:export",
        "Write decisions, feedback, interactions or steps as Parquet, JSON lines or CSV.",
    ),
    "calibrate": (
        "calibrate:calibrate",
        "Fit the surrogate that predicts a late outcome from early signals.",
    ),
    "keys": ("keys:app", "Create, list, rotate and revoke API keys; rotate the signing key."),
    "tenants": ("tenants:app", "Create tenants, set their quotas, see what they use."),
    "timezone": (
        "timezone:timezone",
        "Show or set the time zone in which the days of reports begin.",
    ),
    "datasets": (
        "datasets:app",
        "Build training sets by recipes; check, compare and export them.",
    ),
    "limits": ("limits:app", "Set limits whose rates follow overload and ratings, and ask them."),
    "versions": (
        "versions:app",
        "Register versions of prompts, models and tools, and see where they come from.",
    ),
    "rollouts": ("rollouts:app", "Roll a challenger out by evidence, or take it back."),
    "triggers": ("triggers:app", "Start something when quality drops; see what was started."),
    "doctor": ("doctor:doctor", "Check a data directory and this machine."),
}

_PURPOSE: Final = "Close the feedback loop of an AI product: select an arm, take feedback, learn which arm to serve."

app: Final = App(
    name="loopwright",
    help=_PURPOSE,
    version=__version__,
    help_format="plaintext",
)
# By the names of their modules: importing them all would make every `--help` wait for what the slowest
# needs.
for _name, (_target, _help) in _COMMANDS.items():
    app.command(f"{__name__}.{_target}", name=_name, help=_help)


def overview() -> str:
    """Return the list of commands. Written here because drawing it with rich would double the wait for it."""
    width = max(map(len, _COMMANDS))
    commands = (f"  {name:{width}}  {line}" for name, (_, line) in sorted(_COMMANDS.items()))
    return "\n".join(
        (
            "Usage: loopwright COMMAND",
            "",
            _PURPOSE,
            "",
            "Commands:",
            *commands,
            "",
            "loopwright COMMAND --help tells more; loopwright --version names the version.",
        )
    )


def _usage(error: CycloptsError) -> str:
    """Return what was wrong in one sentence: with the nearest command, without the list that --help shows."""
    said = str(error).partition(" Available commands:")[0].rstrip(".")
    end = " See --help." if said.endswith("?") else "; see --help"
    return f"{said[:1].lower()}{said[1:]}{end}"


def main(arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit with its code."""
    sys.exit(run(sys.argv[1:] if arguments is None else arguments))


def run(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; errors become one sentence on stderr, never a traceback."""
    match list(arguments):
        case ["--version"]:
            say(__version__)
            return 0
        case [] | ["--help"] | ["-h"]:
            say(overview())
            return 0
    # Looked for before parsing: an error of parsing, too, must come in the form that was asked for.
    as_json = "--json" in arguments
    try:
        code = app(
            list(arguments), exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        say_error(_usage(error), code="usage", as_json=as_json)
        return WRONG_USE
    except LoopError as error:
        say_error(error.message, code=error.code, as_json=as_json, **error.detail)
        return exit_code(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader, such as head, has closed the pipe; at exit Python would fail to flush to it.
        sys.stdout = None
        return 128 + signal.SIGPIPE
    except OSError as error:
        say_error(f"{error.strerror or error}: {error.filename}", code="broken", as_json=as_json)
        return WRONG_SETUP
    return code if isinstance(code, int) else 0
