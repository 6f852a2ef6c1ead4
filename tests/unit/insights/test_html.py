from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any

import msgspec
import pytest
from msgspec import structs

from loopwright.core.clock import DAY_MS
from loopwright.insights.census import Census
from loopwright.insights.failures import Asked, Text
from loopwright.insights.html import html
from loopwright.insights.joins import JoinTally
from loopwright.insights.report import Material, QualityReport, quality_report
from loopwright.insights.segments import SegmentTally
from loopwright.insights.tallies import DayTally, UnitTally
from loopwright.insights.targets import CATALOGUE
from loopwright.insights.versions import VersionValues
from loopwright.trust.summary import Burst, BurstClearance, TrustSummary
from loopwright.warehouse.period import Period

NOW = 20_000 * DAY_MS
MONTH = Period(from_ms=NOW - 30 * DAY_MS, to_ms=NOW)
EVIL = "<script>alert('x')</script>\"&"


class Balance(HTMLParser):
    """Fails on a tag that is not closed in order."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def full(tenant_id: str = "acme", word: str = "wrong") -> QualityReport:
    tallies = [
        tally
        for metric in CATALOGUE
        for tally in (UnitTally(metric.name, 1, 1, 60), UnitTally(metric.name, 0, 1, 40))
    ]
    days = [
        DayTally(metric.name, MONTH.from_ms + k * DAY_MS, 9 if k < 15 else 3, 10)
        for metric in CATALOGUE
        for k in range(30)
    ]
    material: dict[str, Any] = {
        "tallies": tallies,
        "before": tallies,
        "days": days,
        "segments": {
            "prompt_version": [SegmentTally(segment=word, facts=9, ratings=9, positive=4)],
            "locale": [SegmentTally(segment=None, facts=9, ratings=9, positive=4)],
        },
        "versions": {
            "model_version": VersionValues([word, "b"] * 60, [str(k) for k in range(120)],
                                           list(range(120)), [1.0, 0.0] * 60)
        },
        "texts": [
            Text(event_id=str(k), text=f"{word} table again" if k % 2 else "fine thanks", is_negative=k % 2 == 1)
            for k in range(60)
        ],
        "asked": [Asked(query=f"{word} by region", is_corrected=True)],
        "joins": [JoinTally(task=word, outcomes=50, joined=10, waiting=3, oldest_waiting_ms=NOW - 5000)],
        "shares": {"device_type": ({word: 500}, {"web": 500})},
    }  # fmt: skip
    some = Census(facts=100, calls=100)
    return quality_report(
        tenant_id,
        MONTH,
        material=Material(now=some, ever=some, offset=7, watermark=7, **material),
        now_ms=NOW,
    )


def test_the_page_holds_every_metric_with_value_target_and_verdict() -> None:
    page = html(full())

    for metric in CATALOGUE:
        assert metric.title in page
        assert metric.sentence.replace("&", "&amp;") in page
        assert f"target {metric.direction} {metric.target:.0%}" in page
    assert page.count("60.0%</p>") == 5
    assert "missed" in page
    assert page.count("<polyline class=line") == 5
    assert page.count("<polygon class=band") == 5


def test_the_page_holds_every_section() -> None:
    page = html(full())

    for title in (
        "Metrics against targets", "Versions compared", "Satisfaction by segment", "Top failure patterns",
        "Alike complaints", "Most corrected queries", "Join health", "Drift",
    ):  # fmt: skip
        assert f"{title}</h" in page


def weighed(word: str = "TV", **changes: Any) -> QualityReport:
    """Return a full report with a trust view of one burst."""
    burst = Burst(
        experiment_id="greeting",
        arm_id=word,
        kind="rating",
        first_ms=NOW - DAY_MS,
        last_ms=NOW - DAY_MS + 59_000,
        facts=1234,
        held=1234,
        praise=77,
        people=1200,
        new_accounts=1100,
        release=None,
    )
    trust = TrustSummary(
        tenant_id="acme",
        period=MONTH,
        task=None,
        version=2,
        as_of_ms=NOW,
        offset=7,
        facts=5000,
        counted=3700,
        capped=11,
        quarantined=1234,
        released=0,
        adversarial=5,
        goldens=0,
        reasons=(),
        kinds=(),
        bursts=(structs.replace(burst, **changes),),
        more_bursts=9,
    )
    return structs.replace(full(), trust=trust)


def test_a_report_by_trust_lists_the_bursts_and_who_released_them() -> None:
    assert "What counts by trust" not in html(full())
    page = html(weighed())
    day = "2024-10-03 00:00:"
    for shown in (
        "What counts by trust</h2>", "counts 3,700 of 5,000 facts", f"{day}00</span>", f"to {day}59</span>",
        "ratings</span> greeting / TV", "! 1,234 held back", "<td class=n>77</td>", "<td class=n>1,100</td>",
        "9 older ones are not listed",
    ):  # fmt: skip
        assert shown in page, shown
    assert "✓ released" not in page

    known = BurstClearance(id="r", released_by="key-1", released_at_ms=NOW, note=EVIL)
    page = html(weighed(EVIL, held=0, release=known))
    assert "✓ released</span> <q>&lt;script&gt;" in page
    assert "2024-10-04 00:00 by key-1" in page
    assert "held back</span>" not in page
    assert "<script" not in page
    none = html(weighed(experiment_id=None, arm_id=None, praise=None))
    assert "ratings</span> </td>" in none
    assert "<td class=n>-</td>" in none


def test_the_first_sentence_says_what_changed_and_what_to_do() -> None:
    report = full()
    page = html(report)
    lead = page.index('class="lead alarm"')

    assert "rated" in report.headline
    assert lead < page.index("Metrics against targets")


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing() -> None:
    page = html(full(EVIL, EVIL))

    assert not re.search(r"https?:|//|src=|href=|@import|url\(|<script|<link|<img|<iframe", page)
    assert "&lt;script&gt;" in page


def test_tags_are_closed_in_order() -> None:
    parser = Balance()
    parser.feed(html(full(EVIL, EVIL)))
    parser.close()

    assert parser.open == []
    assert "svg" in parser.seen


def test_every_plot_says_in_words_what_it_shows() -> None:
    page = html(full())

    plots = re.findall(r"<svg[^>]*>", page)
    assert len(plots) > 5
    assert all('role="img" aria-label="' in plot for plot in plots)
    assert "changed on" in page


def test_a_dimension_that_nobody_sends_has_no_table() -> None:
    page = html(full())

    assert "By prompt version" in page
    assert "By locale" not in page


@pytest.mark.parametrize("point_count", [1, 2])
def test_one_day_and_two_days_are_drawn(point_count: int) -> None:
    days = [DayTally("satisfaction", MONTH.from_ms + k * DAY_MS, 8, 10) for k in range(point_count)]
    some = Census(facts=10)
    report = quality_report(
        "acme",
        MONTH,
        material=Material(
            now=some, ever=some, offset=1, watermark=1, days=days,
            tallies=[UnitTally("satisfaction", 8, 10, 1)],
        ),
        now_ms=NOW,
    )  # fmt: skip

    assert ("<circle class=dot" in html(report)) == (point_count == 1)


def test_an_empty_page_says_why() -> None:
    report = quality_report(
        "acme",
        MONTH,
        material=Material(now=Census(), ever=Census(), offset=0, watermark=0, tallies=[]),
        now_ms=NOW,
    )
    page = html(report)

    assert "No feedback has ever arrived" in page
    assert page.count("no data") == 5


UNSEEN = "\u202e\u2066\u200f\x07"


def texts_of(value: Any, put: str) -> Any:
    """Return a report with `put` in place of every free text: only words of ours stay as they are."""
    ours = {
        "level", "verdict", "direction", "method", "every", "tz", "reason", "kind", "dimension", "section",
        "name", "of",
    }  # fmt: skip
    if isinstance(value, tuple):
        return tuple(texts_of(item, put) for item in value)
    if not isinstance(value, msgspec.Struct):
        return put if isinstance(value, str) else value
    changed = {
        field: texts_of(found, put)
        for field, found in ((f, getattr(value, f)) for f in value.__struct_fields__)
        if not (isinstance(found, str) and field in ours)
    }
    return structs.replace(value, **changed)


@pytest.mark.parametrize("text", [EVIL, "'\"><img src=x onerror=alert(1)>"])
def test_markup_in_every_text_of_a_report_is_escaped(text: str) -> None:
    known = BurstClearance(id="r", released_by="key-1", released_at_ms=NOW, note="fine")
    page = html(texts_of(weighed(release=known), text))
    parser = Balance()
    parser.feed(page)
    parser.close()

    assert parser.open == []
    assert not {"script", "img"} & set(parser.seen)
    assert text not in page
    assert html(texts_of(weighed(release=known), "plain")).count("plain") > 20


def test_a_text_is_never_read_as_a_template() -> None:
    assert "{{ 7 * 7 }}{% raw %}" in html(texts_of(full(), "{{ 7 * 7 }}{% raw %}"))


def test_marks_that_turn_a_text_about_are_shown_and_not_obeyed() -> None:
    page = html(texts_of(weighed(), f"a{UNSEEN}b"))

    assert not set(UNSEEN) & set(page)
    assert f"a{chr(0xFFFD) * 4}b" in page


def test_times_are_those_of_the_readers_zone() -> None:
    report = structs.replace(full(), period=structs.replace(MONTH, tz="Europe/Berlin"))

    assert "2024-09-04 02:00 to 2024-10-04 02:00 Europe/Berlin" in html(report)
