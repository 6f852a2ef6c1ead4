from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from loopwright.core.decision import Decision
from loopwright.core.errors import LogCorrupt
from loopwright.core.events import Changed, Decided, Fact, Received, RolledBack, Ticked
from loopwright.core.feedback import Outcome
from loopwright.core.upcast import SCHEMA_VERSION, decode, encode

ids = st.uuids().map(lambda u: u.hex)
words = st.text(st.characters(codec="utf-8"), max_size=12)
times = st.integers(0, 2**47)
decisions = st.builds(
    Decision,
    id=ids,
    tenant_id=words,
    experiment_id=words,
    arm_id=words,
    propensity=st.floats(0, 1, exclude_min=True),
    snapshot=st.integers(0, 2**50),
    decided_at_ms=times,
    unit_id=st.none() | words,
    vector=st.none() | st.binary(max_size=32),
)
facts: st.SearchStrategy[Fact] = st.one_of(
    st.builds(Decided, decisions),
    st.builds(
        Received,
        event_id=ids,
        at_ms=times,
        decision=decisions,
        feedback=st.builds(Outcome, words, st.floats(allow_nan=False)),
    ),
    st.builds(Ticked, at_ms=times),
    st.builds(
        RolledBack,
        at_ms=times,
        tenant_id=words,
        experiment_id=words,
        snapshot=st.integers(0, 2**50),
        state=st.binary(max_size=32),
    ),
    st.builds(
        Changed,
        at_ms=times,
        tenant_id=words,
        actor=words,
        subject=words,
        action=words,
        detail=st.dictionaries(words, st.integers(0, 9), max_size=3),
    ),
)
DECISION = Decision("0" * 32, "default", "greeting", "warm", 0.5, 3, 1000)


@given(st.lists(facts, max_size=8))
def test_facts_come_back_as_they_were_written(written: list[Fact]) -> None:
    assert decode(encode(written)) == written


@given(facts)
def test_every_fact_knows_its_tenant_and_time(fact: Fact) -> None:
    inner = fact.decision.tenant_id if isinstance(fact, Decided | Received) else fact.tenant_id
    assert fact.tenant_id == inner
    assert isinstance(fact.at_ms, int)


def test_a_decided_fact_happened_when_the_decision_was_made() -> None:
    assert (Decided(DECISION).at_ms, Decided(DECISION).tenant_id) == (1000, "default")


@given(st.lists(facts, min_size=1, max_size=4), st.data())
def test_a_batch_cut_short_or_extended_is_called_corrupt(
    written: list[Fact], data: st.DataObject
) -> None:
    body = encode(written)
    cut = data.draw(st.integers(0, len(body) - 1))
    for bad in (body[:cut], body + b"\x00"):
        with pytest.raises(LogCorrupt, match="cannot be decoded"):
            decode(bad)


@pytest.mark.parametrize(
    "body", [b"", b"\xc1", b"\x91\x92\xa4\xff\xff\xff\xff\x01", b"\x91\x91\x05"]
)
def test_rubbish_is_called_corrupt(body: bytes) -> None:
    with pytest.raises(LogCorrupt):
        decode(body)


def test_a_newer_batch_is_refused_rather_than_guessed_at() -> None:
    with pytest.raises(LogCorrupt, match="upgrade Loopwright") as caught:
        decode(b"\x90", version=SCHEMA_VERSION + 1)
    assert caught.value.detail == {"found": SCHEMA_VERSION + 1, "expected": SCHEMA_VERSION}


@pytest.mark.parametrize("version", [0, -3])
def test_a_version_that_never_was_is_called_corrupt(version: int) -> None:
    with pytest.raises(LogCorrupt, match="never was"):
        decode(encode([Ticked(1)]), version=version)


def seconds_to_ms(fact: list[Any]) -> list[Any]:
    """Version -1 counted seconds."""
    return [fact[0], fact[1] * 1000, *fact[2:]]


def tick_to_ticked(fact: list[Any]) -> list[Any]:
    """Version 0 said `tick`."""
    return ["ticked" if fact[0] == "tick" else fact[0], *fact[1:]]


OLDER = {SCHEMA_VERSION - 2: seconds_to_ms, SCHEMA_VERSION - 1: tick_to_ticked}


@given(st.lists(st.integers(0, 2**40), max_size=5), st.sampled_from(sorted(OLDER)))
def test_older_batches_walk_through_every_upcaster_in_turn(
    times_s: list[int], version: int
) -> None:
    scale = 1000 if version == SCHEMA_VERSION - 2 else 1
    body = msgspec.msgpack.encode([["tick", t] for t in times_s])
    read = decode(body, version=version, upcasters=OLDER)
    assert read == [Ticked(t * scale) for t in times_s]


@pytest.mark.parametrize("body", [b"\xc1", b"\x91\x91\xa4tick", b"\x91\x92\xa4nope\x01"])
def test_an_older_batch_that_no_upcaster_can_read_is_called_corrupt(body: bytes) -> None:
    with pytest.raises(LogCorrupt, match="cannot be decoded"):
        decode(body, version=SCHEMA_VERSION - 2, upcasters=OLDER)


def test_fields_added_at_the_end_read_older_facts_with_their_default() -> None:
    short = msgspec.msgpack.encode([["ticked", 5]])
    assert decode(short) == [Ticked(5, "")]
    seven = [*msgspec.to_builtins(DECISION)[:7]]
    assert decode(msgspec.msgpack.encode([["decided", seven]])) == [Decided(DECISION)]
