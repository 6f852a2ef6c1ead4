"""Where the server of a data directory listens: a file beside the lock, for the commands on this machine."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Final

from .keyring import write_private

ADDRESS_FILE: Final = "address"

_ANY: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - looked up here, not bound to


def url_of(host: str, port: int) -> str:
    """Return the address under which a listener of this machine is reached from this machine."""
    # The address of every interface can be bound to, and on some systems not connected to.
    host = _ANY.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def write_address(folder: Path, url: str) -> None:
    """Say that the server of `folder` listens at `url`; only its owner can read it."""
    write_private(folder / ADDRESS_FILE, url.encode() + b"\n")


def read_address(folder: Path) -> str | None:
    """Return where the server of `folder` listens, or listened when it was killed; None when nothing is known."""
    try:
        return (folder / ADDRESS_FILE).read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def forget_address(folder: Path) -> None:
    """Remove the address of the server of `folder`."""
    with suppress(OSError):
        (folder / ADDRESS_FILE).unlink()
