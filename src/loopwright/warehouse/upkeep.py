"""What happens to the warehouse's files once they are written: merged, cleaned of the erased, expired."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime
from functools import lru_cache

import msgspec

from loopwright.core.clock import DAY_MS
from loopwright.core.ports import QueryEngine

from . import layout, manifest
from .manifest import Dropped, File, Manifest
from .tables import CONSENTS, TABLES


class Upkeep:
    """Replaces files by others and publishes each replacement; nothing is changed in place."""

    def __init__(
        self,
        engine: QueryEngine,
        *,
        publish: Callable[..., Manifest],
        now_ms: Callable[[], int],
        most_files: int,
        most_rows: int,
        heard: Callable[[str], None],
    ) -> None:
        self._engine = engine
        self._publish = publish
        self._now_ms = now_ms
        self._most_files = most_files
        self._most_rows = most_rows
        self._heard = heard

    def expire(self, found: Manifest, *, retain_days: int | None) -> tuple[Manifest, int]:
        """Drop the days that are past retention; what is known of people stays. Return the number of files too."""
        if retain_days is None:
            return found, 0
        number = self._now_ms() // DAY_MS - retain_days
        oldest = day_of(number * DAY_MS)
        ageing = [f for f in found.parts if f.day < oldest and f.table != CONSENTS.name]
        # A whole file is dropped without being read; only the one file that the limit runs through is
        # rewritten.
        gone = [file for file in ageing if _last_day(file) < oldest]
        if gone:
            found = self._replace(found, gone, [])
        for file in ageing:
            if file not in gone:
                kept = f"at_ms >= {number * DAY_MS}"
                found = self._merge(found, [file], day=oldest, where=kept)
        return found, len(gone)

    def compact(self, found: Manifest) -> tuple[Manifest, int]:
        """Merge a day's small files, and a week's days; take out of every file who was erased since it was written."""
        changed = self._people(found)
        merged, today = 0, self._now_ms() // DAY_MS
        for files in _together(found.parts, today, most_rows=self._most_rows):
            day = files[0].day
            # Today's files still come in: merging each at once would rewrite the morning's rows with every run.
            is_many = len(files) > (1 if day < day_of(today * DAY_MS) else self._most_files)
            if is_many or self._has_people(files, changed):
                found = self._merge(found, files, day=day, changed=changed)
                merged += len(files)
        return self._settle(found, changed), merged

    def purge(
        self, found: Manifest, tenant_id: str, *, person: str, units: Sequence[str]
    ) -> Manifest:
        """Take one person's rows out of every file, by their pseudonym and as the unit of decisions."""
        for file in found.parts:
            names = TABLES[file.table].names
            about = [
                f"{column} IN ({', '.join(map(layout.quoted, ids))})"
                for column, ids in (
                    ("person", [person]),
                    ("reviewer", [person]),
                    ("unit_id", units),
                    ("context_id", units),
                )
                if column in names and ids and file.table != CONSENTS.name
            ]
            if not about:
                continue
            theirs = f"tenant_id = {layout.quoted(tenant_id)} AND ({' OR '.join(about)})"
            source = layout.files_sql(self._engine, [file], names)
            with manifest.translated(file.name):
                some = self._engine.query(f"SELECT 1 FROM ({source}) AS f WHERE {theirs} LIMIT 1")  # noqa: S608
            if some:
                kept = f"NOT coalesce({theirs}, FALSE)"
                found = self._merge(found, [file], day=file.day, where=kept)
        return found

    def dropped(self, files: Sequence[File]) -> tuple[Dropped, ...]:
        """Return `files` as dropped now."""
        return tuple(Dropped(file.name, self._now_ms()) for file in files)

    def _settle(self, found: Manifest, changed: int) -> Manifest:
        """Note that the files have been searched for everyone who changed, so that it is done once."""
        if all(file.settled >= changed for file in found.parts):
            return found
        settled = tuple(
            msgspec.structs.replace(file, settled=max(file.settled, changed))
            for file in found.parts
        )
        return self._publish(found, parts=settled)

    def _people(self, found: Manifest) -> int:
        """Make the table `people` of everyone erased or with changed consent; return the latest change's offset."""
        files = [file for file in found.parts if file.table == CONSENTS.name]
        self._engine.query(layout.create_sql(CONSENTS, "changes"))
        if files:
            source = layout.files_sql(self._engine, files, CONSENTS.names)
            with manifest.translated("consents"):
                self._engine.query(f"INSERT INTO changes {source}")
        self._engine.query(layout.people_sql("people", "changes"))
        return max((file.last for file in files), default=0)

    def _has_people(self, files: Sequence[File], changed: int) -> bool:
        """Return whether anyone in a file was erased after it was last searched."""
        if "person" not in TABLES[files[0].table].names or files[0].table == CONSENTS.name:
            return False
        # `settled` spares the search: without it every run would read the people of every file.
        stale = [file for file in files if file.settled < changed]
        if not stale:
            return False
        source = layout.files_sql(self._engine, stale, ("tenant_id", "person"))
        with manifest.translated(stale[0].name):
            found = self._engine.query(
                f"SELECT 1 FROM ({source}) AS f JOIN people AS p "  # noqa: S608 - our own names
                "ON f.tenant_id = p.tenant_id AND f.person = p.person "
                "WHERE p.is_erased = 1 AND p.log_offset > ? LIMIT 1",
                [min(file.settled for file in stale)],
            )
        return bool(found)

    def _merge(
        self,
        found: Manifest,
        files: Sequence[File],
        *,
        day: str,
        changed: int | None = None,
        where: str = "TRUE",
    ) -> Manifest:
        """Put one file, whose first day is `day`, in place of `files`; clean of people through offset `changed`."""
        for file in files:
            # A damaged file must not pass its rows on to a new one whose digest is right.
            manifest.check(self._engine, file)
        table = TABLES[files[0].table]
        first, last = min(f.first for f in files), max(f.last for f in files)
        until = max(map(_last_day, files))
        source = layout.files_sql(self._engine, files, table.names)
        if changed is not None and "person" in table.names and table.name != CONSENTS.name:
            # Erased people leave the file here; a withdrawn consent only changes what reports show, as it may
            # be given again.
            source = layout.allowed_sql(source, table.names, people="people")
        made = layout.write_file(
            self._engine,
            # By tenant first: a question about one tenant then skips the row groups of all others.
            f"SELECT * FROM ({source}) AS kept WHERE {where} ORDER BY tenant_id, at_ms, log_offset",  # noqa: S608
            name=f"{table.name}/{day}/{first:020}-{last:020}-{found.number:012}.parquet",
            table=table,
            # Without `changed` nobody was searched for, so the new file knows as much as the least of the old.
            settled=min(file.settled for file in files) if changed is None else changed,
            until=until if until > day else "",
        )
        self._heard("merged")
        return self._replace(found, files, [] if made is None else [made])

    def _replace(self, found: Manifest, old: Sequence[File], new: Sequence[File]) -> Manifest:
        gone = {file.name for file in old}
        kept = tuple(file for file in found.parts if file.name not in gone)
        return self._publish(
            found, parts=(*kept, *new), dropped=(*found.dropped, *self.dropped(old))
        )


