"""`loopwright serve`."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter


def serve(
    *,
    data: Annotated[Path | None, Parameter(help="Folder that holds all state.")] = None,
    host: Annotated[str | None, Parameter(help="Address to listen on.")] = None,
    port: Annotated[int | None, Parameter(help="Port to listen on; 0 picks a free one.")] = None,
    config: Annotated[
        Path | None, Parameter(help="Settings file; loopwright.toml here when not given.")
    ] = None,
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"] | None,
        Parameter(help="Least severity that is logged."),
    ] = None,
    log_format: Annotated[
        Literal["text", "json"] | None, Parameter(help="Shape of a log line.")
    ] = None,
) -> None:
    """Serve select and feedback over HTTP, and learn.

    What is not given here comes from the environment (LOOPWRIGHT__PORT=8400), then from loopwright.toml. Stop it
    with Ctrl-C or SIGTERM: it finishes what it has accepted first.
    """
    # NumPy reads this when it is loaded. Our matrices are small: a second thread would only spin beside the first.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

    from loopwright.app.server import serve as run
    from loopwright.app.settings import load_settings

    run(
        load_settings(
            config,
            data_dir=data,
            host=host,
            port=port,
            log_level=log_level,
            log_format=log_format,
        )
    )
