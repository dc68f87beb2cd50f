"""iCalendar as other programs write it: each form means the same in the own store and on a CalDAV server."""

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from activities.calendar.ical_entry import read_entry
from activities.calendar.ical_values import Unreadable
from activities.calendar.icalendar_file import CalendarFile, read_calendar
from activities.calendar.settings import CalendarSettings
from activities.calendar.store import Imported, occurrences_of
from activities.calendar.worker import import_file
from tests.activities.calendar.conftest import Call

YEAR = datetime(2027, 1, 1, tzinfo=UTC), datetime(2028, 1, 1, tzinfo=UTC)
BERLIN = "DTSTART;TZID=Europe/Berlin:"
HOUR = "DTEND;TZID=Europe/Berlin:"


def _described(tzid: str, winter: str, summer: str, *, to_summer: str, to_winter: str) -> str:
    return "\n".join([
        "BEGIN:VTIMEZONE",
        f"TZID:{tzid}",
        *("BEGIN:STANDARD", "DTSTART:16010101T030000", f"TZOFFSETFROM:{summer}", f"TZOFFSETTO:{winter}"),
        *(f"RRULE:FREQ=YEARLY;{to_winter}", "END:STANDARD"),
        *("BEGIN:DAYLIGHT", "DTSTART:16010101T020000", f"TZOFFSETFROM:{winter}", f"TZOFFSETTO:{summer}"),
        *(f"RRULE:FREQ=YEARLY;{to_summer}", "END:DAYLIGHT", "END:VTIMEZONE"),
    ])  # fmt: skip


EUROPE = {"to_summer": "BYDAY=-1SU;BYMONTH=3", "to_winter": "BYDAY=-1SU;BYMONTH=10"}
AMERICA = {"to_summer": "BYDAY=2SU;BYMONTH=3", "to_winter": "BYDAY=1SU;BYMONTH=11"}
NOWHERE = {"to_summer": "BYDAY=1SU;BYMONTH=6", "to_winter": "BYDAY=1SU;BYMONTH=7"}


def _event(*lines: str, uid: str = "one", title: str = "Choir") -> str:
    return "\n".join(["BEGIN:VEVENT", f"UID:{uid}", f"SUMMARY:{title}", *lines, "END:VEVENT"])


def _file(*components: str, method: str = "") -> bytes:
    head = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:test", *([f"METHOD:{method}"] if method else [])]
    return "\r\n".join([*head, *"\n".join(components).split("\n"), "END:VCALENDAR", ""]).encode()


def _own(content: bytes) -> list[tuple[str, str]]:
    file = read_calendar(content, "Europe/Berlin")
    found = [each.as_event() for event in file.events for each in occurrences_of(event, *YEAR)]
    return sorted((event.start.isoformat(), event.end.isoformat()) for event in found)


def _on_a_server(content: bytes) -> list[tuple[str, str]]:
    found = read_entry("one.ics", content.decode(), "Europe/Berlin").occurrences(*YEAR)
    return [(each.event.start.isoformat(), each.event.end.isoformat()) for each in found]


def _left_out(file: CalendarFile) -> list[str]:
    return [str(each) for each in file.left_out]


readers = pytest.mark.parametrize("read", [_own, _on_a_server])


@readers
@pytest.mark.parametrize(
    ("zone", "starts"),
    [
        (_described("Romance Standard Time", "+0100", "+0200", **EUROPE), ["+01:00", "+02:00", "+02:00"]),
        (_described("FLE Standard Time", "+0200", "+0300", **EUROPE).replace("T030000", "T040000").replace("T020000", "T030000"),
         ["+02:00", "+03:00", "+03:00"]),
        (_described("Customized Time Zone", "+0100", "+0200", **EUROPE), ["+01:00", "+02:00", "+02:00"]),
        (_described("/vendor.example/20270101/Europe/Vienna", "+0100", "+0200", **EUROPE), ["+01:00", "+02:00", "+02:00"]),
        (_described("Eastern Standard Time", "-0500", "-0400", **AMERICA).replace("0101T030000", "0101T020000"),
         ["-04:00", "-04:00", "-04:00"]),
    ],
    ids=["windows", "windows, east", "nameless", "globally unique", "windows, america"],
)  # fmt: skip
def test_a_described_zone_keeps_its_clock_when_summer_begins(
    read: Callable[[bytes], list[tuple[str, str]]], zone: str, starts: list[str]
) -> None:
    tzid = next(line.removeprefix("TZID:") for line in zone.splitlines() if line.startswith("TZID:"))
    event = _event(f"DTSTART;TZID={tzid}:20270322T090000", "DURATION:PT30M", "RRULE:FREQ=WEEKLY;COUNT=3")

    found = [start for start, _ in read(_file(zone, event))]

    assert found == [
        f"2027-{day}T09:00:00{offset}" for day, offset in zip(("03-22", "03-29", "04-05"), starts, strict=True)
    ]


