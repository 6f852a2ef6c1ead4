"""Sums that do not depend on the order of addition.

A policy's state is, per arm, how many events there were and the sums of products of their columns
z = [features…, 1, reward (, weight)]: from these come A = Σxxᵀ, b = Σrx, S = Σr and Q = Σr². Floating-point
sums would differ in the last bits with order, batch size and merging. These do not: every value is put on a
grid of 2⁻²⁴ (magnitude at most 2²⁰), and the products, whole multiples of 2⁻⁴⁸, are added as integers. So
permuted, split, merged and replayed histories give *equal bits*, and `revert` takes out exactly what `merge`
put in.

How it stays fast: float64 adds whole numbers without rounding while they stay below 2⁵³, in any order, fused
or not, so a matrix product of small enough limbs is exact. Values are split in grid steps as h·2¹⁶ + l. Where
all values of a chunk of 2⁸ events lie within ±8 (2²⁷ steps), products of a value and a limb have at most 42
bits, so their sums are exact, and the whole sum, of at most 62 bits, fits an int64. Other values are split as
h·2²² + l on both sides: products of two limbs have at most 44 bits. Sums are kept in two int64 limbs,
`high`·2⁵³ + `low` with 0 ≤ low < 2⁵³: one spelling per value, so equal sums are equal bits whichever way they
came about, and one rounding when they become floats. That holds 2²⁷ events of the largest magnitude per arm,
2⁶⁷ of magnitude 1.

Scoring uses the context as it arrived, not the rounded one. A component differs from its grid point by at
most 2⁻²⁵, so a score differs by at most 2⁻²⁵·‖θ‖₁: far below the noise of any θ that was learned from rewards
of unit scale. Components that are themselves near 2⁻²⁴ count as zero, as they would for a ridge penalty of 1
until 2⁴⁸ events have been seen. The token carries the vector bit for bit, so what trains is still what scored.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from functools import lru_cache, reduce
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from loopwright.core.errors import Broken, Invalid

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

GRID: Final = 2.0**24
"""Grid steps per unit."""
LIMIT: Final = 2.0**20
"""Largest magnitude of a value."""
UNIT: Final = 2.0**-48
"""What one unit of a sum of products is worth."""

_CHUNK: Final = 256
_NARROW_BITS: Final = 16
_NARROW_LIMIT: Final = 8 * GRID
_WIDE_BITS: Final = 22
_LOW_BITS: Final = 53
_LOW_MASK: Final = (1 << _LOW_BITS) - 1
_MAGIC: Final = b"LWS1"
_HEADER: Final = struct.Struct("<4sII")


class StateCorrupt(Broken):
    """A stored state fails its checksum or is not a state at all."""

    code = "state_corrupt"


class Sums(msgspec.Struct, frozen=True, eq=False, gc=False):
    """Per arm: a count, and the sum of the product of each pair of columns, in units of 2⁻⁴⁸.

    `counts` int64[K]; `low` and `high` int64[K, P] hold the P = C(C + 1)/2 pairs (i ≤ j) of C columns, row by
    row. Never written to.
    """

    columns: int
    counts: Ints
    low: Ints
    high: Ints

    def __post_init__(self) -> None:
        # A snapshot shares these arrays with the learner; a write in place would change what serves.
        self.counts.setflags(write=False)
        self.low.setflags(write=False)
        self.high.setflags(write=False)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sums) and dump(self) == dump(other)

    def __hash__(self) -> int:
        return zlib.crc32(dump(self))

    @property
    def arms(self) -> int:
        """Number of arms."""
        return len(self.counts)

    @property
    def events(self) -> int:
        """Number of events in all."""
        return int(np.add.reduce(self.counts))

    def floats(self) -> Floats:
        """Return the sums of products as symmetric float64[K, C, C], correctly rounded."""
        # While |high| < 2^53, both conversions and the scalings by powers of two are exact, so the addition is
        # the only rounding.
        values = self.high.astype(np.float64)
        values *= 2.0**_LOW_BITS * UNIT
        lows = self.low.astype(np.float64)
        lows *= UNIT
        values += lows
        full: Floats = values.take(_pairs(self.columns).of, axis=1)
        return full.reshape(self.arms, self.columns, self.columns)

    def exactly(self, row: int, column: int) -> list[int]:
        """Return, per arm, one sum of products as a whole number of units of 2⁻⁴⁸."""
        pair = int(_pairs(self.columns).of[row * self.columns + column])
        highs, lows = self.high[:, pair].tolist(), self.low[:, pair].tolist()
        # Python's integers, as the sum has more bits than an int64.
        return [(high << _LOW_BITS) + low for high, low in zip(highs, lows, strict=True)]


class _Pairs:
    """Where the pairs i ≤ j of C columns lie.

    `of[i·C + j]` is the pair of i and j. `blocks[b]` says where block b of a matrix of limb products holds
    each pair, when the matrix has 2C columns (one block to the right of the other, then below) and is
    flattened.
    """

    __slots__ = ("blocks", "of")

    def __init__(self, columns: int) -> None:
        rows, cols = np.triu_indices(columns)
        of = np.zeros((columns, columns), np.intp)
        of[rows, cols] = of[cols, rows] = np.arange(len(rows))
        self.of = of.ravel()
        corner = rows * 2 * columns + cols
        below = corner + 2 * columns * columns
        self.blocks = (corner, corner + columns, below, below + columns)


@lru_cache(maxsize=64)
def _pairs(columns: int) -> _Pairs:
    return _Pairs(columns)


def empty(arms: int, columns: int) -> Sums:
    """Return the sums of no events."""
    shape = (arms, columns * (columns + 1) // 2)
    return Sums(
        columns, np.zeros(arms, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    )


def sums_of(arms: Ints, columns: Floats, *, count: int) -> Sums:
    """Return the sums of events: `arms` int64[n] in [0, count), `columns` f64[n, C].

    Raises `Invalid` when a value is not finite or beyond ±2²⁰, or an arm is out of range.
    """
    parts = [
        _chunk(arms[start : start + _CHUNK], columns[start : start + _CHUNK], count=count)
        for start in range(0, len(arms), _CHUNK)
    ]
    return reduce(merge, parts) if parts else empty(count, columns.shape[1])


def _chunk(arms: Ints, columns: Floats, *, count: int) -> Sums:
    """Return the sums of at most 2⁸ events."""
    try:
        counts = np.bincount(arms, minlength=count)
    except ValueError as error:
        raise Invalid("a batch names a negative arm position") from error
    if len(counts) > count:
        raise Invalid(f"a batch names arm position {len(counts) - 1}; there are {count} arms")
    # Rows arm by arm, so that the sums of an arm are one matrix product.
    steps = columns.take(np.argsort(arms), axis=0)
    steps *= GRID
    np.rint(steps, out=steps)
    largest = max(np.maximum.reduce(steps, axis=None), -np.minimum.reduce(steps, axis=None))
    # A NaN fails the comparison, so this also refuses what is not finite.
    if not largest <= LIMIT * GRID:
        raise Invalid(f"a value to learn from is not finite or beyond ±{LIMIT:.0f}")
    # Nearly every chunk is narrow, and costs half as many products.
    add_up = _narrow if largest <= _NARROW_LIMIT else _wide
    present = np.flatnonzero(counts)
    low, high = add_up(steps, counts[present].tolist())
    if len(present) < count:
        low, high = _spread(low, present, count=count), _spread(high, present, count=count)
    return Sums(columns.shape[1], counts, low, high)


def _narrow(steps: Floats, counts: list[int]) -> tuple[Ints, Ints]:
    """Return limbs of the sums of products of rows that lie arm by arm, values within ±8."""
    products = _products(steps, _split(steps, _NARROW_BITS), counts=counts)
    upper, lower = _pairs(steps.shape[1]).blocks[:2]
    total = products.take(upper, axis=1).astype(np.int64)
    total += products.take(lower, axis=1).astype(np.int64)
    # A shift of a negative int64 rounds down, so the masked `low` is not negative, as the one spelling of a sum
    # requires.
    high = total >> _LOW_BITS
    total &= _LOW_MASK
    return total, high


def _wide(steps: Floats, counts: list[int]) -> tuple[Ints, Ints]:
    """Return limbs of the sums of products of rows that lie arm by arm, any values."""
    limbs = _split(steps, _WIDE_BITS)
    # A product of an array with itself takes a slower routine, hence the copy.
    products = _products(limbs, limbs.copy(), counts=counts)
    blocks = _pairs(steps.shape[1]).blocks
    low = products.take(blocks[3], axis=1).astype(np.int64)
    high = np.zeros_like(low)
    shifts = (2 * _WIDE_BITS, _WIDE_BITS, _WIDE_BITS)
    for block, shift in zip(blocks[:3], shifts, strict=True):
        # Exact: these blocks hold multiples of 2^shift, because h is a multiple of 2^22.
        part = (products.take(block, axis=1) * 2.0**-shift).astype(np.int64)
        high += part >> (_LOW_BITS - shift)
        part &= (1 << (_LOW_BITS - shift)) - 1
        part <<= shift
        low += part
    return _carry(low, high)


def _split(steps: Floats, bits: int) -> Floats:
    """Return [h, l] f64[n, 2C] with steps = h + l, h a multiple of 2^bits, |l| ≤ 2^(bits - 1)."""
    # Floats from 2^(52 + bits) to twice that are 2^bits apart: adding and subtracting one rounds.
    magic = 1.5 * 2.0 ** (52 + bits)
    high = steps + magic
    high -= magic
    return np.concatenate((high, steps - high), axis=1)


def _products(left: Floats, right: Floats, *, counts: list[int]) -> Floats:
    """Return the flattened products leftᵀ·right of each run of `counts` rows."""
    found = np.empty((len(counts), left.shape[1], right.shape[1]))
    end = 0
    for product, events in zip(found, counts, strict=True):
        start, end = end, end + events
        np.dot(left[start:end].T, right[start:end], out=product)
    return found.reshape(len(counts), -1)


def _spread(rows: Ints, places: Ints, *, count: int) -> Ints:
    """Return `count` rows, with `rows` at `places` and zeros elsewhere."""
    full = np.zeros((count, rows.shape[1]), np.int64)
    full[places] = rows
    return full


def _carry(low: Ints, high: Ints) -> tuple[Ints, Ints]:
    """Carry `low` into `high`, in place, until 0 ≤ low < 2⁵³."""
    high += low >> _LOW_BITS
    low &= _LOW_MASK
    return low, high


def merge(a: Sums, b: Sums) -> Sums:
    """Return the sums of the events of both."""
    _check_shapes(a, b)
    return Sums(a.columns, a.counts + b.counts, *_carry(a.low + b.low, a.high + b.high))


def revert(a: Sums, b: Sums) -> Sums:
    """Return the sums of the events of `a` without those of `b`.

    Raises `Invalid` when `b` has more events of an arm than `a`: they were never merged.
    """
    _check_shapes(a, b)
    counts = a.counts - b.counts
    # Only counts can tell: sums of products may rightly be negative.
    if counts.size and counts.min() < 0:
        raise Invalid("cannot take out events that were never learned from")
    return Sums(a.columns, counts, *_carry(a.low - b.low, a.high - b.high))


WEIGHTS: Final = 256
"""Steps that a weight of 1 is made of."""


def weighted(parts: Sequence[tuple[Sums, Floats]]) -> Sums:
    """Return the sums of several sets of events, those of each arm counted by a weight in [0, 1].

    Each part has weights f64[K], which are rounded to steps of 1/256: whole numbers, so the result depends on
    neither machine nor order. Counts are rounded to the nearest event, products down to the next unit.
    """
    (first, _), *_rest = parts
    for sums, _ in parts:
        _check_shapes(first, sums)
    weights = np.array([weights for _, weights in parts])
    steps = np.rint(np.clip(weights, 0.0, 1.0) * WEIGHTS).astype(np.int64)
    counts = (np.array([sums.counts for sums, _ in parts]) * steps).sum(axis=0) + WEIGHTS // 2
    # A limb of 53 bits times 2⁸ fits an int64; what is above the limb is carried before parts are added up.
    lows = np.array([sums.low for sums, _ in parts]) * steps[:, :, None]
    highs = np.array([sums.high for sums, _ in parts]) * steps[:, :, None] + (lows >> _LOW_BITS)
    low, high = _carry((lows & _LOW_MASK).sum(axis=0), highs.sum(axis=0))
    # The part of `high` that a division by 2⁸ cuts off goes into `low`, above its 53 bits.
    low += (high & (WEIGHTS - 1)) << _LOW_BITS
    return Sums(first.columns, counts // WEIGHTS, low >> 8, high >> 8)


def widen(sums: Sums, arms: int) -> Sums:
    """Return the same sums with room for `arms` arms; positions stay."""
    more = arms - sums.arms
    if more < 0:
        raise Invalid(
            f"the state has {sums.arms} arms, the experiment {arms}; arms keep their position for life",
            found=sums.arms,
            expected=arms,
        )
    if more == 0:
        return sums
    pad = empty(more, sums.columns)
    return Sums(
        sums.columns,
        np.concatenate((sums.counts, pad.counts)),
        np.concatenate((sums.low, pad.low)),
        np.concatenate((sums.high, pad.high)),
    )


def dump(sums: Sums) -> bytes:
    """Return `sums` as bytes: a header, one little-endian buffer, a CRC-32 of both."""
    body = b"".join(
        (
            _HEADER.pack(_MAGIC, sums.arms, sums.columns),
            # Little-endian on every machine: equal states are equal bytes wherever they are compared.
            *(part.astype("<i8").tobytes() for part in (sums.counts, sums.low, sums.high)),
        )
    )
    return body + zlib.crc32(body).to_bytes(4, "little")


def load(data: bytes) -> Sums:
    """Return the sums that `dump` wrote, bit for bit; raises `StateCorrupt` when they are damaged."""
    if len(data) < _HEADER.size + 4 or zlib.crc32(data[:-4]).to_bytes(4, "little") != data[-4:]:
        raise StateCorrupt("a stored policy state fails its checksum; rebuild it from the log")
    magic, arms, columns = _HEADER.unpack_from(data)
    pairs = columns * (columns + 1) // 2
    count = arms * (1 + 2 * pairs)
    if magic != _MAGIC or len(data) != _HEADER.size + 8 * count + 4:
        raise StateCorrupt("a stored policy state has an unknown layout; rebuild it from the log")
    # Copied by `astype`, so that the state does not keep the whole stored blob alive.
    flat = np.frombuffer(data, dtype="<i8", offset=_HEADER.size, count=count).astype(np.int64)
    counts, low, high = np.split(flat, (arms, arms * (1 + pairs)))
    return Sums(columns, counts, low.reshape(arms, pairs), high.reshape(arms, pairs))


def readable(value: float, *, unit: float = 1.0) -> float:
    """Return the shortest decimal, of at most four places, that lies as near to `value` as the grid can tell.

    A reward enters the sums rounded to the grid, so that the mean of 2, 2 and 2 within 0 to 5 is 1.9999998807907104.
    `unit` is what 1 in the sums stands for. Returns `value` when no such decimal is near enough.
    """
    error = unit / GRID / 2
    for places in range(5):
        short = round(value, places)
        if abs(short - value) <= error:
            return short
    return value


def _check_shapes(a: Sums, b: Sums) -> None:
    if a.low.shape != b.low.shape:
        raise Invalid(
            f"states of {a.arms} arms, {a.columns} columns and {b.arms} arms, {b.columns} columns do "
            "not add up",
            found=[b.arms, b.columns],
            expected=[a.arms, a.columns],
        )
