from __future__ import annotations

from pathlib import Path

import pytest

import loopwright
from loopwright.core.errors import Conflict, Invalid, NotFound, QuotaExceeded


def test_an_embedded_loop_makes_tenants_and_sets_their_quotas(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        assert loop.tenants.create("acme", name="Acme").name == "Acme"
        with pytest.raises(Conflict):
            loop.tenants.create("acme")
        assert [tenant.id for tenant in loop.tenants.list()] == ["acme", "default"]
        assert loop.tenants.set_quotas("acme", experiments=3).quotas.experiments == 3
        assert loop.tenants.usage("acme").experiments.limit == 3
        assert loop.tenants.usage().tenant_id == "default"
        with pytest.raises(NotFound):
            loop.tenants.usage("nowhere")
        with pytest.raises(Invalid):
            loop.tenants.set_quotas("acme", experiments=-1)


def test_quotas_hold_in_an_embedded_loop_and_after_it_was_opened_again(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("greeting", arms=["a", "b"])
        tokens = [loop.agent.select("greeting").request_id for _ in range(4)]
        loop.agent.feedback(tokens[0], 1)
        loop.tenants.set_quotas("default", events_per_day=2, experiments=1)
        loop.agent.feedback(tokens[1], 1)
        with pytest.raises(QuotaExceeded, match="events_per_day is 2 and 2 are used"):
            loop.agent.feedback(tokens[2], 1)
        with pytest.raises(QuotaExceeded, match="experiments"):
            loop.experiments.create("other", arms=["a", "b"])
    with loopwright.open(tmp_path) as loop:
        assert loop.tenants.usage().events_per_day.used == 2
        with pytest.raises(QuotaExceeded):
            loop.agent.feedback(tokens[2], 1)
        items = [{"kind": "rating", "scale": "stars", "value": 4, "output_id": id} for id in "ab"]
        loop.tenants.set_quotas("default", events_per_day=3)
        assert [found.status for found in loop.feedback.send(items)] == [201, 429]
        loop.tenants.set_quotas("default", requests_per_minute=1)
        loop.agent.select("greeting")
        for call in (
            lambda: loop.agent.select("greeting"),
            lambda: loop.agent.feedback(tokens[2], 1),
            lambda: loop.feedback.send(items),
        ):
            with pytest.raises(QuotaExceeded, match="requests_per_minute"):
                call()
