"""What a newcomer adds touches no more than CONTRIBUTING says: each test makes the addition in a copy of the source.

A copy, because the claim is about edits: which files are new, and which single line of an old one changes. What
needs no edit at all (a policy by entry point, a report metric by declaration) is proved here from a module beside it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import loopwright

SOURCE = Path(loopwright.__file__).parent


class Copy:
    """The source tree in a scratch folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(
            SOURCE,
            folder / "loopwright",
            ignore=shutil.ignore_patterns("__pycache__", "data"),
        )

    def add(self, name: str, content: str) -> None:
        path = self.folder / name
        assert not path.exists(), f"{name} is not new"
        path.write_text(content)

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1, f"{name} has {text.count(old)} places to edit, not one"
        path.write_text(text.replace(old, new))

    def run(self, program: str) -> str:
        """Run a program against the copy and return what it prints."""
        environment = {**os.environ, "PYTHONPATH": str(self.folder)}
        ran = subprocess.run(
            [sys.executable, "-c", program],
            cwd=self.folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert ran.returncode == 0, ran.stderr[-3000:]
        return ran.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path)


def test_a_policy_is_one_file_and_one_line_of_the_catalog(copy: Copy) -> None:
    copy.add(
        "loopwright/policies/second.py",
        '''
"""Serves whatever arm `Uniform` serves, under a name of its own."""

from msgspec import structs

from .greedy import Uniform


class Second(Uniform):
    """As `Uniform`."""

    spec = structs.replace(Uniform.spec, name="Second", aliases=())
''',
    )
    copy.edit("loopwright/policies/catalog.py", "    Uniform,\n)", "    Uniform,\n    Second,\n)")
    copy.edit(
        "loopwright/policies/catalog.py",
        "\nfrom .base import",
        "\nfrom .second import Second\nfrom .base import",
    )
    printed = copy.run(
        """
import loopwright
with loopwright.open("data") as loop:
    loop.experiments.create("greeting", arms=["a", "b"], policy="Second")
    choice = loop.agent.select("greeting")
    loop.agent.feedback(choice.request_id, 1)
    assert loop.wait_until_learned()
    print(loop.experiments.status("greeting").policy, choice.propensity)
"""
    )
    assert printed.split() == ["Second", "0.5"]


def test_a_wire_shape_is_one_file_and_one_row_of_the_registry(copy: Copy) -> None:
    copy.add(
        "loopwright/feedback/wire/applause.py",
        '''
"""Applause: `{"claps": 3, "output": "…"}`."""

from loopwright.core.feedback import Note, Signal, Target
from loopwright.feedback.draft import Draft

from .shape import MIXED, Shape, report_of


def read(item, received_ms, verify):
    return Draft(
        event_id=None,
        tenant_id=None,
        user_id=None,
        is_dated=False,
        target=Target(output_id=item["output"]),
        feedback=Signal("claps", float(item["claps"])),
        note=Note(occurred_at_ms=received_ms, shape="applause"),
        is_free=False,
    )


def write(facts):
    fact = report_of(facts)
    return {"claps": fact.feedback.value, "output": fact.target.output_id}


APPLAUSE = Shape(
    name="applause", tells=lambda item: "claps" in item, paths=MIXED, read=read, write=write
)
''',
    )
    copy.edit(
        "loopwright/feedback/wire/registry.py",
        "from .browser import BROWSER\n",
        "from .applause import APPLAUSE\nfrom .browser import BROWSER\n",
    )
    copy.edit(
        "loopwright/feedback/wire/registry.py",
        "    AGENT_DECISION,\n    NATIVE,\n",
        "    APPLAUSE,\n    AGENT_DECISION,\n    NATIVE,\n",
    )
    printed = copy.run(
        """
from loopwright.app.embedded import Loop
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.feedback import restore

services = Services(load_settings(data_dir="data"))
services.start()
with Loop(services, "default") as loop:
    [result] = loop.feedback.send([{"claps": 3, "output": "answer-1"}])
    facts = [fact for _, fact in services.truth.reader.replay()]
    print(result.status, restore([facts[-1]])["claps"])
"""
    )
    assert printed.split() == ["201", "3.0"]


def test_an_engine_is_one_file_and_one_line_of_resolve(copy: Copy) -> None:
    copy.add(
        "loopwright/backends/shelf.py",
        '''
"""A shelf: blobs in a dictionary."""

from .memory import MemoryBlobStore


class Shelf(MemoryBlobStore):
    """As the memory, under another scheme."""
''',
    )
    copy.edit(
        "loopwright/backends/resolve.py",
        """            return MemoryBlobStore()
""",
        """            return MemoryBlobStore()
        case "shelf":
            from .shelf import Shelf

            return Shelf()
""",
    )
    printed = copy.run(
        """
from loopwright.backends import resolve
from loopwright.testing import check_blob_store
check_blob_store(lambda: resolve.blob_store("shelf:", "parts"))
print(type(resolve.blob_store("shelf:", "parts")).__name__)
"""
    )
    assert printed.split() == ["Shelf"]


def test_an_endpoint_is_a_handler_in_the_routes_of_its_slice(copy: Copy) -> None:
    copy.edit(
        "loopwright/insights/routes.py",
        "class InsightsController(Controller):\n",
        '''class InsightsController(Controller):
    @get("/weather", summary="Read the weather", sync_to_thread=False, **needs("read"))
    def weather(self) -> dict[str, str]:
        """Return the weather."""
        return {"sky": "clear"}

''',
    )
    printed = copy.run(
        """
import asyncio, httpx
from pathlib import Path
from loopwright.app.server import application
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services

services = Services(load_settings(data_dir="data"))
services.start()

async def ask():
    transport = httpx.ASGITransport(app=application(services, asyncio.get_running_loop()))
    key = Path("data/admin.key").read_text().strip()
    async with httpx.AsyncClient(transport=transport, base_url="http://copy") as client:
        headers = {"authorization": f"Bearer {key}"}
        answer = await client.get("/api/v1/feedback/weather", headers=headers)
        document = (await client.get("/docs/openapi.json")).json()
        print(answer.status_code, answer.json()["sky"], "/api/v1/feedback/weather" in document["paths"])

asyncio.run(ask())
services.close()
"""
    )
    assert printed.split() == ["200", "clear", "True"]


def test_a_report_metric_is_one_declaration(copy: Copy) -> None:
    copy.edit(
        "loopwright/insights/targets.py",
        "CATALOGUE: Final = (\n",
        '''CATALOGUE: Final = (
    Metric(
        name="praise",
        title="Praise",
        phrase="praise",
        sentence="Ratings of five stars, among all ratings.",
        unit="the rating itself",
        direction="above",
        target=0.5,
        reads=("linked",),
        events="""
SELECT event_id AS unit, occurred_at_ms AS moment_ms, CASE WHEN satisfaction = 1 THEN 1 ELSE 0 END AS is_hit
FROM linked WHERE kind = 'rating'""",
    ),
''',
    )
    printed = copy.run(
        """
import loopwright
with loopwright.open("data") as loop:
    stars = [{"kind": "rating", "scale": "stars", "value": n, "output_id": f"o{n}"} for n in (5, 3)]
    loop.feedback.send(stars)
    [praise] = [line for line in loop.feedback.quality().metrics if line.name == "praise"]
    print(praise.value)
"""
    )
    assert printed.split() == ["0.5"]