@lru_cache(maxsize=1024)
def day_of(at_ms: int) -> str:
    """Return the day of a moment, UTC, as 2026-01-31."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")


def _together(files: Sequence[File], today: int, *, most_rows: int) -> list[list[File]]:
    """Return the files that belong in one: those of a day, or of a week that is over and not too large."""
    weeks: defaultdict[tuple[str, int], list[File]] = defaultdict(list)
    for file in files:
        # Weeks begin on a Thursday, as 1 January 1970 did. It only matters that every run cuts them alike.
        weeks[file.table, _number(file.day) // 7].append(file)
    groups: list[list[File]] = []
    for (_, week), those in sorted(weeks.items()):
        days: defaultdict[str, list[File]] = defaultdict(list)
        for file in sorted(those, key=lambda f: f.day):
            days[file.day].append(file)
        # Beyond `most_rows` a tenant's rows of a day fill row groups by themselves, and merging takes long
        # (decision 0007).
        is_week = week < today // 7 and sum(file.rows for file in those) <= most_rows
        groups += [[f for found in days.values() for f in found]] if is_week else days.values()
    return groups


def _last_day(file: File) -> str:
    return file.until or file.day


def _number(day: str) -> int:
    """Days since the epoch."""
    return date.fromisoformat(day).toordinal() - date(1970, 1, 1).toordinal()
