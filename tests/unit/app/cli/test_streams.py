from __future__ import annotations

import gzip
from pathlib import Path

import duckdb
import pytest

from loopwright.app.streams import BUNDLED, Columns, Row, Source, locate, outline, rows
from loopwright.core.errors import Invalid, NotFound

LOGGED = Columns(arm="item", reward="click", propensity="p")


def source(path: Path, columns: Columns, **how: object) -> Source:
    return Source(path=path, format=locate(str(path)).format, columns=columns, **how)  # type: ignore[arg-type]


def write(path: Path, text: str) -> Path:
    path.write_text(text, "utf-8")
    return path


def test_the_three_formats_say_the_same(tmp_path: Path) -> None:
    csv = write(tmp_path / "a.csv", "item,click,p\nshort,1,0.5\nlong,0,0.25\n")
    jsonl = write(
        tmp_path / "a.jsonl",
        '{"item":"short","click":1,"p":0.5}\n\n{"item":"long","click":0,"p":0.25}\n',
    )
    parquet = tmp_path / "a.parquet"
    with duckdb.connect() as connection:
        connection.read_csv(str(csv)).write_parquet(str(parquet))
    zipped = tmp_path / "b.csv.gz"
    zipped.write_bytes(gzip.compress(csv.read_bytes()))
    expected = [
        Row(arm="short", reward=1.0, propensity=0.5),
        Row(arm="long", reward=0.0, propensity=0.25),
    ]
    for path in (csv, jsonl, parquet, zipped):
        assert list(rows(source(path, LOGGED))) == expected


def test_vectors_come_from_matching_columns_or_from_one_list(tmp_path: Path) -> None:
    wide = write(tmp_path / "a.csv", "y,x_0,x_1,other\nb,3,4,9\n")
    assert [row.vector for row in rows(source(wide, Columns(label="y", features="x_*")))] == [
        (3.0, 4.0)
    ]
    scaled = source(wide, Columns(label="y", features="x_*"), unit_norm=True)
    assert next(rows(scaled)).vector == (0.6, 0.8)
    listed = write(tmp_path / "b.csv", 'y,x\nb,"[1, 2.5]"\n')
    assert next(rows(source(listed, Columns(label="y", vector="x")))).vector == (1.0, 2.5)
    lines = write(tmp_path / "b.jsonl", '{"y":"b","x":[1,2.5]}\n')
    assert next(rows(source(lines, Columns(label="y", vector="x")))).vector == (1.0, 2.5)


def test_a_vector_of_zeros_stays_as_it_is(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "y,x_0\nb,0\n")
    given = source(path, Columns(label="y", features="x_*"), unit_norm=True)
    assert next(rows(given)).vector == (0.0,)


def test_a_whole_number_written_as_a_float_is_the_same_arm(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", '{"y":3.0}\n{"y":3}\n{"y":"3"}\n')
    assert {row.label for row in rows(source(path, Columns(label="y")))} == {"3"}


def test_the_outline_counts_arms_rewards_and_propensities(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "item,click,p\n10,1,0.5\n9,3,0.25\nx,0,0.25\n")
    found = outline(source(path, LOGGED))
    assert found.arms == ("9", "10", "x")
    assert (found.rows, found.low, found.high) == (3, 0.0, 3.0)
    assert (found.whole, found.uniform, found.dimension) == (False, False, None)
    assert found.mean_reward == pytest.approx(4 / 3)


def test_a_log_without_propensities_counts_as_uniform(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "item,click\na,1\nb,0\n")
    assert outline(source(path, Columns(arm="item", reward="click"))).uniform


def test_limit_reads_that_many_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "a.csv", "item,click\na,1\nb,nonsense\n")
    assert outline(source(path, Columns(arm="item", reward="click"), limit=1)).rows == 1


@pytest.mark.parametrize(
    ("text", "columns", "said"),
    [
        ("item,click\na,yes\n", Columns(arm="item", reward="click"), "row 1.*'yes'.*not a number"),
        ("item,click\na,1\na,nan\n", Columns(arm="item", reward="click"), "row 2.*finite"),
        ("item,click\na,\n", Columns(arm="item", reward="click"), "row 1.*'click' is empty"),
        (
            "item,click\na,1\n",
            Columns(arm="item", reward="reward"),
            "no column 'reward'.*item, click",
        ),
        ("item,click,p\na,1,0\n", LOGGED, "row 1.*above 0"),
        ("item,click,p\na,1,1.5\n", LOGGED, "row 1.*at most 1"),
        ("item,click\na,1,2,3\n", Columns(arm="item", reward="click"), "more fields"),
        ("y,x\na,1\n", Columns(label="y", features="z_*"), "no column matches 'z_\\*'"),
        ("y,x\na,1\n", Columns(label="y", vector="x"), "list of numbers"),
        ('y,x\na,"[1,2]"\nb,"[1]"\n', Columns(label="y", vector="x"), "row 2.*1 components.*2"),
        ("y\n", Columns(label="y"), "no rows"),
    ],
)
def test_a_row_that_cannot_be_used_is_named(
    tmp_path: Path, text: str, columns: Columns, said: str
) -> None:
    path = write(tmp_path / "a.csv", text)
    with pytest.raises(Invalid, match=said):
        outline(source(path, columns))


def test_files_that_are_not_what_they_say_are_refused(tmp_path: Path) -> None:
    broken_gzip = tmp_path / "a.csv.gz"
    broken_gzip.write_bytes(gzip.compress(b"item,click\na,1\n" * 500)[:-20])
    latin = tmp_path / "b.csv"
    latin.write_bytes(b"item,click\n\xff\xfe,1\n")
    lines = write(tmp_path / "c.jsonl", '{"item":"a","click":1}\n[1]\n')
    parquet = write(tmp_path / "d.parquet", "not parquet")
    for path in (broken_gzip, latin, lines, parquet):
        with pytest.raises(Invalid, match=path.name.replace(".", r"\.")):
            outline(source(path, Columns(arm="item", reward="click")))


@pytest.mark.parametrize(
    "columns",
    [
        Columns(),
        Columns(arm="a"),
        Columns(reward="r"),
        Columns(label="y", arm="a"),
        Columns(label="y", arm="a", reward="r"),
    ],
)
def test_columns_that_describe_nothing_clear_are_refused(columns: Columns) -> None:
    with pytest.raises(Invalid, match="--label"):
        assert columns.kind


def test_what_is_neither_bundled_nor_a_file_is_not_found() -> None:
    with pytest.raises(NotFound, match="open-bandit-random"):
        locate("nothing")


def test_a_name_that_does_not_tell_the_format_asks_for_it(tmp_path: Path) -> None:
    path = write(tmp_path / "log.txt", "item,click\na,1\n")
    with pytest.raises(Invalid, match="--format"):
        locate(str(path))
    assert locate(str(path), "csv").format == "csv"


def test_the_bundled_streams_are_whole() -> None:
    digits = outline(BUNDLED["digits"])
    assert (digits.rows, digits.arms, digits.dimension) == (1797, tuple("0123456789"), 64)
    for name, clicks in (("open-bandit-random", 46), ("open-bandit-bts", 69)):
        found = outline(BUNDLED[name])
        assert (found.rows, len(found.arms)) == (10_000, 34)
        assert round(found.mean_reward * found.rows) == clicks
    assert outline(BUNDLED["open-bandit-random"]).uniform
    assert not outline(BUNDLED["open-bandit-bts"]).uniform
