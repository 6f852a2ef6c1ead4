"""Erasure of one person among a million facts: how long it takes, and what a scan of every file still finds.

The folder is filled through the real parts: decisions of units, rewards, corrections with texts, refused bodies, sealed
segments, warehouse files. The scan reads every file byte by byte, and the values inside Parquet files, which are
compressed.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import duckdb

from loopwright.app.embedded import Loop
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.core.context import Context
from loopwright.people import erase_person

EVENTS: Final = 1_000_000
QUICK_EVENTS: Final = 50_000
USERS: Final = 20_000
TENANT: Final = "default"
PERSON: Final = "walter.q-90125"
NEEDLES: Final = (PERSON, "walter.q", "quicksilver", "chat-of-walter", "trace-of-walter")
"""Ids, unit and words of the person who is erased."""
AT_ONCE: Final = 999


def left_in(folder: Path, needles: Iterable[str]) -> dict[str, int]:
    """Return how often each file under `folder` holds one of `needles`, compressed values included; none is left out."""
    wanted = [needle.encode() for needle in needles]
    found: dict[str, int] = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.suffix == ".parquet":
            content += _decoded(path)
        n = sum(content.count(needle) for needle in wanted)
        if n:
            found[str(path.relative_to(folder))] = n
    return found


def _decoded(path: Path) -> bytes:
    with duckdb.connect() as connection:
        rows = connection.execute("SELECT * FROM read_parquet(?)", [str(path)]).fetchall()
    return b"\n".join(
        value if isinstance(value, bytes) else str(value).encode() for row in rows for value in row
    )


def fill(services: Services, events: int, rng: random.Random) -> None:
    """Store `events` facts of many users, one fact in a thousand the person's."""
    loop = Loop(services, TENANT)
    loop.experiments.create("greeting", arms=["a", "b", "c"])
    loop.wait_until_learned()
    writer, intake = services.truth.writer, services.door.typed_intake
    for start in range(0, events, AT_ONCE):
        items: list[dict[str, Any]] = []
        for n in range(start, start + AT_ONCE, 3):
            is_theirs = n % 3_000 == 0
            user = PERSON if is_theirs else f"user-{rng.randrange(USERS)}"
            name = "walter" if is_theirs else str(n)
            word = "quicksilver" if is_theirs else "copper"
            chosen = services.door.selector.select(
                TENANT,
                "greeting",
                context=Context(id=user, metadata={"session_id": f"chat-of-{name}"}),
                unit_id=user,
            )
            about = {
                "user_id": user,
                "session_id": f"chat-of-{name}",
                "trace_id": f"trace-of-{name}",
            }
            items += [
                {
                    "kind": "outcome",
                    "metric": "reward",
                    "value": n % 2,
                    "request_id": chosen.request_id,
                    **about,
                },
                {"kind": "correction", "before": word, "after": f"{word} {n}", **about},
            ]
            if is_theirs:
                items.append({"kind": "rating", "value": 99, "note": f"{word} {user}", **about})
        prepared = intake.prepare(TENANT, "feedback", items)
        writer.append(prepared.facts, prepared.keys, timeout_s=60.0)
    writer.flush(60.0)
    loop.wait_until_learned(600.0)


def figures(folder: Path, events: int) -> dict[str, float]:
    """Return how long an erasure took, and how many finds are left."""
    services = Services(load_settings(data_dir=folder))
    services.learner.start()
    try:
        fill(services, events, random.Random(1))
        services.keeper.sessions.run()
        services.keeper.loader.run()
        services.keeper.seal()
        stored = services.truth.log.head()
        before = sum(left_in(folder, NEEDLES).values())
        started = time.perf_counter()
        report = erase_person(
            services.truth.people,
            partial(services.truth.writer.append, timeout_s=30.0),
            tenant_id=TENANT,
            id=PERSON,
            count_rows=services.reports.rows_of,
            forget_quarantined=services.door.quarantine.forget,
            at_ms=services.truth.clock.now_ms(),
            scrub=services.eraser.scrub,
        )
        seconds = time.perf_counter() - started
        left = left_in(folder, NEEDLES)
    finally:
        services.close()
    for name, n in left.items():
        print(f"left in {name}: {n}")
    return {
        "events": float(stored),
        "found_before": float(before),
        "rows": float(sum(report.rows.values())),
        "facts": float(report.facts),
        "left": float(sum(left.values())),
        "left_closed": float(sum(left_in(folder, NEEDLES).values())),
        "seconds": seconds,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print, and end with the line of figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help=f"{QUICK_EVENTS} facts")
    options = parser.parse_args(argv)
    with tempfile.TemporaryDirectory(prefix="loopwright-erase-") as folder:
        found = figures(Path(folder), QUICK_EVENTS if options.quick else EVENTS)
    for name, figure in found.items():
        print(f"{name:14} {figure:,.4g}")
    print(json.dumps({"bench": "erase", "figures": found}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
