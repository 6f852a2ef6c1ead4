"""How a client is set up, checked when it is made rather than at its first call."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Final, SupportsFloat, SupportsIndex

import httpx

from loopwright.core.errors import SettingsInvalid

from .requests import API

DEFAULT_URL: Final = "http://127.0.0.1:8400"


def address(base_url: str) -> str:
    """Return the address of a server without a slash or our own prefix at its end; raises `SettingsInvalid`."""
    try:
        url = httpx.URL(base_url)
    except (httpx.InvalidURL, TypeError, ValueError) as error:
        raise SettingsInvalid(f"{base_url!r} is not an address: {error}") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise SettingsInvalid(
            f"{base_url!r} is not the address of a server; write it like {DEFAULT_URL}"
        )
    # Every path below begins with it, and addresses are often copied together with it.
    return str(base_url).rstrip("/").removesuffix(API).rstrip("/")


def patience(timeout_s: float) -> float:
    """Return seconds above 0; raises `SettingsInvalid`."""
    # True is an int, and NumPy's strings have `__float__`: both are mistakes here.
    if isinstance(timeout_s, bool | str) or not isinstance(timeout_s, SupportsFloat):
        raise SettingsInvalid(f"timeout_s is {timeout_s!r}; give seconds as a number")
    seconds = float(timeout_s)
    if not (math.isfinite(seconds) and seconds > 0):
        raise SettingsInvalid(f"timeout_s is {seconds}; give seconds above 0")
    return seconds


def tries(retries: int) -> int:
    """Return a whole number from 0; raises `SettingsInvalid`."""
    if isinstance(retries, bool) or not isinstance(retries, SupportsIndex) or int(retries) < 0:
        raise SettingsInvalid(f"retries is {retries!r}; give a whole number from 0")
    return int(retries)


def defaults(default_arms: Mapping[str, object] | None) -> dict[str, object]:
    """Return local default arms by experiment; raises `SettingsInvalid`."""
    if default_arms is not None and not isinstance(default_arms, Mapping):
        raise SettingsInvalid(
            f"default_arms is {default_arms!r}; map experiment ids to arms, such as {{'greeting': 'a'}}"
        )
    return dict(default_arms or {})


def header(api_key: str) -> str:
    """Return an API key that a header can carry; raises `SettingsInvalid`."""
    # A line break would end the header and begin another one.
    if not isinstance(api_key, str) or not api_key.isascii() or not api_key.isprintable():
        raise SettingsInvalid("the API key has characters that no key has; copy it again")
    return api_key
