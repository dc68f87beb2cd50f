"""What only a calendar at Google has: its ids, versions, series and people, lost replies, and Google's ways to refuse."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import pytest
from temporalio.exceptions import ApplicationError

from activities.calendar.settings import CalendarSettings
from retinue.accounts.connection import Connection
from tests.accounts.emulators import Emulators, emulators
from tests.accounts.fake_accounts import FakeAccounts
from tests.accounts.google_account import connection, google_connection
from tests.accounts.google_calendar import ME, GoogleCalendar
from tests.activities.calendar.conftest import Call, at_google
from tests.activities.contacts.between import Between, Fault, Handler, lost, says, slow, standing_between

__all__ = ["emulators"]
LUNCH = {"title": "Lunch", "start": "2026-11-27T12:00:00+01:00", "end": "2026-11-27T13:00:00+01:00"}
DAY = {"start": "2026-11-27T00:00:00+01:00", "end": "2026-11-28T00:00:00+01:00"}
NOVEMBER = {"start": "2026-11-01T00:00:00+01:00", "end": "2026-12-01T00:00:00+01:00"}
CANARY = "canary-91c4-token"


@pytest.fixture
def provider() -> str:
    return "google"


@pytest.fixture
def between(google: GoogleCalendar) -> Iterator[Between]:
    with standing_between(google.url) as way:
        yield way


@pytest.fixture
async def call(settings: CalendarSettings, between: Between) -> AsyncIterator[Call]:
    async with at_google(settings, connection(between.url, "token")) as run:
        yield run


async def retried(call: Call, tool: str, **arguments: Any) -> dict[str, Any]:
    """An attempt that is tried again as Temporal does: while its error says that this may help."""
    for _ in range(20):
        try:
            return await call(tool, **arguments)
        except ApplicationError as error:
            if error.non_retryable:
                raise
            pause = error.next_retry_delay.total_seconds() if error.next_retry_delay else 0.1
            await asyncio.sleep(min(pause, 1))
    raise TimeoutError


async def failure(call: Call, tool: str, **arguments: Any) -> ApplicationError:
    with pytest.raises(ApplicationError) as failed:
        await call(tool, **arguments)
    return failed.value


def _at(day: int, hour: int, minute: int = 0) -> dict[str, str]:
    return {"dateTime": f"2026-11-{day:02}T{hour:02}:{minute:02}:00+01:00", "timeZone": "Europe/Berlin"}


def standup(google: GoogleCalendar) -> None:
    """A weekly series: on the 9th it is later, on the 16th it is cancelled."""
    google.put(
        "standup",
        summary="Stand-up",
        start=_at(2, 9),
        end=_at(2, 9, 15),
        recurrence=["RRULE:FREQ=WEEKLY;COUNT=4"],
        conferenceData={"conferenceId": "abc"},
    )
    one = {"recurringEventId": "standup", "iCalUID": "standup@google.com"}
    google.put(
        "standup_20261109T080000Z",
        summary="Stand-up with Ben",
        start=_at(9, 10),
        end=_at(9, 10, 15),
        originalStartTime=_at(9, 9),
        **one,
    )
    google.put("standup_20261116T080000Z", **{**one, "status": "cancelled", "originalStartTime": _at(16, 9)})


def times(found: dict[str, Any]) -> list[str]:
    return [each["start"][8:16] for each in found["events"]]


# --- series


async def test_a_series_shows_its_changed_dates_and_leaves_out_cancelled_ones(
    call: Call, google: GoogleCalendar
) -> None:
    standup(google)

    found = await call("calendar.list_events", **NOVEMBER)

    assert times(found) == ["02T09:00", "09T10:00", "23T09:00"]
    assert [each["title"] for each in found["events"]] == ["Stand-up", "Stand-up with Ben", "Stand-up"]
    assert {(each["event_id"], each["recurrence"]) for each in found["events"]} == {("standup", "FREQ=WEEKLY;COUNT=4")}
    assert (found["event_ids"], found["match"]["event_id"]) == ([], "standup")


async def test_a_change_of_a_series_leaves_its_dates_and_what_it_does_not_name(
    call: Call, google: GoogleCalendar
) -> None:
    standup(google)
    before = google.events["standup_20261109T080000Z"]["etag"]

    changed = await call("calendar.update_event", event_id="standup", title="Daily", step="s1")

    assert (changed["title"], changed["previous"]["title"]) == ("Daily", "Stand-up")
    assert google.events["standup"]["conferenceData"] == {"conferenceId": "abc"}
    assert google.events["standup_20261109T080000Z"]["etag"] == before
    assert times(await call("calendar.list_events", **NOVEMBER)) == ["02T09:00", "09T10:00", "23T09:00"]


async def test_a_series_whose_dates_were_changed_one_by_one_is_not_moved(call: Call, google: GoogleCalendar) -> None:
    """Google keeps changed dates by the times that they stand for: which of them would follow is not known."""
    standup(google)

    refused = await failure(call, "calendar.move_event", event_id="standup", minutes=30)

    assert (refused.type, refused.non_retryable) == ("InvalidArguments", True)
    assert google.events["standup"]["start"] == _at(2, 9)


async def test_a_series_without_changed_dates_moves_with_those_it_leaves_out(
    call: Call, google: GoogleCalendar
) -> None:
    standup(google)
    del google.events["standup_20261109T080000Z"]

    await call("calendar.move_event", event_id="standup", minutes=30)

    assert times(await call("calendar.list_events", **NOVEMBER)) == ["02T09:30", "09T09:30", "23T09:30"]


async def test_a_deleted_series_comes_back_with_its_changed_and_cancelled_dates(
    call: Call, google: GoogleCalendar
) -> None:
    standup(google)
    before = await call("calendar.list_events", **NOVEMBER)

    gone = await call("calendar.delete_event", event_id="standup", step="s1")
    assert (await call("calendar.list_events", **NOVEMBER))["events"] == []
    await call("calendar.restore_event", event_id="standup", previous=gone["previous"], step="undo")

    assert (await call("calendar.list_events", **NOVEMBER))["events"] == before["events"]


async def test_a_series_that_came_back_without_its_dates_is_not_taken_for_whole(
    call: Call, google: GoogleCalendar, between: Between
) -> None:
    """The request for its changed date is lost; the next attempt goes on with it."""
    standup(google)
    before = await call("calendar.list_events", **NOVEMBER)
    gone = await call("calendar.delete_event", event_id="standup", step="s1")
    between.meanwhile["PATCH"] = lambda: between.before.update(PATCH=[lost])

    await retried(call, "calendar.restore_event", event_id="standup", previous=gone["previous"], step="undo")

    assert (await call("calendar.list_events", **NOVEMBER))["events"] == before["events"]


async def test_many_changes_of_a_series_do_not_make_it_longer(call: Call, google: GoogleCalendar) -> None:
    standup(google)
    for number in range(4):
        await call("calendar.update_event", event_id="standup", title=f"Number {number}")

    assert len(google.events["standup"]["recurrence"]) == 2


@pytest.mark.parametrize(
    ("zone", "kept"), [("+05:30", "Asia/Kolkata"), ("-03:00", "Etc/GMT+3"), ("Europe/Paris", "Europe/Paris")]
)
async def test_a_series_is_repeated_in_a_zone_that_has_a_name(
    call: Call, google: GoogleCalendar, zone: str, kept: str
) -> None:
    offset = "+01:00" if zone == "Europe/Paris" else zone
    made = await call(
        "calendar.create_event",
        title="Review",
        start=f"2026-11-27T12:00:00{offset}",
        end=f"2026-11-27T13:00:00{offset}",
        timezone=zone,
        recurrence="FREQ=WEEKLY",
    )

    assert google.events[made["event_id"]]["start"]["timeZone"] == kept


async def test_the_id_of_one_date_is_the_id_of_no_event(call: Call, google: GoogleCalendar) -> None:
    """Whoever deletes one date must not delete the series."""
    standup(google)
    for event_id in ("standup_20261109T080000Z", "../calendars", "standup/instances", "nothing"):
        assert (await failure(call, "calendar.delete_event", event_id=event_id)).type == "NotFound"
    assert len(google.shown()) == 1


# --- people


async def test_attendees_are_noted_and_nobody_is_told(call: Call, google: GoogleCalendar) -> None:
    """Google would put the event into its attendees' calendars."""
    people = ["ana@example.com", "Bo", *(f"person{number}@example.com" for number in range(60))]
    made = await call("calendar.create_event", **LUNCH, attendees=people)
    await call("calendar.update_event", event_id=made["event_id"], attendees=["Bo"])
    await call("calendar.update_event", event_id=made["event_id"], title="Late lunch")

    [event] = (await call("calendar.list_events", **DAY))["events"]
    assert (made["attendees"], event["attendees"]) == (people, ["Bo"])
    assert "attendees" not in google.events[made["event_id"]]
    assert google.notified == []


