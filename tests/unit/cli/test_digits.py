from __future__ import annotations

import socket
from pathlib import Path

import pytest

from loopwright.cli.digits import BATCH, MOST_HELD, Probe, Progress, _images, is_free, server
from loopwright.client import BatchReceipt, FeedbackItem
from loopwright.core.errors import Broken, Conflict


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


def test_every_image_is_shown_once_before_any_is_shown_twice() -> None:
    shown = [vector for vector, _ in _images(1797 * 2, seed=1)]
    assert len(set(map(tuple, shown[:1797]))) == len(set(map(tuple, shown)))
    assert shown[:1797] != shown[1797:]
    assert shown[:50] == [vector for vector, _ in _images(50, seed=1)]
    assert all(abs(sum(x * x for x in vector) - 1) < 1e-9 for vector in shown[:100])


def test_a_refused_reward_ends_the_demo_instead_of_falsifying_its_figures() -> None:
    def refuse(items: list[FeedbackItem]) -> BatchReceipt:
        return BatchReceipt(accepted=1, duplicates=0, rejected=2, skipped=0, results=())

    probe = Probe(refuse, Progress(3))
    for number in range(3):
        probe.send(item(number))
    with pytest.raises(Broken, match="refused 2 of 3 rewards"):
        probe.flush()
    probe.flush()  # what was sent is not sent again


def test_figures_of_no_rounds_are_zero_and_not_an_error() -> None:
    progress = Progress(10)
    figures = (progress.done, progress.reward_now, progress.first, progress.last, progress.regret)
    assert figures == (0, 0.0, 0.0, 0.0, 0.0)
    assert progress.shares["3"] == 0.0


def test_a_port_that_another_process_listens_on_is_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not is_free(port)
        with (
            pytest.raises(Conflict, match=f"port {port} is taken"),
            server(tmp_path / "d", port=port),
        ):
            pass
    assert is_free(port)
    assert not (tmp_path / "d").exists()
