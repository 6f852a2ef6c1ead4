"""An AI call as earlier systems send it: one flat record, with its feedback and outcomes in members of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from loopwright.core.errors import Invalid
from loopwright.core.events import Fact, Interacted
from loopwright.feedback.draft import Draft, Verify
from loopwright.feedback.members import Members, shown

from . import interaction
from .shape import Shape

NAME: Final = "flat_interaction"

_RENAMED: Final = {"output_id": "id", "task_type": "task", "timestamp": "started_at"}
"""Member of this shape → member of our own; most others have the same names in both."""

_PAIRS: Final = (
    ("feedback_type", "feedback_value", "feedback", "type"),
    ("outcome_metric_name", "outcome_metric_value", "outcomes", "name"),
)
"""Name and value here, the list that our own shape has instead, and how an entry of it names its name."""

_OWN: Final = frozenset(
    {*_RENAMED, "tenant_id", "redaction_flags", "consent_scope"}
    | {name for pair in _PAIRS for name in pair[:2]}
)
_AS_SENT: Final = ("timestamp", "country", "consent_scope", "redaction_flags", "tenant_id")
"""Members that are kept as they were sent, because our own fields have less of them than their senders may say."""


def read(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Read a flat record; raises `Invalid`."""
    members = Members({name: value for name, value in item.items() if value is not None})
    wire: dict[str, Any] = {"shape": NAME}
    wire |= {name: members.left[name] for name in _AS_SENT if name in members.left}
    tenant = members.text("tenant_id")
    given: dict[str, Any] = {}
    flags = members.left.pop("redaction_flags", None)
    if flags is not None:
        given["redactions"] = dict.fromkeys(_words("redaction_flags", flags), 1)
    scope = members.left.pop("consent_scope", None)
    if scope is not None:
        given["consent"] = _words("consent_scope", scope)
    for named, valued, listed, key in _PAIRS:
        names, values = members.left.pop(named, None), members.left.pop(valued, None)
        if names is None and values is None:
            continue
        if names is None or values is None:
            # Half a pair says nothing that can be counted, but it was said.
            wire[named if values is None else valued] = names if values is None else values
            continue
        if listed in members.left:
            raise Invalid(f"there are {named} and {listed}; send one of them")
        given[listed] = _listed(names, values, key, named, valued)
        if not isinstance(names, list):
            wire.setdefault("single", []).append(listed)
        wire.setdefault("split", []).append(listed)
    given |= {_RENAMED.get(name, name): value for name, value in members.left.items()}
    draft = interaction.read(given, received_ms, verify)
    draft.tenant_id = tenant
    assert draft.interaction is not None
    draft.interaction = replace(draft.interaction, wire=wire)
    return draft


def _words(name: str, value: Any) -> list[str]:
    """Return a list of words; a single word is a list of one."""
    words = [value] if isinstance(value, str) else value
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise Invalid(f"{name} is {shown(value)}; send a list of strings")
    return words


def _listed(names: Any, values: Any, key: str, named: str, valued: str) -> list[dict[str, Any]]:
    """Return names and their values, one each or two lists of the same length, as entries of our own shape."""
    if not isinstance(names, list):
        names, values = [names], [values]
    if not isinstance(values, list) or len(names) != len(values):
        raise Invalid(f"{named} is a list of {len(names)}; send a {valued} of the same length")
    return [{key: name, "value": value} for name, value in zip(names, values, strict=True)]


def write(facts: Sequence[Fact]) -> dict[str, Any]:
    """Return a record as it was sent, with pseudonyms."""
    first = facts[0]
    assert isinstance(first, Interacted)
    wire, item = first.interaction.wire, interaction.write(facts)
    for ours in ("consent", "redactions", "started_at", "country"):
        item.pop(ours, None)
    for theirs, ours in _RENAMED.items():
        if ours in item:
            item[theirs] = item.pop(ours)
    for named, valued, listed, key in _PAIRS:
        if listed in wire.get("split", ()):
            entries = item.pop(listed, [])
            names, values = [e[key] for e in entries], [e["value"] for e in entries]
            is_single = listed in wire.get("single", ())
            item |= {
                named: names[0] if is_single else names,
                valued: values[0] if is_single else values,
            }
    return item | {name: wire[name] for name in (*_AS_SENT, *_HALVES) if name in wire}


_HALVES: Final = tuple(name for pair in _PAIRS for name in pair[:2])

FLAT_INTERACTION: Final = Shape(
    name=NAME,
    tells=lambda item: not _OWN.isdisjoint(item),
    paths=frozenset({"interaction"}),
    read=read,
    write=write,
    fact=Interacted,
)
