"""Moving by a length, deleting several, what overlaps, and free time in working hours: the same for every provider."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

Call = Callable[..., Awaitable[dict[str, Any]]]

LUNCH = {"title": "Lunch", "start": "2026-11-27T12:00:00+01:00", "end": "2026-11-27T13:00:00+01:00"}
DAY = {"start": "2026-11-27T00:00:00+01:00", "end": "2026-11-28T00:00:00+01:00"}
BERLIN = {"timezone": "Europe/Berlin"}


@pytest.fixture(params=["own", "caldav", "google", "graph"])
def provider(request: pytest.FixtureRequest) -> str:
    """Where the events are kept: in the capability's own database, on a CalDAV server, or at Google."""
    return str(request.param)


@pytest.mark.parametrize(
    ("start", "way", "moved"),
    [
        ("2026-11-27T12:00:00+01:00", {"minutes": 30}, "2026-11-27T12:30:00+01:00"),
        ("2026-11-27T12:00:00+01:00", {"days": -2}, "2026-11-25T12:00:00+01:00"),
        ("2026-11-27T12:00:00+01:00", {"days": 1, "minutes": -60}, "2026-11-28T11:00:00+01:00"),
        ("2027-03-27T12:00:00+01:00", {"days": 1}, "2027-03-28T12:00:00+02:00"),
        ("2027-03-27T12:00:00+01:00", {"minutes": 24 * 60}, "2027-03-28T13:00:00+02:00"),
    ],
)
async def test_an_event_moves_by_a_length_on_its_own_clock(
    call: Call, start: str, way: dict[str, int], moved: str
) -> None:
    created = await call("calendar.create_event", title="Lunch", start=start, end=start.replace("T12", "T13"), **BERLIN)

    now = await call("calendar.move_event", step="m", event_id=created["event_id"], **way)
    again = await call("calendar.move_event", step="m", event_id=created["event_id"], **way)

    assert (again, now["start"], now["previous"]["start"]) == (now, moved, start)
    assert now["end"] == moved.replace(f"T{moved[11:13]}", f"T{int(moved[11:13]) + 1}")
    await call("calendar.restore_event", event_id=now["event_id"], previous=now["previous"], deleted=now["deleted"])
    assert (await call("calendar.look_up", event_id=created["event_id"]))["start"] == start


@pytest.mark.parametrize("way", [{}, {"days": 0, "minutes": 0}, {"days": 4000}])
async def test_a_move_says_how_far(call: Call, way: dict[str, int]) -> None:
    created = await call("calendar.create_event", **LUNCH)

    with pytest.raises(ApplicationError, match="days") as refused:
        await call("calendar.move_event", event_id=created["event_id"], **way)

    assert refused.value.type == "InvalidArguments"


async def test_several_events_are_deleted_at_once_and_come_back(call: Call, count_events: Callable[[], int]) -> None:
    for title in ("Lunch", "Review", "Call"):
        await call("calendar.create_event", **{**LUNCH, "title": title}, location="Room 2")
    await call("calendar.create_event", **{**LUNCH, "title": "Stand-up"}, recurrence="FREQ=DAILY;COUNT=3")
    found = await call("calendar.list_events", **DAY)
    assert len(found["event_ids"]) == 3  # a series is not deleted along with one of its days

    deleted = await call("calendar.delete_events", step="d", event_ids=found["event_ids"])
    again = await call("calendar.delete_events", step="d", event_ids=found["event_ids"])
    assert (again, deleted["remaining"], count_events()) == (deleted, [], 1)
    assert sorted(event["title"] for event in deleted["deleted"]) == ["Call", "Lunch", "Review"]

    restored = await call("calendar.restore_events", step="r", kept=deleted["kept"])
    assert await call("calendar.restore_events", step="r", kept=deleted["kept"]) == restored
    assert sorted(event["title"] for event in restored["restored"]) == ["Call", "Lunch", "Review"]
    listed = await call("calendar.list_events", **DAY)
    assert sorted(map(str, listed["events"])) == sorted(map(str, found["events"]))


async def test_what_an_event_overlaps_is_said(call: Call) -> None:
    await call(
        "calendar.create_event",
        title="Dentist",
        start=DAY["start"][:11] + "10:00:00+01:00",
        end=DAY["start"][:11] + "11:00:00+01:00",
    )
    await call("calendar.create_event", **{**LUNCH, "title": "Call"})

    beside = await call("calendar.create_event", title="Tea", start="2026-11-27T11:00:00+01:00", end=LUNCH["start"])
    across = await call("calendar.create_event", title="Trip", start="2026-11-27T10:30:00+01:00", end=LUNCH["end"])

    assert beside["overlaps"] == []
    assert across["overlaps"] == [
        "Dentist, Fri 2026-11-27 10:00 to 11:00",
        "Tea, Fri 2026-11-27 11:00 to 12:00",
        "Call, Fri 2026-11-27 12:00 to 13:00",
    ]
    moved = await call("calendar.move_event", event_id=across["event_id"], minutes=-90)
    assert moved["overlaps"] == [
        "Dentist, Fri 2026-11-27 10:00 to 11:00",
        "Tea, Fri 2026-11-27 11:00 to 12:00",
    ]
    renamed = await call("calendar.update_event", event_id=across["event_id"], title="Trip to Porto")
    assert renamed["overlaps"] == []


