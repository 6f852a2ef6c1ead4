"""Options that several commands share."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

from cyclopts import Parameter

if TYPE_CHECKING:
    from loopwright.client import Client

AsJson = Annotated[
    bool, Parameter(name="--json", negative=(), help="Write JSON instead of tables.")
]


@Parameter(name="*")
@dataclass(frozen=True)
class Server:
    """Which server to talk to, and as whom."""

    url: Annotated[str, Parameter(env_var="LOOPWRIGHT__URL", help="Address of the server.")] = (
        "http://127.0.0.1:8400"
    )
    api_key: Annotated[
        str | None,
        Parameter(
            env_var="LOOPWRIGHT__API_KEY",
            show_default=False,
            help="API key. For a server on this machine, the key that it keeps in its data directory is "
            "used when none is given.",
        ),
    ] = None
    data: Annotated[
        Path, Parameter(env_var="LOOPWRIGHT__DATA_DIR", help="Data directory of a local server.")
    ] = Path("loopwright-data")

    def client(self) -> Client:
        """Return a client for this server."""
        from loopwright.client import Client

        return Client(self.url, self.key(), timeout_s=10.0)

    def key(self) -> str | None:
        """Return the API key to use; that of a server on this machine when none was given."""
        return self.api_key or self._local_key()

    def _local_key(self) -> str | None:
        """Return the administrator's key of a server on this machine; never send it anywhere else."""
        from loopwright.app.keyring import ADMIN_KEY_FILE

        path = self.data / ADMIN_KEY_FILE
        if not _is_loopback(self.url) or not path.is_file():
            return None
        return path.read_text("utf-8").strip()


HERE: Final = Server()
"""The server that `loopwright serve` starts when nothing is set."""


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
