from __future__ import annotations

import itertools

from tests.unit.learning.world import TENANT, experiment

from loopwright.learning.publisher import Publisher
from loopwright.learning.replay import EmptyShelf
from loopwright.learning.trainer import Trainer
from loopwright.policies import Snapshots


class Stopwatch:
    """Moves on by `step` seconds at every look."""

    def __init__(self) -> None:
        self.now, self.step = 0.0, 0.0

    def __call__(self) -> float:
        self.now += self.step
        return self.now


def test_a_costly_publish_is_followed_by_a_rest_as_long_as_itself():
    stopwatch = Stopwatch()
    publisher = Publisher(Snapshots(), stopwatch)
    trainer = Trainer(experiment(), EmptyShelf())
    publisher.changed(trainer)
    assert publisher.is_waiting
    stopwatch.step = 2.0
    publisher.publish_waiting()
    stopwatch.step = 0.0
    assert (publisher.published, publisher.is_waiting, publisher.rest_s) == (1, False, 2.0)
    stopwatch.now += 1.5
    assert publisher.rest_s == 0.5
    stopwatch.now += 1.0
    assert publisher.rest_s == 0.0


def test_many_changes_make_one_snapshot_of_the_newest_state():
    snapshots = Snapshots()
    publisher = Publisher(snapshots, itertools.count().__next__)
    trainer = Trainer(experiment(), EmptyShelf())
    for version in (3, 5, 9):
        trainer.version = version
        publisher.changed(trainer)
    publisher.publish_waiting()
    assert publisher.published == 1
    served = snapshots.get(TENANT, "greeting")
    assert served is not None
    assert served.offset == publisher.serving(trainer.key) == 9
    publisher.publish_waiting()
    assert publisher.published == 1


def test_what_is_withdrawn_is_neither_served_nor_published_later():
    snapshots = Snapshots()
    publisher = Publisher(snapshots, itertools.count().__next__)
    trainer = Trainer(experiment(), EmptyShelf())
    publisher.publish(trainer)
    publisher.changed(trainer)
    publisher.withdraw(trainer)
    publisher.publish_waiting()
    assert snapshots.get(TENANT, "greeting") is None
    assert publisher.serving(trainer.key) is None
