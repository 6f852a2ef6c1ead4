"""Questions to a data folder that older code wrote, asked of the code at hand.

`over_http` asks a real server; `inside` asks what no route tells: learner states byte for byte, a clean replay, the
facts in the log, named queries, people. Internal names are used in `inside` and in nothing else here.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, Final

import loopwright

from .conftest import Server

DATA: Final = Path(__file__).parents[1] / "data"
ARCHIVE: Final = DATA / "folder-2026-11.tar.gz"
VISITS: Final = DATA / "folder-2026-11-visits.tar.gz"
"""A second folder, whose sessions were open when it was closed."""
EXPECTED: Final = DATA / "folder-2026-11.expected.json"

FROM_MS: Final = 1_794_787_200_000
"""16 November 2026, 00:00 UTC, when the folder's first fact was written."""
UNTIL_MS: Final = FROM_MS + 14 * 86_400_000
PERIOD: Final = {"since": str(FROM_MS), "until": str(UNTIL_MS)}
TENANTS: Final = ("acme", "default")

VOLATILE: Final = frozenset(
    # When the question was asked, and counters of the process that answered it.
    ("generated_at_ms", "as_of_ms", "last_used_ms", "oldest_waiting_s", "shed", "watermark")
) | {"headline", "sentence"}  # words may be put better

QUERIES: Final[dict[str, dict[str, Any]]] = {
    "satisfaction_by_day": {},
    "metric_rates": {},
    "rated_facts": {},
    "sessions": {},
    "corrections": {},
    "stats": {},
    "period_counts": {},
    "steps_of_session": {"session_id": "s-4"},
    "values_of": {"metric": "copy"},
    "call_numbers": {"dimension": "server_latency_ms"},
    "distribution": {"dimension": "arm_id"},
    "unit_totals": {},
}


def unpack(folder: Path, archive: Path = ARCHIVE) -> Path:
    """Put the old folder where tests may change it."""
    with tarfile.open(archive) as packed:
        packed.extractall(folder, filter="data")
    folder.chmod(0o700)
    return folder


def expected() -> dict[str, Any]:
    """Return what the old code answered, and the tokens, secrets and names that go with the folder."""
    found: dict[str, Any] = json.loads(EXPECTED.read_text("utf-8"))
    return found


