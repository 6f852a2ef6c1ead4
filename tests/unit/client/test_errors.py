"""Answers that say no, as errors."""

from __future__ import annotations

import msgspec
import pytest

from loopwright.client.errors import ApiError, from_problem, read_problem
from loopwright.core.errors import NotFound


def test_a_code_of_the_house_becomes_its_class_with_the_details() -> None:
    body = {"status": 404, "code": "not_found", "detail": "no experiment x", "experiment_id": "x"}
    error = read_problem(404, msgspec.json.encode(body))
    assert type(error) is NotFound
    assert (error.message, error.detail) == ("no experiment x", {"experiment_id": "x"})


def test_a_code_of_a_newer_server_is_kept_whole() -> None:
    error = from_problem({"code": "brand_new", "title": "New", "status": 418}, status=418)
    assert isinstance(error, ApiError)
    assert (error.message, error.detail["status"]) == ("New", 418)


@pytest.mark.parametrize(
    ("body", "said"), [(b"<html>bad gateway", "bad gateway"), (b"", "nothing")]
)
def test_what_is_no_problem_document_is_quoted(body: bytes, said: str) -> None:
    error = read_problem(502, body)
    assert isinstance(error, ApiError)
    assert said in error.message
