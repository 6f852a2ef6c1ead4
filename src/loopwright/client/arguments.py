"""Checks of a call's arguments, before anything is sent.

Everything wrong becomes `Invalid` with a sentence: a product that catches `LoopError` around a call must not meet a
`TypeError` from inside it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import Any, Final, SupportsFloat

import msgspec
from msgspec import UNSET

from loopwright.core.context import Context
from loopwright.core.errors import ContextInvalid, Invalid, RewardInvalid

_SHOWN: Final = 60


def encoded(value: Any) -> bytes:
    """Return `value` as JSON; NumPy's numbers and arrays as Python's. Raises `Invalid`."""
    try:
        return msgspec.json.encode(value, enc_hook=_plain)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise Invalid(f"the arguments cannot be sent as JSON: {error}") from None


def text(name: str, value: Any) -> str:
    """Return `value` if it is text that UTF-8 can carry; raises `Invalid`."""
    if not isinstance(value, str):
        raise Invalid(f"{name} is {shown(value)}; it must be text")
    try:
        value.encode()
    except UnicodeEncodeError:
        # Half of a surrogate pair, as a truncated string of another language leaves it, has no UTF-8 form.
        raise Invalid(f"{name} is {value!a}, which is not valid Unicode text") from None
    return value


def texts(name: str, values: Any) -> list[str]:
    """Return `values` as a list of texts; raises `Invalid`, also for one text, which would fall into letters."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise Invalid(f"{name} is {shown(values)}; give a list, such as ['a', 'b']")
    return [text(f"{name}[{n}]", value) for n, value in enumerate(values)]


def moment(name: str, value: Any) -> str:
    """Return a date, a time, milliseconds or a text that says one of these as the server reads it; raises `Invalid`."""
    if isinstance(value, date):  # a datetime is one too
        return value.isoformat()
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return text(name, value)


def arms(values: Any) -> list[Any]:
    """Return arms as the server reads them: a bare id becomes an arm. Raises `Invalid`."""
    if isinstance(values, str | bytes | Mapping) or not isinstance(values, Iterable):
        raise Invalid(f"arms is {shown(values)}; give a list of ids or arms, such as ['a', 'b']")
    return [{"id": text("arm id", arm)} if isinstance(arm, str) else arm for arm in values]


def arm(
    given: Any,
    *,
    payload: Any,
    metadata: Mapping[str, Any] | None,
    min_share: float,
    max_share: float,
) -> dict[str, Any]:
    """Return one arm as the server reads it; raises `Invalid` for a whole arm that is described once more."""
    described = {
        "payload": payload,
        "metadata": metadata or {},
        "min_share": min_share,
        "max_share": max_share,
    }
    if isinstance(given, str):
        return {"id": text("arm", given), **described}
    if described != {"payload": None, "metadata": {}, "min_share": 0.0, "max_share": 1.0}:
        raise Invalid("a whole arm has its payload, metadata and shares itself; give them in it")
    return changes("arm", given)


def changes(name: str, given: Any) -> dict[str, Any]:
    """Return a struct or a mapping as the body of a request, without what it leaves unset; raises `Invalid`."""
    if not isinstance(given, msgspec.Struct | Mapping):
        raise Invalid(f"{name} is {shown(given)}; it must be a mapping")
    found: dict[str, Any] = msgspec.json.decode(encoded(given))
    return found


def arm_changes(given: Any, *, payload: Any, **members: Any) -> dict[str, Any]:
    """Return what changes of an arm, given whole or one by one; raises `Invalid` for both together."""
    # A null would be a value; a member that is left out is unchanged. Only a payload may be null.
    named = {member: value for member, value in members.items() if value is not None}
    if payload is not UNSET:
        named["payload"] = payload
    if given is None:
        return named
    if named:
        raise Invalid(f"give {', '.join(named)} in the change or beside it, not both")
    return changes("change", given)


def listed(name: str, items: Any) -> list[Any]:
    """Return `items` as a list; raises `Invalid` for a single item that is not in one."""
    if isinstance(items, str | bytes | Mapping) or not isinstance(items, Iterable):
        raise Invalid(f"{name} is {shown(items)}; give a list of items")
    return list(items)


def number(name: str, value: Any) -> float:
    """Return `value` as a finite float; raises `Invalid`, for text too."""
    # Text has no `__float__`, but NumPy's strings do; and True is an int.
    if isinstance(value, bool | str) or not isinstance(value, SupportsFloat):
        raise Invalid(f"{name} is {shown(value)}; it must be a number")
    found = float(value)
    if not math.isfinite(found):
        raise Invalid(f"{name} is {found}; it must be finite")
    return found


def mappings(name: str, items: Any) -> list[dict[str, Any]]:
    """Return `items` as a list of new dictionaries; raises `Invalid`."""
    found = []
    for n, item in enumerate(listed(name, items)):
        if not isinstance(item, Mapping):
            raise Invalid(f"{name}[{n}] is {shown(item)}; an item is a mapping")
        found.append(dict(item))
    return found


def context(given: Context | Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return a context as the server reads it; raises `Invalid`."""
    if given is None:
        return None
    if isinstance(given, Context):
        fields = msgspec.structs.asdict(given)
    elif isinstance(given, Mapping):
        fields = dict(given)
    else:
        raise ContextInvalid(
            f"context is {shown(given)}; give a mapping with id, vector and metadata, "
            "such as {'vector': [0.5, 1]}"
        )
    if fields.get("vector") is not None:
        fields["vector"] = _vector(fields["vector"])
    return {name: value for name, value in fields.items() if value is not None}


def reward(value: Any) -> float:
    """Return a reward as a finite float; raises `RewardInvalid`."""
    try:
        if isinstance(value, str | bytes):
            raise TypeError
        found = float(value)
    except (TypeError, ValueError, OverflowError):
        raise RewardInvalid(f"reward is {shown(value)}; it must be a number") from None
    # JSON has no NaN; it would travel as null and come back as a confusing error.
    if not math.isfinite(found):
        raise RewardInvalid(f"reward is {found}; it must be a finite number")
    return found


def shown(value: Any) -> str:
    """Return `value` for a sentence, cut where it is long."""
    said = ascii(value)
    return said if len(said) <= _SHOWN else said[:_SHOWN] + "…"


def _vector(vector: Any) -> list[float]:
    try:
        # Both are sequences: "12" would become the vector [1, 2], and bytes their codes.
        if isinstance(vector, str | bytes):
            raise TypeError(f"it is {shown(vector)}")
        numbers = [float(component) for component in vector]
    except (TypeError, ValueError, OverflowError) as error:
        raise ContextInvalid(f"context.vector must be a list of numbers: {error}") from None
    for index, number in enumerate(numbers):
        if not math.isfinite(number):
            raise ContextInvalid(
                f"context.vector[{index}] is {number}; components must be finite", index=index
            )
    return numbers


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence):
        return list(value)
    raise TypeError(f"{type(value).__name__} cannot be sent; give JSON-like values")
