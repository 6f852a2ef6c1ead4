from __future__ import annotations

from typing import Any

import pytest

from loopwright.core.errors import Invalid
from loopwright.warehouse.queries.declared import LIMIT, SEGMENTS, N, Parameter, Query

QUERY = Query(
    name="counts",
    sentence="How much.",
    reads=("feedback",),
    sql="SELECT {dimension}, count(*) AS n FROM feedback WHERE metric = $metric GROUP BY {dimension} LIMIT $limit",
    columns=(N,),
    parameters=(
        Parameter("dimension", "VARCHAR", "Of what.", among=SEGMENTS),
        Parameter("metric", "VARCHAR", "Of which metric."),
        LIMIT,
    ),
)


def test_a_dimension_becomes_part_of_the_statement_and_the_rest_are_values() -> None:
    sql, values = QUERY.bind({"dimension": "locale", "metric": "x'; DROP"})
    assert "{dimension}" not in sql
    assert sql.endswith("GROUP BY locale LIMIT $limit")
    assert values == {"metric": "x'; DROP", "limit": 10_000}


def test_a_given_value_goes_before_the_default() -> None:
    assert QUERY.bind({"dimension": "task", "metric": "x", "limit": 3})[1]["limit"] == 3


@pytest.mark.parametrize(
    ("given", "complaint"),
    [
        ({"dimension": "task"}, "needs metric: Of which metric."),
        ({"dimension": "task", "metric": None}, "needs metric"),
        ({"dimension": "tenant_id", "metric": "x"}, "expected one of prompt_version, "),
        ({"dimension": "task; DROP TABLE", "metric": "x"}, "expected one of"),
        ({"dimension": "task", "metric": 7}, "metric is 7; expected a VARCHAR"),
        ({"dimension": "task", "metric": "x", "limit": "3"}, "limit is '3'; expected a BIGINT"),
        ({"metrics": "x"}, "no parameter 'metrics'; it takes dimension, metric, limit besides"),
    ],
)
def test_an_odd_parameter_is_refused_with_what_was_expected(
    given: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(Invalid, match=complaint):
        QUERY.bind(given)


def test_a_query_without_parameters_says_that_it_takes_none() -> None:
    plain = Query(name="all", sentence="All.", reads=(), sql="SELECT 1", columns=(N,))
    assert plain.bind({}) == ("SELECT 1", {})
    with pytest.raises(Invalid, match="it takes none besides"):
        plain.bind({"limit": 1})