@pytest.mark.parametrize("tool", ["calendar.update_event", "calendar.move_event", "calendar.delete_event"])
async def test_an_event_in_which_others_take_part_is_not_changed(call: Call, google: GoogleCalendar, tool: str) -> None:
    others = [{"email": ME, "self": True, "responseStatus": "accepted"}, {"email": "ben@example.com"}]
    google.put("review", summary="Review", start=_at(27, 9), end=_at(27, 10), attendees=others)
    changes: dict[str, dict[str, Any]] = {
        "calendar.update_event": {"title": "x"},
        "calendar.move_event": {"minutes": 5},
    }

    refused = await failure(call, tool, event_id="review", **changes.get(tool, {}))

    assert refused.type == "NotAllowed"
    assert google.events["review"]["summary"] == "Review"
    assert (await call("calendar.look_up", event_id="review"))["attendees"] == [ME, "ben@example.com"]


async def test_what_the_person_declined_or_marked_as_free_leaves_time_free(call: Call, google: GoogleCalendar) -> None:
    invited = [{"email": ME, "self": True, "responseStatus": "declined"}, {"email": "ben@example.com"}]
    google.put("a1", summary="Declined", start=_at(27, 9), end=_at(27, 10), attendees=invited)
    google.put(
        "a2", summary="Holiday", start={"date": "2026-11-27"}, end={"date": "2026-11-28"}, transparency="transparent"
    )
    google.put("a3", summary="Dentist", start=_at(27, 10), end=_at(27, 11))

    free = await call("calendar.find_free_time", **DAY, duration_minutes=60)

    assert [slot["start"][11:16] for slot in free["slots"]][8:12] == ["08:00", "09:00", "11:00", "12:00"]