@pytest.mark.parametrize(
    ("tzid", "offsets", "rules", "zone"),
    [
        ("W. Europe Standard Time", ("+0100", "+0200"), EUROPE, "Europe/Berlin"),
        ("Customized Time Zone", ("+0100", "+0200"), EUROPE, "Europe/Rome"),
        ("Romance Standard Time", ("+0100", "+0200"), EUROPE, "Europe/Paris"),
        ("My zone", ("+0100", "+0100"), EUROPE, "+01:00"),
    ],
)
def test_a_described_zone_is_known_by_its_name_then_by_the_persons_own(
    tzid: str, offsets: tuple[str, str], rules: dict[str, str], zone: str
) -> None:
    event = _event(f"DTSTART;TZID={tzid}:20270322T090000", "DURATION:PT30M")

    (found,) = read_calendar(_file(_described(tzid, *offsets, **rules), event), "Europe/Rome").events

    assert found.timezone == zone


def test_a_series_in_a_zone_that_nobody_knows_is_named() -> None:
    """A single event there has a moment all the same."""
    zone = _described("Island time", "+0100", "+0230", **NOWHERE)
    series = _event("DTSTART;TZID=Island time:20270322T090000", "DURATION:PT30M", "RRULE:FREQ=WEEKLY")
    single = _event("DTSTART;TZID=Island time:20270322T090000", "DURATION:PT30M", uid="two")

    file = read_calendar(_file(zone, series, single), "Europe/Berlin")

    assert [event.starts_at.isoformat() for event in file.events] == ["2027-03-22T08:00:00+00:00"]
    assert _left_out(file) == [
        "'Choir' (2027-03-22 09:00): it recurs in a time zone whose description fits no known zone"
    ]


@readers
@pytest.mark.parametrize(
    ("exdates", "left"),
    [
        (["EXDATE;VALUE=DATE:20270308"], ["01", "15", "22", "29"]),
        (["EXDATE;VALUE=DATE:20270308,20270322"], ["01", "15", "29"]),
        (["EXDATE;VALUE=DATE:20270308", "EXDATE;TZID=America/New_York:20270315T040000"], ["01", "22", "29"]),
        (["EXDATE:20270308T090000"], ["01", "15", "22", "29"]),
        (["EXDATE:20270308T080000Z,20270329T070000Z"], ["01", "15", "22"]),
    ],
)
def test_left_out_dates_take_the_time_and_the_zone_of_the_start(
    read: Callable[[bytes], list[tuple[str, str]]], exdates: list[str], left: list[str]
) -> None:
    event = _event(f"{BERLIN}20270301T090000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=5", *exdates)

    assert [start[8:10] for start, _ in read(_file(event))] == left


@readers
def test_a_left_out_time_of_a_series_on_dates_is_its_date(read: Callable[[bytes], list[tuple[str, str]]]) -> None:
    event = _event("DTSTART;VALUE=DATE:20270301", "RRULE:FREQ=WEEKLY;COUNT=3", "EXDATE:20270308T000000Z")

    assert [start[8:10] for start, _ in read(_file(event))] == ["01", "15"]


@readers
@pytest.mark.parametrize(
    "instead_of",
    [
        "RECURRENCE-ID;VALUE=DATE:20270308",
        "RECURRENCE-ID:20270308T080000Z",
        "RECURRENCE-ID:20270308T090000",
        "RECURRENCE-ID;TZID=Asia/Tokyo:20270308T170000",
    ],
)
def test_a_changed_time_replaces_the_one_of_the_series_however_it_is_written(
    read: Callable[[bytes], list[tuple[str, str]]], instead_of: str
) -> None:
    series = _event(f"{BERLIN}20270301T090000", f"{HOUR}20270301T100000", "RRULE:FREQ=WEEKLY;COUNT=3")
    changed = _event(instead_of, f"{BERLIN}20270308T140000", f"{HOUR}20270308T150000")

    starts = [start[5:16] for start, _ in read(_file(series, changed))]

    assert starts == ["03-01T09:00", "03-08T14:00", "03-15T09:00"]


