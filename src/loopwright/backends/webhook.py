"""Signed webhooks over HTTP, as Standard Webhooks has them, to addresses that a server may talk to.

A tenant names the address, and this process stands inside the operator's network: an address that resolves to a
private one would turn the server into a way in (server-side request forgery). So the name is resolved here, each
address found is checked, and the connection goes to the address that was checked: a second look-up by a library could
be answered otherwise (DNS rebinding). Redirects are not followed, proxies are not used.

Reference: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import socket
import ssl
import threading
from contextlib import suppress
from typing import Final
from urllib.parse import SplitResult, urlsplit

from loopwright.core.errors import Invalid
from loopwright.core.trigger import Sent

TIMEOUT_S: Final = 15.0
"""For the whole attempt; Standard Webhooks asks for 15 to 30 seconds."""
PREFIX: Final = "whsec_"
AGENT: Final = "loopwright-webhooks"
GONE: Final = 410

_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_UNICAST: Final = ipaddress.ip_network("2000::/3")
"""All that is assigned of IPv6's global addresses; Python calls the old site-local ones global too."""
Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def signature(secret: str, *, id: str, at_s: int, body: bytes) -> str:
    """Return the `webhook-signature` of a message: HMAC-SHA256 over id, time and body. Raises `Invalid` for no secret."""
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except ValueError:
        raise Invalid("the secret of a webhook is not base 64") from None
    if not key:
        raise Invalid("the secret of a webhook is empty")
    signed = f"{id}.{at_s}.".encode() + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()}"


def is_public(address: str) -> bool:
    """Return whether an IP address is one of the internet at large, also behind the forms that carry an IPv4 address."""
    # A scope such as %eth0 names an interface of this machine.
    if "%" in address:
        return False
    return _is_public(ipaddress.ip_address(address))


def _is_public(found: Address) -> bool:
    if isinstance(found, ipaddress.IPv6Address):
        # Each form leads to the IPv4 address inside, which Python's own flags do not look at everywhere.
        teredo = found.teredo[1] if found.teredo else None
        inside = found.ipv4_mapped or found.sixtofour or teredo
        if inside is None and found in _NAT64:
            inside = ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)
        if inside is not None:
            return _is_public(inside)
        if found not in _UNICAST:
            return False
    # Multicast counts as global in Python.
    return found.is_global and not found.is_multicast


