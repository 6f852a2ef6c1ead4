from __future__ import annotations

import pytest

from loopwright.core.errors import Broken, Invalid
from loopwright.insights.sections import SECTIONS, Attempts, sections


def test_sections_are_named_or_refused() -> None:
    assert sections(None) == SECTIONS
    assert sections(["drift", "metrics", "drift"]) == ("drift", "metrics")
    with pytest.raises(Invalid, match="no section 'moods'"):
        sections(["moods"])


def test_a_part_that_fails_leaves_out_its_sections_and_no_other() -> None:
    tried = Attempts(["metrics", "drift", "joins"])

    assert tried.make(("metrics",), lambda: 7) == 7
    assert tried.make(("breakdown", "drift"), lambda: 1 / 0) is None
    assert tried.failed == {"drift": "float division by zero"} or set(tried.failed) == {"drift"}
    assert (tried.wants("drift"), tried.wants("joins")) == (False, True)
    assert tried.make(("drift",), lambda: 7) is None
    assert tried.make(("versions",), lambda: 7) is None


def test_a_broken_installation_is_no_facts_doing() -> None:
    def broken() -> int:
        raise Broken("the disk is full")

    with pytest.raises(Broken, match="full"):
        Attempts().make(("drift",), broken)
