"""A calendar at Microsoft: what only Graph does, and what goes wrong on the way."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from dateutil.rrule import rrulestr
from hypothesis import given
from hypothesis import strategies as st
from icalendar.timezone.windows_to_olson import WINDOWS_TO_OLSON
from temporalio.exceptions import ApplicationError

from activities.calendar.contract import ListEvents, ListEventsResult
from activities.calendar.graph_ical import microsofts_zone
from activities.calendar.graph_recurrence import pattern_of, rule_of
from activities.calendar.models import CalendarBase
from activities.calendar.routed import routing
from activities.calendar.settings import CalendarSettings
from retinue.accounts.connection import Connection
from retinue.store import Store
from retinue.testing import serving
from retinue.zones import zone_of
from tests.accounts.fake_accounts import FakeAccounts
from tests.activities.calendar.conftest import Call, at_microsoft
from tests.activities.calendar.microsoft_calendar import MicrosoftCalendar, at, days_of
from tests.activities.calendar.test_tools import DAY, LUNCH, retried
from tests.activities.graph_account import TOKEN, account

BERLIN = ZoneInfo("Europe/Berlin")
FRIDAY = datetime(2026, 11, 27, 12, tzinfo=BERLIN)
WEEKS = {"start": "2026-11-23T00:00:00+01:00", "end": "2027-01-31T00:00:00+01:00"}


@pytest.fixture
def provider() -> str:
    return "graph"


def weekly(day: str = "friday", **range_: Any) -> dict[str, Any]:
    """A series of another program's, with all the fields that Graph tells."""
    pattern = {"type": "weekly", "interval": 1, "daysOfWeek": [day], "firstDayOfWeek": "sunday"}
    ends = {"type": "noEnd", "startDate": "2026-11-27", "recurrenceTimeZone": "W. Europe Standard Time"}
    return {"pattern": pattern, "range": ends | range_}


