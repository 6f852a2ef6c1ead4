"""Builds a data set: facts are filtered, dealt to splits, made into rows and written as shards. The same log gives the same bytes.

Nothing counts until the manifest is stored, so a build that is killed, or meets a full disk, leaves nothing behind that
anybody finds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from hashlib import sha256
from itertools import groupby
from typing import Final

import msgspec

from loopwright.core.clock import DAY_MS
from loopwright.core.dataset import Dataset, Recipe, Shard
from loopwright.core.errors import Invalid
from loopwright.core.ports import BlobStore
from loopwright.warehouse import Warehouse

from . import rows as reading
from .examples import Example, examples, input_digest
from .rows import Row

SHARD_ROWS: Final = 50_000
_SLACK: Final = 1e-9

Progress = Callable[[int, int], None]
"""Called with the parts that are done and how many there are."""


class Build(msgspec.Struct):
    """A build on its way: what was read and dropped, and the rows that wait for their shard."""

    recipe: Recipe
    dropped: Counter[str]
    read: int = 0
    chosen_chars: int = 0
    rejected_chars: int = 0


def window(recipe: Recipe, now_ms: int) -> tuple[int, int]:
    """Return the start and the end of a recipe's window. Raises `Invalid` for one that is empty or in the future."""
    # The end is excluded, and what was said in this millisecond was said.
    end = now_ms + 1 if recipe.to_ms is None else recipe.to_ms
    if recipe.from_ms is not None or recipe.to_ms is not None:
        start = recipe.from_ms or 0
    else:
        assert recipe.days is not None
        start = now_ms - recipe.days * DAY_MS
    if start >= end:
        raise Invalid(f"the window from {start} to {end} is empty; let it begin before it ends")
    if start > now_ms:
        raise Invalid(f"the window begins at {start}, in the future; there are no facts yet")
    return start, end


def check(recipe: Recipe) -> None:
    """Raise `Invalid` for a recipe whose members contradict each other."""
    if not recipe.splits or abs(sum(recipe.splits.values()) - 1) > _SLACK:
        raise Invalid(f"the splits are {recipe.splits}; give shares that sum to 1")
    if recipe.days is None and recipe.from_ms is None and recipe.to_ms is None:
        raise Invalid("the recipe has no window; give days, or from_ms and to_ms")
    if recipe.least_edit > recipe.most_edit:
        raise Invalid(
            f"least_edit is {recipe.least_edit} and most_edit {recipe.most_edit}; nothing lies between"
        )


