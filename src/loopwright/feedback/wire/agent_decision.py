"""An agent's decision as earlier systems send it: a step under other member names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from msgspec.structs import replace

from loopwright.core.errors import Invalid
from loopwright.core.events import Fact, Stepped
from loopwright.feedback.draft import Draft, Verify
from loopwright.feedback.members import shown

from . import step
from .shape import MIXED, Shape

NAME: Final = "agent_decision"

_MEMBERS: Final = {
    "decision_type": "kind",
    "decision_data": "data",
    "timestamp": "taken_at",
}
"""Member of this shape → member of a step; the others have the same names in both."""


def read(item: dict[str, Any], received_ms: int, verify: Verify) -> Draft:
    """Read a decision; raises `Invalid`."""
    given = {
        _MEMBERS.get(name, name): value
        for name, value in item.items()
        if value is not None and name != "tenant_id"
    }
    tenant = item.get("tenant_id")
    if tenant is not None and not isinstance(tenant, str):
        raise Invalid(f"tenant_id is {shown(tenant)}; send a string")
    draft = step.read(given, received_ms, verify)
    wire: dict[str, Any] = {"shape": NAME}
    if tenant is not None:
        wire["tenant"] = tenant
    if "taken_at" in given:
        wire["at"] = given["taken_at"]
    draft.tenant_id = tenant
    assert draft.step is not None
    draft.step = replace(draft.step, wire=wire)
    return draft


def write(facts: Sequence[Fact]) -> dict[str, Any]:
    """Return a decision as it was sent."""
    fact = facts[0]
    assert isinstance(fact, Stepped)
    wire, said = fact.step.wire, step.write(facts)
    names = {ours: theirs for theirs, ours in _MEMBERS.items()}
    item = {names.get(name, name): value for name, value in said.items() if name != "taken_at"}
    item |= {"tenant_id": wire.get("tenant"), "timestamp": wire.get("at")}
    item.setdefault("decision_data", {})
    return {name: value for name, value in item.items() if value is not None}


AGENT_DECISION: Final = Shape(
    name=NAME,
    tells=lambda item: "decision_type" in item,
    told_by="decision_type",
    paths=MIXED | {"step"},
    read=read,
    write=write,
    fact=Stepped,
)
