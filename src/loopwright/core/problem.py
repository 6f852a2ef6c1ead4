"""The problem document: how an error looks on the wire (RFC 9457)."""

from __future__ import annotations

import re
from typing import Any, Final

import msgspec

from .errors import LoopError


class Problem(msgspec.Struct, frozen=True):
    """An error (RFC 9457). `code` is stable; `detail` says what was found, what was expected, what to do."""

    type: str
    title: str
    status: int
    detail: str
    code: str


# Extension members share one object with the standard ones (RFC 9457, section 3.2) and must not replace them.
_RESERVED: Final = frozenset(Problem.__struct_fields__)


def document(status: int, code: str, sentence: str) -> dict[str, Any]:
    """Return the members that every problem document has."""
    return {
        # A URN, as the type need not be fetched (section 3.1.1): it stays valid wherever Loopwright is installed.
        "type": f"urn:loopwright:error:{code}",
        "title": code.replace("_", " ").capitalize(),
        "status": status,
        "detail": sentence,
        "code": code,
    }


def document_of(error: LoopError) -> dict[str, Any]:
    """Return the members of the problem document for `error`."""
    return document(error.status, error.code, error.message) | {
        name: value for name, value in error.detail.items() if name not in _RESERVED
    }


def fault_of(error: msgspec.ValidationError) -> str:
    """Return what msgspec found wrong, with the types of JSON where it names those of Python."""
    return in_json_types(str(error))


def in_json_types(sentence: str) -> str:
    """Return a sentence of msgspec's with the types of JSON where it names those of Python."""
    # Callers send JSON, in any language; the names of Python's types would mislead them.
    return _TYPES.sub(
        lambda types: _NAME.sub(lambda name: _JSON_TYPES.get(name[0], name[0]), types[0]), sentence
    )


def unreadable(error: Exception) -> str:
    """Return the sentence about a body that is not JSON in UTF-8, by what its decoder raised."""
    if isinstance(error, UnicodeDecodeError):
        return "the body is not valid JSON: it is not UTF-8"
    if isinstance(error, RecursionError):
        return "the body is not valid JSON that can be read: it is nested too deeply; flatten it"
    return f"the body is not valid JSON: {error}"


_JSON_TYPES: Final = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "dict": "object",
    "list": "array",
    "NoneType": "null",
}
# Only there: a field may be called `int`.
_TYPES: Final = re.compile(r"\b(?:Expected|got) `[^`]*`")
_NAME: Final = re.compile(r"\w+")
