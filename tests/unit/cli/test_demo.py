from __future__ import annotations

import pytest

from loopwright.cli.demo import Screen
from loopwright.cli.digits import BATCH, MOST_HELD, Probe, Progress, _images
from loopwright.cli.show import console
from loopwright.client import BatchReceipt, FeedbackItem


class Outbox:
    """Keeps the batches that are delivered to it."""

    def __init__(self) -> None:
        self.batches: list[list[FeedbackItem]] = []

    def __call__(self, items: list[FeedbackItem]) -> BatchReceipt:
        self.batches.append(items)
        return BatchReceipt(accepted=len(items), duplicates=0, rejected=0, skipped=0, results=())

    @property
    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


def item(number: int) -> FeedbackItem:
    return FeedbackItem(f"t{number}", 1.0)


def test_one_delay_is_measured_at_a_time_and_feedback_waits_meanwhile() -> None:
    outbox = Outbox()
    progress = Progress(100)
    probe = Probe(outbox, progress)
    for number in range(2 * BATCH):
        probe.send(item(number))
    assert outbox.sizes == [BATCH]
    probe.seen(0)
    assert progress.delays_s == []
    probe.seen(5)
    assert len(progress.delays_s) == 1
    probe.send(item(99))
    assert outbox.sizes == [BATCH, BATCH + 1]
    # The snapshot that was there before the second batch cannot have learned from it.
    probe.seen(5)
    assert len(progress.delays_s) == 1
    probe.seen(6)
    assert len(progress.delays_s) == 2


def test_feedback_is_not_held_for_ever_when_nothing_is_learned() -> None:
    outbox = Outbox()
    probe = Probe(outbox, Progress(1000))
    for number in range(BATCH + MOST_HELD):
        probe.send(item(number))
    assert outbox.sizes == [BATCH, MOST_HELD]


def test_progress_adds_up() -> None:
    progress = Progress(1000)
    for number in range(1000):
        progress.add("3" if number % 2 else "4", float(number >= 500))
    assert (progress.done, progress.reward_so_far, progress.regret) == (1000, 0.5, 500.0)
    assert (progress.first, progress.last) == (0.0, 1.0)
    assert progress.shares["3"] == progress.shares["4"] == 0.5
    assert progress.delay_ms(0.5) is None
    progress.delays_s += [0.001, 0.002, 0.003]
    assert progress.delay_ms(0.5) == 2.0
    assert progress.delay_ms(0.99) == 3.0


def test_two_lucky_rounds_are_not_taken_for_learning() -> None:
    progress = Progress(20)
    for number in range(20):
        progress.add("3", float(number >= 18))
    assert progress.last == 0.1


def test_the_picture_shows_what_matters(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(10)
    progress.add("7", 1.0)
    console().print(Screen().picture(progress))
    picture = capsys.readouterr().out
    for part in ("1 of 10", "reward now", "so far", "uniform choice", "feedback to serving", "7 "):
        assert part in picture


def test_every_image_is_shown_once_before_any_is_shown_twice() -> None:
    shown = [vector for vector, _ in _images(1797 * 2, seed=1)]
    assert len(set(map(tuple, shown[:1797]))) == len(set(map(tuple, shown)))
    assert shown[:1797] != shown[1797:]
    assert shown[:50] == [vector for vector, _ in _images(50, seed=1)]
    assert all(abs(sum(x * x for x in vector) - 1) < 1e-9 for vector in shown[:100])