@readers
@pytest.mark.parametrize(
    ("rule", "to", "starts"),
    [
        ("FREQ=WEEKLY;COUNT=4", "20270315T140000", ["03-01T09", "03-08T09", "03-15T14", "03-22T14"]),
        ("FREQ=WEEKLY;UNTIL=20270322T080000Z", "20270315T140000", ["03-01T09", "03-08T09", "03-15T14", "03-22T14"]),
        ("FREQ=WEEKLY;BYDAY=MO;COUNT=4", "20270316T090000", ["03-01T09", "03-08T09", "03-16T09", "03-23T09"]),
        ("FREQ=DAILY;INTERVAL=7;COUNT=4", "20270316T090000", ["03-01T09", "03-08T09", "03-16T09", "03-23T09"]),
    ],
)
def test_a_change_for_this_and_all_later_times_moves_them_all(
    read: Callable[[bytes], list[tuple[str, str]]], rule: str, to: str, starts: list[str]
) -> None:
    series = _event(f"{BERLIN}20270301T090000", "DURATION:PT1H", f"RRULE:{rule}")
    later = _event(
        "RECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Europe/Berlin:20270315T090000", f"{BERLIN}{to}", "DURATION:PT1H"
    )

    assert [start[5:13] for start, _ in read(_file(series, later))] == starts


@pytest.mark.parametrize(
    ("rdate", "second"),
    [
        ("RDATE;VALUE=DATE:20270310", ("2027-03-10T09:00:00+01:00", "2027-03-10T10:00:00+01:00")),
        ("RDATE:20270310T090000", ("2027-03-10T09:00:00+01:00", "2027-03-10T10:00:00+01:00")),
        ("RDATE;TZID=Asia/Tokyo:20270310T170000", ("2027-03-10T17:00:00+09:00", "2027-03-10T18:00:00+09:00")),
        ("RDATE;VALUE=PERIOD:20270310T080000Z/PT3H", ("2027-03-10T08:00:00+00:00", "2027-03-10T11:00:00+00:00")),
    ],
)
def test_single_dates_of_a_series_are_followed_on_a_server_and_named_by_an_import(
    rdate: str, second: tuple[str, str]
) -> None:
    content = _file(_event(f"{BERLIN}20270301T090000", "DURATION:PT1H", rdate))

    assert _on_a_server(content)[1] == second
    assert _left_out(read_calendar(content, "UTC")) == ["'Choir' (2027-03-01 09:00): it lists single dates (RDATE)"]


def test_left_out_dates_follow_a_series_that_moved_and_two_moves_follow_each_other() -> None:
    series = _event(
        f"{BERLIN}20270301T090000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=6", "EXDATE;VALUE=DATE:20270322"
    )
    to_two = _event(
        "RECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Europe/Berlin:20270315T090000",
        f"{BERLIN}20270315T140000",
        "DURATION:PT1H",
    )
    to_four = _event(
        "RECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Europe/Berlin:20270329T090000",
        f"{BERLIN}20270329T160000",
        "DURATION:PT1H",
    )

    starts = [start[5:13] for start, _ in _own(_file(series, to_two, to_four))]

    assert starts == ["03-01T09", "03-08T09", "03-15T14", "03-29T16", "04-05T16"]


def test_later_times_that_no_rule_describes_are_named() -> None:
    series = _event(f"{BERLIN}20270301T090000", "DURATION:PT1H", "RRULE:FREQ=MONTHLY;COUNT=4;BYDAY=1MO")
    later = _event(
        "RECURRENCE-ID;RANGE=THISANDFUTURE;TZID=Europe/Berlin:20270405T090000",
        f"{BERLIN}20270406T090000",
        "DURATION:PT1H",
    )

    file = read_calendar(_file(series, later), "Europe/Berlin")

    assert [event.recurrence for event in file.events] == ["FREQ=MONTHLY;COUNT=1;BYDAY=1MO"]
    assert "the series ends before 2027-04-05" in _left_out(file)[0]