# --- versions


async def test_what_another_device_changed_meanwhile_is_not_overwritten(
    call: Call, google: GoogleCalendar, between: Between
) -> None:
    google.put("lunch1", summary="Lunch", start=_at(27, 12), end=_at(27, 13))

    def meanwhile() -> None:
        google.put("lunch1", summary="Brunch", start=_at(27, 11), end=_at(27, 12))

    between.meanwhile["PATCH"] = meanwhile

    refused = await failure(call, "calendar.update_event", event_id="lunch1", title="Dinner")

    assert refused.type == "Conflict"
    assert google.events["lunch1"]["summary"] == "Brunch"


async def test_an_event_is_made_once_even_when_the_ledger_is_lost(
    call: Call, google: GoogleCalendar, settings: CalendarSettings, tmp_path: Any
) -> None:
    made = await call("calendar.create_event", **LUNCH, step="s1")
    google.events[made["event_id"]]["summary"] = "Late lunch"
    other = settings.model_copy(update={"database_url": f"sqlite+aiosqlite:///{tmp_path}/new.db"})

    async with at_google(other, connection(google.url, "token")) as again:
        assert (await again("calendar.create_event", **LUNCH, step="s1"))["title"] == "Late lunch"

    assert len(google.shown()) == 1


async def test_more_events_than_one_page_holds_are_all_shown(call: Call, google: GoogleCalendar) -> None:
    for number in range(300):
        google.put(f"e{number:04}", summary=f"E{number}", start=_at(1 + number % 28, 12), end=_at(1 + number % 28, 13))

    found = await call("calendar.list_events", **NOVEMBER, query="E299")

    assert found["match"]["event_id"] == "e0299"


