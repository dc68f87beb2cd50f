"""Which events were added or changed since a cursor: from files, at a CalDAV server, and where a provider cannot tell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from activities.calendar.contract import Event, ListEvents, ListEventsResult, ReadEventChanges, _changes_by_listing
from activities.calendar.settings import CalendarSettings
from activities.calendar.worker import import_file
from tests.accounts.google_calendar import GoogleCalendar
from tests.activities.calendar.conftest import Call, Shelf
from tests.days import SOON

ENTRY = """BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//Another//EN
BEGIN:VEVENT
UID:{name}@example.com
DTSTAMP:20260101T000000Z
SEQUENCE:{sequence}
DTSTART:{day}T090000Z
DTEND:{day}T100000Z
SUMMARY:{title}
END:VEVENT
END:VCALENDAR
"""


def entry(name: str, title: str, sequence: int = 0) -> str:
    return ENTRY.format(name=name, title=title, sequence=sequence, day=SOON.replace("-", ""))


async def news(call: Call, cursor: str | None = None, **wish: Any) -> dict[str, Any]:
    given = {"cursor": cursor} if cursor is not None else {}
    return {"changes": [], "more": False, "reset": "", **await call("calendar.changes", **given, **wish)}


def titles(answer: dict[str, Any]) -> list[str]:
    return [change["title"] for change in answer["changes"] if not change.get("own")]


async def test_what_a_file_brings_is_new_and_what_an_assistant_does_is_not(
    call: Call, settings: CalendarSettings, tmp_path: Path
) -> None:
    cursor = (await news(call))["cursor"]
    await call("calendar.create_event", title="Own", start=f"{SOON}T12:00:00+00:00", end=f"{SOON}T13:00:00+00:00")
    for sequence, title in enumerate(("Review", "Review moved")):
        file = tmp_path / f"{sequence}.ics"
        file.write_text(entry("review", title, sequence).replace("\n", "\r\n"))
        await import_file(file, settings)
        found = await news(call, cursor)
        assert titles(found) == [title]
        cursor = found["cursor"]
    assert titles(await news(call, cursor)) == []
    assert titles(await news(call, latest=True))[-1] == "Review moved"


@pytest.mark.parametrize("provider", ["caldav"])
async def test_what_others_change_at_the_server_is_new_and_our_own_is_not(call: Call, shelf: Shelf) -> None:
    shelf.put("old.ics", entry("old", "Old"))
    cursor = (await news(call))["cursor"]
    shelf.put("new.ics", entry("new", "New"))
    shelf.put("old.ics", entry("old", "Old and changed", 1))
    made = await call(
        "calendar.create_event", title="Own", start=f"{SOON}T12:00:00+00:00", end=f"{SOON}T13:00:00+00:00"
    )
    found = await news(call, cursor)
    assert sorted(titles(found)) == ["New", "Old and changed"]
    cursor = found["cursor"]
    assert titles(await news(call, cursor)) == []

    await call("calendar.update_event", step="s2", event_id="new.ics", title="New by us")
    found = await news(call, cursor)
    assert titles(found) == []
    theirs = shelf.get(made["event_id"]).replace("SUMMARY:Own", "SUMMARY:Own by them")
    shelf.put(made["event_id"], theirs)
    assert titles(await news(call, found["cursor"])) == ["Own by them"]


@pytest.mark.parametrize("provider", ["google"])
async def test_what_others_change_at_google_is_new_and_our_own_is_not(call: Call, google: GoogleCalendar) -> None:
    def at(hour: int) -> dict[str, str]:
        return {"dateTime": f"{SOON}T{hour:02}:00:00+00:00", "timeZone": "Europe/Berlin"}

    google.put("old01", summary="Old", start=at(8), end=at(9), recurrence=["RRULE:FREQ=WEEKLY"])
    cursor = (await news(call))["cursor"]
    google.put("new01", summary="New", start=at(9), end=at(10))
    made = await call(
        "calendar.create_event", title="Own", start=f"{SOON}T12:00:00+05:30", end=f"{SOON}T13:00:00+05:30",
        description=" a\n\nb ", attendees=["Bo"], recurrence="FREQ=WEEKLY;COUNT=3",
    )  # fmt: skip
    found = await news(call, cursor)
    assert titles(found) == ["New"]
    assert titles(await news(call, found["cursor"])) == []

    await call("calendar.update_event", step="s2", event_id="new01", title="New by us")
    await call("calendar.update_event", step="s3", event_id="old01", title="Old by us")
    found = await news(call, found["cursor"])
    assert titles(found) == []

    google.put(made["event_id"], **{**google.events[made["event_id"]], "summary": "Own by them"})
    one = {"recurringEventId": "old01", "iCalUID": "old01@google.com", "originalStartTime": at(8)}
    google.put(f"old01_{SOON.replace('-', '')}T080000Z", summary="One date", start=at(10), end=at(11), **one)
    google.put("new01", **{**google.events["new01"], "status": "cancelled"})
    assert sorted(titles(await news(call, found["cursor"]))) == ["Old by us", "Own by them"]


@pytest.mark.parametrize("provider", ["google"])
async def test_a_cursor_that_google_has_forgotten_begins_again_and_says_so(call: Call, google: GoogleCalendar) -> None:
    cursor = (await news(call))["cursor"]
    google.tokens.clear()

    found = await news(call, cursor)

    assert "may be missing" in found["reset"]
    assert (await news(call, found["cursor"]))["reset"] == ""


@pytest.mark.parametrize("provider", ["caldav"])
async def test_a_token_that_the_server_forgot_is_said(call: Call, shelf: Shelf) -> None:
    found = await news(call, '{"token": "http://radicale.org/ns/sync/' + "0" * 64 + '"}')
    assert "no longer knows" in found["reset"]
    shelf.put("new.ics", entry("new", "New"))
    assert titles(await news(call, found["cursor"])) == ["New"]


async def test_a_cursor_of_something_else_is_refused(call: Call) -> None:
    with pytest.raises(Exception, match="was not given by this calendar"):
        await news(call, "nonsense")


async def test_a_comparison_finds_what_is_new_changed_and_moved_and_loses_nothing() -> None:
    there = {"a": event("a", "A")}

    async def listed(window: ListEvents) -> ListEventsResult:
        return ListEventsResult(events=list(there.values()))

    begun = await _changes_by_listing(ReadEventChanges(), listed)
    there |= {"b": event("b", "B"), "c": event("c", "C"), "a": event("a", "A, renamed")}
    found = await _changes_by_listing(ReadEventChanges(cursor=begun.cursor, limit=2), listed)
    rest = await _changes_by_listing(ReadEventChanges(cursor=found.cursor), listed)
    after = await _changes_by_listing(ReadEventChanges(cursor=rest.cursor), listed)
    assert sorted(change.title for change in (*found.changes, *rest.changes)) == ["A, renamed", "B", "C"]
    assert (found.more, rest.more, after.changes) == (True, False, [])
    there["b"] = event("b", "B", hour=15)
    assert [
        change.title for change in (await _changes_by_listing(ReadEventChanges(cursor=after.cursor), listed)).changes
    ] == ["B"]


def event(name: str, title: str, hour: int = 9) -> Event:
    times = {"start": f"{SOON}T{hour:02}:00:00+00:00", "end": f"{SOON}T{hour + 1:02}:00:00+00:00"}
    return Event.model_validate({"event_id": name, "title": title, "timezone": "UTC", **times})
