"""Nothing is answered before it is on the disk: read off the system calls, in the order the kernel got them."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest
from bench.footprint import await_ready, free_port

CALLS = "write,writev,sendto,sendmsg,pwrite64,pwritev,fsync,fdatasync"
WAL = "log.db-wal>"


class Call(NamedTuple):
    name: str
    text: str


@pytest.fixture(scope="module")
def strace() -> str:
    found = shutil.which("strace")
    if found is None:
        missing = "strace is not installed; on Debian: apt install strace"
        if os.environ.get("CI"):
            pytest.fail(missing)
        pytest.skip(missing)
    return found


@contextmanager
def traced(strace: str, command: Iterable[str], trace: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` under strace; `trace` gets every write and sync with paths and whole contents."""
    options = ["-f", "--seccomp-bpf", "-y", "-s", "70000", "-e", f"trace={CALLS}", "-o", str(trace)]
    process = subprocess.Popen(
        [strace, *options, *command], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
    )
    with process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def calls(trace: Path) -> list[Call]:
    """Return the calls in the order of their completion; those that answer, in the order of their start."""
    started: dict[str, str] = {}
    found: list[Call] = []
    for line in trace.read_text(errors="replace").splitlines():
        thread, _, text = line.partition(" ")
        text = text.strip()
        if text.endswith("<unfinished ...>"):
            started[thread] = text
            if "pwrite" not in text and "sync" not in text:
                found.append(Call(text.partition("(")[0], text))
            continue
        if resumed := re.match(r"<\.\.\. (\w+) resumed>(.*)", text):
            text = started.pop(thread) + resumed[2]
            if "pwrite" not in text and "sync" not in text:
                continue
        found.append(Call(text.partition("(")[0], text))
    return found


def assert_synced_before(all_calls: list[Call], mark: str, *, answered_at: int) -> None:
    """Assert that the write-ahead log was written with `mark` and then synced before the answer."""
    before = all_calls[:answered_at]
    written = [
        n
        for n, call in enumerate(before)
        if call.name.startswith("pwrite") and WAL in call.text and mark in call.text
    ]
    assert written, f"{mark} was answered before it was written"
    synced = any(
        call.name in ("fsync", "fdatasync") and WAL in call.text and call.text.endswith("= 0")
        for call in before[written[0] :]
    )
    assert synced, f"{mark} was answered before it was synced"


APPEND = """
import os, sys
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core.clock import SystemClock
from loopwright.core.events import Ticked
from loopwright.eventlog import Writer

log = SqliteEventLog(sys.argv[1])
writer = Writer(log, SystemClock(), max_batch=16)
for n in range(60):
    mark = f"fact-{n:04}"
    answer = f"answer to {mark}\\n".encode()
    writer.submit([Ticked(n, mark)], [b"%024d" % n], lambda _, answer=answer: os.write(1, answer))
    if n < 10:
        writer.flush()
writer.close()
log.close()
"""


@pytest.mark.engine("strace")
def test_the_writer_answers_after_the_sync_of_what_it_wrote(strace: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = [sys.executable, "-c", APPEND, str(tmp_path / "log.db")]
    with traced(strace, command, trace) as process:
        answers, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert len(answers.splitlines()) == 60
    all_calls = calls(trace)
    for n in range(60):
        answer = f"answer to fact-{n:04}"
        answered_at = next(i for i, call in enumerate(all_calls) if answer in call.text)
        assert_synced_before(all_calls, f"fact-{n:04}", answered_at=answered_at)


@pytest.mark.engine("strace")
def test_the_server_answers_feedback_after_the_sync_of_what_it_wrote(
    strace: str, tmp_path: Path
) -> None:
    trace, port = tmp_path / "trace", free_port()
    program = str(Path(sys.executable).parent / "loopwright")
    command = [program, "serve", "--data", str(tmp_path / "data"), "--port", str(port)]
    with traced(strace, command, trace) as process:
        await_ready(port, process)
        events = give_feedback(port, tmp_path / "data")
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(int(children[0]), signal.SIGTERM)
        process.communicate(timeout=60)
    all_calls = calls(trace)
    for event in events:
        answered_at = next(
            i
            for i, call in enumerate(all_calls)
            if not call.name.startswith("pwrite") and f'\\"event_id\\":\\"{event}' in call.text
        )
        assert_synced_before(all_calls, event, answered_at=answered_at)


def give_feedback(port: int, data: Path) -> list[str]:
    """Give some feedback over HTTP; return the ids of the events."""
    headers = {"authorization": f"Bearer {(data / 'admin.key').read_text().strip()}"}
    address = f"http://127.0.0.1:{port}/api/v1"
    with httpx.Client(base_url=address, headers=headers, timeout=30) as client:
        client.post("/experiments", json={"id": "sync", "arms": [{"id": "a"}]}).raise_for_status()
        client.post("/experiments/sync/start").raise_for_status()
        events = []
        for _ in range(20):
            selected = client.post("/agent/select", json={"experiment_id": "sync"}).json()
            feedback = {"request_id": selected["request_id"], "reward": 1}
            answer = client.post("/agent/feedback", json=feedback)
            assert answer.status_code == 201
            events.append(answer.json()["event_id"])
    return events


def test_the_proof_notices_an_answer_that_comes_too_soon() -> None:
    write = Call("pwrite64", 'pwrite64(5</d/log.db-wal>, "..fact-1..", 4096, 32) = 4096')
    sync = Call("fdatasync", "fdatasync(5</d/log.db-wal>) = 0")
    answer = Call("write", 'write(1, "answer to fact-1")')
    assert_synced_before([write, sync, answer], "fact-1", answered_at=2)
    with pytest.raises(AssertionError, match="before it was synced"):
        assert_synced_before([sync, write, answer, sync], "fact-1", answered_at=2)
    with pytest.raises(AssertionError, match="before it was written"):
        assert_synced_before([answer, write, sync], "fact-1", answered_at=0)
