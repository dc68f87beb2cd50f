"""Recurrence rules: what is followed, what is refused, and how far."""

import time
from datetime import UTC, datetime, timedelta
from itertools import islice

import pytest

from retinue.errors import InvalidArguments
from retinue.recurrence import Series, check_series, normalised, occurrences
from retinue.zones import zone_of


def _series(start: str, rule: str, *, zone: str = "Europe/Berlin", length: timedelta = timedelta(hours=1)) -> Series:
    """A series that starts at a wall clock of its zone."""
    begins = datetime.fromisoformat(start).replace(tzinfo=zone_of(zone)).astimezone(UTC)
    return Series(begins, begins + length, zone_of(zone), normalised(rule))


def _local_starts(series: Series, after: str, before: str) -> list[str]:
    window = (datetime.fromisoformat(moment).replace(tzinfo=series.zone) for moment in (after, before))
    return [f"{start.astimezone(series.zone):%Y-%m-%dT%H:%M%z}" for start, _ in occurrences(series, *window)]


@pytest.mark.parametrize(
    ("zone", "start", "expected"),
    [
        ("Europe/Berlin", "2026-03-23T09:00", ["2026-03-23T09:00+0100", "2026-03-30T09:00+0200"]),
        ("Europe/Berlin", "2026-10-19T09:00", ["2026-10-19T09:00+0200", "2026-10-26T09:00+0100"]),
        ("America/New_York", "2026-03-02T09:00", ["2026-03-02T09:00-0500", "2026-03-09T09:00-0400"]),
        ("+01:00", "2026-03-23T09:00", ["2026-03-23T09:00+0100", "2026-03-30T09:00+0100"]),
    ],
)
def test_weekly_at_nine_stays_at_nine_when_clocks_change(zone: str, start: str, expected: list[str]) -> None:
    series = _series(start, "FREQ=WEEKLY;COUNT=2", zone=zone)

    assert _local_starts(series, "2026-01-01", "2027-01-01") == expected


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        # On 2026-03-29 Berlin has no 02:30: RFC 5545 reads it with the offset before, an hour later on the clock.
        ("2026-03-28T02:30", ["2026-03-28T02:30+0100", "2026-03-29T03:30+0200", "2026-03-30T02:30+0200"]),
        # On 2026-10-25 it has two: the first one counts.
        ("2026-10-24T02:30", ["2026-10-24T02:30+0200", "2026-10-25T02:30+0200", "2026-10-26T02:30+0100"]),
    ],
)
def test_a_wall_clock_that_is_missing_or_doubled_means_one_moment(start: str, expected: list[str]) -> None:
    assert _local_starts(_series(start, "FREQ=DAILY;COUNT=3"), "2026-01-01", "2027-01-01") == expected


def test_whole_days_stay_whole_days_when_clocks_change() -> None:
    series = _series("2026-03-28T00:00", "FREQ=DAILY;COUNT=3", length=timedelta(days=1))

    found = list(occurrences(series, series.start, series.start + timedelta(days=9)))

    assert [end - start for start, end in found] == [timedelta(hours=24), timedelta(hours=23), timedelta(hours=24)]
    assert [start for start, _ in found[1:]] == [end for _, end in found[:-1]]


@pytest.mark.parametrize(
    ("until", "last"),
    [
        ("20260103", "2026-01-03T23:30+0100"),
        ("20260103T233000", "2026-01-03T23:30+0100"),
        ("20260103T232959", "2026-01-02T23:30+0100"),
        ("20260103T223000Z", "2026-01-03T23:30+0100"),
        ("20260103T222959Z", "2026-01-02T23:30+0100"),
        ("99991231T235959Z", "2026-01-05T23:30+0100"),
    ],
)
def test_until_is_read_in_the_zone_of_the_event(until: str, last: str) -> None:
    series = _series("2026-01-01T23:30", f"FREQ=DAILY;UNTIL={until}")

    assert _local_starts(series, "2026-01-01", "2026-01-06")[-1] == last


