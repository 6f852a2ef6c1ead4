"""What a server checks before it serves, and what it leaves when it ends."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from loopwright.app.address import read_address
from loopwright.app.server import serve
from loopwright.app.settings import load_settings
from loopwright.core.errors import SettingsInvalid

SERVE = """
import sys
from pathlib import Path
from loopwright.app.server import serve
from loopwright.app.settings import load_settings
serve(load_settings(data_dir=Path(sys.argv[1]), port=0, host="127.0.0.1"))
"""


def test_a_port_that_is_taken_is_known_before_the_directory_is_touched(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        run = subprocess.run(  # in a process of its own: serving changes how signals are handled
            [
                sys.executable,
                "-c",
                SERVE.replace("port=0", f"port={taken.getsockname()[1]}"),
                str(tmp_path / "data"),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
    assert run.returncode == 1
    assert "cannot listen on 127.0.0.1" in run.stderr
    assert not (tmp_path / "data").exists()


def test_feedback_without_a_key_is_not_offered_to_the_network(tmp_path: Path) -> None:
    settings = load_settings(
        data_dir=tmp_path / "data", host="192.0.2.1", keyless_feedback_tenant="default"
    )
    with pytest.raises(SettingsInvalid, match="anybody could send feedback"):
        serve(settings)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_server_that_is_told_to_stop_forgets_its_address_and_ends_well(
    tmp_path: Path, number: signal.Signals
) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SERVE, str(tmp_path)], stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "url=" in line:
                break
        url = read_address(tmp_path)
        assert url is not None
        assert httpx.get(f"{url}/health/live", trust_env=False).status_code == 200
        process.send_signal(number)
        assert "stopped" in process.stderr.read()
    assert process.returncode == 0
    assert read_address(tmp_path) is None
