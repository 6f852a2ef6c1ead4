"""What people read."""

from __future__ import annotations

import threading

from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT


def test_the_warehouse_is_opened_once_however_many_ask_first(services: Services) -> None:
    found: list[int] = []
    threads = [
        threading.Thread(target=lambda: found.append(id(services.reports.warehouse)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len(set(found)) == 1


def test_a_person_who_was_never_here_is_in_no_row(services: Services) -> None:
    rows = services.reports.rows_of(DEFAULT_TENANT, "nobody")
    assert rows
    assert set(rows.values()) == {0}