async def test_series_overlap_by_their_occurrences(call: Call) -> None:
    await call("calendar.create_event", **LUNCH, **BERLIN, recurrence="FREQ=WEEKLY")
    later = {"start": "2026-12-11T12:30:00+01:00", "end": "2026-12-11T14:00:00+01:00"}

    single = await call("calendar.create_event", title="Visit", **later, **BERLIN)
    series = await call(
        "calendar.create_event", **{**LUNCH, "title": "Gym"}, **BERLIN, recurrence="FREQ=DAILY;COUNT=15"
    )

    assert single["overlaps"] == ["Lunch, Fri 2026-12-11 12:00 to 13:00"]
    assert series["overlaps"] == [
        "Lunch, Fri 2026-11-27 12:00 to 13:00",
        "Lunch, Fri 2026-12-04 12:00 to 13:00",
        "Lunch, Fri 2026-12-11 12:00 to 13:00",
        "Visit, Fri 2026-12-11 12:30 to 14:00",
    ]


async def test_five_are_named_and_the_others_counted(call: Call) -> None:
    for number in range(7):
        await call("calendar.create_event", **{**LUNCH, "title": f"Call {number}"})

    created = await call("calendar.create_event", **LUNCH)

    assert [words.partition(",")[0] for words in created["overlaps"]] == [
        *(f"Call {n}" for n in range(5)),
        "and 2 more",
    ]


async def test_a_preview_says_where_an_event_would_go_and_changes_nothing(call: Call) -> None:
    await call("calendar.create_event", **{**LUNCH, "title": "Dentist"})
    created = await call("calendar.create_event", title="Tea", start="2026-11-27T11:00:00+01:00", end=LUNCH["start"])
    dentist = "it overlaps with Dentist, Fri 2026-11-27 12:00 to 13:00"

    new = await call("calendar.preview", start=LUNCH["start"], end=LUNCH["end"])
    moved = await call("calendar.preview", event_id=created["event_id"], minutes=30)
    changed = await call("calendar.preview", event_id=created["event_id"], start="2026-11-27T12:30:00+01:00")
    renamed = await call("calendar.preview", event_id=created["event_id"])

    assert new == {"notes": [dentist]}
    assert moved == {"notes": ["it would be Fri 2026-11-27 11:30 to 12:30", dentist]}
    assert (changed, renamed) == ({"notes": [dentist]}, {"notes": []})
    assert (await call("calendar.look_up", event_id=created["event_id"]))["end"] == LUNCH["start"]


async def test_free_time_lies_in_working_hours(call: Call) -> None:
    await call("calendar.create_event", **LUNCH)
    window = {"start": "2026-11-27T00:00:00+01:00", "end": "2026-12-01T00:00:00+01:00", "duration_minutes": 180}

    found = await call(
        "calendar.find_free_time", **window, earliest="09:00", latest="17:00", weekdays=["MO", "TU", "FR"]
    )

    assert [slot["start"] for slot in found["slots"]] == [
        "2026-11-27T09:00:00+01:00",
        "2026-11-27T13:00:00+01:00",
        "2026-11-30T09:00:00+01:00",
        "2026-11-30T12:00:00+01:00",
    ]


async def test_working_hours_keep_their_hour_when_the_clocks_change(call: Call) -> None:
    window = {"start": "2027-03-27T00:00:00+01:00", "end": "2027-03-29T00:00:00+02:00", "duration_minutes": 600}

    found = await call("calendar.find_free_time", **window, **BERLIN, earliest="08:00", latest="18:00")

    assert [slot["start"] for slot in found["slots"]] == ["2027-03-27T08:00:00+01:00", "2027-03-28T08:00:00+02:00"]


@pytest.mark.parametrize("hours", [{"earliest": "9:00"}, {"latest": "25:00"}, {"earliest": "17:00", "latest": "09:00"}])
async def test_wrong_hours_are_refused(call: Call, hours: dict[str, str]) -> None:
    with pytest.raises(ApplicationError, match=r"earliest|latest") as refused:
        await call("calendar.find_free_time", **DAY, duration_minutes=30, **hours)

    assert refused.value.type == "InvalidArguments"
