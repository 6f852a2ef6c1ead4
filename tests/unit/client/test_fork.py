"""What a forked child makes anew."""

from __future__ import annotations

import gc
import os

from loopwright.client.fork import renew_after_fork

from .conftest import in_a_child


class Held:
    def __init__(self) -> None:
        self.renewed_in: list[int] = []
        renew_after_fork(self.renew)

    def renew(self) -> None:
        self.renewed_in.append(os.getpid())


def test_an_object_is_renewed_in_the_child_alone() -> None:
    held = Held()

    def child() -> None:
        assert held.renewed_in == [os.getpid()]

    assert in_a_child(child) == 0
    assert held.renewed_in == []


def test_a_grandchild_renews_it_again() -> None:
    held = Held()

    def grandchild() -> None:
        assert len(set(held.renewed_in)) == 2

    def child() -> None:
        assert in_a_child(grandchild) == 0

    assert in_a_child(child) == 0


def test_registering_does_not_keep_an_object_alive() -> None:
    gone: list[int] = []

    class Passing(Held):
        def __del__(self) -> None:
            gone.append(1)

    Passing()
    gc.collect()
    assert gone == [1]
    assert in_a_child(lambda: None) == 0