async def refused(call: Call, tool: str, **arguments: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as error:
        await call(tool, **arguments)
    assert "canary" not in f"{error.value!r}"
    return error.value


async def test_a_series_of_another_program_is_shown_with_its_changed_and_cancelled_dates(
    call: Call, microsoft: MicrosoftCalendar
) -> None:
    id_ = microsoft.add(recurrence=weekly())
    microsoft.left_out[id_] = ["2026-12-04"]
    later = {"subject": "Late stand-up", "start": at("2026-12-11T15:00:00"), "end": at("2026-12-11T15:30:00")}
    microsoft.changed[id_] = {"2026-12-11": later}

    listed = (await call("calendar.list_events", **WEEKS))["events"]
    seen = await call("calendar.look_up", event_id=id_)

    assert [(each["title"], each["start"]) for each in listed[:3]] == [
        ("Stand-up", "2026-11-27T10:00:00+01:00"),
        ("Late stand-up", "2026-12-11T15:00:00+01:00"),
        ("Stand-up", "2026-12-18T10:00:00+01:00"),
    ]
    assert {each["event_id"] for each in listed} == {id_}
    assert {each["recurrence"] for each in listed} == {seen["recurrence"]} == {"FREQ=WEEKLY"}
    written = await call("calendar.write_invitation", event_id=id_)
    assert "EXDATE;TZID=Europe/Berlin:20261204T100000" in written["icalendar"]
    assert "RECURRENCE-ID;TZID=Europe/Berlin:20261211T100000" in written["icalendar"]
    assert "RetinueEvent" not in written["icalendar"]


async def test_what_would_lose_changed_dates_is_refused_and_other_changes_are_not(
    call: Call, microsoft: MicrosoftCalendar
) -> None:
    id_ = microsoft.add(recurrence=weekly())
    microsoft.left_out[id_] = ["2026-12-04"]

    error = await refused(call, "calendar.move_event", event_id=id_, minutes=30)
    renamed = await call("calendar.update_event", event_id=id_, title="Daily")

    assert (error.type, "would be lost" in str(error)) == ("ServiceRefused", True)
    assert (renamed["title"], microsoft.things[id_]["start"]) == ("Daily", at("2026-11-27T10:00:00"))


async def test_an_event_with_people_is_shown_and_left_alone(call: Call, microsoft: MicrosoftCalendar) -> None:
    """Microsoft would write to them."""
    people = [{"type": "required", "emailAddress": {"name": "Bo", "address": "bo@example.com"}}]
    organizer = {"emailAddress": {"name": "Ana", "address": "ana@example.org"}}
    id_ = microsoft.add(attendees=people)
    microsoft.things[id_]["organizer"] = organizer

    [listed] = (await call("calendar.list_events", **DAY))["events"]
    errors = [
        await refused(call, "calendar.update_event", event_id=id_, title="x"),
        await refused(call, "calendar.delete_event", event_id=id_),
    ]

    assert listed["attendees"] == ["bo@example.com"]
    assert [error.type for error in errors] == ["NotAllowed"] * 2
    assert not [each for each in microsoft.asked if each.split()[0] in ("PATCH", "DELETE")]


async def test_nobody_is_invited_by_a_new_event(call: Call, microsoft: MicrosoftCalendar) -> None:
    created = await call("calendar.create_event", **LUNCH, attendees=["bo@example.com"])
    await call("calendar.update_event", event_id=created["event_id"], attendees=["bo@example.com", "cleo@example.com"])

    [kept] = microsoft.things.values()
    assert kept["attendees"] == []
    assert (await call("calendar.look_up", event_id=created["event_id"]))["attendees"] == [
        "bo@example.com", "cleo@example.com",
    ]  # fmt: skip


async def test_a_deleted_event_of_another_program_comes_back_under_its_id(
    call: Call, microsoft: MicrosoftCalendar
) -> None:
    id_ = microsoft.add(subject="Dentist", body={"contentType": "text", "content": "Floor 2"})
    gone = await call("calendar.delete_event", event_id=id_)
    assert microsoft.things == {}

    restored = await call("calendar.restore_event", event_id=id_, previous=gone["previous"])
    [listed] = (await call("calendar.list_events", **DAY))["events"]
    await call("calendar.update_event", event_id=id_, location="Corner")

    assert (restored["event_id"], listed["event_id"], restored["description"]) == (id_, id_, "Floor 2")
    assert [each["location"]["displayName"] for each in microsoft.things.values()] == ["Corner"]


async def test_a_deleted_series_with_single_dates_is_not_brought_back_by_half(
    call: Call, microsoft: MicrosoftCalendar
) -> None:
    id_ = microsoft.add(recurrence=weekly())
    microsoft.left_out[id_] = ["2026-12-04"]
    gone = await call("calendar.delete_event", event_id=id_)

    error = await refused(call, "calendar.restore_event", event_id=id_, previous=gone["previous"])

    assert (error.type, "restore it there" in str(error), microsoft.things) == ("ServiceRefused", True, {})


async def test_days_stay_days(call: Call, microsoft: MicrosoftCalendar) -> None:
    days = {"start": at("2026-11-27T00:00:00"), "end": at("2026-11-29T00:00:00"), "isAllDay": True}
    id_ = microsoft.add(subject="Holiday", **days)

    [listed] = (await call("calendar.list_events", **DAY))["events"]
    moved = await call("calendar.move_event", event_id=id_, days=1)

    assert (listed["start"], listed["end"]) == ("2026-11-27T00:00:00+01:00", "2026-11-29T00:00:00+01:00")
    assert (moved["start"], moved["end"]) == ("2026-11-28T00:00:00+01:00", "2026-11-30T00:00:00+01:00")
    assert microsoft.things[id_]["start"]["dateTime"] == "2026-11-28T00:00:00"
    assert microsoft.things[id_]["isAllDay"] is True


async def test_times_that_are_free_at_microsoft_are_free(call: Call, microsoft: MicrosoftCalendar) -> None:
    microsoft.add(showAs="free")
    microsoft.add(start=at("2026-11-27T11:00:00"), end=at("2026-11-27T11:30:00"), showAs="tentative")
    window = {"start": "2026-11-27T10:00:00+01:00", "end": "2026-11-27T12:00:00+01:00"}

    found = await call("calendar.find_free_time", **window, duration_minutes=60)

    assert [slot["start"] for slot in found["slots"]] == ["2026-11-27T10:00:00+01:00"]


async def test_pages_are_followed_and_many_series_cost_few_requests(call: Call, microsoft: MicrosoftCalendar) -> None:
    for _ in range(30):
        microsoft.add(recurrence=weekly(type="numbered", numberOfOccurrences=2))
    microsoft.page = 7

    listed = await call("calendar.list_events", **WEEKS)

    assert len(listed["events"]) == 60
    assert microsoft.asked.count("POST $batch") == 2


async def test_an_entry_that_makes_no_sense_is_counted(call: Call, microsoft: MicrosoftCalendar) -> None:
    id_ = microsoft.add(recurrence=weekly())
    microsoft.add(subject="Fine")
    microsoft.things[id_]["recurrence"]["pattern"]["interval"] = 1
    microsoft.things[id_]["recurrence"]["range"]["type"] = "numbered"
    microsoft.things[id_]["recurrence"]["range"]["numberOfOccurrences"] = 99_999

    listed = await call("calendar.list_events", **DAY)

    assert [each["title"] for each in listed["events"]] == ["Fine"]
    assert (listed["skipped"], listed["skipped_entries"]) == (1, ["'Stand-up': its recurrence cannot be read"])


LATER = {"title": "Brunch", "start": "2026-11-27T11:00:00+01:00"}


@pytest.mark.parametrize("done", [True, False])
async def test_a_lost_reply_leads_to_one_effect(call: Call, microsoft: MicrosoftCalendar, done: bool) -> None:
    microsoft.broken = [("POST", done)]
    created = await retried(call, "calendar.create_event", step="s1", **LUNCH)
    microsoft.broken = [("PATCH", done)]
    changed = await retried(call, "calendar.update_event", step="s2", event_id=created["event_id"], **LATER)
    assert [each["subject"] for each in microsoft.things.values()] == ["Brunch"]
    assert (changed["title"], changed["previous"]["title"]) == ("Brunch", "Lunch")

    microsoft.broken = [("DELETE", done)]
    gone = await retried(call, "calendar.delete_event", step="s3", event_id=created["event_id"])
    assert (gone["title"], microsoft.things) == ("Brunch", {})

    microsoft.broken = [("POST", done)]
    await retried(call, "calendar.restore_event", step="s4", event_id=created["event_id"], previous=gone["previous"])
    assert [each["subject"] for each in microsoft.things.values()] == ["Brunch"]
    requests = [each.split()[0] for each in microsoft.asked if "$batch" not in each]
    assert [requests.count(method) for method in ("POST", "PATCH", "DELETE")] == [
        2 + 2 * (not done),
        2 - done,
        2 - done,
    ]


async def test_a_transaction_that_microsoft_knows_is_not_repeated(call: Call, microsoft: MicrosoftCalendar) -> None:
    """The reply is lost, and the search does not find the event yet."""
    microsoft.broken = [("POST", True)]
    hidden: dict[str, Any] = {}

    def hide(asked: Any) -> None:
        if "$filter" in asked.query and microsoft.things:
            hidden.update(microsoft.things)
            microsoft.things.clear()
        elif hidden and asked.method == "POST":
            microsoft.things.update(hidden)
            microsoft.faults.clear()

    microsoft.faults = [hide]
    await retried(call, "calendar.create_event", step="s1", **LUNCH)
    assert len(microsoft.things) == 1


async def test_a_change_meanwhile_is_a_conflict(call: Call, microsoft: MicrosoftCalendar) -> None:
    id_ = microsoft.add()

    def meanwhile(asked: Any) -> None:
        if asked.method in ("PATCH", "DELETE"):
            microsoft.stamp(microsoft.things[id_])

    microsoft.faults = [meanwhile]
    errors = [
        await refused(call, "calendar.update_event", event_id=id_, title="x"),
        await refused(call, "calendar.delete_event", event_id=id_),
    ]

    assert [error.type for error in errors] == ["Conflict"] * 2
    assert microsoft.things[id_]["subject"] == "Stand-up"


@pytest.mark.parametrize(
    ("fault", "type_", "says"),
    [
        ({"status": 429, "Retry_After": "7"}, "ServiceBusy", "asks for a pause"),
        ({"status": 503, "Retry_After": "7"}, "ServiceBusy", "asks for a pause"),
        ({"status": 500}, "ServiceUnavailable", "internal problem"),
        ({"status": 200, "content": b"<html>sign in</html>"}, "ServiceUnavailable", "makes no sense"),
        ({"status": 404, "content": b"<html>proxy</html>"}, "ServiceUnavailable", "not its own"),
        ({"status": 200, "content": b"[" * 9_000_000}, "AnswerTooLong", "is longer than"),
        ({"status": 403, "code": "ErrorAccessDenied"}, "AccountDisconnected", "'work': access was not allowed"),
        ({"status": 403, "code": "ErrorQuotaExceeded"}, "ServiceRefused", "does not allow it"),
        ({"status": 302}, "ServiceRefused", "HTTP 302"),
    ],
)
async def test_what_goes_wrong_is_said_in_our_words(
    call: Call, microsoft: MicrosoftCalendar, fault: dict[str, Any], type_: str, says: str
) -> None:
    microsoft.fail(**fault)
    error = await refused(call, "calendar.list_events", **DAY)
    assert (error.type, says in str(error)) == (type_, True), error


async def test_a_page_elsewhere_is_not_asked_for(call: Call, microsoft: MicrosoftCalendar) -> None:
    elsewhere = b'{"value": [], "@odata.nextLink": "https://elsewhere.test/v1.0/me/events"}'
    microsoft.fail(200, content=elsewhere)
    error = await refused(call, "calendar.list_events", **DAY)
    assert (error.type, "another server" in str(error)) == ("ServiceRefused", True)


@pytest.fixture
async def address(microsoft: MicrosoftCalendar) -> AsyncIterator[str]:
    async with serving(microsoft.app()) as url:
        yield url


@pytest.fixture
def connected(address: str) -> Callable[[str], Connection]:
    return lambda token: account(address, token=token)


async def test_a_refused_token_is_replaced_and_the_event_made_once(
    settings: CalendarSettings, microsoft: MicrosoftCalendar, connected: Callable[[str], Connection]
) -> None:
    stale = connected("canary-stale")
    accounts = FakeAccounts([stale], after_rejection={"work": connected(TOKEN)})
    async with at_microsoft(settings, stale, accounts) as call:
        await call("calendar.create_event", **LUNCH)
    assert (len(microsoft.things), len(accounts.asked)) == (1, 1)


async def test_an_account_that_is_not_let_in_must_be_connected_again(
    settings: CalendarSettings, connected: Callable[[str], Connection]
) -> None:
    stale = connected("canary-stale")
    accounts = FakeAccounts([stale], after_rejection={"work": connected("canary-too")})
    async with at_microsoft(settings, stale, accounts) as call:
        error = await refused(call, "calendar.create_event", **LUNCH)
    assert (error.type, len(accounts.asked)) == ("AccountDisconnected", 1)


async def test_an_account_at_microsoft_is_used_by_graph(
    settings: CalendarSettings, microsoft: MicrosoftCalendar, connected: Callable[[str], Connection]
) -> None:
    microsoft.add()
    window = ListEvents.model_validate(DAY)
    store = Store(settings.database_url, CalendarBase.metadata, owner="calendar")
    async with store, routing(settings, store, FakeAccounts([connected(TOKEN)])) as routed:
        listed, used = await routed.run(None, lambda tools: tools.list_events(window), own=_nothing)
    assert ([each.title for each in listed.events], used) == (["Stand-up"], "m1")


async def _nothing() -> ListEventsResult:
    return ListEventsResult(events=[])


@pytest.mark.parametrize("event_id", ["..", "a/../../users", "me/events", "x" * 401, "a?b=c", "é"])
async def test_no_id_leads_elsewhere(call: Call, microsoft: MicrosoftCalendar, event_id: str) -> None:
    error = await refused(call, "calendar.look_up", event_id=event_id)
    assert (error.type, microsoft.asked) == ("NotFound", [])


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ("FREQ=MONTHLY;BYMONTHDAY=31", "takes the last day"),
        ("FREQ=MONTHLY;BYMONTHDAY=1,27", "no pattern"),
        ("FREQ=MONTHLY;BYDAY=4FR,5FR", "no pattern"),
        ("FREQ=YEARLY;BYYEARDAY=331", "no pattern"),
        ("FREQ=DAILY;BYMONTH=11", "no pattern"),
        ("FREQ=WEEKLY;BYHOUR=12", "no pattern"),
    ],
)
async def test_a_rule_without_a_pattern_is_refused(
    call: Call, microsoft: MicrosoftCalendar, rule: str, says: str
) -> None:
    times = {"start": "2026-12-31T12:00:00+01:00", "end": "2026-12-31T13:00:00+01:00"} if "=31" in rule else {}
    error = await refused(call, "calendar.create_event", **LUNCH | times, timezone="Europe/Berlin", recurrence=rule)
    assert (error.type, says in str(error), microsoft.things) == ("InvalidArguments", True, {})


DAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
weekdays = st.lists(st.sampled_from(DAYS), min_size=1, unique=True).map(",".join)
rules = st.one_of(
    st.just("FREQ=DAILY"),
    weekdays.map(lambda days: f"FREQ=WEEKLY;BYDAY={days}"),
    st.just("FREQ=WEEKLY"),
    st.integers(1, 28).map(lambda day: f"FREQ=MONTHLY;BYMONTHDAY={day}"),
    st.sampled_from(["FREQ=MONTHLY;BYMONTHDAY=-1", "FREQ=MONTHLY;BYMONTHDAY=28,29,30;BYSETPOS=-1"]),
    st.tuples(st.sampled_from(["1", "2", "3", "4", "-1"]), st.sampled_from(DAYS)).map(
        lambda which: f"FREQ=MONTHLY;BYDAY={''.join(which)}"
    ),
    st.tuples(weekdays, st.sampled_from(["1", "3", "-1"])).map(
        lambda which: f"FREQ=MONTHLY;BYDAY={which[0]};BYSETPOS={which[1]}"
    ),
    st.tuples(st.integers(1, 12), st.integers(1, 28)).map(
        lambda day: f"FREQ=YEARLY;BYMONTH={day[0]};BYMONTHDAY={day[1]}"
    ),
    st.tuples(st.integers(1, 12), st.sampled_from(DAYS)).map(
        lambda day: f"FREQ=YEARLY;BYMONTH={day[0]};BYDAY=2{day[1]}"
    ),
)
ends = st.one_of(
    st.just(""),
    st.integers(1, 30).map(lambda count: f";COUNT={count}"),
    st.dates(date(2026, 12, 1), date(2028, 6, 1)).map(lambda day: f";UNTIL={day:%Y%m%d}T{{}}00Z"),
)


