"""Tables exported through every door: over HTTP, by the clients, from the command line, and in this process."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import polars
import pyarrow.parquet as parquet
import pytest

import loopwright
from loopwright.cli import run
from loopwright.cli.digits import Served
from loopwright.cli.digits import server as serving
from loopwright.client import AsyncClient, Client
from loopwright.core.errors import Invalid

N = 30


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small directory, which has never had a Parquet file: all of it is the tail of the log."""
    data = tmp_path_factory.mktemp("small") / "data"
    with loopwright.open(data) as loop:
        loop.experiments.create("greeting", arms=["a", "b"], dimension=2)
        loop.experiments.create("other", arms=["x", "y"])
        for k in range(N):
            chosen = loop.agent.select("greeting", {"vector": [k / 7, 1], "metadata": {"k": k}})
            loop.agent.feedback(chosen.request_id, reward=k % 2)
            loop.agent.select("other")
        loop.feedback.interactions([{"id": f"o{k}", "task": "sql"} for k in range(N)])
        loop.feedback.steps([{"id": "s1", "session_id": "v", "kind": "plan"}])
        loop.feedback.send([
            {"kind": "rating", "scale": "thumbs", "value": 1, "output_id": "o1", "message": "=1+1"}
        ])  # fmt: skip
    return data


@pytest.fixture(scope="module")
def served(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    data = tmp_path_factory.mktemp("served") / "data"
    with loopwright.open(data) as loop:
        loop.experiments.create("greeting", arms=["a", "b"])
        for _ in range(N):
            loop.agent.feedback(loop.agent.select("greeting").request_id, reward=1)
    with serving(data, port=0) as found:
        yield found


def get(served: Served, path: str, *, key: str | None = None, **params: Any) -> httpx.Response:
    return httpx.get(
        f"{served.url}/api/v1{path}",
        params=params,
        headers={"authorization": f"Bearer {key or served.api_key}"},
        trust_env=False,
        timeout=30,
    )


def cells(path: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(path.read_text("utf-8"), newline="")))


def test_pages_over_http_lead_through_a_table(served: Served) -> None:
    found, cursor, asked = [], "0", 0
    while True:
        page = get(served, "/export/decisions", cursor=cursor, limit=7)
        assert page.status_code == 200, page.text
        assert page.headers["content-type"].startswith("application/x-ndjson")
        found += [json.loads(line) for line in page.text.splitlines()]
        asked += 1
        if "x-next-cursor" not in page.headers:
            break
        cursor = page.headers["x-next-cursor"]
        assert int(cursor) <= int(page.headers["x-log-offset"])
    assert (len(found), asked) == (N, 5)
    assert all(0 < row["propensity"] <= 1 for row in found)
    whole = get(served, "/export/decisions").text
    assert [json.loads(line) for line in whole.splitlines()] == found


def test_the_formats_over_http_hold_equal_rows(served: Served) -> None:
    lines = [json.loads(x) for x in get(served, "/export/feedback").text.splitlines()]
    table = get(served, "/export/feedback", format="parquet")
    cells = get(served, "/export/feedback", format="csv")

    assert table.headers["content-type"] == "application/vnd.apache.parquet"
    typed = parquet.read_table(io.BytesIO(table.content)).to_pylist()
    assert [{k: v for k, v in row.items() if v is not None} for row in typed] == lines
    spelt = list(csv.DictReader(io.StringIO(cells.text)))
    assert [row["decision_id"] for row in spelt] == [row["decision_id"] for row in lines]
    assert [float(row["value"]) for row in spelt] == [row["value"] for row in lines]


def test_tenants_are_sealed_and_the_scope_is_needed(served: Served) -> None:
    with Client(served.url, served.api_key) as client:
        writer = client.keys.create(scopes=["feedback"])["secret"]
    assert get(served, "/export/decisions", key=writer).status_code == 403
    assert get(served, "/export/decisions", tenant_id="nobody").status_code == 404


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/export/consents", {}),
        ("/export/feedback", {"format": "xml"}),
        ("/export/feedback", {"limit": "0"}),
        ("/export/feedback", {"limit": "many"}),
        ("/export/feedback", {"cursor": "-1"}),
        ("/export/feedback", {"consent": "everything"}),
        ("/export/feedback", {"since": "2026-02-01", "until": "2026-01-01"}),
        ("/export/steps", {"experiment_id": "greeting"}),
    ],
)
def test_what_cannot_be_exported_is_refused(
    served: Served, path: str, params: dict[str, str]
) -> None:
    answer = get(served, path, **params)
    assert answer.status_code == 422, answer.text
    assert answer.json()["code"] == "invalid"


