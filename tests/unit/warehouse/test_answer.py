from __future__ import annotations

from loopwright.warehouse import Answer


def test_rows_become_objects_by_the_names_of_their_columns() -> None:
    answer = Answer(("arm", "n"), [("a", 1), ("b", 2)], 7)
    assert answer.dicts() == [{"arm": "a", "n": 1}, {"arm": "b", "n": 2}]
