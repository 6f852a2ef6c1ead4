"""Options that several commands share."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final
from urllib.parse import urlsplit

from cyclopts import Parameter

from loopwright.core.errors import SettingsInvalid

if TYPE_CHECKING:
    import httpx

    from loopwright.client import Client

AsJson = Annotated[
    bool, Parameter(name="--json", negative=(), help="Write JSON instead of tables.")
]


DEFAULT_URL: Final = "http://127.0.0.1:8400"


@Parameter(name="*")
@dataclass(frozen=True)
class Server:
    """Which server to talk to, and as whom."""

    url: Annotated[
        str | None,
        Parameter(
            env_var="LOOPWRIGHT__URL",
            show_default=False,
            help="Address of the server; when not given, where the server of the data directory listens.",
        ),
    ] = None
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

    @property
    def address(self) -> str:
        """Where to ask: the address given, that of the data directory's server, or the default one."""
        from loopwright.app.address import read_address

        url = self.url or read_address(self.data) or DEFAULT_URL
        return url.rstrip("/").removesuffix("/api/v1")

    def client(self) -> Client:
        """Return a client for this server."""
        from loopwright.client import Client

        return Client(self.address, self.key(), timeout_s=10.0)

    def key(self) -> str | None:
        """Return the API key to use; that of a server on this machine when none was given."""
        return self.api_key or self._local_key()

    def ask(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float,
        params: Mapping[str, str] | None = None,
        body: object = None,
    ) -> bytes:
        """Return what the server answers. Raises `Unreachable`, or the error that it answered with."""
        return self.answer(method, path, timeout_s=timeout_s, params=params, body=body).content

    def answer(
        self,
        method: str,
        path: str,
        *,
        timeout_s: float,
        params: Mapping[str, str] | None = None,
        body: object = None,
    ) -> httpx.Response:
        """Return the server's answer with its headers. Raises like `ask`."""
        import httpx
        import msgspec

        from loopwright.client.errors import Unreachable, read_problem

        key = self.key()
        if key is None:
            raise SettingsInvalid("no API key; give one with --api-key or LOOPWRIGHT__API_KEY")
        try:
            answer = httpx.request(
                method,
                self.address + path,
                params=params,
                content=None if body is None else msgspec.json.encode(body),
                headers={
                    "authorization": f"Bearer {key}",
                    "accept": "application/json",
                    "content-type": "application/json",
                },
                timeout=timeout_s,
            )
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Unreachable(
                f"no answer from {self.address}: {error}; is the server running?"
            ) from error
        if not answer.is_success:
            raise read_problem(answer.status_code, answer.content)
        return answer

    def _local_key(self) -> str | None:
        """Return the administrator's key of a server on this machine; never send it anywhere else."""
        from loopwright.app.keyring import ADMIN_KEY_FILE

        path = self.data / ADMIN_KEY_FILE
        if not _is_loopback(self.address) or not path.is_file():
            return None
        return path.read_text("utf-8").strip()


HERE: Final = Server()
"""The server that `loopwright serve` starts when nothing is set."""


def _is_loopback(url: str) -> bool:
    try:
        host = urlsplit(url).hostname or ""
    except ValueError:
        # Half an IPv6 address, such as `http://[`: the request itself says what is wrong with it.
        return False
    try:
        # By number and not by look-up: a name that a resolver maps to 127.0.0.1 today may lead elsewhere tomorrow,
        # and the administrator's key with it.
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
