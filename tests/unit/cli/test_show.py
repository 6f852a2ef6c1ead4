from __future__ import annotations

import json

import pytest

from loopwright.cli.show import (
    bar,
    console,
    exit_code,
    number,
    percent,
    say_error,
    sparkline,
    table,
    to_json,
)
from loopwright.client import ApiError, Unreachable
from loopwright.core.errors import (
    DirectoryLocked,
    Forbidden,
    LoopError,
    NotFound,
    Overloaded,
    SettingsInvalid,
    Unauthenticated,
)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (Unreachable("x"), 4),
        (ApiError("x"), 4),
        (Overloaded("x"), 4),
        (SettingsInvalid("x"), 3),
        (DirectoryLocked("x"), 3),
        (Unauthenticated("x"), 3),
        (Forbidden("x"), 3),
        (NotFound("x"), 2),
        (LoopError("x"), 2),
    ],
)
def test_errors_have_the_documented_exit_codes(error: LoopError, code: int) -> None:
    assert exit_code(error) == code


def test_bars_and_sparklines_span_their_range() -> None:
    assert bar(0.5, 4) == "██··"
    assert bar(7, 4) == "████"
    assert sparkline([0.0, 0.5, 1.0, 2.0], high=1.0) == "▁▅██"
    assert sparkline([]) == ""
    assert sparkline([3.0, 3.0]) == "██"


def test_values_below_the_range_of_a_bar_or_sparkline_are_drawn_at_its_start() -> None:
    assert bar(-1, 4) == "····"
    assert sparkline([-5.0, 1.0], low=0.0, high=1.0) == "▁█"
    assert sparkline([0.4, 0.5, 0.6], low=0.4, high=0.6) == "▁▅█"


def test_a_missing_figure_is_a_dash_and_a_zero_is_a_zero() -> None:
    assert (number(None), percent(None)) == ("-", "-")
    assert (number(0.0), percent(0.0)) == ("0.000", "0.0%")
    assert number(1234.5, 1) == "1,234.5"


def test_an_error_is_a_sentence_for_people_and_an_object_for_programs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    say_error("no such arm", code="not_found", as_json=False, found="x")
    say_error("no such arm", code="not_found", as_json=True, found={"x"})
    sentence, object = capsys.readouterr().err.splitlines()
    assert sentence == "error: no such arm"
    assert json.loads(object) == {"code": "not_found", "detail": "no such arm", "found": ["x"]}


def test_json_is_one_line_also_for_values_that_json_does_not_know() -> None:
    class Strange:
        def __str__(self) -> str:
            return "strange"

    assert to_json({"a": Strange(), "b": "1\n2"}) == '{"a":"strange","b":"1\\n2"}'


def test_a_table_shows_markup_in_what_it_is_given_as_it_is(
    capsys: pytest.CaptureFixture[str],
) -> None:
    shown = table("arm", "n", title="arms")
    shown.add_row("[bold]a[/bold] :smile:", "3")
    console().print(shown)
    out = capsys.readouterr().out
    assert "[bold]a[/bold] :smile:" in out
    assert "arms" in out
