from __future__ import annotations

from typing import get_args

import msgspec
import pytest

from loopwright.core.decision import Decision
from loopwright.core.events import Decided, Expected, Fact, Received
from loopwright.core.feedback import Outcome, Who

DECISION = Decision("d1", "acme", "greeting", "a", 0.25, 7, 1_000)
OUTCOME = Outcome("reward", 1.0)


def test_facts_about_a_decision_belong_to_its_tenant() -> None:
    received = Received("e1", 2_000, DECISION, OUTCOME)
    expected = Expected("e2", 3_000, DECISION, OUTCOME, "v1")
    assert {fact.tenant_id for fact in (Decided(DECISION), received, expected)} == {"acme"}
    assert Decided(DECISION).at_ms == 1_000
    assert (received.at_ms, expected.at_ms) == (2_000, 3_000)


def test_every_kind_of_fact_has_its_own_tag_and_travels_as_an_array() -> None:
    kinds = get_args(Fact)
    tags = {kind.__struct_config__.tag for kind in kinds}
    assert len(tags) == len(kinds)
    assert all(
        kind.__struct_config__.array_like and kind.__struct_config__.frozen for kind in kinds
    )


@pytest.mark.parametrize("kind", get_args(Fact))
def test_every_fact_says_when_it_happened_and_whose_it_is(kind: type) -> None:
    assert hasattr(kind, "at_ms")
    assert hasattr(kind, "tenant_id")


def test_a_fact_survives_the_log_and_one_without_later_fields_is_read_with_their_defaults() -> None:
    whole = Received("e1", 2_000, DECISION, OUTCOME, derived=True, who=Who())
    written = msgspec.msgpack.encode(whole)
    assert msgspec.msgpack.decode(written, type=Fact) == whole
    older = msgspec.msgpack.encode(msgspec.msgpack.decode(written)[:5])
    assert msgspec.msgpack.decode(older, type=Fact) == Received("e1", 2_000, DECISION, OUTCOME)
