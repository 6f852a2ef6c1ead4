"""Reading a data directory that no server holds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from loopwright.core.errors import SettingsInvalid

from .options import Server

if TYPE_CHECKING:
    from loopwright.app.wiring import Services
    from loopwright.warehouse import Warehouse


@contextmanager
def warehouse_of(data: Path) -> Iterator[Warehouse]:
    """Open the warehouse of a directory; nothing is added to its log.

    Raises `SettingsInvalid` when it is no data directory, `DirectoryLocked` when a server holds it.
    """
    from loopwright.app.settings import addresses, load_settings
    from loopwright.backends import resolve
    from loopwright.backends.files import DirectoryLock
    from loopwright.core.clock import SystemClock
    from loopwright.eventlog import Reader, Segments
    from loopwright.warehouse import FOLDER, Loader, Warehouse

    at = addresses(load_settings(data_dir=data))
    # Asked only of a log in this directory, which opening would create; a log elsewhere shows when it is
    # opened.
    if at.log == resolve.sqlite_url(data / "log.db") and not (data / "log.db").is_file():
        raise SettingsInvalid(
            f"{data} is not a data directory; name one with --data, or a server with --url"
        )
    with ExitStack() as opened:
        # Before anything is opened: of what a server holds nothing may be touched, and a refusal leaves
        # nothing open.
        opened.enter_context(DirectoryLock(data))
        log = resolve.event_log(at.log)
        opened.callback(log.close)
        clock, blobs = SystemClock(), resolve.blob_store(at.blobs, FOLDER)
        reader = Reader(log, Segments(resolve.blob_store(at.blobs, "segments"), resolve.columnar()))
        loader = Loader(
            reader,
            blobs,
            engine=resolve.loading_engine(at.blobs, FOLDER),
            lease=resolve.lease(at.blobs, FOLDER),
            clock=clock,
        )
        engine = resolve.query_engine(at.blobs, FOLDER)
        warehouse = Warehouse(blobs, reader, engine=engine, loader=loader, clock=clock)
        opened.callback(warehouse.close)
        yield warehouse


@contextmanager
def unserved(server: Server) -> Iterator[Services | None]:
    """Open the data directory when no address is given and no server holds it; None when a server is to be asked."""
    from loopwright.core.errors import DirectoryLocked

    if server.url is not None or not (server.data / "catalog.db").is_file():
        yield None
        return
    from loopwright.app.settings import load_settings
    from loopwright.app.wiring import Services

    try:
        # No check of the lock beforehand: a server could start in between. Opening takes the lock or
        # raises.
        services = Services(load_settings(data_dir=server.data))
    except DirectoryLocked:
        yield None
        return
    try:
        yield services
    finally:
        services.close()


def zone_in(data: Path, tenant_id: str) -> str:
    """Return the time zone that a directory's catalog has for a tenant."""
    from loopwright.app.settings import addresses, load_settings
    from loopwright.backends import resolve
    from loopwright.catalog.zones import SCHEMA, zone_of
    from loopwright.core.schema import apply_schema

    catalog = resolve.database(addresses(load_settings(data_dir=data)).database, "catalog")
    try:
        apply_schema(catalog, "zones", SCHEMA)
        return zone_of(catalog, tenant_id)
    finally:
        catalog.close()
