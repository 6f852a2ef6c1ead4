from __future__ import annotations

from typing import Any

from loopwright.core.events import Ticked
from loopwright.eventlog.groups import flaw_of


def test_a_fact_that_cannot_be_encoded_is_refused_with_a_reason() -> None:
    odd: Any = object()

    flaw = flaw_of([Ticked(odd)])

    assert flaw is not None
    assert "cannot be stored" in flaw.message
    assert flaw_of([Ticked(1)]) is None