@pytest.mark.parametrize("rule", ["EXRULE:FREQ=WEEKLY;BYDAY=SA,SU", "EXRULE;X-A=B:FREQ=MONTHLY"])
def test_a_rule_that_leaves_out_times_is_never_dropped_in_silence(rule: str) -> None:
    content = _file(_event(f"{BERLIN}20270301T090000", "DURATION:PT1H", "RRULE:FREQ=DAILY;COUNT=7", rule))

    file = read_calendar(content, "Europe/Berlin")

    assert (file.events, len(file.left_out)) == ([], 1)
    assert "(EXRULE)" in _left_out(file)[0]
    with pytest.raises(Unreadable, match="EXRULE"):
        read_entry("one.ics", content.decode(), "Europe/Berlin")


@readers
@pytest.mark.parametrize(
    ("start", "duration", "end"),
    [
        ("20271030T230000", "PT8H", "2027-10-31T06:00:00+01:00"),
        ("20270327T220000", "PT8H", "2027-03-28T07:00:00+02:00"),
        ("20270327T120000", "PT24H", "2027-03-28T13:00:00+02:00"),
        ("20270327T120000", "P1D", "2027-03-28T12:00:00+02:00"),
        ("20270327T120000", "P1W", "2027-04-03T12:00:00+02:00"),
        ("20270327T120000", "P1DT1H", "2027-03-28T13:00:00+02:00"),
        ("20271030T120000", "P1DT24H", "2027-11-01T12:00:00+01:00"),
    ],
)
def test_hours_are_exact_and_days_are_the_calendars(
    read: Callable[[bytes], list[tuple[str, str]]], start: str, duration: str, end: str
) -> None:
    assert read(_file(_event(f"{BERLIN}{start}", f"DURATION:{duration}")))[0][1] == end


@readers
@pytest.mark.parametrize(
    ("length", "ends"),
    [
        ("DURATION:PT24H", ["2027-03-21T12:00:00+01:00", "2027-03-28T13:00:00+02:00"]),
        ("DURATION:P1D", ["2027-03-21T12:00:00+01:00", "2027-03-28T12:00:00+02:00"]),
        (f"{HOUR}20270321T120000", ["2027-03-21T12:00:00+01:00", "2027-03-28T13:00:00+02:00"]),
    ],
)
def test_each_time_of_a_series_has_the_same_length(
    read: Callable[[bytes], list[tuple[str, str]]], length: str, ends: list[str]
) -> None:
    event = _event(f"{BERLIN}20270320T120000", length, "RRULE:FREQ=WEEKLY;COUNT=2")

    assert [end for _, end in read(_file(event))] == ends


@pytest.mark.parametrize(
    ("written", "title"),
    [
        ("Treffen in Köln".encode().replace(b"\xc3\xb6", b"\xc3\r\n \xb6"), "Treffen in Köln"),
        ("Café – 5 €".encode().replace(b"\xe2\x82\xac", b"\xe2\x82\r\n\t\xac"), "Café – 5 €"),
        ("Café – 5 €".encode("cp1252"), "Café – 5 €"),
    ],
    ids=["folded inside a character", "folded twice", "windows-1252"],
)
def test_lines_are_joined_before_they_are_decoded(written: bytes, title: str) -> None:
    content = _file(_event(f"{BERLIN}20270301T090000", title="TITLE")).replace(b"TITLE", written)

    assert [event.title for event in read_calendar(content, "Europe/Berlin").events] == [title]


def test_a_line_in_no_known_encoding_costs_its_event_and_is_named() -> None:
    content = _file(
        _event(f"{BERLIN}20270301T090000", title="Köln"),
        _event(f"{BERLIN}20270302T090000", "LOCATION:PLACE", uid="two"),
    ).replace(b"PLACE", b"M\xfcnchen")

    file = read_calendar(content, "Europe/Berlin")

    assert [event.title for event in file.events] == ["Köln"]
    assert "cannot be read" in _left_out(file)[0]


ALARM = "BEGIN:VALARM\nACTION:DISPLAY\nTRIGGER:-PT5M\n{}\nEND:VALARM"


