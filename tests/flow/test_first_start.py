"""A first start that is killed around the file of the first key: the next start makes an installation that can be used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services

# Ends itself, as if killed, when the file `admin.key` is about to appear, or right after it has.
START = """
import os, sys
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services

folder, moment = sys.argv[1:]
has_renamed = False

def die(event, arguments):
    global has_renamed
    if event == "os.rename" and str(arguments[1]).endswith("admin.key"):
        if moment == "before":
            os._exit(9)
        has_renamed = True
    elif has_renamed and moment == "after" and event == "open":
        os._exit(9)

sys.addaudithook(die)
Services(load_settings(data_dir=folder))
os._exit(0)
"""


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_start_after_a_crash_at_the_first_key_leaves_a_key_that_works(
    tmp_path: Path, moment: str
) -> None:
    folder = tmp_path / "data"
    died = subprocess.run([sys.executable, "-c", START, str(folder), moment], check=False)
    assert died.returncode == 9
    services = Services(load_settings(data_dir=folder))
    try:
        secret = (folder / "admin.key").read_text().strip()
        assert services.truth.catalog.authenticate(secret).is_operator
        assert len(services.truth.catalog.keys.all("default")) == 1
    finally:
        services.close()
