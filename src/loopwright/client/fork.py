"""Renewal of clients in a forked child: it has none of the threads, and its copies of locks may stay held.

Web servers fork their workers after the application is loaded, so a client or a buffer made at import is often
used in a child.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any
from weakref import WeakMethod

_renewals: list[WeakMethod[Callable[[], Any]]] = []


def renew_after_fork(renew: Callable[[], Any]) -> None:
    """Call the bound method `renew` in every child that this process forks, as long as its object lives.

    It runs in the child before any of the child's own threads.
    """
    # Those whose object is gone are dropped here, so the list grows with the living clients only.
    _renewals[:] = [known for known in _renewals if known() is not None]
    # A plain weak reference to a bound method dies at once; a strong one would keep every client alive.
    _renewals.append(WeakMethod(renew))


def _renew_all() -> None:
    for known in list(_renewals):
        if (renew := known()) is not None:
            renew()


# Windows has no fork, and then no such function.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew_all)