@pytest.mark.parametrize(
    ("broken", "titles", "named"),
    [
        (_event(f"{BERLIN}20270303T090000", ALARM.format("bring the bins"), title="Bins"), ["Bins", "Glass"],
         "a reminder of an event 'Bins': its line 'bring the bins' cannot be read"),
        (_event(f"{BERLIN}20270303T090000", ALARM.format("REPEAT:often"), title="Bins"), ["Bins", "Glass"],
         "a reminder of an event 'Bins': its line 'REPEAT:often' cannot be read"),
        (_event(f"{BERLIN}20270303T090000", "and on", title="Bins"), ["Glass"],
         "'Bins' (2027-03-03 09:00): its line 'and on' cannot be read"),
        ("BEGIN:VTODO\nSUMMARY:Rent\nDUE:soon\nEND:VTODO", ["Glass"], "a task 'Rent': its line 'DUE:soon' cannot be read"),
        ("BEGIN:VTIMEZONE\nTZID:Mine\nBEGIN:STANDARD\nDTSTART:x\nEND:STANDARD\nEND:VTIMEZONE", ["Glass"], "a time zone 'Mine': it cannot be read"),
        ("X-NOTE", ["Glass"], "the calendar's own properties: the line 'X-NOTE' cannot be read"),
    ],
)  # fmt: skip
def test_a_bad_line_costs_its_component_only(broken: str, titles: list[str], named: str) -> None:
    glass = _event(f"{BERLIN}20270304T090000", uid="two", title="Glass")

    file = read_calendar(_file(broken, glass), "Europe/Berlin")

    assert [event.title for event in file.events] == titles
    assert named in _left_out(file)


def test_a_file_that_was_cut_off_is_read_up_to_there() -> None:
    whole = _file(
        _event(f"{BERLIN}20270304T090000", title="Glass"), _event(f"{BERLIN}20270305T090000", uid="two", title="Paper")
    )

    file = read_calendar(whole[: whole.rindex(b"END:VEVENT")], "Europe/Berlin")

    assert [event.title for event in file.events] == ["Glass"]
    assert _left_out(file) == ["an event 'Paper': it has no END:VEVENT"]


def test_a_bad_reminder_does_not_hide_an_event_on_a_server() -> None:
    event = _event(f"{BERLIN}20270303T090000", "DURATION:PT1H", ALARM.format("bring the bins"))

    assert _on_a_server(_file(event)) == [("2027-03-03T09:00:00+01:00", "2027-03-03T10:00:00+01:00")]


@pytest.mark.parametrize("component", ["VTODO", "VJOURNAL", "VFREEBUSY"])
def test_what_is_no_event_is_named(component: str) -> None:
    other = f"BEGIN:{component}\nUID:t\nSUMMARY:Pay the rent\nEND:{component}"

    file = read_calendar(_file(_event(f"{BERLIN}20270304T090000"), other), "Europe/Berlin")

    assert len(file.events) == 1
    assert _left_out(file)[0].startswith("'Pay the rent': it is a")


def test_what_the_calendar_has_no_place_for_is_named_once() -> None:
    events = [_event(f"{BERLIN}20270304T090000", ALARM.format("DESCRIPTION:x"), uid=uid, title=uid) for uid in "ab"]

    outcome = read_calendar(_file(*events), "UTC").outcome(Imported(added=2))

    assert outcome.splitlines()[1:] == ["  - reminders of 2 events: the calendar keeps none (VALARM): 'a', 'b'"]


@pytest.mark.parametrize("method", ["REPLY", "COUNTER", "REFRESH"])
def test_an_answer_to_an_invitation_is_no_event(method: str) -> None:
    file = read_calendar(_file(_event(f"{BERLIN}20270304T090000"), method=method), "UTC")

    assert (file.events, len(file.left_out)) == ([], 1)


@readers
@pytest.mark.parametrize("turn", [1, -1])
@pytest.mark.parametrize(
    ("older", "newer"),
    [
        (["SEQUENCE:1"], ["SEQUENCE:2"]),
        (["SEQUENCE:9"], ["SEQUENCE:10"]),
        (["SEQUENCE:1", "LAST-MODIFIED:20270101T000000Z"], ["SEQUENCE:1", "LAST-MODIFIED:20270102T000000Z"]),
        ([], ["SEQUENCE:1"]),
    ],
)
def test_of_two_versions_in_one_file_the_newer_one_counts(
    read: Callable[[bytes], list[tuple[str, str]]], older: list[str], newer: list[str], turn: int
) -> None:
    events = [_event(*older, f"{BERLIN}20270305T090000"), _event(*newer, f"{BERLIN}20270305T160000")][::turn]

    assert [start[11:13] for start, _ in read(_file(*events))] == ["16"]


