"""The tenant's time zone: set through every door, and followed by every report and export that takes a date."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import loopwright
from loopwright.cli import run
from loopwright.cli.digits import Served, server
from loopwright.client import AsyncClient, Client
from loopwright.core.errors import Invalid

BERLIN = "Europe/Berlin"
HOUR_MS = 3_600_000

DAYS = [
    ("2026-03-29", "2026-03-30", 23),  # the clocks go forward
    ("2026-10-25", "2026-10-26", 25),  # and back
    ("2026-06-01", "2026-06-02", 24),
]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with server(tmp_path_factory.mktemp("data"), port=0) as found:
        with Client(found.url, found.api_key) as client:
            for n, at in enumerate(
                (
                    "2026-03-28T22:59:59Z",  # a second before midnight in Berlin
                    "2026-03-28T23:00:00Z",
                    "2026-03-29T21:59:59Z",
                    "2026-03-29T22:00:00Z",  # midnight, 23 hours later
                    "2026-03-29T23:59:59Z",
                )
            ):
                item = {"offer_id": f"o{n}", "customer_id": "c", "rating": 5, "thumbs": "up"}
                event = {"generated_copy": "x", "prompt_version": "p", "timestamp": at}
                assert client.feedback.send([{**item, **event}]).accepted == 1
            assert client.feedback.set_timezone(BERLIN) == BERLIN
        yield found


def ask(served: Served, path: str, **params: str) -> httpx.Response:
    return httpx.get(
        f"{served.url}/api/v1{path}",
        params=params,
        headers={"authorization": f"Bearer {served.api_key}"},
        trust_env=False,
    )


def test_every_door_sets_and_shows_the_zone(
    served: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def shown() -> str:
        async with AsyncClient(served.url, served.api_key) as client:
            with pytest.raises(Invalid, match="IANA"):
                await client.feedback.set_timezone("Mars/Phobos")
            return await client.feedback.timezone()

    assert asyncio.run(shown()) == BERLIN
    data = str(served.key_file.parent)
    assert run(["timezone", BERLIN, "--data", data]) == 0
    assert run(["timezone", "--data", data, "--json"]) == 0
    said, told = capsys.readouterr().out.splitlines()
    assert (said, json.loads(told)) == (BERLIN, {"tz": BERLIN})
    assert run(["timezone", "Mars/Phobos", "--data", data]) == 2
    with loopwright.open(tmp_path) as loop:
        assert loop.feedback.timezone() == "UTC"
        with pytest.raises(Invalid, match="IANA"):
            loop.feedback.set_timezone("Mars/Phobos")
        assert loop.feedback.set_timezone(BERLIN) == BERLIN
        assert loop.feedback.quality(days=1).period.tz == BERLIN
        assert loop.feedback.quality(days=1, tz="UTC").period.tz == "UTC"
    # The same directory, now without a process that holds it.
    assert run(["timezone", "--data", str(tmp_path)]) == 0
    assert run(["report", "--data", str(tmp_path), "--json"]) == 0
    shown_here, report = capsys.readouterr().out.splitlines()
    assert (shown_here, json.loads(report)["period"]["tz"]) == (BERLIN, BERLIN)


@pytest.mark.parametrize(("day", "following", "hours"), DAYS)
def test_a_day_of_a_report_is_as_long_as_the_tenants_clock_makes_it(
    served: Served, day: str, following: str, hours: int
) -> None:
    found = ask(served, "/feedback/quality/default", since=day, until=following).json()["period"]
    assert (found["tz"], found["to_ms"] - found["from_ms"]) == (BERLIN, hours * HOUR_MS)


def counts(served: Served, tz: str | None) -> dict[str, int]:
    """Return how many of the facts each route finds on 29 March."""
    asked = {"since": "2026-03-29", "until": "2026-03-30"} | ({} if tz is None else {"tz": tz})

    def body(path: str) -> Any:
        return ask(served, path, **asked).json()

    return {
        "stats": body("/feedback/stats")["record_count"],
        "export": len(body("/feedback/export")),
        "table": len(ask(served, "/export/feedback", **asked).text.splitlines()),
    }


def test_every_date_is_read_in_the_tenants_zone_unless_the_request_names_another(
    served: Served,
) -> None:
    here, elsewhere = counts(served, None), counts(served, "UTC")
    assert here == counts(served, BERLIN)
    assert (here["stats"], elsewhere["stats"]) == (2, 3)
    assert all(elsewhere[name] > here[name] for name in here), (here, elsewhere)
    assert ask(served, "/feedback/stats", since="2026-03-29", until="2026-03-29").status_code == 422


def test_the_clients_ask_for_a_zone(served: Served) -> None:
    with Client(served.url, served.api_key) as client:
        assert client.feedback.quality(days=1).period.tz == BERLIN
        assert client.feedback.quality(days=1, tz="Asia/Kolkata").period.tz == "Asia/Kolkata"
