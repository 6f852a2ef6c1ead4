"""Reading logged streams: what happened somewhere else, row by row, to drive through the loop here.

A full-information row says what the right answer was, so the reward of any arm is known. A logged bandit row
says what one arm earned; the other arms' rewards will never be known (see `app.replay`).
"""

from __future__ import annotations

import csv
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from importlib.resources import files
from itertools import islice
from pathlib import Path
from typing import Any, Final, Literal, get_args

import msgspec

from loopwright.backends.duckdb import parquet_rows
from loopwright.core.errors import Invalid, NotFound

# In the order that exports name them: typing takes literals of another order for the same, and shows whichever came first.
Format = Literal["jsonl", "csv", "parquet"]
Kind = Literal["full-information", "logged"]

_SUFFIXES: Final[Mapping[str, Format]] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}


class Columns(msgspec.Struct, frozen=True, kw_only=True):
    """Which column holds what. `features` is a pattern such as `pixel_*`; `vector` is one column with a list."""

    label: str | None = None
    arm: str | None = None
    reward: str | None = None
    propensity: str | None = None
    vector: str | None = None
    features: str | None = None
    id: str | None = None

    @property
    def kind(self) -> Kind:
        """What such columns describe; raises `Invalid` when that is not clear."""
        if self.label and not (self.arm or self.reward or self.propensity):
            return "full-information"
        if self.arm and self.reward and not self.label:
            return "logged"
        raise Invalid(
            "name the column of the right answer (--label) for a full-information stream, or the columns "
            "of the arm shown and what it earned (--arm, --reward) for a logged one"
        )


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """Where a stream comes from and how to read it."""

    path: Path
    format: Format
    columns: Columns
    unit_norm: bool = False
    """Whether vectors are scaled to length 1."""
    limit: int | None = None


class Row(msgspec.Struct, frozen=True):
    """One row. `label` belongs to full-information streams, `arm`, `reward`, `propensity` to logged ones."""

    id: str | None = None
    vector: tuple[float, ...] | None = None
    label: str | None = None
    arm: str | None = None
    reward: float = 0.0
    propensity: float | None = None


class Outline(msgspec.Struct, frozen=True, kw_only=True):
    """What a first pass over a stream finds."""

    rows: int
    arms: tuple[str, ...]
    dimension: int | None
    low: float
    high: float
    """Smallest and largest reward."""
    whole: bool
    """Whether every reward is 0 or 1."""
    mean_reward: float
    uniform: bool
    """Whether every row has the same propensity, or none is given: the log chose uniformly at random."""


BUNDLED: Final[Mapping[str, Source]] = {
    name: Source(path=Path(str(files("loopwright") / "data" / file)), format="csv", **how)  # type: ignore[arg-type]
    for name, file, how in (
        (
            "digits",
            "digits.csv.gz",
            {"columns": Columns(label="label", features="pixel_*"), "unit_norm": True},
        ),
        *(
            (
                f"open-bandit-{log}",
                f"open_bandit_{log}_men.csv.gz",
                {"columns": Columns(arm="item_id", reward="click", propensity="propensity_score")},
            )
            for log in ("random", "bts")
        ),
    )
}
"""The data sets that come with the package, by name."""


def locate(name: str, format: Format | None = None) -> Source:
    """Return the bundled source called `name`, or the file at that path with no columns mapped yet.

    Raises `NotFound` when there is neither, `Invalid` when the file's name does not tell its format.
    """
    if name in BUNDLED:
        return BUNDLED[name]
    path = Path(name)
    if not path.is_file():
        raise NotFound(f"there is no file {name}; bundled streams are {', '.join(BUNDLED)}")
    return Source(path=path, format=format or _format_of(path), columns=Columns())


def outline(source: Source) -> Outline:
    """Return what `source` holds, after reading it once."""
    arms: set[str] = set()
    propensities: set[float | None] = set()
    dimension: int | None = None
    low, high, total, count, whole = math.inf, -math.inf, 0.0, 0, True
    for count, row in enumerate(rows(source), 1):
        arms.add(row.label if row.label is not None else row.arm or "")
        size = None if row.vector is None else len(row.vector)
        if count > 1 and size != dimension:
            raise _wrong(
                source, count, f"its vector has {size} components, earlier ones {dimension}"
            )
        dimension = size
        low, high, total = min(low, row.reward), max(high, row.reward), total + row.reward
        whole = whole and row.reward in (0.0, 1.0)
        if len(propensities) < 2:
            propensities.add(row.propensity)
    if not count:
        raise Invalid(f"{source.path} has no rows")
    return Outline(
        rows=count,
        arms=tuple(sorted(arms, key=_natural)),
        dimension=dimension,
        low=low,
        high=high,
        whole=whole,
        mean_reward=total / count,
        uniform=len(propensities) == 1,
    )


