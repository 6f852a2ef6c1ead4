from __future__ import annotations

import os
import select
import sys
from pathlib import Path

import pytest

from loopwright.backends.command import Commands
from loopwright.core.errors import Invalid
from loopwright.core.trigger import Sent


def run(script: str, told: bytes = b"{}", **more: float) -> Sent | None:
    commands = Commands({"c": [sys.executable, "-c", script]}, **more)  # type: ignore[arg-type]
    return commands.run("c", told=told)


def is_there(pid: int) -> bool:
    """Return whether a process is there, once one that was killed has had time to end."""
    try:
        found = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # Readable once it has ended, also while it is a zombie that nobody has asked after.
        return not select.select([found], [], [], 5.0)[0]
    finally:
        os.close(found)


def test_a_command_reads_the_firing_from_its_standard_input(tmp_path: Path) -> None:
    script = f"import sys; open({str(tmp_path / 'got')!r}, 'w').write(sys.stdin.read())"
    assert run(script, b'{"reason": "low"}') == Sent(outcome="done", said="c ended with 0")
    assert (tmp_path / "got").read_text() == '{"reason": "low"}'


def test_a_command_that_fails_tells_the_end_of_its_output() -> None:
    found = run("print('x' * 5000); print('no data'); raise SystemExit(3)")
    assert found is not None
    assert found.outcome == "failed"
    assert found.said.startswith("c ended with 3; its output ends: x")
    assert found.said.endswith("no data")
    assert len(found.said) < 2100


def test_a_command_that_hangs_is_ended_with_its_children(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, time\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))\n"
        "time.sleep(600)\n"
    )
    found = run(script, timeout_s=1.0)
    assert found is not None
    assert "did not end within 1 s" in found.said
    assert not is_there(int((tmp_path / "pid").read_text()))


def test_children_that_a_command_leaves_behind_are_ended(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys\n"
        "p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(p.pid))\n"
    )
    found = run(script)
    assert found is not None
    assert found.outcome == "done"
    pid = int((tmp_path / "pid").read_text())
    for _ in range(1000):
        if not is_there(pid):
            break
        os.sched_yield()
    assert not is_there(pid)


def test_a_command_that_floods_is_stopped() -> None:
    found = run("while True: print('x' * 1000)", output_bytes=100_000)
    assert found is not None
    assert "wrote more than 100000 bytes" in found.said


def test_a_shutdown_ends_a_command_and_counts_no_attempt() -> None:
    commands = Commands({"c": ["sleep", "600"]}, stopping=lambda: True)
    assert commands.run("c", told=b"") is None


def test_what_is_not_there_is_told() -> None:
    commands = Commands({"c": ["/nowhere/at-all"], "b": ["true"]})
    found = commands.run("c", told=b"")
    assert found is not None
    assert "c was not started" in found.said
    with pytest.raises(Invalid, match="it has b, c"):
        commands.check("d")
    assert commands.run("d", told=b"") is not None
