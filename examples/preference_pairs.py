"""Which of two answers did people prefer? Human preference pairs become feedback, and come out again unharmed.

1,500 pairs of answers are bundled (see `loopwright/data/README.md`). Each answer becomes a rating, thumbs up for the
one that was preferred, and an annotation by the reviewer who chose. The facts go through the whole intake into a
log: checked, stripped of personal data, classified. Then the pairs are read back from the log and written as JSONL
and as CSV. Sending everything a second time stores nothing.
"""

from __future__ import annotations

import csv
import gzip
import json
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from importlib.resources import files
from pathlib import Path
from typing import Any

from loopwright.backends.duckdb import Parquet
from loopwright.backends.files import FolderBlobStore
from loopwright.backends.sqlite import SqliteDatabase
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core.clock import SystemClock
from loopwright.core.events import Reported
from loopwright.core.feedback import Rating
from loopwright.core.ids import Ids
from loopwright.core.token import Signer
from loopwright.eventlog import Reader, Segments, Writer
from loopwright.feedback import Pipeline, Quarantine, TypedIntake
from loopwright.people import People

TENANT = "default"
BATCH = 1000
REPLY = "\n\nAssistant:"


def bundled_pairs() -> Iterator[dict[str, str]]:
    """Yield `prompt`, `chosen` and `rejected` of each pair; the prompt is what both conversations share."""
    packed = files("loopwright").joinpath("data/hh_harmless_a.jsonl.gz").read_bytes()
    for line in gzip.decompress(packed).decode().splitlines():
        pair = json.loads(line)
        shared = 0
        for ours, theirs in zip(pair["chosen"], pair["rejected"], strict=False):
            if ours != theirs:
                break
            shared += 1
        cut = pair["chosen"].rfind(REPLY, 0, shared) + len(REPLY)
        yield {
            "prompt": pair["chosen"][:cut],
            "chosen": pair["chosen"][cut:],
            "rejected": pair["rejected"][cut:],
        }


def feedback_of(number: int, pair: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the feedback that one pair stands for: two ratings and two annotations."""
    for verdict in ("chosen", "rejected"):
        about = {"output_id": f"pair-{number:04}/{verdict}", "source": "reviewer"}
        yield about | {
            "kind": "rating",
            "scale": "thumbs",
            "value": int(verdict == "chosen"),
            "query": pair["prompt"],
            "response": pair[verdict],
            "labels": {"dataset": "hh_harmless_a"},
        }
        yield about | {
            "kind": "annotation",
            "rubric": "preference",
            "rubric_version": 1,
            "label": verdict,
            "score": float(verdict == "chosen"),
            "reviewer": f"worker-{number % 20}",
        }


class Store:
    """A log in a folder, and the intake in front of it."""

    def __init__(self, folder: Path, opened: ExitStack) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        clock = SystemClock()
        ids = Ids(clock, random.SystemRandom())
        self.log = opened.enter_context(closing(SqliteEventLog(folder / "log.db")))
        self.writer = opened.enter_context(closing(Writer(self.log, clock)))
        people = opened.enter_context(closing(SqliteDatabase(folder / "people.db")))
        refused = opened.enter_context(closing(SqliteDatabase(folder / "quarantine.db")))
        # No decision of ours chose these answers, so nothing here is ever signed.
        signer = Signer({1: random.SystemRandom().randbytes(32)}, active=1)
        self.intake = TypedIntake(
            Pipeline(signer, find=lambda tenant, experiment: None, ids=ids),
            people=People(people, clock=clock),
            quarantine=Quarantine(refused),
            clock=clock,
            ids=ids,
        )
        self.reader = Reader(self.log, Segments(FolderBlobStore(folder / "segments"), Parquet()))

    def send(self, items: Sequence[dict[str, Any]]) -> int:
        """Store a batch; return how many facts were new."""
        prepared = self.intake.prepare(TENANT, "feedback", items)
        if prepared.refusals:
            raise next(iter(prepared.refusals.values())).error
        committed = self.writer.append(prepared.facts, prepared.keys, timeout_s=60)
        self.intake.settle(prepared, committed)
        return committed.duplicates.count(False)

    def reports(self) -> Iterator[Reported]:
        """Yield all feedback in the log, oldest first."""
        after = 0
        while found := self.reader.facts(after, limit=BATCH):
            after = found[-1][0]
            yield from (fact for _, fact in found if isinstance(fact, Reported))


def stored_pairs(reports: Iterator[Reported]) -> list[dict[str, str]]:
    """Put the answers of each pair together again, from the ratings."""
    pairs: dict[str, dict[str, str]] = {}
    for fact in reports:
        if isinstance(fact.feedback, Rating) and fact.target.output_id is not None:
            number, verdict = fact.target.output_id.split("/")
            pair = pairs.setdefault(number, {})
            pair["prompt"] = fact.note.query or ""
            pair[verdict] = fact.note.response or ""
    return [pairs[number] for number in sorted(pairs)]


def export(pairs: Sequence[dict[str, str]], folder: Path) -> tuple[Path, Path]:
    """Write the pairs as JSONL and as CSV."""
    jsonl, table = folder / "pairs.jsonl", folder / "pairs.csv"
    with jsonl.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(pair, ensure_ascii=False) + "\n" for pair in pairs)
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, ["prompt", "chosen", "rejected"])
        writer.writeheader()
        writer.writerows(pairs)
    return jsonl, table


def main(data: str = "loopwright-pairs", limit: int | None = None) -> dict[str, int]:
    """Import, report, export; return the counts."""
    folder = Path(data)
    pairs = list(bundled_pairs())[:limit]
    items = [item for number, pair in enumerate(pairs) for item in feedback_of(number, pair)]
    batches = [items[at : at + BATCH] for at in range(0, len(items), BATCH)]
    with ExitStack() as opened:
        store = Store(folder, opened)
        new = sum(map(store.send, batches))
        again = sum(map(store.send, batches))
        reports = list(store.reports())
        jsonl, table = export(stored_pairs(iter(reports)), folder)
    kinds = Counter(type(fact.feedback).__name__ for fact in reports)
    taken = sum((Counter(fact.note.redactions) for fact in reports), Counter[str]())
    print(f"{len(pairs)} pairs: {new} facts stored, {again} more when sent again")
    print(f"{kinds['Rating']} ratings, {kinds['Annotation']} annotations")
    print("taken out:", ", ".join(f"{n} {kind}" for kind, n in sorted(taken.items())) or "nothing")
    print(f"written: {jsonl.name}, {table.name}")
    return {"pairs": len(pairs), "new": new, "again": again, "redactions": taken.total(), **kinds}


if __name__ == "__main__":
    main()
