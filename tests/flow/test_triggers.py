"""Standing triggers in a process that is killed again and again: each cause fires once, and no delivery is lost."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

from tests.receiver import receiving

from loopwright.app.embedded import Loop
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services
from loopwright.catalog import DEFAULT_TENANT

# Looks at triggers and sends what they start, until it is killed.
REACT = """
import sys, time
from loopwright.app.settings import load_settings
from loopwright.app.wiring import Services

services = Services(load_settings(data_dir=sys.argv[1], webhook_private=True))
print("ready", flush=True)
while True:
    services.reacting.triggers.run()
    services.reacting.deliveries.run()
    time.sleep(0.01)
"""
TRIGGERS = 40
KILLS = 4


def opened(folder: Path) -> Services:
    return Services(load_settings(data_dir=folder, webhook_private=True))


def live(folder: Path, seconds: float) -> None:
    """Let a process react for some seconds, and kill it."""
    started = [sys.executable, "-c", REACT, str(folder)]
    with subprocess.Popen(started, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(seconds)
        process.kill()


def test_each_cause_fires_once_and_no_delivery_is_lost_through_kills(tmp_path: Path) -> None:
    rng = random.Random(3)
    with receiving() as receiver:
        services = opened(tmp_path)
        loop = Loop(services, DEFAULT_TENANT)
        item = {"kind": "rating", "scale": "stars", "value": 1, "output_id": "o"}
        assert loop.feedback.send([item]).accepted == 1
        for n in range(TRIGGERS):
            loop.triggers.add(
                f"t{n}",
                condition={"kind": "volume", "above": 0},
                actions=[{"kind": "webhook", "url": receiver.url}],
            )
        loop.close()
        for _ in range(KILLS):
            live(tmp_path, rng.uniform(0.05, 0.4))
        services = opened(tmp_path)
        loop = Loop(services, DEFAULT_TENANT)
        services.reacting.triggers.run()
        services.reacting.deliveries.run()
        firings = loop.triggers.firings().items
        deliveries = loop.triggers.deliveries().items
        loop.close()
    assert sorted(firing.trigger_id for firing in firings) == sorted(
        f"t{n}" for n in range(TRIGGERS)
    )
    assert [delivery.state for delivery in deliveries] == ["delivered"] * TRIGGERS
    assert set(receiver.ids) == {delivery.id for delivery in deliveries}
    # A kill between an answer and the note of it repeats one message, and no more than that.
    assert len(receiver.got) <= TRIGGERS + KILLS
