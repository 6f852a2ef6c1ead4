"""Killed at random moments, again and again: what was acknowledged is there exactly once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from bench.crash import Victim

from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core import upcast
from loopwright.core.decision import Decision
from loopwright.core.events import Received
from loopwright.core.feedback import Outcome
from loopwright.eventlog import Reader

# Appends the numbers from its argument on, forever, and writes down each that was acknowledged.
APPEND = """
import itertools, os, random, sys, time
from loopwright.backends.sqlite_log import SqliteEventLog
from loopwright.core.clock import SystemClock
from loopwright.core.events import Ticked
from loopwright.core.ports import Committed
from loopwright.eventlog import Writer

path, first = sys.argv[1], int(sys.argv[2])
writer = Writer(SqliteEventLog(path), SystemClock(), max_batch=100)

def submit(numbers):
    def done(outcome):
        assert isinstance(outcome, Committed), outcome
        os.write(1, b"".join(b"%d\\n" % n for n in numbers))
    writer.submit([Ticked(n) for n in numbers], [b"%024d" % n for n in numbers], done)

rng = random.Random(first)
while True:
    size = rng.randint(1, 20)
    submit(range(first, first + size))
    first += size
    while writer.queued > 1_000:
        time.sleep(0.001)
"""


def live(path: Path, answers: Path, first: int, seconds: float) -> None:
    """Let a process append from `first` on for some `seconds` after its first answer, and kill it."""
    before = answers.stat().st_size
    with (
        answers.open("ab") as output,
        subprocess.Popen([sys.executable, "-c", APPEND, str(path), str(first)], stdout=output) as p,
    ):
        while answers.stat().st_size == before and p.poll() is None:
            time.sleep(0.001)
        time.sleep(seconds)
        p.kill()


def acknowledged(answers: Path) -> list[int]:
    """Return the numbers that were written down whole."""
    return [int(line) for line in answers.read_bytes().rpartition(b"\n")[0].splitlines()]


def test_the_log_keeps_what_it_acknowledged_exactly_once_through_kills(tmp_path: Path) -> None:
    path, answers, rng = tmp_path / "log.db", tmp_path / "answers", random.Random(11)
    answers.touch()
    kills = 6
    for _ in range(kills):
        # The next life sends again what got no answer, some of which was stored: its keys are taken.
        first = max(acknowledged(answers), default=0) + 1
        live(path, answers, first, rng.uniform(0.0, 0.15))
    answered = acknowledged(answers)
    with closing(SqliteEventLog(path)) as log:
        verified = log.verify()
        facts = list(Reader(log).replay())
    stored = [fact.at_ms for _, fact in facts]
    assert [offset for offset, _ in facts] == list(range(1, verified.last + 1))
    assert stored == list(range(1, len(stored) + 1)), "lost or doubled"
    assert answered == list(range(1, len(answered) + 1))
    assert kills < len(answered) <= len(stored)


def test_the_count_of_what_is_lost_notices_a_loss(tmp_path: Path) -> None:
    victim = Victim(tmp_path, random.Random(1))
    victim.data.mkdir()
    decision = Decision("d", "default", "free", "a", 0.5, 0, 1_750_000_000_000)
    facts = [Received(event, 1, decision, Outcome("reward", 1.0)) for event in ("a", "b", "b")]
    with closing(SqliteEventLog(victim.data / "log.db")) as log:
        log.append(upcast.encode(facts), count=3, version=upcast.SCHEMA_VERSION, keys=[])
    victim.ledger.acknowledged = {"a": ("d", 1.0)}
    assert victim.lost() == 0
    victim.ledger.acknowledged |= {"b": ("d", 1.0), "c": ("d", 1.0)}
    assert victim.lost() == 2, "one is doubled, one is not there"
    victim.ledger.acknowledged["a"] = ("d", 0.0)
    assert victim.lost() == 3, "one is not as it was sent"


def test_a_killed_server_loses_no_acknowledged_feedback_and_learns_the_same() -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "bench.crash", "--kills", "4"],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    figures = json.loads(ran.stdout.splitlines()[-1])["figures"]
    assert figures == {"kills": 4, "lost": 0, "replay_equal": 1}
