"""Loopwright closes the feedback loop of an AI product: select an arm, send feedback, and it learns.

`open(path)` runs the loop in this process; `Client` and `AsyncClient` talk to a server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loopwright.app.embedded import Loop
    from loopwright.app.embedded import open_loop as open
    from loopwright.client import AsyncClient, Client

__version__ = "0.1.0"

__all__ = ["AsyncClient", "Client", "Loop", "__version__", "open"]

_HOMES = {
    "open": ("loopwright.app.embedded", "open_loop"),
    "Loop": ("loopwright.app.embedded", "Loop"),
    "Client": ("loopwright.client", "Client"),
    "AsyncClient": ("loopwright.client", "AsyncClient"),
}


def __getattr__(name: str) -> Any:
    """Import on first use, so that the client does not pay for the engines, nor they for it."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, attribute = _HOMES[name]
    return getattr(import_module(module), attribute)
