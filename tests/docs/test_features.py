"""The table of features claims no more than tests prove."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (ROOT / "docs" / "reference" / "features.md").read_text("utf-8").splitlines()
    if re.match(r"\| [A-Z]\d+ \|", line)
]
EXPECTED = {"B": 11, "L": 12, "F": 10, "R": 6, "C": 13, "X": 7}


def test_every_row_is_there_once() -> None:
    ids = [row[0] for row in ROWS]
    assert ids == [
        f"{letter}{n}" for letter, count in EXPECTED.items() for n in range(1, count + 1)
    ]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_a_row_that_works_is_proved_by_tests_that_exist(row: list[str]) -> None:
    _, what, state, proof = row
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", proof)
    assert what
    assert state in ("works", "partial", "planned")
    assert bool(named) == (state != "planned")
    for file, test in named:
        path = ROOT / file
        assert path.is_file(), file
        assert re.search(rf"^(async )?def {test}\(", path.read_text("utf-8"), re.MULTILINE), test