@pytest.mark.parametrize(
    ("start", "rule", "expected"),
    [
        ("2026-01-05T09:00", "FREQ=WEEKLY;INTERVAL=2;BYDAY=MO,WE", ["11-09", "11-11", "11-23", "11-25"]),
        ("2026-01-01T09:00", "FREQ=DAILY;INTERVAL=10", ["11-07", "11-17", "11-27"]),
        ("2026-01-02T09:00", "FREQ=MONTHLY;BYDAY=1FR", ["11-06"]),
        ("2026-01-30T09:00", "FREQ=MONTHLY;BYDAY=-1FR", ["11-27"]),
        ("2026-01-31T09:00", "FREQ=MONTHLY", []),
        ("2020-11-15T09:00", "FREQ=YEARLY", ["11-15"]),
        ("2026-01-01T09:00", "FREQ=DAILY;COUNT=100", []),
        ("2026-11-29T09:00", "FREQ=DAILY", ["11-29", "11-30"]),
        ("2026-12-24T09:00", "FREQ=DAILY", []),
        ("2026-01-07T09:00", "FREQ=WEEKLY;BYDAY=MO,WE,FR;BYSETPOS=1", ["11-02", "11-09", "11-16", "11-23", "11-30"]),
    ],
)
def test_a_rule_holds_on_its_days_in_november(start: str, rule: str, expected: list[str]) -> None:
    found = _local_starts(_series(start, rule), "2026-11-01", "2026-12-01")

    assert [day[5:10] for day in found] == expected


@pytest.mark.parametrize("start", ["1970-01-01T09:00", "2026-10-28T09:00", "2026-10-31T23:30"])
def test_jumping_to_the_window_finds_what_walking_finds(start: str) -> None:
    """COUNT switches the jump off, so both ways must agree on every start."""
    jumping = _series(start, "FREQ=WEEKLY;INTERVAL=3;BYDAY=MO,TU,WE,TH,FR,SA,SU", length=timedelta(days=2))
    walking = _series(start, f"{jumping.rule};COUNT=9999", length=timedelta(days=2))
    window = (datetime(2026, 11, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))

    found = list(occurrences(jumping, *window))

    assert found == list(occurrences(walking, *window))
    assert len(found) > 15


@pytest.mark.parametrize("rule", ["FREQ=DAILY", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR,SA,SU"])
def test_an_endless_rule_from_1970_is_quick(rule: str) -> None:
    """Twenty looks at it: walking from the start would take seconds, jumping takes milliseconds."""
    series = _series("1970-01-01T09:00", rule)
    window = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2199, 1, 1, tzinfo=UTC))
    began = time.process_time()

    found = [list(islice(occurrences(series, *window), 50)) for _ in range(20)]

    assert [len(each) for each in found] == [50] * 20
    assert time.process_time() - began < 0.3


@pytest.mark.parametrize(
    ("after", "before", "expected"),
    [
        ("2026-01-06T08:00", "2026-01-06T09:00", 0),
        ("2026-01-06T08:00", "2026-01-06T09:01", 1),
        ("2026-01-06T09:59", "2026-01-06T11:00", 1),
        ("2026-01-06T10:00", "2026-01-06T11:00", 0),
    ],
)
def test_an_occurrence_that_only_touches_the_window_is_not_in_it(after: str, before: str, expected: int) -> None:
    series = _series("2026-01-05T09:00", "FREQ=DAILY")

    assert len(_local_starts(series, after, before)) == expected


def test_left_out_occurrences_are_left_out() -> None:
    series = _series("2026-01-05T09:00", "FREQ=DAILY;COUNT=3")
    without = Series(series.start, series.end, series.zone, series.rule, frozenset({series.start + timedelta(days=1)}))

    assert _local_starts(without, "2026-01-01", "2026-02-01") == ["2026-01-05T09:00+0100", "2026-01-07T09:00+0100"]


