from __future__ import annotations

from pathlib import Path

import pytest

from loopwright.app.settings import Settings, load_settings
from loopwright.core.errors import SettingsInvalid


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_flags_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("loopwright.toml").write_text('[loopwright]\nport = 1\nhost = "h"\ndrain_s = 3\n')
    monkeypatch.setenv("LOOPWRIGHT__PORT", "2")
    monkeypatch.setenv("LOOPWRIGHT__HOST", "e")
    settings = load_settings(port=4, host=None)
    assert (settings.port, settings.host, settings.drain_s) == (4, "e", 3)
    assert settings.log_level == "info"


def test_every_problem_is_named_with_what_was_found() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        load_settings(port=99_999, queue_events=0)
    assert "99999" in caught.value.message
    assert "queue_events" in caught.value.message


def test_an_unknown_setting_is_refused_with_the_known_ones() -> None:
    Path("loopwright.toml").write_text("[loopwright]\nprt = 1\n")
    with pytest.raises(SettingsInvalid, match=r"no setting 'prt'.*port"):
        load_settings()


def test_a_named_file_must_be_there_and_be_toml(tmp_path: Path) -> None:
    with pytest.raises(SettingsInvalid, match="no settings file"):
        load_settings(tmp_path / "nope.toml")
    (tmp_path / "bad.toml").write_text("= 1")
    with pytest.raises(SettingsInvalid, match="TOML"):
        load_settings(tmp_path / "bad.toml")


@pytest.mark.parametrize("name", ["github_token", "classifier_key", "database"])
def test_a_secret_that_does_not_fit_is_named_and_not_shown(name: str) -> None:
    Path("loopwright.toml").write_text(f'[loopwright]\n{name} = ["hunter2"]\n')
    with pytest.raises(SettingsInvalid, match=f"'{name}' is not usable") as caught:
        load_settings()
    assert "hunter2" not in caught.value.message


def test_every_setting_with_a_secret_is_kept_out_of_messages() -> None:
    secret = [n for n, field in Settings.model_fields.items() if "Secret" in str(field.annotation)]
    assert secret
    for name in secret:
        with pytest.raises(SettingsInvalid) as caught:
            load_settings(None, **{name: {"hunter2": "hunter2"}})
        assert "hunter2" not in caught.value.message
