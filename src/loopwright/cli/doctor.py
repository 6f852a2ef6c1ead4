"""`loopwright doctor`: is this data directory sound, and this machine fit to serve from it?"""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import sys
import time
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

import msgspec
from cyclopts import Parameter

from loopwright.core.clock import SystemClock
from loopwright.core.errors import LoopError, SettingsInvalid

from .options import AsJson
from .show import FAILED, console, put_json, table

if TYPE_CHECKING:
    from loopwright.app.settings import Addresses
    from loopwright.backends.postgres_check import Examined

Verdict = Literal["ok", "warning", "failed"]

LITTLE_DISK_BYTES: Final = 1 << 30
NO_DISK_BYTES: Final = 64 << 20
SLOW_SYNC_MS: Final = 20.0
SYNCS: Final = 15
FUTURE_S: Final = 60


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    check: str
    verdict: Verdict
    found: str


def doctor(
    *,
    data: Annotated[
        Path, Parameter(env_var="LOOPWRIGHT__DATA_DIR", help="Data directory to check.")
    ] = Path("loopwright-data"),
    json: AsJson = False,
) -> int:
    """Check a data directory and this machine; exit with 1 when something must be mended.

    Reads the whole event log. It changes nothing and may run beside a server.
    """
    if not data.is_dir():
        raise SettingsInvalid(f"there is no data directory {data}; name one with --data")
    findings = [finding for check in CHECKS for finding in _run(check, data)]
    failed = any(finding.verdict == "failed" for finding in findings)
    if json:
        put_json({"data": str(data), "ok": not failed, "findings": findings})
    else:
        shown = table("check", "verdict", "found", left=3)
        for finding in findings:
            shown.add_row(finding.check, finding.verdict, finding.found)
        console().print(shown)
    return FAILED if failed else 0


def _run(check: Callable[[Path], Iterator[Finding]], data: Path) -> Iterator[Finding]:
    """Yield what a check finds; an error of ours is a finding, not the end of the examination."""
    try:
        yield from check(data)
    except (LoopError, OSError) as error:
        yield Finding(check.__name__.strip("_").replace("_", " "), "failed", str(error))


def _machine(data: Path) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield Finding("python", "ok", f"{version}, SQLite {sqlite3.sqlite_version}")
    for name in ("uvloop", "httptools"):
        found = find_spec(name) is not None
        yield Finding(
            name,
            "ok" if found else "failed",
            "installed" if found else f"missing: pip install {name}; the server needs it",
        )