async def test_what_cannot_be_read_is_left_out_and_named(call: Call, google: GoogleCalendar) -> None:
    google.put("a1", summary="Lunch", start=_at(27, 12), end=_at(27, 13))
    google.put("a2", summary="Backwards", start=_at(27, 12), end=_at(27, 11))
    google.events["a2"]["end"] = {"dateTime": "2026-11-27T11:59:00+01:00", "timeZone": "Europe/Berlin"}

    found = await call("calendar.list_events", **DAY)

    assert [each["title"] for each in found["events"]] == ["Lunch"]
    assert found["skipped"] == 1
    assert found["skipped_entries"][0].startswith("'Backwards'")


# --- lost replies

EFFECTS: list[tuple[str, dict[str, Any], str]] = [
    ("calendar.create_event", LUNCH, "POST"),
    ("calendar.update_event", {"event_id": "standup", "title": "Weekly"}, "PATCH"),
    ("calendar.move_event", {"event_id": "dinner", "days": 1}, "PATCH"),
    ("calendar.delete_event", {"event_id": "standup"}, "DELETE"),
    ("calendar.delete_events", {"event_ids": ["standup", "dinner"]}, "DELETE"),
]


def _half_a_line(handler: Handler, _: httpx.Response | None) -> None:
    handler.wfile.write(b"HTTP/1.1 20")
    handler.close_connection = True


FAULTS = {
    "lost": lost,
    "slow": slow,
    "half": _half_a_line,
    "gateway": says(502),
    "page": says(200, b"<html>proxy</html>"),
}


@pytest.mark.parametrize(("tool", "arguments", "method"), EFFECTS)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_a_lost_reply_is_looked_up_and_nothing_is_done_twice(
    call: Call,
    google: GoogleCalendar,
    between: Between,
    tool: str,
    arguments: dict[str, Any],
    method: str,
    when: str,
    fault: Fault,
) -> None:
    """`before`: Google never saw the request. `after`: it has done it, and nobody heard."""
    standup(google)
    google.put("dinner", summary="Dinner", start=_at(27, 19), end=_at(27, 20))
    getattr(between, when)[method] = [fault]

    first = await retried(call, tool, step="s1", **arguments)
    second = await call(tool, step="s1", **arguments)

    assert first == second
    gone = {"calendar.create_event": -1, "calendar.delete_event": 1, "calendar.delete_events": 2}.get(tool, 0)
    assert len(google.shown()) == 2 - gone
    assert google.events["dinner"]["start"] == _at(28 if tool == "calendar.move_event" else 27, 19)
    assert google.notified == []


# --- refusals


@pytest.mark.parametrize(
    ("status", "reason", "type_", "retryable"),
    [
        (403, "rateLimitExceeded", "ServiceBusy", True),
        (403, "userRateLimitExceeded", "ServiceBusy", True),
        (429, "rateLimitExceeded", "ServiceBusy", True),
        (403, "insufficientPermissions", "AccountDisconnected", False),
        (403, "forbiddenForNonOrganizer", "ServiceRefused", False),
        (400, "invalid", "ServiceRefused", False),
        (500, "backendError", "ServiceUnavailable", True),
        (503, "backendError", "ServiceUnavailable", True),
    ],
)
async def test_a_refusal_is_said_by_its_kind(
    call: Call, between: Between, status: int, reason: str, type_: str, retryable: bool
) -> None:
    error = {"code": status, "message": CANARY, "errors": [{"reason": reason, "message": CANARY}]}
    between.before["GET"] = [says(status, json.dumps({"error": error}).encode())]

    failed = await failure(call, "calendar.list_events", **DAY)

    assert (failed.type, failed.non_retryable) == (type_, not retryable)
    assert "Google Calendar" in failed.message
    assert CANARY not in failed.message


