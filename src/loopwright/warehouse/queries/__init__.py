"""The named queries: everything that people and reports read from the warehouse.

Each is one statement in the SQL that the engines share: sums, counts, cases, averages, least and greatest,
row numbers; no engine's own functions. A query names the relations it reads, and never a tenant or a period:
the warehouse hands it relations that already hold one tenant's rows of one period, so that no query can
forget the filter. Parameters are written `$name`; `{dimension}` stands for one of the declared columns.
"""

from __future__ import annotations

from typing import Final

from loopwright.core.errors import NotFound

from . import counts, facts, sessions, texts, values
from .declared import NUMBERS, POSITIVE, SEGMENTS, Parameter, Query
from .sessions import SESSIONS_SQL

__all__ = [
    "NUMBERS",
    "POSITIVE",
    "QUERIES",
    "SEGMENTS",
    "SESSIONS_SQL",
    "Parameter",
    "Query",
    "named",
]

_FAMILIES: Final = (counts, values, texts, sessions, facts)

QUERIES: Final[dict[str, Query]] = {
    query.name: query for family in _FAMILIES for query in family.QUERIES
}
"""All queries that the warehouse itself declares, by name. A slice above it hands over queries of its own."""


def named(name: str) -> Query:
    """Return the query of that name. Raises `NotFound` for another."""
    if name not in QUERIES:
        raise NotFound(f"there is no query {name!r}; the warehouse has {', '.join(QUERIES)}")
    return QUERIES[name]
