from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from loopwright.insights.exports import EXPORTED, csv_lines, exported, inert, json_lines


def row(**said: Any) -> dict[str, Any]:
    return {**dict.fromkeys(EXPORTED), **said}


@pytest.mark.parametrize(
    "text",
    [
        "=1+1", "+1+1|cmd", "-2+3", "@SUM(A1)", "\tx", "\rx", "\n=1", " =1+1", "=cmd|' /C calc'!A0", "\uff1d1",
        '=HYPERLINK("http://x","y")', "-", "+",
    ],
)  # fmt: skip
def test_a_text_that_a_spreadsheet_would_run_is_text(text: str) -> None:
    written = csv_lines([row(message=text, person=text)], is_first=True).decode()
    (read,) = csv.DictReader(io.StringIO(written, newline=""))

    assert read["message"] == read["person"] == "'" + text


@pytest.mark.parametrize(
    "value", [-1.5, -3, 0, None, True, "plain", "a=b", "-5", "+49 30"[:3], "+1.25", ""]
)
def test_numbers_and_plain_texts_stay_as_they_are(value: Any) -> None:
    assert inert(value) is value


def test_json_lines_keep_every_text_exactly() -> None:
    assert json_lines([{"message": "=1+1", "labels": '{"a":1}', "task": None}]) == (
        b'{"message":"=1+1","labels":{"a":1}}\n'
    )


def test_digests_that_only_joins_need_are_not_exported() -> None:
    assert not any(name.endswith("_key") for name in exported(row(decision_key=1)))
