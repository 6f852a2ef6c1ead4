from __future__ import annotations

import pytest

from loopwright.backends.postgres_link import Server
from loopwright.core.errors import SettingsInvalid


def test_a_server_is_named_without_its_password() -> None:
    server = Server.of("postgresql://jo:wr0ng@db.example:6432/loop", "catalog")
    assert server.place == "PostgreSQL at db.example, port 6432"
    assert Server.of("dbname=loop", "catalog").place == "PostgreSQL at the local socket, port 5432"


def test_the_address_overrides_everything_but_the_encoding() -> None:
    plain = Server.of("postgresql://h/loop", "catalog").options
    assert (plain["connect_timeout"], plain["application_name"]) == (5, "loopwright catalog")
    url = "postgresql://h/loop?connect_timeout=30&application_name=mine&client_encoding=latin1"
    given = Server.of(url, "catalog").options
    assert (given["connect_timeout"], given["application_name"]) == ("30", "mine")
    assert given["client_encoding"] == "utf8"


@pytest.mark.parametrize(
    "url", ["postgresql://u:wr0ng%zz@h/d", "password=wr0ng wr0ng", "mysql://wr0ng"]
)
def test_an_address_that_cannot_be_read_is_not_repeated(url: str) -> None:
    with pytest.raises(SettingsInvalid, match="postgresql://user:password@host") as caught:
        Server.of(url, "catalog")
    assert "wr0ng" not in caught.value.message
    assert caught.value.__suppress_context__
