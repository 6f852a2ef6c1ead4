"""`loopwright doctor` and `loopwright serve` with a database server: what they say, and that doctor changes nothing."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.engines.postgres_server import PostgresServer

from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.backends.postgres_check import examine
from loopwright.cli import run
from loopwright.core.errors import DatabaseUnavailable
from loopwright.testing import ManualClock


@pytest.fixture
def address(postgres: PostgresServer) -> str:
    name = postgres.schema()
    with closing(psycopg.connect(postgres.url(), autocommit=True)) as link:
        link.execute(f"CREATE DATABASE {name} TEMPLATE template0 ENCODING 'UTF8'")
    return postgres.url(database=name)


def schemas(address: str) -> list[str]:
    with closing(psycopg.connect(address)) as link:
        rows = link.execute("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'loopwright%'")
        return sorted(name for (name,) in rows)


def examined(
    folder: Path, address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, dict[str, tuple[str, str]]]:
    monkeypatch.setenv("LOOPWRIGHT__DATABASE", address)
    code = run(["doctor", "--data", str(folder), "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return code, {f["check"]: (f["verdict"], f["found"]) for f in found["findings"]}


def test_doctor_asks_the_server_and_makes_nothing_in_it(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    tmp_path.chmod(0o700)
    _, found = examined(tmp_path, address, monkeypatch, capsys)
    assert found["database server"][0] == "ok"
    assert "version" in found["database server"][1]
    assert found["schemas"] == ("ok", "none yet; the user may write")
    assert "none yet" in found["raw copies"][1]
    assert schemas(address) == []


def test_doctor_names_the_schemas_of_a_loop(
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Services(load_settings(data_dir=tmp_path, database=address), clock=ManualClock()).close()
    before = schemas(address)
    _, found = examined(tmp_path, address, monkeypatch, capsys)
    assert "loopwright_catalog" in found["schemas"][1]
    assert found["server clock"][0] == "ok"
    assert schemas(address) == before


def test_doctor_says_what_the_user_may_not_do(
    postgres: PostgresServer,
    address: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    with closing(psycopg.connect(address, autocommit=True)) as link:
        link.execute("DROP ROLE IF EXISTS guest")
        link.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    as_guest = address.replace("postgresql://", "postgresql://guest:guest@", 1)
    if "@" in address:
        as_guest = "postgresql://guest:guest@" + address.split("@", 1)[1]
    code, found = examined(tmp_path, as_guest, monkeypatch, capsys)
    assert code == 1
    assert found["schemas"] == (
        "failed",
        "none yet, and the user may make none; grant CREATE on the database",
    )


def test_a_server_that_is_away_is_a_finding_and_a_sentence(
    postgres: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    away = postgres.url(port=1)
    code, found = examined(tmp_path, away, monkeypatch, capsys)
    assert code == 1
    assert "cannot be reached" in found["databases"][1]
    with pytest.raises(DatabaseUnavailable, match="cannot be reached"):
        examine(away, now_ms=0)


def test_serve_with_a_server_that_is_away_ends_with_one_sentence(
    postgres: PostgresServer, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "loopwright.cli", "serve", "--data", str(tmp_path), "--port", "0"],
        env={"PATH": "", "LOOPWRIGHT__DATABASE": postgres.url(port=1, password="secret")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode in (3, 4), done.stderr
    assert "cannot be reached" in done.stderr
    assert "Traceback" not in done.stderr
    assert "secret" not in done.stderr
