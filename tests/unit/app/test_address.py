from __future__ import annotations

import stat
from pathlib import Path

from loopwright.app.address import ADDRESS_FILE, forget_address, read_address, url_of, write_address


def test_an_address_is_read_back_and_its_owners_alone(tmp_path: Path) -> None:
    write_address(tmp_path, "http://127.0.0.1:9123")
    assert read_address(tmp_path) == "http://127.0.0.1:9123"
    assert stat.S_IMODE((tmp_path / ADDRESS_FILE).stat().st_mode) == 0o600
    forget_address(tmp_path)
    forget_address(tmp_path)
    assert read_address(tmp_path) is None


def test_a_listener_on_every_address_is_reached_on_the_loopback() -> None:
    assert url_of("0.0.0.0", 80) == "http://127.0.0.1:80"  # noqa: S104
    assert url_of("::", 80) == "http://[::1]:80"
    assert url_of("10.0.0.7", 80) == "http://10.0.0.7:80"