def questions(folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Return every answer about a fresh copy of the folder: from inside first, then over HTTP."""
    unpack(folder)
    answers = {"inside": inside(folder, known)}
    server = Server(folder)
    try:
        answers["http"] = over_http(server)
    finally:
        assert server.stop() == 0, server.said
    plain: dict[str, Any] = json.loads(json.dumps(answers))
    return plain


def over_http(server: Server) -> dict[str, Any]:
    """Return what the read routes answer for both tenants."""
    found: dict[str, Any] = {
        "tenants": _get(server, "/tenants"),
        "signing_keys": _get(server, "/signing-keys"),
        "surrogate": _get(server, "/surrogates", task="support"),
    }
    for tenant in TENANTS:
        found[tenant] = _of_tenant(server, tenant)
    # Only the key's own tenant can be asked about these.
    held = _get(server, "/quarantine")
    found["quarantine"] = [
        held,
        [_get(server, f"/quarantine/{item['id']}") for item in held["items"]],
    ]
    return found


def _of_tenant(server: Server, tenant: str) -> dict[str, Any]:
    experiments = _get(server, "/experiments", tenant_id=tenant, limit=100)
    ids = [e["id"] for e in experiments["items"]]
    kept = {
        id: _get(server, f"/experiments/{id}/snapshots", tenant_id=tenant)
        for id, state in ((e["id"], e["state"]) for e in experiments["items"])
        if state != "draft"
    }
    return {
        "experiments": experiments,
        "status": {id: _get(server, f"/experiments/{id}/status", tenant_id=tenant) for id in ids},
        "snapshots": kept,
        "snapshot": {
            id: _get(server, f"/experiments/{id}/snapshots/{page['items'][0]['version']}", tenant_id=tenant)
            for id, page in kept.items()
            if page["items"]
        },
        "keys": _get(server, "/keys", tenant_id=tenant),
        "stats": _get(server, "/feedback/stats", tenant_id=tenant, **PERIOD),
        "joins": _get(server, "/feedback/join-health", tenant_id=tenant, **PERIOD),
        "quality": _get(server, f"/feedback/quality/{tenant}", format="json", **PERIOD),
        "untrusting": _get(server, f"/feedback/quality/{tenant}", format="json", trust="off", **PERIOD),
        "trust": _get(server, f"/feedback/trust/{tenant}", **PERIOD),
        "releases": _get(server, f"/feedback/trust/{tenant}/releases"),
        "steps": _get(server, "/feedback/decisions/s-4", tenant_id=tenant),
        "exported": exported(server, tenant),
    }  # fmt: skip


def exported(server: Server, tenant: str) -> dict[str, Any]:
    """Return how many facts of each kind an export has, and the digest of their ids and values in order."""
    asked = {"tenant_id": tenant, "consent": "analyze", "format": "jsonl", **PERIOD}
    answer = server.get("/feedback/export", params=asked)
    assert answer.status_code == 200, answer.text
    rows = [json.loads(line) for line in answer.text.splitlines()]
    names = ("event_id", "kind", "metric", "value", "person")
    told = [[row.get(name) for name in names] for row in rows]
    return {
        "kinds": dict(sorted(Counter(row["kind"] for row in rows).items())),
        "digest": _digest(json.dumps(told).encode()),
    }


def derived(folder: Path) -> list[list[Any]]:
    """Return the signals that a server draws from the sessions that were open, once there are no new ones."""
    server = Server(unpack(folder, VISITS))
    try:
        found: list[list[Any]] = []
        deadline = time.monotonic() + 60
        while not found or len(found) < len(again := _derived(server)):
            found = again if found else _derived(server)
            assert time.monotonic() < deadline, "no session was ended"
            time.sleep(6 if found else 0.5)  # the next housekeeping
    finally:
        assert server.stop() == 0, server.said
    return found


def _derived(server: Server) -> list[list[Any]]:
    answer = server.get(
        "/feedback/export", params={"consent": "analyze", "format": "jsonl", **PERIOD}
    )
    rows = [json.loads(line) for line in answer.text.splitlines()]
    names = ("session_id", "output_id", "metric", "value", "arm_id")
    told = [[row.get(name) for name in names] for row in rows if "derived" in str(row.get("flags"))]
    return sorted(told, key=json.dumps)


def _get(server: Server, path: str, **params: Any) -> Any:
    answer = server.get(path, params=params)
    assert answer.status_code == 200, (path, answer.text)
    return _steady(answer.json())


def _steady(value: Any) -> Any:
    """Return an answer without what differs from one asking to the next."""
    if isinstance(value, dict):
        return {name: _steady(part) for name, part in value.items() if name not in VOLATILE}
    return [_steady(part) for part in value] if isinstance(value, list) else value


def inside(folder: Path, known: dict[str, Any]) -> dict[str, Any]:
    """Return what only the parts of the loop tell. After a redesign, name its parts here; the answers stay."""
    from loopwright.insights.tallies import rates_query
    from loopwright.insights.targets import catalogue
    from loopwright.learning import replay

    handed = {"metric_rates": rates_query(catalogue())}
    with loopwright.open(folder) as loop:
        assert loop.wait_until_learned()
        services = loop._opened.services
        truth, learner = services.truth, services.learner
        positions = learner.views.positions()
        again = replay(truth.reader, through=positions)
        keys = list(positions)
        facts = Counter(type(fact).__name__ for _, fact in truth.reader.replay())
        return {
            "head": truth.log.head(),
            "facts": dict(sorted(facts.items())),
            "positions": {"/".join(key): positions[key] for key in keys},
            "dumps": {"/".join(key): _digest(learner.dump(*key)) for key in keys},
            "replayed": {"/".join(key): _digest(again[key]) for key in keys},
            "queries": {
                f"{tenant}/{name}": services.reports.warehouse.query(
                    handed.get(name, name),
                    tenant_id=tenant,
                    from_ms=FROM_MS,
                    to_ms=UNTIL_MS,
                    **params,
                ).rows
                for tenant in TENANTS
                for name, params in QUERIES.items()
            },
            "erased_rows": services.reports.rows_of("default", known["erased"]["person"]),
            "people": {
                user: [person.id, person.consent, person.since_ms]
                for user in ("u-17", "u-18", "u-20", "u-30")
                for person in [truth.people.find("default", user)]
            },
        }


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def differences(wanted: Any, found: Any, at: str = "") -> list[str]:
    """Return where `found` lacks or contradicts `wanted`; members that were added do not count."""
    if isinstance(wanted, dict) and isinstance(found, dict):
        missing = [f"{at}/{name} is missing" for name in wanted if name not in found]
        shared = [name for name in wanted if name in found]
        return missing + [
            d for name in shared for d in differences(wanted[name], found[name], f"{at}/{name}")
        ]
    if isinstance(wanted, list) and isinstance(found, list):
        if len(wanted) != len(found):
            return [f"{at} has {len(found)} items, not {len(wanted)}"]
        pairs = enumerate(zip(wanted, found, strict=True))
        return [d for n, (w, f) in pairs for d in differences(w, f, f"{at}/{n}")]
    if isinstance(wanted, float) and isinstance(found, int | float):
        is_same = abs(wanted - found) <= 1e-9 * max(1.0, abs(wanted))
        return [] if is_same else [f"{at} is {found}, not {wanted}"]
    return [] if wanted == found else [f"{at} is {found!r}, not {wanted!r}"]
