"""Keys that an embedded loop makes are those of the server that opens the directory next."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import loopwright
from loopwright.core.errors import Invalid, NotFound


def test_keys_are_made_rotated_and_revoked(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        made = loop.keys.create(role="viewer", name="dashboard")
        id = made["key"]["id"]
        assert made["secret"].startswith(made["key"]["prefix"])
        assert loop.keys.rotate(id, grace_s=60)["secret"] != made["secret"]
        loop.keys.revoke(id)
        found = {key["id"]: key for key in loop.keys.list()}
        assert found[id]["name"] == "dashboard"
        assert found[id]["revoked_at_ms"] is not None
        assert "secret" not in found[id]


def test_wrong_keys_are_refused(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        wrongs: tuple[dict[str, Any], ...] = (
            {},
            {"role": "king"},
            {"scopes": ["fly"]},
            {"role": "viewer", "tenant_id": 5},
        )
        for wrong in wrongs:
            with pytest.raises(Invalid):
                loop.keys.create(**wrong)
        with pytest.raises(NotFound):
            loop.keys.revoke("nope")


def test_tokens_of_the_signing_key_before_stay_valid(tmp_path: Path) -> None:
    with loopwright.open(tmp_path) as loop:
        loop.experiments.create("g", arms=["a"])
        token = loop.agent.select("g").request_id
        ring = loop.keys.rotate_signing()
        assert ring["active"] == max(ring["ids"])
        assert loop.agent.feedback(token, 1).duplicate is False
