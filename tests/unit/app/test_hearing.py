"""Feedback of an embedded loop: what it says of a send, and for whom it reports."""

from __future__ import annotations

from pathlib import Path

import pytest

import loopwright
from loopwright.core.errors import NotFound, RawNotKept


def test_a_send_is_counted_and_its_results_are_in_order(tmp_path: Path) -> None:
    star = {"kind": "rating", "scale": "stars", "event_id": "e", "output_id": "o"}
    with loopwright.open(tmp_path) as loop:
        receipt = loop.feedback.send(
            [{**star, "value": 4}, {**star, "value": 4}, {**star, "value": 9}]
        )
        assert (receipt.accepted, receipt.duplicates, receipt.rejected) == (1, 1, 1)
        assert [result.status for result in receipt] == [201, 200, 422]
        assert receipt[2] == receipt.results[-1]
        assert len(receipt) == 3


def test_reports_are_of_the_loops_tenant_unless_another_is_named(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.tenants.create("acme")
        for id, tenant_id in ((None, "default"), ("acme", "acme")):
            assert loop.feedback.quality(id).tenant_id == tenant_id
            assert loop.feedback.trust(id).tenant_id == tenant_id
        made = loop.feedback.release("acme", from_ms=1, to_ms=2)
        with pytest.raises(NotFound):
            loop.feedback.withdraw(made.id)
        assert loop.feedback.withdraw(made.id, "acme").withdrawn_by == "embedded"
        with pytest.raises(NotFound):
            loop.feedback.quality("nobody")


def test_without_raw_copies_there_is_none_to_read(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop, pytest.raises(RawNotKept):
        loop.feedback.raw("e")
