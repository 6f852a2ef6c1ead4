"""What a type checker of another kind than ours knows about the types that the package hands out."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_public_symbol_has_a_known_type() -> None:
    """An inferred type counts as known here: two checkers may differ on it, and mypy has the last word."""
    tools = Path(sys.executable).parent
    found = subprocess.run(
        [tools / "basedpyright", "--verifytypes", "loopwright", "--ignoreexternal", "--outputjson"],
        env={**os.environ, "PATH": f"{tools}{os.pathsep}{os.environ['PATH']}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    report = json.loads(found.stdout)["typeCompleteness"]
    assert report["pyTypedPath"].endswith("loopwright/py.typed")
    exported = [symbol for symbol in report["symbols"] if symbol["isExported"]]
    assert len(exported) > 5_000
    unknown = [
        symbol["name"]
        for symbol in exported
        if not symbol["isTypeKnown"] and not symbol["isTypeAmbiguous"]
    ]
    assert unknown == []
