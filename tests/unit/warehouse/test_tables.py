from __future__ import annotations

from typing import get_args

import pytest

from loopwright.warehouse.tables import (
    CONSENTS,
    DECISIONS,
    FEEDBACK,
    INTERACTIONS,
    LINKED,
    TABLES,
    WIDE,
    Table,
    Type,
)

ALL = [*TABLES.values(), LINKED, WIDE]


@pytest.mark.parametrize("table", ALL, ids=lambda table: table.name)
def test_the_columns_have_names_of_their_own_and_types_that_every_engine_has(table: Table) -> None:
    assert len(set(table.names)) == len(table.names) == len(table.columns)
    assert {column.type for column in table.columns} <= set(get_args(Type))
    assert table.event_time in table.names
    assert table.names[:2] == ("tenant_id", "log_offset")


def test_what_can_be_joined_has_the_same_key_column_of_the_same_type() -> None:
    keys = [
        {column.name: column.type for column in table.columns if column.name.endswith("_key")}
        for table in (FEEDBACK, INTERACTIONS)
    ]
    assert keys[0] == keys[1]
    assert keys[0].items() >= {"decision_key": "BIGINT"}.items()
    assert "decision_key" in DECISIONS.names


def test_consent_stands_with_every_table_that_names_a_person() -> None:
    scopes = {"consent_store", "consent_analyze", "consent_train", "consent_share"}
    for table in TABLES.values():
        assert ("person" in table.names) == (scopes <= set(table.names)), table.name


def test_a_relation_holds_every_column_of_the_table_it_is_made_of() -> None:
    assert LINKED.names[: len(FEEDBACK.names)] == FEEDBACK.names
    assert WIDE.names[: len(INTERACTIONS.names)] == INTERACTIONS.names
    assert CONSENTS.name not in (LINKED.name, WIDE.name)
