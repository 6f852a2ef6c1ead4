from __future__ import annotations

import threading

from tests.unit.warehouse.world import World, feedback

from loopwright.core.errors import LoopError

FACTS = 60


def test_a_question_during_loading_counts_every_fact_once(world: World) -> None:
    """The loader deletes what no manifest names while the reader takes the tail of the log in."""
    world.say(feedback("f0"))
    world.loader().run()
    warehouse, wrong = world.warehouse(), list[str]()
    is_done = threading.Event()

    def load() -> None:
        while not is_done.is_set():
            world.loader().run()

    loading = threading.Thread(target=load)
    loading.start()
    try:
        for n in range(1, FACTS):
            world.say(feedback(f"f{n}"))
            try:
                found = warehouse.query("export_rows", tenant_id=None)
            except LoopError as error:
                wrong.append(f"{type(error).__name__}: {error}")
                continue
            events = sorted(row[4] for row in found.rows)
            if events != sorted(f"f{k}" for k in range(n + 1)):
                wrong.append(f"{n}: {len(events)} rows")
    finally:
        is_done.set()
        loading.join()
    assert wrong == []
