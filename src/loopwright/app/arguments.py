"""Guards of an embedded loop: its arguments are checked, and it is used in the process that opened it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import structs

from loopwright.client.arguments import listed, mappings, reward
from loopwright.core.errors import Conflict, Invalid
from loopwright.feedback import FeedbackRequest

from .wiring import Services

T = TypeVar("T")


class Opened:
    """Services that are open in the process that opened them."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._pid = os.getpid()
        self._is_closed = False

    @property
    def services(self) -> Services:
        """The services; raises `Conflict` once they are closed, and in a forked child.

        A child has none of the threads that write and learn, so feedback in it would wait for ever.
        """
        if self._is_closed:
            raise Conflict("the loop is closed; open it again with loopwright.open")
        # Compared at each use, because a fork gives no sign to an object that it copies.
        if os.getpid() != self._pid:
            raise Conflict(
                f"the loop was opened by process {self._pid}, and this is a forked child of it: open loops after "
                "the fork, each on a directory of its own, or let the children use a server with loopwright.Client"
            )
        return self._services

    def close(self) -> None:
        """Close the services; nothing happens when they are closed, or belong to the parent of a fork."""
        if not self._is_closed and os.getpid() == self._pid:
            self._is_closed = True
            self._services.close()


class Part:
    """A group of calls of one tenant on an open loop."""

    def __init__(self, opened: Opened, tenant_id: str) -> None:
        self._opened = opened
        self._tenant_id = tenant_id

    @property
    def _services(self) -> Services:
        return self._opened.services

    def _counted(self) -> Services:
        """Return the services for one request of the tenant, which its quota counts; raises `QuotaExceeded`."""
        services = self._opened.services
        if services.truth.catalog.meters:
            services.truth.catalog.meters.request(self._tenant_id)
        return services


def checked(shape: type[T], **members: Any) -> T:
    """Return `shape` from `members`, checked like a body that came over HTTP; raises `Invalid`.

    A struct takes any value in Python, and a fact of the wrong type could never be read from the log again.
    """
    try:
        return msgspec.convert(plainly(members), shape)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Invalid(f"the arguments do not fit: {error}") from None


def plainly(value: Any) -> Any:
    """Return `value` as JSON would carry it, NumPy's numbers and arrays as Python's; raises `Invalid`."""
    try:
        found = msgspec.to_builtins(value, enc_hook=_plain)
        # For its errors alone: half of a surrogate pair has no UTF-8 form, so the log could not keep it.
        msgspec.json.encode(found)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Invalid(f"the arguments do not fit: {error}") from None
    return found


def plain_item(given: Mapping[str, Any]) -> Any:
    """Return an item as JSON-like values; what cannot become one stays as it is, for intake to refuse alone."""
    try:
        return plainly(given)
    except Invalid:
        return given


def rewards(items: Any) -> list[dict[str, Any]]:
    """Return the items of a batch as mappings; raises `Invalid` when one is none."""
    return [
        {str(name): value for name, value in item.items()}
        for item in mappings(
            "items",
            [
                structs.asdict(item) if isinstance(item, msgspec.Struct) else item
                for item in listed("items", items)
            ],
        )
    ]


def report_of(members: dict[str, Any]) -> FeedbackRequest:
    """Return one reward as it would come over HTTP; raises `Invalid`."""
    if "reward" in members:
        # Python's own numbers and NumPy's; text is refused, as it is over HTTP.
        members = members | {"reward": reward(members["reward"])}
    return checked(FeedbackRequest, **members)


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} cannot be kept; send JSON-like values")
