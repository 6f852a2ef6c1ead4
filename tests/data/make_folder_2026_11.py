"""Make two data folders of November 2026, one of them with open sessions, and `folder-2026-11.expected.json`.

    python -m tests.data.make_folder_2026_11

Runs on the code of commit 96c98c3 alone and refuses to run on any other: the folder is what that code wrote, and the
file beside it is what that code answered for it. `tests/flow/test_upgrade.py` asks later code the same questions.

The clock is moved by hand and the draws are seeded. Secrets, pseudonyms and nonces are random, so a second run makes
another folder with other ids: commit the archive and the expected answers together.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Final

from tests.flow.old_folder import ARCHIVE, EXPECTED, VISITS, derived, questions

import loopwright

SOURCES: Final = "3ddfa797191bc84c863b159a5bb39c1a722e57fedcb8b9b5f0b3abc4e45f2c8d"
"""SHA-256 over the paths and contents of the package at commit 96c98c3."""


def pack(folder: Path, archive: Path) -> None:
    """Write the folder as a .tar.gz without owners and times."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.PAX_FORMAT) as packed:
        for path in sorted(folder.rglob("*")):
            about = packed.gettarinfo(path, str(path.relative_to(folder)))
            about.uid = about.gid = about.mtime = 0
            about.uname = about.gname = ""
            with path.open("rb") if path.is_file() else io.BytesIO() as content:
                packed.addfile(about, content if path.is_file() else None)
    archive.write_bytes(gzip.compress(plain.getvalue(), 9, mtime=0))


def sources_digest() -> str:
    """Return the digest of the package's code as it is here."""
    package = Path(loopwright.__file__).parent
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        found.update(f"{path.relative_to(package)}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


def main() -> int:
    """Make the archive and the expected answers; return the exit code."""
    if sources_digest() != SOURCES:
        sys.stderr.write(
            "This program makes the data folder of November 2026 with the code of commit 96c98c3, and the code here "
            "is another: check that commit out to run it. The folder it made is kept beside it.\n"
        )
        return 1
    # Later code does not have what this imports, and has to be told why it is refused.
    from tests.data.folder_2026_11 import make, make_visits

    with tempfile.TemporaryDirectory() as place:
        known = make(Path(place) / "data")
        pack(Path(place) / "data", ARCHIVE)
        make_visits(Path(place) / "visits")
        pack(Path(place) / "visits", VISITS)
        known["derived"] = derived(Path(place) / "visited")
        known["answers"] = questions(Path(place) / "asked", known)
    EXPECTED.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
