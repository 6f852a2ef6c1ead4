from __future__ import annotations

from pathlib import Path

import pytest

import loopwright
from loopwright.core.errors import Invalid, NotFound


def test_an_embedded_loop_has_limits(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        assert loop.limits.put("chat", prior=1, burst=2).rate == 1
        answers = [loop.limits.acquire("chat", key="ada").allowed for _ in range(3)]
        assert answers == [True, True, False]
        loop.limits.report("chat", overloaded=1)
        assert [status.limit.id for status in loop.limits.list().items] == ["chat"]
        with pytest.raises(Invalid):
            loop.limits.acquire("chat", cost=-1)
        with pytest.raises(Invalid):
            loop.limits.put("a b", prior=1)
        loop.limits.delete("chat")
        with pytest.raises(NotFound):
            loop.limits.status("chat")
    with loopwright.open(tmp_path) as loop:
        assert loop.limits.list().items == ()
