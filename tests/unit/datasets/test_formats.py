"""Every form is read back by the tool that it is for."""

from __future__ import annotations

import csv
import importlib
import io
import json
from pathlib import Path
from typing import Any, get_args

import pytest

from loopwright.core.dataset import DatasetFormat, DatasetKind
from loopwright.core.errors import Invalid
from loopwright.datasets.examples import Example
from loopwright.datasets.formats import COLUMNS, FORMATS, check, flat, lines_of, rows_of

PAIR = Example(input="h", prompt="How?", chosen="This way.", rejected='No "idea",\n=1', margin=0.75)
LABELLED = Example(input="h", prompt="How?", completion="This way.", label=False)
SHOWN = Example(input="h", prompt="How?", completion="This way.")
REWARDED = Example(input="h", prompt="How?", completion="This way.", reward=0.5)
ROWS: dict[DatasetKind, Example] = {
    "preference": PAIR,
    "kto": LABELLED,
    "sft": SHOWN,
    "reward": REWARDED,
}
EXPECTED: dict[tuple[str, str], dict[str, Any]] = {
    ("preference", "simple"): {"prompt": "How?", "chosen": "This way.", "rejected": PAIR.rejected},
    ("preference", "openai"): {
        "input": {
            "messages": [{"role": "user", "content": "How?"}],
            "tools": [],
            "parallel_tool_calls": True,
        },
        "preferred_output": [{"role": "assistant", "content": "This way."}],
        "non_preferred_output": [{"role": "assistant", "content": PAIR.rejected}],
    },
    ("sft", "openai"): {
        "messages": [
            {"role": "user", "content": "How?"},
            {"role": "assistant", "content": "This way."},
        ]
    },
}


def written(kind: DatasetKind, format: DatasetFormat) -> list[Any]:
    return [json.loads(line) for line in lines_of(kind, format, [ROWS[kind]])]


@pytest.mark.parametrize(("kind", "format"), EXPECTED, ids=lambda part: str(part))
def test_a_form_has_the_members_that_its_readers_ask_for(kind: Any, format: Any) -> None:
    assert written(kind, format) == [EXPECTED[kind, format]]


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    return


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("kind", "format"),
    [
        ("preference", "trl"),
        ("preference", "trl_conversational"),
        ("kto", "trl"),
        ("kto", "trl_conversational"),
        ("sft", "trl"),
        ("sft", "trl_conversational"),
    ],
)
def test_the_datasets_library_loads_each_form_of_trl_from_disk(
    kind: DatasetKind, format: DatasetFormat, tmp_path: Path, offline: None
) -> None:
    loading: Any = importlib.import_module("datasets")

    file = tmp_path / "rows.jsonl"
    lines = b"\n".join(lines_of(kind, format, [ROWS[kind], ROWS[kind]]))
    file.write_bytes(lines)
    loaded = loading.Dataset.from_json(str(file), cache_dir=str(tmp_path / "cache"))
    assert loaded.num_rows == 2
    needed = {
        "preference": {"prompt", "chosen", "rejected"},
        "kto": {"prompt", "completion", "label"},
    }
    expected = needed.get(kind) or ({"messages"} if "conv" in format else {"prompt", "completion"})
    assert expected <= set(loaded.column_names)
    if format == "trl_conversational" and kind == "preference":
        assert loaded[0]["chosen"] == [{"role": "assistant", "content": "This way."}]


def test_csv_reads_back_and_runs_no_formula() -> None:
    text = b"\n".join(lines_of("preference", "csv", [PAIR, SHOWN])).decode()
    first, second = csv.DictReader(io.StringIO(text))
    assert first["rejected"] == PAIR.rejected
    assert (first["margin"], second["chosen"]) == ("0.75", "")
    evil = Example(input="h", prompt="=HYPERLINK(1)", chosen="a", rejected="b", margin=-0.5)
    (told,) = csv.DictReader(
        io.StringIO(b"\n".join(lines_of("preference", "csv", [evil])).decode())
    )
    assert (told["prompt"], told["margin"]) == ("'=HYPERLINK(1)", "-0.5")


def test_rows_survive_their_shard() -> None:
    content = b"\n".join(lines_of("preference", "rows", [PAIR, PAIR])) + b"\n"
    assert list(rows_of(content)) == [PAIR, PAIR]
    assert set(json.loads(flat(PAIR))) == set(COLUMNS)


def test_every_kind_has_forms_and_refuses_the_others() -> None:
    for kind in get_args(DatasetKind):
        for format in get_args(DatasetFormat):
            if format in FORMATS[kind]:
                check(kind, format)
            else:
                with pytest.raises(Invalid, match="has no format"):
                    check(kind, format)
