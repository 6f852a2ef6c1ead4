from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from tests.unit.feedback.world import THUMB, World

from loopwright.core.errors import (
    BodyMalformed,
    Invalid,
)

MIXED: list[Any] = [
    {**THUMB, "labels": {"type": "a word, no member"}},
    {
        "type": "query",
        "message_id": "m",
        "user_id": "v",
        "data": {"thumbs": "up", "query": "a@b.de"},
    },
    {"kind": "signal", "name": "copy", "session_id": "s"},
    {"kind": "rating", "scale": "thumbs", "value": 7, "output_id": "o"},
    {"kind": "rating", "scale": "thumbs", "value": "up", "output_id": "o"},
    {"kind": "signal", "type": "explicit", "output_id": "o"},
    {"original": "a", "corrected": "b", "message_id": "m"},
    {**THUMB, "value": 0, "message": "wrong, ask a@example.com", "ip_address": "203.0.113.9"},
    {"kind": "annotation", "rubric": "r", "rubric_version": 1, "label": "good", "output_id": "o"},
    {"nothing": "known"},
    7,
]


def test_a_body_becomes_what_its_items_become_as_objects(world: World) -> None:
    spelt = json.dumps({"items": MIXED}).encode()
    other = World()
    for made in (world, other):  # pseudonyms are random, in the order of their making
        made.people.resolve("acme", ["u", "v"])
    one, two = world.intake.prepare("acme", "feedback", spelt), other.take(*MIXED)
    assert (one.facts, one.keys, one.places) == (two.facts, two.keys, two.places)
    assert [str(r.error) for r in one.refusals.values()] == [
        str(r.error) for r in two.refusals.values()
    ]
    assert list(one.refusals) == list(two.refusals) == [3, 4, 9, 10]
    other.close()


@pytest.mark.parametrize(
    "body",
    [
        b'{"kind": "signal", "name": "\xff\xfe", "output_id": "o"}',
        b'{"items": [{"kind": "signal", "name": "\xff", "output_id": "o"}]}',
        b'{"items": [{"type": "query", "data": {"comment": "\xff"}}]}',
        b'{"kind": ',
        b"",
        b"[" * 100_000,
        b'{"items": [' + b"[" * 100_000,
    ],
)
def test_a_body_that_is_not_json_in_utf_8_is_malformed(body: bytes, world: World) -> None:
    with pytest.raises(BodyMalformed) as caught:
        world.intake.prepare("acme", "feedback", body)
    assert caught.value.status == 400
    assert world.quarantine.list("acme").held == 0


@pytest.mark.parametrize(
    "body",
    [{"items": []}, {"items": [THUMB] * 1001}, {"items": "x"}, {"items": [THUMB], "more": 1}],
)
def test_a_batch_has_one_to_a_thousand_items(body: Any, world: World) -> None:
    with pytest.raises(Invalid, match="1 to 1000"):
        world.intake.prepare("acme", "feedback", json.dumps(body).encode())


def test_bytes_and_objects_are_understood_alike(world: World) -> None:
    items: Sequence[Any] = [
        THUMB,
        {**THUMB, "value": 7},
        {"output_id": "o", "thumbs": "up", "comment": "kind"},
        {"original": "kind", "corrected": "type", "message_id": "m"},
        {"kind": "praise"},
        {"type": "query", "message_id": "m"},
        3,
    ]
    body = json.dumps({"items": items}).encode()
    read, given = world.intake.prepare("acme", "feedback", body), world.take(*items)
    assert read.keys == given.keys
    assert {n: r.error.message for n, r in read.refusals.items()} == {
        n: r.error.message for n, r in given.refusals.items()
    }
    assert set(read.refusals) == {1, 4, 6}


def test_only_what_waits_for_the_disk_or_a_machine_asks_for_a_thread(world: World) -> None:
    def waits(item: Any) -> bool:
        return world.intake.waits(world.intake.understand("acme", "feedback", [item]))

    assert waits(THUMB), "a new user is written down"
    world.people.resolve("acme", ["u"])
    assert not waits(THUMB)
    assert waits({**THUMB, "value": 7}), "a refused item goes to the quarantine"
    world.pipeline.asks_others = True
    assert waits(THUMB)


def test_a_large_body_is_prepared_like_a_small_one(world: World) -> None:
    items = [{**THUMB, "output_id": f"o{n}", "message": "m" * 100} for n in range(500)]
    prepared = world.intake.prepare("acme", "feedback", json.dumps({"items": items}).encode())
    assert len(prepared.facts) == 500


SURROGATE = b'"\\ud800"'
FAULTY = [
    b'{"kind": "signal", "name": "copy", "output_id": %s}' % SURROGATE,
    b'{"kind": "signal", "name": "copy", "output_id": "o", "message": %s}' % SURROGATE,
    b'{"type": "query", "output_id": "o", "data": {"k": [%s]}}' % SURROGATE,
    b'{"output_id": "o", "thumbs": "up", "comment": %s}' % SURROGATE,
    b'{"original": "a", "corrected": %s, "message_id": "m"}' % SURROGATE,
    b'{"kind": "measurement", "name": "ms", "value": 1e999, "output_id": "o"}',
    b'{"type": "query", "output_id": "o", "data": {"n": -1e999}}',
]


@pytest.mark.parametrize("faulty", FAULTY, ids=range(len(FAULTY)))
def test_an_item_that_cannot_be_decoded_is_refused_alone_and_kept(
    faulty: bytes, world: World
) -> None:
    sound = json.dumps(THUMB).encode()
    prepared = world.intake.prepare("acme", "feedback", b'{"items": [%s, %s]}' % (faulty, sound))
    assert (list(prepared.refusals), prepared.places) == ([0], [1])
    refusal = prepared.refusals[0]
    assert (refusal.error.status, refusal.error.code) == (400, "body_malformed")
    held = world.quarantine.read("acme", refusal.quarantine_id or "")
    assert not held.is_whole
    assert json.dumps(held.body, allow_nan=False, ensure_ascii=False).encode()


@pytest.mark.parametrize("path", ["rating", "signals", "interaction", "step", "correction"])
def test_an_item_that_cannot_be_decoded_is_refused_alone_on_every_path(
    path: str, world: World
) -> None:
    body = b'{"items": [{"id": %s}, 7]}' % SURROGATE
    refusals = world.intake.prepare("acme", path, body).refusals
    assert [refusals[place].error.status for place in (0, 1)] == [400, 422]


@pytest.mark.parametrize(
    "faulty",
    [
        {**THUMB, "output_id": "\ud800"},
        {**THUMB, "message": "\udfff"},
        {"type": "query", "output_id": "o", "data": {"\ud800": 1}},
        {"type": "query", "output_id": "o", "data": {"k": {1, 2}, "o": object()}},
        {"kind": "measurement", "name": "ms", "value": float("inf"), "output_id": "o"},
        {**THUMB, "labels": {1: object()}},
        object(),
    ],
    ids=range(7),
)
def test_an_object_that_cannot_be_stored_is_refused_alone_and_kept(
    faulty: Any, world: World
) -> None:
    prepared = world.take(faulty, THUMB)
    assert (list(prepared.refusals), prepared.places) == ([0], [1])
    assert prepared.refusals[0].error.status == 422
    id = prepared.refusals[0].quarantine_id or ""
    assert not world.quarantine.read("acme", id).is_whole