def test_an_occurrence_that_began_before_the_window_is_found() -> None:
    series = _series("2026-01-05T22:00", "FREQ=WEEKLY", length=timedelta(days=3))

    assert _local_starts(series, "2026-01-15T21:59", "2026-01-15T23:00") == ["2026-01-12T22:00+0100"]
    assert _local_starts(series, "2026-01-15T22:00", "2026-01-15T23:00") == []


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("RRULE:FREQ=WEEKLY;BYDAY=MO", "FREQ=WEEKLY;BYDAY=MO"),
        ("freq=weekly; byday=mo;", "FREQ=WEEKLY;BYDAY=MO"),
        ("FREQ=DAILY;BYHOUR=9;BYMINUTE=0", "FREQ=DAILY;BYHOUR=9;BYMINUTE=0"),
        ("FREQ=YEARLY;BYDAY=53MO", "FREQ=YEARLY;BYDAY=53MO"),
    ],
)
def test_rules_are_kept_in_one_form(given: str, kept: str) -> None:
    assert normalised(given) == kept


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "every monday",
        "INTERVAL=2",
        "FREQ=SECONDLY",
        "FREQ=MINUTELY",
        "FREQ=HOURLY",
        "FREQ=DAILY;FREQ=WEEKLY",
        "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=-1",
        "FREQ=DAILY;COUNT=0",
        "FREQ=DAILY;COUNT=99999",
        "FREQ=DAILY;COUNT=3;UNTIL=20270101",
        "FREQ=DAILY;UNTIL=2027-01-01",
        "FREQ=DAILY;UNTIL=20270230",
        "FREQ=DAILY;UNTIL=20270101T250000Z",
        "FREQ=DAILY;BYDAY=XX",
        "FREQ=DAILY;BYDAY=1MO",
        "FREQ=WEEKLY;BYDAY=1MO",
        "FREQ=WEEKLY;BYMONTHDAY=13",
        "FREQ=DAILY;BYMONTHDAY=13",
        "FREQ=DAILY;BYSETPOS=2",
        "FREQ=MONTHLY;BYWEEKNO=20",
        "FREQ=MONTHLY;BYDAY=6MO",
        "FREQ=YEARLY;BYMONTH=1;BYDAY=6MO",
        "FREQ=YEARLY;BYDAY=54MO",
        "FREQ=YEARLY;BYMONTH=13",
        "FREQ=YEARLY;BYSETPOS=367",
        "FREQ=DAILY;BYHOUR=9,17",
        "FREQ=DAILY;BYMINUTE=0,1,2",
        "FREQ=YEARLY;BYEASTER=0",
        "DTSTART:20200101\nRRULE:FREQ=DAILY",
    ],
)
def test_other_rules_are_refused_with_what_is_right(rule: str) -> None:
    with pytest.raises(InvalidArguments) as refused:
        normalised(rule)

    assert refused.value.hint


@pytest.mark.parametrize(
    ("start", "rule", "says"),
    [
        ("2026-11-27T09:00", "FREQ=WEEKLY;BYDAY=MO", "does not hold Friday 2026-11-27T09:00"),
        ("2026-11-27T09:00", "FREQ=DAILY;BYHOUR=10", "does not hold Friday 2026-11-27T09:00"),
        ("2026-11-27T09:00", "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "never holds"),
        ("2026-11-27T09:00", "FREQ=DAILY;UNTIL=20261101", "never holds"),
    ],
)
def test_a_rule_must_hold_where_the_event_starts(start: str, rule: str, says: str) -> None:
    with pytest.raises(InvalidArguments, match=says):
        check_series(_series(start, rule))


def test_the_hint_names_the_start_that_would_do() -> None:
    with pytest.raises(InvalidArguments) as refused:
        check_series(_series("2026-11-27T09:00", "FREQ=WEEKLY;BYDAY=MO"))

    assert "Monday 2026-11-30T09:00" in (refused.value.hint or "")


def test_an_occurrence_may_last_31_days() -> None:
    series = _series("2026-11-27T09:00", "FREQ=MONTHLY;COUNT=2", length=timedelta(days=31))

    check_series(series)

    assert len(_local_starts(series, "2026-12-28T08:59", "2026-12-29")) == 2
    assert len(_local_starts(series, "2026-12-28T09:00", "2026-12-29")) == 1


def test_an_occurrence_may_not_last_longer() -> None:
    with pytest.raises(InvalidArguments, match="31 days at most"):
        check_series(_series("2026-11-27T09:00", "FREQ=MONTHLY", length=timedelta(days=31, seconds=1)))
