"""What needs no server; the rest is in `tests/engines/test_doctor_on_postgres.py`."""

from __future__ import annotations

import subprocess
import sys

import pytest

from loopwright.backends.postgres_check import examine
from loopwright.core.errors import SettingsInvalid


def test_an_address_that_cannot_be_read_is_refused_without_repeating_it() -> None:
    with pytest.raises(SettingsInvalid) as refused:
        examine("postgresql://user:se cret@host:x/", now_ms=0)
    assert "cret" not in refused.value.message


def test_without_the_driver_the_error_says_how_to_get_it() -> None:
    program = "import sys; sys.modules['psycopg'] = None; import loopwright.backends.postgres_check"
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "pip install 'loopwright[postgres]'" in ran.stderr
