"""Data sets at work: build one from the log, list them, check one against the log, compare two, export, expire."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import chain

from msgspec import structs

from loopwright.catalog import Journal
from loopwright.core.dataset import (
    Dataset,
    DatasetCheck,
    DatasetDiff,
    DatasetFormat,
    DatasetPage,
    Recipe,
)
from loopwright.core.errors import Invalid, NotFound
from loopwright.core.ports import BlobStore, Columnar, Database
from loopwright.core.schema import apply_schema
from loopwright.warehouse import Warehouse

from . import store
from .builder import Progress, build, check, stored_in, window
from .examples import Example
from .formats import COLUMNS, flat, lines_of, rows_of
from .formats import check as check_format


class Datasets:
    """The data sets of every tenant. Safe to use from several threads and processes."""

    def __init__(
        self,
        database: Database,
        journal: Journal,
        *,
        blobs: BlobStore,
        warehouse: Callable[[], Warehouse],
        columnar: Columnar,
        code_version: str,
    ) -> None:
        """`journal` belongs to the same database."""
        apply_schema(database, "datasets", store.SCHEMA)
        self._database = database
        self._journal = journal
        self._blobs = blobs
        self._warehouse = warehouse
        self._columnar = columnar
        self._code_version = code_version

    def build(
        self,
        tenant_id: str,
        recipe: Recipe,
        *,
        actor: str = "",
        progress: Progress = lambda done, of: None,
    ) -> Dataset:
        """Build a data set from what the log has now. The same log gives the same data set.

        Raises `Invalid` for a recipe that contradicts itself or selects nothing: then it says which rule emptied it.
        """
        check(recipe)
        now_ms = self._journal.now_ms()
        between = window(recipe, now_ms)
        warehouse = self._warehouse()
        # One offset for all parts: what arrives while they are read is in none of them.
        watermark = warehouse.refresh()
        made = build(
            recipe,
            warehouse,
            tenant_id=tenant_id,
            between=between,
            watermark=watermark,
            code_version=self._code_version,
            keep=stored_in(self._blobs, tenant_id),
            progress=progress,
        )
        if not made.rows:
            raise Invalid(f"the recipe {recipe.name!r} selects no row: {_emptied(made)}")
        made = structs.replace(made, built_at_ms=now_ms, actor=actor)
        # Last, after every shard: a build that is killed before leaves files that nobody names.
        with self._journal.transaction() as session:
            is_new = store.add(session, made)
            if is_new:
                told = self._journal.told(
                    tenant_id,
                    f"dataset/{made.id}",
                    "build",
                    actor=actor,
                    name=made.name,
                    rows=made.rows,
                    watermark=watermark,
                )
                self._journal.put(session, told)
        self._journal.try_relay()
        return made if is_new else self.get(tenant_id, made.id)

    def get(self, tenant_id: str, id: str) -> Dataset:
        """Return a manifest by its id or the beginning of it; raises `NotFound`."""
        return store.get(self._database, tenant_id, id)

    def list(self, tenant_id: str, *, name: str | None = None, limit: int = 100) -> DatasetPage:
        """Return manifests, newest first."""
        return DatasetPage(items=store.newest(self._database, tenant_id, name=name, limit=limit))

    def rows(self, tenant_id: str, id: str, *, split: str | None = None) -> Iterator[Example]:
        """Yield the rows of a data set, of one split or of all. Raises `NotFound` when they are gone or damaged."""
        dataset = self.get(tenant_id, id)
        if split is not None and split not in dataset.recipe.splits:
            raise Invalid(
                f"there is no split {split!r}; it has {', '.join(sorted(dataset.recipe.splits))}"
            )
        shards = [shard for shard in dataset.shards if split in (None, shard.split)]
        # Read before the first row is given: a caller must not get half of an answer.
        for shard in shards:
            self._content(dataset, shard.name, shard.digest)
        return chain.from_iterable(
            rows_of(self._content(dataset, shard.name, shard.digest)) for shard in shards
        )

    def lines(
        self, tenant_id: str, id: str, *, format: DatasetFormat = "rows", split: str | None = None
    ) -> Iterator[bytes]:
        """Yield the lines of a data set in a text format. Raises `Invalid` for one that its kind does not have."""
        kind = self.get(tenant_id, id).kind
        check_format(kind, format)
        return lines_of(kind, format, self.rows(tenant_id, id, split=split))

    def parquet(self, tenant_id: str, id: str, *, split: str | None = None) -> bytes:
        """Return the rows of a data set as one Parquet file."""
        found = map(flat, self.rows(tenant_id, id, split=split))
        return self._columnar.encode_lines(COLUMNS, found)

    def verify(self, tenant_id: str, id: str) -> DatasetCheck:
        """Build a data set again from the same stretch of the log, and compare every byte."""
        dataset = self.get(tenant_id, id)
        again: dict[str, bytes] = {}
        made = build(
            dataset.recipe,
            self._warehouse(),
            tenant_id=tenant_id,
            between=(dataset.from_ms, dataset.to_ms),
            watermark=dataset.watermark,
            code_version=self._code_version,
            keep=again.__setitem__,
        )
        damaged = tuple(
            shard.name
            for shard in dataset.shards
            if dataset.expired_at_ms is None
            and _digest(self._blobs.get(f"{tenant_id}/{shard.name}")) != shard.digest
        )
        if made.shards == dataset.shards:
            return DatasetCheck(id=dataset.id, is_equal=not damaged, damaged=damaged)
        known = (
            set() if damaged or dataset.expired_at_ms else set(self._events(tenant_id, dataset.id))
        )
        found = {row.events for content in again.values() for row in rows_of(content)}
        gone, new = len(known - found), len(found - known) if known else 0
        reasons = []
        if gone:
            reasons.append(
                f"{gone} rows are not built any more: their people were erased, withdrew their consent, or a burst "
                "took their votes away"
            )
        if new:
            reasons.append(f"{new} rows are new: a fact counts now that did not then")
        changed = sorted(
            name
            for name in {*made.dropped, *dataset.dropped}
            if made.dropped.get(name, 0) != dataset.dropped.get(name, 0)
        )
        reasons += [
            f"dropped by {name}: {dataset.dropped.get(name, 0)} then, {made.dropped.get(name, 0)} now"
            for name in changed
        ]
        return DatasetCheck(
            id=dataset.id,
            is_equal=False,
            gone=gone,
            new=new,
            damaged=damaged,
            reasons=tuple(reasons),
        )

    def diff(self, tenant_id: str, first: str, second: str) -> DatasetDiff:
        """Return what changed from one data set to another: recipe, counts, and the rows that both have."""
        one, two = self.get(tenant_id, first), self.get(tenant_id, second)
        left, right = structs.asdict(one.recipe), structs.asdict(two.recipe)
        names = sorted({*one.dropped, *two.dropped})
        common = set(self._events(tenant_id, one.id)) & set(self._events(tenant_id, two.id))
        return DatasetDiff(
            first=one.id,
            second=two.id,
            recipe={n: (left[n], right[n]) for n in left if left[n] != right[n]},
            rows=(one.rows, two.rows),
            dropped={n: (one.dropped.get(n, 0), two.dropped.get(n, 0)) for n in names},
            common=len(common),
        )

    def expire(self, tenant_id: str, id: str, *, actor: str = "") -> Dataset:
        """Delete the shards of a data set that no other one has; its manifest stays, and says when."""
        dataset = self.get(tenant_id, id)
        if dataset.expired_at_ms is not None:
            return dataset
        gone = structs.replace(dataset, expired_at_ms=self._journal.now_ms())
        with self._journal.transaction() as session:
            store.change(session, gone)
            self._journal.put(
                session, self._journal.told(tenant_id, f"dataset/{gone.id}", "expire", actor=actor)
            )
        self._journal.try_relay()
        # After the row: a kill in between leaves files that nobody names, and not a name without its file.
        kept = {
            shard.name
            for other in store.newest(self._database, tenant_id, name=None, limit=1_000_000)
            if other.expired_at_ms is None
            for shard in other.shards
        }
        for shard in gone.shards:
            if shard.name not in kept:
                self._blobs.delete(f"{tenant_id}/{shard.name}")
        return gone

    def _events(self, tenant_id: str, id: str) -> Iterator[tuple[str, ...]]:
        return (row.events for row in self.rows(tenant_id, id))

    def _content(self, dataset: Dataset, name: str, digest: str) -> bytes:
        if dataset.expired_at_ms is not None:
            raise NotFound(f"data set {dataset.id[:12]} has expired; build it again by its recipe")
        content = self._blobs.get(f"{dataset.tenant_id}/{name}")
        if content is None or _digest(content) != digest:
            raise NotFound(
                f"shard {name} of data set {dataset.id[:12]} is missing or was changed; restore a backup, or build "
                "it again by its recipe"
            )
        return content


def _digest(content: bytes | None) -> str:
    return "" if content is None else sha256(content).hexdigest()


def _emptied(made: Dataset) -> str:
    """Return which rule left nothing, in a sentence."""
    if not made.read:
        return "the window holds no rating and no correction; widen it, or send feedback with the question and the answer"
    if not made.dropped:
        return f"of {made.read} facts none has a partner: a pair needs two answers to one input"
    reasons = sorted(made.dropped.items(), key=lambda item: (-item[1], item[0]))
    told = ", ".join(f"{name} {n}" for name, n in reasons)
    return f"of {made.read} facts were dropped by rule: {told}"
