"""The route of the time zone: who may read and set it, and for which tenant."""

from __future__ import annotations

import asyncio
from pathlib import Path

import httpx

from loopwright.app.server import application
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services


def test_a_key_sets_the_zone_of_its_own_tenant_with_the_scope_for_it(tmp_path: Path) -> None:
    async def ask() -> list[tuple[int, str]]:
        services = Services(load_settings(data_dir=tmp_path))
        services.start()
        catalog = services.truth.catalog
        catalog.tenants.create("acme")
        front = application(services, asyncio.get_running_loop())
        found = []
        try:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(front), base_url="http://loop"
            ) as client:
                for tenant, scope in (("acme", "read"), ("acme", "manage"), ("default", "read")):
                    key = catalog.keys.create(tenant, [scope, "read"]).secret
                    answer = await client.put(
                        "/api/v1/timezone",
                        json={"tz": "Asia/Kolkata"},
                        headers={"authorization": f"Bearer {key}"},
                    )
                    found.append((answer.status_code, catalog.zones.of(tenant)))
        finally:
            await asyncio.to_thread(services.close)
        return found

    assert asyncio.run(ask()) == [(403, "UTC"), (200, "Asia/Kolkata"), (403, "UTC")]
