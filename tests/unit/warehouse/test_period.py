from __future__ import annotations

from datetime import UTC, datetime

import pytest

from loopwright.core.clock import DAY_MS
from loopwright.core.errors import Invalid
from loopwright.warehouse.period import Calendar, Period, instant, period, seeded

HOUR_MS = 3_600_000
BERLIN = "Europe/Berlin"
NOW = 20_000 * DAY_MS + 5_000
NOON = 20_000 * DAY_MS
MONTH = Period(from_ms=NOON - 30 * DAY_MS, to_ms=NOON)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp() * 1000)


@pytest.mark.parametrize(
    ("day", "following", "hours"),
    [
        ("2026-03-28", "2026-03-29", 24),
        ("2026-03-29", "2026-03-30", 23),
        ("2026-10-25", "2026-10-26", 25),
    ],
)
def test_a_day_lasts_as_long_as_its_zone_makes_it(day: str, following: str, hours: int) -> None:
    found = period(NOW, since=day, until=following, tz=BERLIN)

    assert found.to_ms - found.from_ms == hours * HOUR_MS
    assert found.days == 1


def test_the_period_before_whole_days_is_of_whole_days() -> None:
    after_the_change = period(NOW, since="2026-03-29", until="2026-03-30", tz=BERLIN)
    week = period(NOW, since="2026-10-26", until="2026-11-02", tz=BERLIN)

    assert after_the_change.previous == period(
        NOW, since="2026-03-28", until="2026-03-29", tz=BERLIN
    )
    assert week.previous == period(NOW, since="2026-10-19", until="2026-10-26", tz=BERLIN)


def test_the_last_days_begin_at_the_same_hour_by_the_wall_clock() -> None:
    noon = at("2026-03-30T10:00")  # 12:00 in Berlin, by then on summer time
    found = period(noon, days=2, tz=BERLIN)

    assert found.from_ms == at("2026-03-28T11:00")


def test_midnight_is_that_of_the_zone() -> None:
    assert instant("since", "2026-01-31", tz=BERLIN) == at("2026-01-30T23:00")
    assert instant("since", "2026-01-31T12:00", tz="Asia/Kolkata") == at("2026-01-31T06:30")
    assert instant("since", "2026-01-31T12:00:00Z", tz=BERLIN) == at("2026-01-31T12:00")
    assert instant("since", "2026-01-31") == at("2026-01-31T00:00")


def test_offsets_name_each_change_of_the_clock_to_the_millisecond() -> None:
    year = Calendar(BERLIN).offsets(at("2026-01-01"), at("2027-01-01"))

    assert year == (
        (at("2026-01-01"), HOUR_MS),
        (at("2026-03-29T01:00"), 2 * HOUR_MS),
        (at("2026-10-25T01:00"), HOUR_MS),
    )
    assert Calendar().offsets(0, NOW) == ((0, 0),)


@pytest.mark.parametrize("tz", ["UTC", BERLIN, "America/St_Johns", "Pacific/Apia", "Asia/Kolkata"])
def test_every_day_begins_where_the_one_before_ends(tz: str) -> None:
    calendar = Calendar(tz)
    first = calendar.day(at("2011-12-20"))
    for day in range(first, first + 400):
        start = calendar.start_ms(day)
        # Samoa had no 30 December 2011: the clock skipped the whole day.
        if tz == "Pacific/Apia" and day == at("2011-12-30") // DAY_MS:
            continue
        assert calendar.day(start) == day
        assert calendar.day(start - 1) < day


@pytest.mark.parametrize(
    "tz", ["Europe/Berlyn", "", "../etc/passwd", "/etc/passwd", "a\x00b", "x" * 999]
)
def test_an_unknown_zone_is_refused_with_what_was_expected(tz: str) -> None:
    with pytest.raises(Invalid, match="IANA"):
        Calendar(tz)


@pytest.mark.parametrize("tz", ["UTC", "Pacific/Auckland", "America/New_York"])
@pytest.mark.parametrize("text", ["soon", "2026-02-30", "9999-12-31T23:59:59-23:00", "0001-01-01"])
def test_a_start_that_cannot_be_is_refused(text: str, tz: str) -> None:
    with pytest.raises(Invalid, match=r"expected|until must be after since"):
        period(NOW, since=text, tz=tz)


def test_days_and_since_exclude_each_other_and_have_bounds() -> None:
    with pytest.raises(Invalid, match="one of them"):
        period(NOW, days=1, since="2026-01-01")
    with pytest.raises(Invalid, match="expected 1 to"):
        period(NOW, days=0)
    with pytest.raises(Invalid, match="until must be after since"):
        period(NOW, since="2026-01-02", until="2026-01-01")
    with pytest.raises(Invalid, match="until must be after since"):
        period(NOW, since="1990-01-01", until="2026-01-01")


def test_the_same_report_draws_the_same_numbers() -> None:
    of = Period(from_ms=0, to_ms=NOW)
    assert seeded("a", of, "x").random() == seeded("a", of, "x").random()
    assert seeded("a", of, "x").random() != seeded("b", of, "x").random()


def test_a_period_is_the_last_days_or_from_since_until_before_until() -> None:
    assert period(NOON) == MONTH
    assert period(NOON, days=1) == Period(from_ms=NOON - DAY_MS, to_ms=NOON)
    asked = period(NOON, since="2024-01-01", until="2024-02-01T00:00:00+01:00")
    assert asked.from_ms == instant("since", "1704067200000")
    assert asked.days == pytest.approx(31 - 1 / 24)
    assert asked.previous.to_ms == asked.from_ms
    assert asked.previous.days == asked.days


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"days": 0}, "expected 1 to"),
        ({"days": 4000}, "expected 1 to"),
        ({"since": "yesterday"}, "since is 'yesterday'"),
        ({"until": "2024-13-01"}, "until is '2024-13-01'"),
        ({"since": "2024-02-01", "until": "2024-01-01"}, "until must be after since"),
        ({"days": 3, "since": "2024-02-01"}, "give one"),
    ],
)
def test_a_period_that_cannot_be_is_refused(asked: dict[str, int | str], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        period(NOON, **asked)  # type: ignore[arg-type]
