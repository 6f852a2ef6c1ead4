"""The measurements measure: the load generator counts what the server got, the bounds judge what they should."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from bench import __main__ as table
from bench.bounds import of
from bench.load import LoadFailed, Workload, build, ratio_rounds, run

# Answers in two pieces, and says in its last answer how many requests it got.
SERVER = """
import asyncio

got = 0

async def client(reader, writer):
    global got
    while line := await reader.readline():
        path, length = line.split()[1], 0
        while (header := await reader.readline()) != b"\\r\\n":
            if header.lower().startswith(b"content-length:"):
                length = int(header.split(b":")[1])
        body = await reader.readexactly(length)
        if path == b"/hangup":
            break
        got += path == b"/work"
        answer = str(got).encode() if path == b"/count" else body
        status = b"404 Not Found" if path == b"/nothing" else b"200 OK"
        writer.write(b"HTTP/1.1 " + status + b"\\r\\nContent-Length: %d\\r\\n\\r\\n" % len(answer))
        await writer.drain()
        writer.write(answer)
    writer.close()

async def main():
    server = await asyncio.start_server(client, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()

asyncio.run(main())
"""


@contextmanager
def server() -> Iterator[int]:
    with subprocess.Popen(
        [sys.executable, "-c", SERVER], stdout=subprocess.PIPE, text=True
    ) as made:
        assert made.stdout is not None
        try:
            yield int(made.stdout.readline())
        finally:
            made.kill()


def count(port: int) -> int:
    asked = run("127.0.0.1", port, [build("GET", "/count")], connections=1, once=True, collect=True)
    return int(asked.bodies[-1])


def test_every_request_of_a_list_sent_once_arrives_once() -> None:
    bodies = [b"%d" % n for n in range(500)]
    with server() as port:
        requests = [build("POST", "/work", body=body, key="lw_key") for body in bodies]
        result = run(
            "127.0.0.1", port, requests, connections=8, seconds=20, once=True, collect=True
        )
        assert count(port) == len(bodies)
    assert sorted(result.bodies) == sorted(bodies)
    assert (result.requests, result.taken, result.statuses) == (500, 500, {200: 500})
    assert 0 < result.p50_ms <= result.p99_ms
    assert result.seconds < 20


def test_a_timed_run_counts_what_was_answered_in_its_time() -> None:
    with server() as port:
        result = run(
            "127.0.0.1", port, [build("GET", "/work")], connections=4, seconds=0.3, warmup_s=0.1
        )
        assert count(port) == result.taken
    assert 0 < result.requests <= result.taken
    assert 0.29 <= result.seconds < 2
    assert result.rps == pytest.approx(result.requests / result.seconds)


def test_a_workload_that_may_be_sent_once_is_shared_out_over_the_rounds() -> None:
    with server() as port:
        unique = Workload(
            port, [build("POST", "/work", body=b"x")] * 200_000, connections=4, once=True
        )
        ratio = ratio_rounds(
            unique, Workload(port, [build("GET", "/")], connections=4), seconds=0.1
        )
    assert len(ratio.rounds) == 5
    assert ratio.ratio == sorted(ratio.rounds)[2]


@pytest.mark.parametrize(("path", "why"), [("/nothing", "404"), ("/hangup", "hung up")])
def test_a_wrong_answer_fails_the_run(path: str, why: str) -> None:
    with server() as port, pytest.raises(LoadFailed, match=why):
        run("127.0.0.1", port, [build("GET", path)], connections=2, seconds=0.2, warmup_s=0.05)


def test_a_server_that_is_not_there_fails_the_run() -> None:
    with pytest.raises(LoadFailed, match="failed"):
        run("127.0.0.1", 1, [build("GET", "/")], connections=1, seconds=0.1)


@pytest.mark.parametrize("script", table.scripts())
def test_every_bound_has_its_measurement(script: str) -> None:
    assert importlib.util.find_spec(f"bench.{script}") is not None


def test_a_bound_judges_in_its_direction() -> None:
    assert of("serve")["select_ratio"].is_met(0.55, quick=False)
    assert not of("serve")["select_ratio"].is_met(0.54, quick=True)
    assert of("crash")["lost"].is_met(0, quick=False)
    assert not of("crash")["lost"].is_met(1, quick=False)
    assert of("crash")["kills"].is_met(10, quick=True)
    assert not of("crash")["kills"].is_met(10, quick=False)


def test_a_missing_figure_is_not_met() -> None:
    line = {"bench": "regret", "quick": False, "figures": {"digits": 850.0}}
    assert not table.all_met([line])
    assert any("missing" in cell for row in table.rows(line) for cell in row)
    whole = {
        "bench": "regret",
        "quick": False,
        "figures": {"digits": 850.0, "digits_delayed": 1200.0},
    }
    assert table.all_met([whole])
