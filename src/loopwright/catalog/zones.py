"""The time zone of each tenant: where the days of its reports begin when a request names no other."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

from loopwright.core.errors import Invalid
from loopwright.core.ports import Database
from loopwright.core.schema import apply_schema

from .journal import Journal
from .tenants import Tenants

DEFAULT_ZONE: Final = "UTC"

_TABLE: Final = """
CREATE TABLE tenant_zones (
    tenant_id TEXT PRIMARY KEY,
    tz TEXT NOT NULL
)
"""
SCHEMA: Final[tuple[tuple[str, ...], ...]] = ((_TABLE,),)


class Zones:
    """Time zones by tenant. They are read where they are kept, so each process sees a change at once."""

    def __init__(self, database: Database, journal: Journal, *, tenants: Tenants) -> None:
        apply_schema(database, "zones", SCHEMA)
        self._database = database
        self._journal = journal
        self._tenants = tenants

    def of(self, tenant_id: str) -> str:
        """Return the name of a tenant's time zone (IANA); UTC unless another was set."""
        return zone_of(self._database, tenant_id)

    def set(self, tenant_id: str, tz: str, *, actor: str = "") -> str:
        """Let a tenant's days begin at midnight in `tz`; raises `NotFound`, or `Invalid` for no such zone."""
        name = checked_zone(tz)
        with self._journal.writing:
            tenant = self._tenants.get(tenant_id)
            told = self._journal.told(
                tenant.id, f"tenant/{tenant.id}", "timezone", actor=actor, tz=name
            )
            with self._journal.transaction() as session:
                session.execute("DELETE FROM tenant_zones WHERE tenant_id = ?", (tenant.id,))
                session.execute("INSERT INTO tenant_zones VALUES (?, ?)", (tenant.id, name))
                self._journal.put(session, told)
        self._journal.try_relay()
        return name


def zone_of(database: Database, tenant_id: str) -> str:
    """Return a tenant's time zone as a catalog's database has it; UTC unless another was set."""
    found = database.query("SELECT tz FROM tenant_zones WHERE tenant_id = ?", (tenant_id,))
    return str(found[0][0]) if found else DEFAULT_ZONE


def checked_zone(tz: str) -> str:
    """Return `tz` when the IANA database has a time zone of that name; raises `Invalid`."""
    try:
        return ZoneInfo(tz).key
    # A name can also be a folder of the database, or reach out of it.
    except (ValueError, OSError, KeyError):
        raise Invalid(
            f"tz is '{tz[:40]}'; expected a time zone of the IANA database, as Europe/Berlin or UTC",
            found=tz[:40],
        ) from None