def test_the_clients_give_arrow(served: Served) -> None:
    with Client(served.url, served.api_key, timeout_s=30) as client:
        decisions = polars.DataFrame(client.to_arrow("decisions"))
        later = client.to_arrow("decisions", since=datetime(2100, 1, 1, tzinfo=UTC))
        page = client.exports.page("decisions", format="jsonl", limit=3)
        with pytest.raises(Invalid, match="expected one of decisions"):
            client.to_arrow("consents")
    assert decisions.height == N
    assert later.read_all().num_rows == 0
    assert len(page.splitlines()) == 3

    async def ask() -> Any:
        client = AsyncClient(served.url, served.api_key, timeout_s=30)
        try:
            return await client.to_arrow("decisions")
        finally:
            await client.close()

    assert polars.DataFrame(asyncio.run(ask())).equals(decisions)


def test_a_loop_in_this_process_gives_arrow_with_vectors(folder: Path) -> None:
    with loopwright.open(folder) as loop:
        decisions = polars.DataFrame(loop.to_arrow("decisions", experiment_id="greeting"))
        feedback = polars.DataFrame(loop.to_arrow("feedback"))
    assert decisions["vector"].to_list() == [[k / 7, 1.0] for k in range(N)]
    joined = decisions.join(feedback, on="decision_id")
    assert joined.height == N
    weighed = (joined["value"] / joined["propensity"]).sum() / N
    assert weighed >= 0.5 - 1e-9  # each reward counts at least once, as no propensity is above 1


@pytest.mark.parametrize("page", ["4", "1000"])
def test_the_command_writes_a_directory_that_nobody_serves(
    folder: Path, tmp_path: Path, page: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for ending in ("parquet", "jsonl", "csv"):
        out = tmp_path / f"decisions.{ending}"
        data = ["--data", str(folder), "--page", page]
        assert run(["export", "decisions", "--out", str(out), *data]) == 0, capsys.readouterr()
    typed = parquet.read_table(tmp_path / "decisions.parquet").to_pylist()
    lines = [json.loads(x) for x in (tmp_path / "decisions.jsonl").read_text().splitlines()]
    spelt = cells(tmp_path / "decisions.csv")
    assert len(typed) == len(lines) == len(spelt) == 2 * N
    ids = [row["decision_id"] for row in typed]
    assert ids == [row["decision_id"] for row in lines] == [row["decision_id"] for row in spelt]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "decisions.csv", "decisions.jsonl", "decisions.parquet"
    ]  # fmt: skip


def test_the_command_asks_the_server_that_holds_the_directory(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "d.parquet"
    data = str(served.key_file.parent)
    arguments = ["--data", data, "--page", "7", "--experiment", "greeting"]
    assert run(["export", "decisions", "--out", str(out), *arguments]) == 0
    assert parquet.read_table(out).num_rows == N
    assert f"written to {out}" in capsys.readouterr().out


def test_standard_output_is_a_pipe_for_other_programs(folder: Path) -> None:
    for more, read in (
        ([], lambda x: [json.loads(line) for line in x.splitlines()]),
        (["--format", "parquet"], lambda x: parquet.read_table(io.BytesIO(x)).to_pylist()),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "loopwright.cli", "export", "steps", "--out", "-",
             "--data", str(folder), *more],
            capture_output=True,
            check=True,
            timeout=60,
        )  # fmt: skip
        assert [row["step_id"] for row in read(done.stdout)] == ["s1"]


def test_a_formula_is_text_in_csv_and_itself_elsewhere(folder: Path, tmp_path: Path) -> None:
    for ending, message in (("csv", "'=1+1"), ("jsonl", "=1+1")):
        out = tmp_path / f"f.{ending}"
        assert run(["export", "feedback", "--out", str(out), "--data", str(folder)]) == 0
        rows: list[Any] = (
            cells(out)
            if ending == "csv"
            else [json.loads(line) for line in out.read_text().splitlines()]
        )
        assert rows[-1]["message"] == message


def test_an_ending_that_says_no_format_is_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "d.xlsx")
    assert run(["export", "decisions", "--out", out, "--data", str(folder)]) == 2
    assert "use .parquet, .jsonl, .ndjson, .csv" in capsys.readouterr().err