async def test_a_pause_that_google_asks_for_is_kept(call: Call, between: Between) -> None:
    error = {"error": {"code": 403, "errors": [{"reason": "rateLimitExceeded"}]}}
    between.before["GET"] = [says(403, json.dumps(error).encode(), Retry_After="17")]

    failed = await failure(call, "calendar.list_events", **DAY)

    assert failed.next_retry_delay
    assert failed.next_retry_delay.total_seconds() == 17


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (lost, "broke off"),
        (slow, "did not answer in time"),
        (says(200, b"<html/>"), "makes no sense"),
        (says(200, b"[" * 100_000), "makes no sense"),
        (says(404, b"<html>no such page</html>"), "is not its own"),
        (says(302, b""), "is not its own"),
        (says(200, b" " * (9 * 1024 * 1024)), "longer than"),
    ],
)
async def test_an_answer_that_is_not_googles_proves_nothing(
    call: Call, google: GoogleCalendar, between: Between, fault: Fault, words: str
) -> None:
    google.put("lunch1", summary="Lunch", start=_at(27, 12), end=_at(27, 13))
    between.before["GET"] = [fault]

    failed = await failure(call, "calendar.look_up", event_id="lunch1")

    assert words in failed.message
    assert not failed.non_retryable


async def test_a_refused_token_is_replaced_once_and_never_shown(
    settings: CalendarSettings, google: GoogleCalendar, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    old, new = connection(google.url, CANARY), connection(google.url, "token")
    renewing = FakeAccounts([old], after_rejection={"work": new})
    async with at_google(settings, old, renewing) as call:
        made = await call("calendar.create_event", **LUNCH)
        assert (await call("calendar.list_events", **DAY))["match"]["event_id"] == made["event_id"]
    assert renewing.asked == [("account-ana", old)]

    async with at_google(settings, old, FakeAccounts([old], after_rejection={"work": old.model_copy()})) as call:
        failed = await failure(call, "calendar.create_event", **LUNCH)
    assert (failed.type, failed.non_retryable) == ("AccountDisconnected", True)
    assert CANARY not in caplog.text + failed.message


# --- emulate


@pytest.fixture
def account(emulators: Emulators) -> Connection:
    found = google_connection(emulators, "ben")
    with httpx.Client(
        base_url=emulators.google, headers={"Authorization": f"Bearer {found.secret.get_secret_value()}"}
    ) as http:
        url = "/calendar/v3/calendars/primary/events"
        for each in http.get(url, params={"maxResults": 250}).json()["items"]:
            http.delete(f"{url}/{each['id']}").raise_for_status()
    return found


async def test_events_are_entered_and_found_at_the_emulator(settings: CalendarSettings, account: Connection) -> None:
    async with at_google(settings, account) as call:
        made = await call("calendar.create_event", **LUNCH, location="Corner", step="s1")
        again = await call("calendar.create_event", **LUNCH, location="Corner", step="s1")
        found = await call("calendar.list_events", **DAY)
        over = await call("calendar.create_event", **{**LUNCH, "title": "Call"})
        free = await call("calendar.find_free_time", **DAY, duration_minutes=600)

    assert made == again
    assert [(each["event_id"], each["title"], each["location"]) for each in found["events"]] == [
        (made["event_id"], "Lunch", "Corner")
    ]
    assert over["overlaps"] == ["Lunch, Fri 2026-11-27 12:00 to 13:00"]
    assert [slot["start"][11:16] for slot in free["slots"]] == ["00:00", "13:00"]


async def test_an_emulator_that_forgets_our_ids_makes_no_second_event(
    settings: CalendarSettings, account: Connection, emulators: Emulators
) -> None:
    """emulate gives events its own ids and shows none by its id: whether it was entered cannot be told, so it is asked."""
    emulators.fault("google", "/calendar/v3/calendars/primary/events", method="POST", kind="lost")
    async with at_google(settings, account) as call:
        with pytest.raises(TimeoutError):
            await retried(call, "calendar.create_event", **LUNCH, step="s1")
        assert len((await call("calendar.list_events", **DAY))["events"]) == 1
