from __future__ import annotations

from tests.unit.feedback.world import THUMB, World

from loopwright.core.text import Scores


def test_a_comment_is_classified_unless_the_sender_did(world: World) -> None:
    item = {**THUMB, "value": 0, "message": "The answer is wrong and outdated"}
    note = world.fact(item).note
    assert (note.category, note.category_by) == ("accuracy", "rules")
    assert note.sentiment is not None
    assert note.sentiment < 0
    given = world.fact({**item, "category": "cost"}).note
    assert (given.category, given.category_by) == ("cost", "given")
    silent = world.fact({**item, "message": "see above"}).note
    assert (silent.category, silent.category_by) == (None, "given")


def test_a_trained_classifier_can_take_the_place_of_the_rules(world: World) -> None:
    class Trained:
        labels = ("a", "b")
        version = "text-1"

        def classify(self, text: str) -> Scores:
            return Scores({"a": 0.1, "b": 0.9}, self.version)

    world.pipeline.categories = Trained()
    note = world.fact({**THUMB, "message": "whatever"}).note
    assert (note.category, note.category_by) == ("b", "model")