SERIES = (f"{BERLIN}20270301T090000", "DURATION:PT1H", "RRULE:FREQ=WEEKLY;COUNT=3")
CHANGED = ("RECURRENCE-ID;TZID=Europe/Berlin:20270308T090000", f"{BERLIN}20270308T140000", "DURATION:PT1H")


@pytest.mark.parametrize(
    ("first", "second", "said", "starts"),
    [
        (_file(_event("SEQUENCE:1", f"{BERLIN}20270305T090000")), _file(_event("SEQUENCE:2", f"{BERLIN}20270305T160000")),
         "0 events imported, 0 already known, 1 updated ('Choir')", ["03-05T16:00"]),
        (_file(_event("SEQUENCE:2", f"{BERLIN}20270305T090000")), _file(_event("SEQUENCE:1", f"{BERLIN}20270305T160000")),
         "0 events imported, 1 already known", ["03-05T09:00"]),
        (_file(_event(*SERIES)), _file(_event("SEQUENCE:1", f"{BERLIN}20270301T090000"), method="CANCEL"),
         "0 events imported, 0 already known, 1 removed because cancelled ('Choir' (2027-03-01 09:00))", []),
        (_file(_event(*SERIES), _event(*CHANGED)), _file(_event("STATUS:CANCELLED", f"{BERLIN}20270301T090000")),
         "0 events imported, 0 already known, 1 removed because cancelled ('Choir' (2027-03-01 09:00))", []),
        (_file(_event(*SERIES)), _file(_event("RECURRENCE-ID;VALUE=DATE:20270308", f"{BERLIN}20270308T090000"), method="CANCEL"),
         "0 events imported, 0 already known, 1 removed because cancelled ('Choir' (2027-03-08 09:00))", ["03-01T09:00", "03-15T09:00"]),
        (_file(_event("SEQUENCE:3", f"{BERLIN}20270305T090000")), _file(_event("SEQUENCE:2", f"{BERLIN}20270305T090000"), method="CANCEL"),
         "it cancels an older version than is in the calendar", ["03-05T09:00"]),
        (_file(_event(*SERIES)), _file(_event(*CHANGED)), "1 event imported, 0 already known", ["03-01T09:00", "03-08T14:00", "03-15T09:00"]),
        (_file(_event(*SERIES), _event(*CHANGED)), _file(_event("SEQUENCE:1", f"{BERLIN}20270302T090000", *SERIES[1:])),
         "0 events imported, 0 already known, 1 updated ('Choir')", ["03-02T09:00", "03-09T09:00", "03-16T09:00"]),
        (_file(_event(f"{BERLIN}20270305T090000")), _file(_event(f"{BERLIN}20270305T090000", uid="other"), method="CANCEL"),
         "it was cancelled", ["03-05T09:00"]),
    ],
    ids=["newer", "older", "cancelled by method", "cancelled by status", "one time cancelled", "older cancellation", "one time moved",
         "series moved", "cancelled unknown"],
)  # fmt: skip
async def test_a_later_file_says_what_became_of_an_event(
    call: Call, settings: CalendarSettings, tmp_path: Path, first: bytes, second: bytes, said: str, starts: list[str]
) -> None:
    path = tmp_path / "export.ics"
    path.write_bytes(first)
    await import_file(path, settings)
    path.write_bytes(second)

    assert said in await import_file(path, settings)

    listed = await call("calendar.list_events", start="2027-01-01T00:00:00Z", end="2027-12-31T00:00:00Z")
    assert [event["start"][5:16] for event in listed["events"]] == starts


async def test_what_the_person_changed_here_stays_until_the_file_is_newer(
    call: Call, settings: CalendarSettings, tmp_path: Path
) -> None:
    path = tmp_path / "export.ics"
    path.write_bytes(_file(_event("LAST-MODIFIED:20200101T000000Z", f"{BERLIN}20270305T090000")))
    await import_file(path, settings)
    window = {"start": "2027-01-01T00:00:00Z", "end": "2027-12-31T00:00:00Z"}
    event_id = (await call("calendar.list_events", **window))["match"]["event_id"]
    await call("calendar.update_event", event_id=event_id, start="2027-03-05T11:00:00+01:00")
    path.write_bytes(_file(_event("LAST-MODIFIED:20200102T000000Z", f"{BERLIN}20270305T090000")))

    assert await import_file(path, settings) == "0 events imported, 1 already known"
    assert (await call("calendar.list_events", **window))["match"]["start"] == "2027-03-05T11:00:00+01:00"
