from __future__ import annotations

import pytest

from loopwright.core.problem import Problem
from loopwright.web.problems import problems


def test_every_handler_documents_what_any_handler_can_answer() -> None:
    assert list(problems()) == [400, 401, 403, 429]
    assert list(problems(503, 404)) == [400, 401, 403, 404, 429, 503]


def test_a_handlers_own_sentence_comes_before_the_usual_one() -> None:
    found = problems(404, why={404: "No such arm."})
    assert found[404].description == "No such arm."
    assert problems(404)[404].description != "No such arm."


def test_error_answers_are_problem_documents() -> None:
    assert {spec.data_container for spec in problems(409).values()} == {Problem}
    assert {spec.media_type for spec in problems(409).values()} == {"application/problem+json"}


def test_a_status_without_a_sentence_must_be_given_one() -> None:
    with pytest.raises(KeyError):
        problems(418)
    assert problems(418, why={418: "A teapot."})[418].description == "A teapot."
