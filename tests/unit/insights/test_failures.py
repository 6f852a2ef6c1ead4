from __future__ import annotations

from loopwright.insights.failures import (
    Asked,
    Text,
    corrected_queries,
    failure_patterns,
    shown,
)


def texts() -> list[Text]:
    bad = [
        Text(event_id=f"b{k}", text=f"wrong date format in report {k}", is_negative=True)
        for k in range(20)
    ]
    good = [
        Text(event_id=f"g{k}", text=f"the report {k} is what we need", is_negative=False)
        for k in range(30)
    ]
    return bad + good


def test_the_phrase_of_the_complaints_comes_with_an_example() -> None:
    found = failure_patterns(texts())

    assert (found.negative, found.positive) == (20, 30)
    assert "date format" in found.patterns[0].phrase
    assert found.patterns[0].negative == 20
    assert found.patterns[0].examples[0].startswith("wrong date format")
    assert found.groups[0].texts == 20


def test_a_text_that_nobody_trusts_makes_no_pattern() -> None:
    found = failure_patterns(texts(), weights={f"b{k}": 0.0 for k in range(20)})

    assert found.patterns == ()


def test_no_texts_make_no_patterns() -> None:
    found = failure_patterns([])

    assert (found.negative, found.patterns, found.groups) == (0, (), ())


def test_the_query_that_most_people_corrected_comes_first() -> None:
    asked = [Asked(query="stock in 2024", is_corrected=True, person="ann")] * 3
    asked += [Asked(query="revenue", is_corrected=True, person=p) for p in ("ann", "bob")]
    asked += [Asked(query="Revenue!", is_corrected=False)]
    found = corrected_queries(asked)

    assert [(f.query, f.correctors, f.asked) for f in found] == [
        ("revenue", 2, 3),
        ("stock in 2024", 1, 3),
    ]


def test_a_long_text_is_shown_on_one_line_and_cut() -> None:
    assert shown("two\nlines") == "two lines"
    assert len(shown("x" * 1_000_000)) == 240
