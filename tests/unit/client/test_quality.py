"""The quality report as a client reads it."""

from __future__ import annotations

import msgspec
import pytest

from loopwright.client.quality import QualityReport


def test_a_report_that_misses_members_is_refused_and_one_with_more_is_read() -> None:
    fields = msgspec.structs.fields(QualityReport)
    with pytest.raises(msgspec.ValidationError):
        msgspec.json.decode(b"{}", type=QualityReport)
    report = dict.fromkeys([field.name for field in fields], None) | {
        "tenant_id": "t",
        "period": {"from_ms": 0, "to_ms": 1},
        "generated_at_ms": 1,
        "offset": 1,
        "watermark": 1,
        "taxonomy": 1,
        "headline": "",
        "findings": [],
        "census": {field.name: 0 for field in msgspec.structs.fields(_census())},
        "is_weighted": False,
        "a_member_of_tomorrow": 1,
    }
    assert msgspec.convert(report, QualityReport).missed == ()


def _census() -> type[msgspec.Struct]:
    from loopwright.client.quality import Census

    return Census
