"""A group of submissions: which facts are stored, which are duplicates, and where each submission begins."""

from __future__ import annotations

from typing import Any

from loopwright.core.events import Ticked
from loopwright.eventlog.groups import Submission, assemble, flaw_of, outcomes_of


def submission(*keys: bytes | None) -> Submission:
    return Submission([Ticked(k) for k in range(len(keys))], keys, lambda outcome: None, 0)


def test_a_key_of_the_log_or_of_an_earlier_fact_makes_a_duplicate() -> None:
    facts, keys, duplicates = assemble(
        [submission(b"a", b"b", b"a"), submission(b"b", b"c")], {b"c"}
    )

    assert len(facts) == 2
    assert keys == [b"a", b"b"]
    assert duplicates == [[False, False, True], [True, True]]


def test_facts_without_a_key_are_never_duplicates() -> None:
    facts, keys, duplicates = assemble([submission(None, None)], set())

    assert (len(facts), keys, duplicates) == (2, [], [[False, False]])


def test_offsets_go_on_from_one_submission_to_the_next() -> None:
    first, none, last = outcomes_of([[False, True, False], [True], [False]], 7)

    assert (first.first_offset, none.first_offset, last.first_offset) == (7, None, 9)


def test_a_fact_that_cannot_be_encoded_is_refused_with_a_reason() -> None:
    odd: Any = object()

    flaw = flaw_of([Ticked(odd)])

    assert flaw is not None
    assert "cannot be stored" in flaw.message
    assert flaw_of([Ticked(1)]) is None