class Webhooks:
    """Sends messages. Safe to use from several threads; every attempt has a connection of its own."""

    def __init__(
        self,
        *,
        allow_private: bool = False,
        timeout_s: float = TIMEOUT_S,
        context: ssl.SSLContext | None = None,
    ) -> None:
        """`allow_private` lets messages go to private addresses too, and without TLS."""
        self._allow_private = allow_private
        self._timeout_s = timeout_s
        self._context = context or ssl.create_default_context()

    def check(self, url: str) -> SplitResult:
        """Return the parts of an address that messages may go to, as far as it says itself; raises `Invalid`."""
        try:
            found = urlsplit(url)
            port = found.port
        except ValueError as error:
            raise Invalid(f"the address of a webhook cannot be read: {error}") from None
        if found.scheme not in ("http", "https") or not found.hostname or port == 0:
            raise Invalid(
                "the address of a webhook is not usable; give one such as https://example.com/hook"
            )
        if any(ord(c) <= 32 or ord(c) >= 127 for c in url):
            raise Invalid(
                "the address of a webhook holds a blank, a control or a non-ASCII character; escape it"
            )
        if found.username is not None or found.password is not None:
            raise Invalid(
                "the address of a webhook holds a user name; receivers check the signature instead"
            )
        if self._allow_private:
            return found
        if found.scheme != "https":
            raise Invalid(
                "the address of a webhook does not begin with https; the setting webhook_private allows http"
            )
        try:
            is_refused = not is_public(found.hostname)
        except ValueError:
            is_refused = found.hostname == "localhost" or found.hostname.endswith(".localhost")
        if is_refused:
            raise Invalid(_refused(found.hostname))
        return found

    def send(self, url: str, *, id: str, at_s: int, body: bytes, secret: str) -> Sent:
        """Make one attempt, of at most the time-out from the look-up's end on; never raises for what the other side does."""
        try:
            target = self.check(url)
            address = self._resolve(target)
        except Invalid as error:
            return Sent(outcome="failed", said=error.message)
        # A label of more than 63 letters fails as text, before it is looked up.
        except (OSError, UnicodeError) as error:
            return Sent(outcome="failed", said=f"the name was not resolved: {error}"[:300])
        headers = {
            "host": target.netloc,
            "content-type": "application/json",
            "user-agent": AGENT,
            "webhook-id": id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": signature(secret, id=id, at_s=at_s, body=body),
        }
        connection = self._connection(target, address)
        # The time-out of a socket counts from byte to byte; a receiver that trickles would hold the sender for ever.
        cut = threading.Event()
        watch = threading.Timer(self._timeout_s, _cut, [connection, cut])
        watch.daemon = True
        watch.start()
        try:
            path = (target.path or "/") + (f"?{target.query}" if target.query else "")
            connection.request("POST", path, body=body, headers=headers)
            answer = connection.getresponse()
            # Cut off in the middle of its headers, an answer looks like one that ended there.
            if cut.is_set():
                raise TimeoutError
            return _outcome(answer.status, answer.getheader("retry-after"))
        except (OSError, http.client.HTTPException, ValueError) as error:
            said = (
                f"no answer within {self._timeout_s:g} s"
                if cut.is_set() or isinstance(error, TimeoutError)
                else (f"no answer: {type(error).__name__}: {error}"[:300])
            )
            return Sent(outcome="failed", said=said)
        finally:
            watch.cancel()
            connection.close()

    def _resolve(self, target: SplitResult) -> str:
        host = target.hostname or ""
        port = target.port or (443 if target.scheme == "https" else 80)
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(entry[4][0]) for entry in found]
        # One private address among public ones is refused too: the receiver's resolver could be playing with us.
        if not self._allow_private and not all(map(is_public, addresses)):
            raise Invalid(_refused(host))
        return addresses[0]

    def _connection(self, target: SplitResult, address: str) -> _Pinned:
        is_tls = target.scheme == "https"
        return _Pinned(
            target.hostname or "",
            target.port or (443 if is_tls else 80),
            address=address,
            context=self._context if is_tls else None,
            timeout=self._timeout_s,
        )


class _Pinned(http.client.HTTPConnection):
    """A connection to an address that was checked; TLS still verifies the name."""

    def __init__(
        self, host: str, port: int, *, address: str, context: ssl.SSLContext | None, timeout: float
    ) -> None:
        super().__init__(host, port, timeout=timeout)
        self._address = address
        self._context = context

    def connect(self) -> None:
        """Connect to the address, and not to what the name resolves to by now."""
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._context is not None:
            # The handshake comes after the assignment, so that one that trickles can be cut too.
            self.sock = secured = self._context.wrap_socket(
                self.sock, server_hostname=self.host, do_handshake_on_connect=False
            )
            secured.do_handshake()


def _cut(connection: _Pinned, cut: threading.Event) -> None:
    cut.set()
    sock: socket.socket | None = connection.sock
    if sock is not None:
        # Wakes a read that is under way; to close alone would not. The plain socket's own method: that of TLS would
        # take the connection apart under the thread that reads.
        with suppress(OSError):
            socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _outcome(status: int, retry_after: str | None) -> Sent:
    if 200 <= status < 300:
        return Sent(outcome="done", said=f"answered {status}")
    if status == GONE:
        return Sent(outcome="gone", said="answered 410: the receiver wants nothing more")
    if 300 <= status < 400:
        return Sent(outcome="failed", said=f"answered {status}; redirects are not followed")
    # The form with a date is rare, and our own pauses are long enough for it.
    seconds = (
        float(retry_after)
        if retry_after is not None and retry_after.isdecimal() and len(retry_after) < 9
        else 0.0
    )
    return Sent(outcome="failed", said=f"answered {status}", retry_after_s=seconds)


def _refused(host: str) -> str:
    return (
        f"the address of the webhook, {host[:200]}, lies in a private or reserved network; the setting webhook_private "
        "allows it"
    )