@given(rule=rules, interval=st.integers(1, 4), end=ends, hour=st.sampled_from(["0500", "1100", "2200"]))
def test_a_pattern_has_the_dates_of_its_rule_and_leads_back_to_them(
    rule: str, interval: int, end: str, hour: str
) -> None:
    until = datetime(2028, 11, 27, tzinfo=BERLIN)
    whole = f"{rule};INTERVAL={interval}{end.format(hour)}"
    start = _first(whole)
    wanted = _dates(whole, start, until)

    recurrence = pattern_of(whole, start, "W. Europe Standard Time")
    back = rule_of(recurrence, start, all_day=False)

    assert [day for day in days_of(recurrence, until.date()) if day < until.date()] == wanted
    assert _dates(back, start, until) == wanted


def _first(rule: str) -> datetime:
    """The first time at which a rule holds from that Friday on, where its series begins."""
    without_end = ";".join(part for part in rule.split(";") if not part.startswith(("COUNT", "UNTIL")))
    found = rrulestr(without_end, dtstart=FRIDAY.replace(tzinfo=None)).after(FRIDAY.replace(tzinfo=None), inc=True)
    assert found is not None
    return found.replace(tzinfo=BERLIN)


def _dates(rule: str, start: datetime, until: datetime) -> list[date]:
    return [each.date() for each in rrulestr(rule, dtstart=start).between(start, until, inc=True)]


@pytest.mark.parametrize(
    "zone", ["Europe/Berlin", "UTC", "Europe/Zurich", "America/Detroit", "Asia/Calcutta", "-03:00"]
)
def test_a_zone_is_called_as_microsoft_calls_one_with_the_same_clock(zone: str) -> None:
    found = microsofts_zone(zone)
    assert found is not None
    other = zone_of(WINDOWS_TO_OLSON[found])
    moments = [datetime(2027, month, 1, tzinfo=zone_of(zone)) for month in range(1, 13)]
    assert [each.utcoffset() for each in moments] == [each.astimezone(other).utcoffset() for each in moments]


async def test_a_zone_that_microsoft_does_not_know_is_refused_for_a_series_alone(
    call: Call, microsoft: MicrosoftCalendar
) -> None:
    error = await refused(call, "calendar.create_event", **LUNCH, timezone="+00:17", recurrence="FREQ=DAILY")
    once = await call("calendar.create_event", **LUNCH, timezone="+00:17")

    assert (error.type, "no time zone like +00:17" in str(error)) == ("InvalidArguments", True)
    assert once["start"] == "2026-11-27T11:17:00+00:17"
    assert len(microsoft.things) == 1