def build(
    recipe: Recipe,
    warehouse: Warehouse,
    *,
    tenant_id: str,
    between: tuple[int, int],
    watermark: int,
    code_version: str,
    keep: Callable[[str, bytes], None],
    progress: Progress = lambda done, of: None,
) -> Dataset:
    """Build and return the manifest; `keep` gets the bytes of each shard under its name. Times are left at 0."""
    check(recipe)
    from_ms, to_ms = between
    bounds = {"watermark": watermark, "from_ms": from_ms, "to_ms": to_ms}
    total = reading.count(warehouse, tenant_id, **bounds)
    many = max(1, -(-total // reading.PART_ROWS))
    state = Build(recipe, Counter())
    writer = _Writer(keep)
    people: Counter[str] = Counter()
    found = reading.parts(warehouse, tenant_id, **bounds, consent=recipe.consent, many=many)
    for done, part in enumerate(found, 1):
        state.read += len(part)
        for _, group in groupby(part, key=lambda row: row.input):
            for split, example in _made(state, list(group), people):
                writer.add(split, example)
        progress(done, many)
    # Facts without a question are in no part, and quarantined ones in none of the warehouse's relations.
    if (missing := total - state.read) > 0:
        state.dropped["no_input"] += missing
    shards = writer.close()
    ratio = state.chosen_chars / state.rejected_chars if state.rejected_chars else None
    made = Dataset(
        id="",
        tenant_id=tenant_id,
        name=recipe.name,
        kind=recipe.kind,
        recipe=recipe,
        from_ms=from_ms,
        to_ms=to_ms,
        watermark=watermark,
        code_version=code_version,
        rows=sum(shard.rows for shard in shards),
        shards=shards,
        read=total,
        dropped=dict(sorted(state.dropped.items())),
        length_ratio=ratio,
    )
    return msgspec.structs.replace(made, id=identity(made))


def identity(dataset: Dataset) -> str:
    """Return the id of a data set: the digest of everything that decides its bytes, and of the bytes."""
    decides = msgspec.structs.replace(
        dataset, id="", built_at_ms=0, actor="", expired_at_ms=None, parents=()
    )
    return sha256(msgspec.json.encode(decides, order="deterministic")).hexdigest()


def split_of(recipe: Recipe, unit: str) -> str:
    """Return the split of a unit: a fixed place on [0, 1), so that it stays when shares change a little."""
    digest = sha256(f"{recipe.salt}\0{unit}".encode("utf-8", "surrogatepass")).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    edge = 0.0
    # Sorted: a mapping keeps the order in which somebody wrote it, and that must not deal the units anew.
    for name in sorted(recipe.splits):
        edge += recipe.splits[name]
        if place < edge:
            return name
    return sorted(recipe.splits)[-1]


def _made(
    state: Build, group: Sequence[Row], people: Counter[str]
) -> Iterator[tuple[str, Example]]:
    """Yield the rows of one input with their split; each unit and each input is in one split alone."""
    recipe, dropped = state.recipe, state.dropped
    if group[0].input is not None and input_digest(group[0].input) in recipe.exclude:
        dropped["excluded"] += len(group)
        return
    usable = [row for row in group if _is_usable(recipe, row, dropped)]
    if not usable:
        return
    split = split_of(recipe, _unit(usable[0]))
    here = [row for row in usable if split_of(recipe, _unit(row)) == split]
    # Their unit belongs to another split: both there and here would leak.
    if elsewhere := len(usable) - len(here):
        dropped["other_split"] += elsewhere
    owner = {row.event_id: row.person or row.session_id or row.event_id for row in here}
    for example in examples(recipe, here, dropped):
        voices = {owner[event] for event in example.events}
        if any(people[voice] >= recipe.per_person for voice in voices):
            dropped["per_person"] += 1
            continue
        people.update(voices)
        state.chosen_chars += len(example.chosen or "")
        state.rejected_chars += len(example.rejected or "")
        yield split, example


def _is_usable(recipe: Recipe, row: Row, dropped: Counter[str]) -> bool:
    longest = max(
        map(len, (row.query or "", row.response or "", row.before_text or "", row.after_text or ""))
    )
    for reason, holds in (
        ("consent", row.may),
        ("no_input", bool((row.query or "").strip())),
        ("task", not recipe.tasks or row.task in recipe.tasks),
        (
            "prompt_version",
            not recipe.prompt_versions or row.prompt_version in recipe.prompt_versions,
        ),
        ("too_long", longest <= recipe.most_chars),
    ):
        if not holds:
            dropped[reason] += 1
            return False
    return True


def _unit(row: Row) -> str:
    # Persons link more than sessions do, wherever they are known.
    return row.person or row.session_id or row.event_id


class _Writer:
    """Collects rows by split, and hands over a shard whenever one is full."""

    def __init__(self, keep: Callable[[str, bytes], None]) -> None:
        self._keep = keep
        self._lines: dict[str, list[bytes]] = {}
        self._shards: list[Shard] = []

    def add(self, split: str, example: Example) -> None:
        lines = self._lines.setdefault(split, [])
        lines.append(msgspec.json.encode(example, order="deterministic"))
        # Handed over at once: what is in memory is at most one shard of each split.
        if len(lines) >= SHARD_ROWS:
            self._flush(split)

    def close(self) -> tuple[Shard, ...]:
        for split in sorted(self._lines):
            if self._lines[split]:
                self._flush(split)
        return tuple(sorted(self._shards, key=lambda shard: (shard.split, shard.name)))

    def _flush(self, split: str) -> None:
        lines, self._lines[split] = self._lines[split], []
        content = b"\n".join(lines) + b"\n"
        digest = sha256(content).hexdigest()
        number = sum(shard.split == split for shard in self._shards)
        # The digest is in the name, so a name never stands for other bytes, whoever built them.
        name = f"{split}-{number:05}-{digest}.jsonl"
        self._keep(name, content)
        self._shards.append(
            Shard(name=name, split=split, rows=len(lines), size=len(content), digest=digest)
        )


def stored_in(blobs: BlobStore, folder: str) -> Callable[[str, bytes], None]:
    """Return what keeps shards in `blobs`; one that is there already has the same bytes, by its name."""

    def keep(name: str, content: bytes) -> None:
        blobs.put(f"{folder}/{name}", content)

    return keep