def rows(source: Source) -> Iterator[Row]:
    """Yield the rows of `source`; raises `Invalid` naming the row and column that cannot be used."""
    columns = source.columns
    kind = columns.kind
    for number, record in enumerate(islice(_records(source), source.limit), 1):
        try:
            yield Row(
                id=None if columns.id is None else _text(record, columns.id),
                vector=_vector(record, source),
                label=_text(record, columns.label) if kind == "full-information" else None,
                arm=_text(record, columns.arm) if kind == "logged" else None,
                reward=_number(record, columns.reward) if kind == "logged" else 0.0,
                propensity=_propensity(record, columns.propensity),
            )
        except Invalid as error:
            raise _wrong(source, number, error.message) from None


def _records(source: Source) -> Iterator[Mapping[Any, Any]]:
    try:
        for record in _READERS[source.format](source.path):
            if None in record:
                raise Invalid(f"{source.path} has a line with more fields than its header")
            yield record
    except (OSError, EOFError, zlib.error, UnicodeDecodeError, csv.Error) as error:
        raise Invalid(f"{source.path} cannot be read as {source.format}: {error}") from None


def _format_of(path: Path) -> Format:
    suffixes = [suffix.lower() for suffix in path.suffixes if suffix.lower() != ".gz"]
    if suffixes and suffixes[-1] in _SUFFIXES:
        return _SUFFIXES[suffixes[-1]]
    raise Invalid(
        f"the name of {path} does not tell its format; say --format {'|'.join(get_args(Format))}"
    )


def _natural(arm: str) -> tuple[int, int, str]:
    """Sort whole numbers by value and before all other names."""
    return (0, int(arm), "") if arm.isdecimal() else (1, 0, arm)


def _read_csv(path: Path) -> Iterator[Mapping[Any, Any]]:
    with _text_of(path) as text:
        yield from csv.DictReader(text)


def _read_jsonl(path: Path) -> Iterator[Mapping[Any, Any]]:
    decode = msgspec.json.Decoder(dict[str, Any]).decode
    with _text_of(path) as text:
        for number, line in enumerate(text, 1):
            if line.strip():
                try:
                    yield decode(line)
                except msgspec.DecodeError as error:
                    raise Invalid(f"{path}, line {number} is not a JSON object: {error}") from None


def _text_of(path: Path) -> io.TextIOWrapper:
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    return io.TextIOWrapper(opened(path, "rb"), encoding="utf-8-sig", newline="")


_READERS: Final = {"csv": _read_csv, "jsonl": _read_jsonl, "parquet": parquet_rows}


def _value(record: Mapping[str, Any], column: str) -> Any:
    if column not in record:
        raise Invalid(f"there is no column {column!r}; there are {_some(record)}")
    value = record[column]
    if value is None or value == "":
        raise Invalid(f"column {column!r} is empty")
    return value


def _text(record: Mapping[str, Any], column: str | None) -> str:
    assert column is not None
    value = _value(record, column)
    # A label that another tool wrote as 3.0 is still the arm "3".
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value)


def _number(record: Mapping[str, Any], column: str | None) -> float:
    assert column is not None
    return _finite(_value(record, column), column)


def _finite(value: Any, column: str) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise Invalid(f"column {column!r} holds {value!r}, which is not a number") from None
    if not math.isfinite(number):
        raise Invalid(f"column {column!r} holds {number}; numbers must be finite")
    return number


def _propensity(record: Mapping[str, Any], column: str | None) -> float | None:
    if column is None:
        return None
    propensity = _number(record, column)
    if not 0 < propensity <= 1:
        raise Invalid(
            f"column {column!r} holds {propensity}; a propensity is above 0 and at most 1"
        )
    return propensity


def _vector(record: Mapping[str, Any], source: Source) -> tuple[float, ...] | None:
    columns = source.columns
    if columns.vector is not None:
        vector = _listed(_value(record, columns.vector), columns.vector)
    elif columns.features is not None:
        names = [name for name in record if fnmatchcase(name, columns.features)]
        if not names:
            raise Invalid(f"no column matches {columns.features!r}; there are {_some(record)}")
        vector = tuple(_number(record, name) for name in names)
    else:
        return None
    if not source.unit_norm:
        return vector
    length = math.hypot(*vector)
    return tuple(component / length for component in vector) if length else vector


def _listed(value: Any, column: str) -> tuple[float, ...]:
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            value = None
    if not isinstance(value, list | tuple) or not value:
        raise Invalid(f"column {column!r} does not hold a list of numbers, such as [0.5, 1]")
    return tuple(_finite(component, column) for component in value)


def _some(record: Iterable[Any]) -> str:
    names = [str(name) for name in record]
    return ", ".join(names[:12]) + (", …" if len(names) > 12 else "")


def _wrong(source: Source, number: int, why: str) -> Invalid:
    return Invalid(f"{source.path.name}, row {number}: {why}", row=number)