def _disk(data: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(data).free
    verdict: Verdict = "ok"
    if free < LITTLE_DISK_BYTES:
        verdict = "failed" if free < NO_DISK_BYTES else "warning"
    yield Finding("disk space", verdict, f"{free / (1 << 30):.1f} GiB free")
    took_ms = _sync_ms(data)
    slow = took_ms > SLOW_SYNC_MS
    yield Finding(
        "disk sync",
        "warning" if slow else "ok",
        f"{took_ms:.2f} ms, median of {SYNCS}"
        + ("; feedback waits for this, so it will be slow" if slow else ""),
    )


def _sync_ms(data: Path) -> float:
    path = data / ".doctor"
    took = []
    try:
        # Unbuffered, since fsync writes only what the kernel has, and Python would still hold the block.
        with path.open("wb", buffering=0) as file:
            for _ in range(SYNCS):
                started = time.perf_counter()
                file.write(bytes(4096))
                os.fsync(file.fileno())
                took.append((time.perf_counter() - started) * 1000)
    finally:
        path.unlink(missing_ok=True)
    # The median: one sync that collides with another program's would hide in a mean what commits usually
    # wait.
    return sorted(took)[len(took) // 2]


def _file_modes(data: Path) -> Iterator[Finding]:
    from loopwright.app.private import loose as readable

    loose = [f"{path.name} is {mode:04o}" for path, mode in readable(data)]
    # The mode of a file does not protect it from those who may write into its folder: they can put another
    # in its place.
    if stat.S_IMODE(data.stat().st_mode) & 0o022:
        loose.append(f"others may write into {data}")
    if loose:
        yield Finding("file modes", "failed", "; ".join(loose) + ": use chmod go=")
    else:
        yield Finding(
            "file modes", "ok", "secrets and stored data are readable by their owner only"
        )


def _lock(data: Path) -> Iterator[Finding]:
    from loopwright.backends.files import DirectoryLock
    from loopwright.core.errors import DirectoryLocked

    if not (data / "lock").exists():
        yield Finding("lock", "ok", "nobody has served from here yet")
        return
    try:
        DirectoryLock(data).release()
    except DirectoryLocked as error:
        yield Finding("lock", "ok", f"process {error.detail.get('holder')} serves from here")
    else:
        yield Finding("lock", "ok", "free")


def _event_log(data: Path) -> Iterator[Finding]:
    from loopwright.backends import resolve

    url = _at(data).log
    if resolve.is_absent(url):
        yield Finding("event log", "ok", "none yet")
        return
    # Opening sets the pragmas that make commits durable and reads each of them back.
    verified = resolve.verified(url)
    if verified is None:
        yield Finding("event log", "ok", "its engine checks itself")
        return
    yield Finding("durability", "ok", "write-ahead log, synchronous=FULL, as read back")
    yield Finding(
        "event log",
        "ok",
        f"{verified.records:,} facts in {verified.batches:,} batches, offsets {verified.first} to "
        f"{verified.last}, {verified.keys:,} keys; every checksum matches",
    )


def _segments(data: Path) -> Iterator[Finding]:
    from loopwright.backends import resolve
    from loopwright.eventlog import Segments

    if not (data / "segments").is_dir():
        yield Finding("segments", "ok", "none yet")
        return
    segments = Segments(resolve.blob_store(_at(data).blobs, "segments"), resolve.columnar())
    manifest = segments.manifest()
    for segment in manifest.parts:
        segments.content(segment)
    yield Finding(
        "segments",
        "ok",
        f"{len(manifest.parts)} sealed, through offset {manifest.last}; every digest matches",
    )


def _databases(data: Path) -> Iterator[Finding]:
    from loopwright.backends import resolve

    server = resolve.examined(_at(data).database, now_ms=SystemClock().now_ms())
    if server is not None:
        yield from _server(server)
        return
    for name in ("catalog", "state"):
        if resolve.is_absent(_at(data).database, name):
            yield Finding(f"{name}.db", "ok", "none yet")
            continue
        damage = resolve.damage(_at(data).database, name)
        yield Finding(f"{name}.db", "failed" if damage else "ok", damage or "intact")


def _server(found: Examined) -> Iterator[Finding]:
    """Yield what a database server is like; it was asked and not changed."""
    from loopwright.backends.postgres_check import LEAST_VERSION

    is_old = found.major < LEAST_VERSION
    yield Finding(
        "database server",
        "failed" if is_old else "ok",
        f"{found.place}, version {found.version}"
        + (f"; at least {LEAST_VERSION} is needed" if is_old else ""),
    )
    yield Finding(
        "server durability",
        "ok" if found.is_synced else "failed",
        "fsync and full_page_writes are on"
        if found.is_synced
        else "fsync or full_page_writes is off: what was acknowledged can be lost; switch them on",
    )
    if found.encoding != "UTF8":
        yield Finding("server encoding", "failed", f"{found.encoding}; UTF8 is needed")
    away_s = found.ahead_ms / 1000
    is_off = abs(away_s) > FUTURE_S
    yield Finding(
        "server clock",
        "warning" if is_off else "ok",
        f"{away_s:+.1f} s from this machine's" + ("; set both by NTP" if is_off else ""),
    )
    locked = sorted(name for name, may_write in found.schemas.items() if not may_write)
    if locked:
        yield Finding(
            "schemas",
            "failed",
            f"the user may not write in {', '.join(locked)}; grant USAGE, CREATE",
        )
    elif not found.schemas and not found.may_create:
        yield Finding(
            "schemas",
            "failed",
            "none yet, and the user may make none; grant CREATE on the database",
        )
    else:
        names = ", ".join(found.schemas) or "none yet"
        yield Finding("schemas", "ok", f"{names}; the user may write")


def _at(data: Path) -> Addresses:
    from loopwright.app.settings import addresses, load_settings

    return addresses(load_settings(data_dir=data))


def _raw_copies(data: Path) -> Iterator[Finding]:
    from loopwright.app.settings import load_settings
    from loopwright.backends import resolve
    from loopwright.people.raw import census

    settings = load_settings(data_dir=data)
    state = f"on, for {settings.raw_ttl_days} days" if settings.raw_copies else "off"
    server = resolve.examined(_at(data).database, now_ms=SystemClock().now_ms())
    # Opening would make the schema, and this changes nothing.
    lacks_schema = server is not None and "loopwright_raw" not in server.schemas
    if lacks_schema or resolve.is_absent(_at(data).database, "raw"):
        yield Finding("raw copies", "ok", f"{state}; none yet")
        return
    database = resolve.database(_at(data).database, "raw")
    try:
        found = census(database, now_ms=SystemClock().now_ms())
    finally:
        database.close()
    yield Finding(
        "raw copies",
        "ok",
        f"{state}; {found.kept:,} kept, {found.expired:,} of them past their time and about to be deleted",
    )


def _clock(data: Path) -> Iterator[Finding]:
    newest_ms = _newest_fact_ms(data)
    ahead_s = (newest_ms - SystemClock().now_ms()) / 1000
    if ahead_s > FUTURE_S:
        yield Finding(
            "clock",
            "failed",
            f"the newest fact is {ahead_s:.0f} s in the future: set the clock right",
        )
    else:
        yield Finding("clock", "ok", "not behind the newest fact")


def _newest_fact_ms(data: Path) -> int:
    from loopwright.backends import resolve
    from loopwright.eventlog import Reader

    url = _at(data).log
    if resolve.is_absent(url):
        return 0
    log = resolve.event_log(url)
    try:
        # The newest alone: the check must not read a log of gigabytes a second time for one time stamp.
        return max((fact.at_ms for fact in Reader(log).newest()), default=0)
    finally:
        log.close()


CHECKS: Final = (
    _machine,
    _disk,
    _file_modes,
    _lock,
    _event_log,
    _segments,
    _databases,
    _raw_copies,
    _clock,
)
