"""Named queries: one statement each with its parameters and columns, and the constants they share."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from loopwright.core.errors import Invalid
from loopwright.warehouse.tables import Column, Type

POSITIVE: Final = 0.75
"""A rating is positive from here on: thumbs up, or at least 4 of 5 stars."""

SEGMENTS: Final = (
    "prompt_version",
    "model_version",
    "model_id",
    "task",
    "category",
    "feature_id",
    "device_type",
    "locale",
    "endpoint",
    "country",
    "source",
    "experiment_id",
    "arm_id",
)
"""The dimensions by which feedback can be broken down."""

NUMBERS: Final = (
    "input_tokens",
    "output_tokens",
    "cost",
    "client_latency_ms",
    "server_latency_ms",
)
"""The numeric columns of a call."""

OF_METRIC: Final = (
    "metric = $metric AND (kind = 'rating') = ($metric = 'rating') AND value IS NOT NULL"
)
"""Selects the values of `$metric`. The name `rating` belongs to ratings alone: a measurement or an outcome may have
the same name, and its value lies on another scale."""


class Parameter(msgspec.Struct, frozen=True):
    """One parameter of a query; required when its default is None."""

    name: str
    type: Type
    sentence: str
    default: Any = None
    among: tuple[str, ...] = ()
    """The values it can have, when they are few."""


class Query(msgspec.Struct, frozen=True, kw_only=True):
    """One named query: its sentence, the relations it reads, its parameters and its columns."""

    name: str
    sentence: str
    reads: tuple[str, ...]
    sql: str
    columns: tuple[Column, ...]
    parameters: tuple[Parameter, ...] = ()
    is_bulk: bool = False
    """Whether it reads every column of the tables, and not the copy of a few columns that reports share."""

    def bind(self, given: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """Return the statement and its parameters. Raises `Invalid` for a missing, unknown or mistyped one."""
        known = {parameter.name: parameter for parameter in self.parameters}
        if foreign := sorted(set(given) - set(known)):
            raise Invalid(
                f"query {self.name!r} has no parameter {foreign[0]!r}; "
                f"it takes {', '.join(known) or 'none'} besides tenant_id, from_ms and to_ms"
            )
        values = {name: _checked(self, p, given.get(name, p.default)) for name, p in known.items()}
        sql = self.sql
        # A column cannot be a parameter of a statement. It is put into the text, and `among` has let only
        # our own names through.
        if "dimension" in values:
            sql = sql.replace("{dimension}", values.pop("dimension"))
        return sql, values


def _checked(query: Query, parameter: Parameter, value: Any) -> Any:
    if value is None:
        raise Invalid(f"query {query.name!r} needs {parameter.name}: {parameter.sentence}")
    if parameter.among and value not in parameter.among:
        raise Invalid(
            f"query {query.name!r}: {parameter.name} is {value!r}; expected one of {', '.join(parameter.among)}"
        )
    kinds = {"VARCHAR": str, "BIGINT": int, "DOUBLE": (int, float), "BOOLEAN": bool}
    if not isinstance(value, kinds[parameter.type]):  # type: ignore[arg-type]
        raise Invalid(
            f"query {query.name!r}: {parameter.name} is {value!r}; expected a {parameter.type}"
        )
    return value


LIMIT: Final = Parameter("limit", "BIGINT", "Most rows to return.", 10_000)

N: Final = Column("n", "BIGINT", "Among how many.")
