from __future__ import annotations

from pathlib import Path

import pytest

import loopwright
from loopwright.core.errors import Invalid, NotFound


def test_an_embedded_loop_keeps_triggers(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        triggers = loop.triggers
        made = triggers.add("t", condition={"kind": "retrain"}, actions=[{"kind": "github"}])
        assert triggers.list().items == (made,)
        assert triggers.report("t").judged.reason == "insufficient_data (n=0)"
        assert not triggers.disable("t").is_enabled
        assert triggers.enable("t").is_enabled
        assert triggers.secret("t").secret.startswith("whsec_")
        assert triggers.firings(trigger_id="t").items == ()
        assert triggers.deliveries(state="dead").items == ()
        assert triggers.remove("t").id == "t"
        for call in (triggers.report, triggers.remove, triggers.secret, triggers.send_again):
            with pytest.raises(NotFound):
                call("t")
        with pytest.raises(Invalid):
            triggers.deliveries(state="lost")
        with pytest.raises(Invalid):
            triggers.firings(limit=0)
