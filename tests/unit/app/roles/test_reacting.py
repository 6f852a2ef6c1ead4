from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.app.roles.reacting import KEY_FILE, workflow_of
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.core.errors import SettingsInvalid
from loopwright.core.trigger import NewTrigger, Retrain


def services(folder: Path) -> Services:
    return Services(load_settings(data_dir=folder))


def test_the_key_is_private_and_secrets_differ_by_tenant_and_trigger(tmp_path: Path) -> None:
    made = services(tmp_path)
    try:
        assert (tmp_path / KEY_FILE).stat().st_mode & 0o077 == 0
        reacting = made.reacting
        for tenant, id in ("a", "bc"), ("ab", "c"), ("a", "c"):
            reacting.triggers.add(tenant, NewTrigger(id=id, condition=Retrain()))
        found = {
            reacting.secret(tenant, id).secret
            for tenant, id in (("a", "bc"), ("ab", "c"), ("a", "c"))
        }
        assert len(found) == 3
        assert [task.name for task in reacting.tasks()] == ["triggers", "deliveries", "commands"]
    finally:
        made.close()


@pytest.mark.parametrize("content", ["", "zz", "00ff"], ids=["empty", "no digits", "short"])
def test_a_key_that_cannot_be_used_is_told_at_the_start(tmp_path: Path, content: str) -> None:
    services(tmp_path).close()
    (tmp_path / KEY_FILE).write_text(content)
    with pytest.raises(SettingsInvalid, match="restore the file from a backup"):
        services(tmp_path)


def test_a_workflow_needs_a_token_and_a_repository(tmp_path: Path) -> None:
    assert workflow_of(load_settings(data_dir=tmp_path, github_repo="a/b")) is None
    found = workflow_of(load_settings(data_dir=tmp_path, github_repo="a/b", github_token="t"))
    assert found is not None
    assert found.name == "github:a/b/retrain.yml@main"
