from __future__ import annotations

from loopwright.insights.segments import SegmentTally, breakdown
from loopwright.stats.intervals import wilson


def test_segments_come_commonest_first_with_intervals_as_wide_as_repetition_makes_them() -> None:
    tallies = [
        SegmentTally(segment="b", facts=10, ratings=0),
        SegmentTally(segment="a", facts=100, ratings=100, positive=80),
        SegmentTally(segment=None, facts=1, ratings=1, positive=1),
    ]
    found = breakdown("locale", tallies, design=4, most=2)

    assert [segment.segment for segment in found.segments] == ["a", "b"]
    assert found.left_out == 1
    assert found.segments[0].positive_rate == wilson(20, 25)
    assert found.segments[1].positive_rate is None
