"""The calendar's contract, through the activities: the same for every provider."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

Call = Callable[..., Awaitable[dict[str, Any]]]

LUNCH = {"title": "Lunch", "start": "2026-11-27T12:00:00+01:00", "end": "2026-11-27T13:00:00+01:00"}
DAY = {"start": "2026-11-27T00:00:00+01:00", "end": "2026-11-28T00:00:00+01:00"}


@pytest.fixture(params=["own", "caldav", "google", "graph"])
def provider(request: pytest.FixtureRequest) -> str:
    """Where the events are kept: in the capability's own database, on a CalDAV server, at Google or Microsoft."""
    return str(request.param)


async def retried(call: Call, tool: str, **arguments: Any) -> dict[str, Any]:
    """An attempt that is tried again as Temporal does: while its error says that this may help."""
    while True:
        try:
            return await call(tool, **arguments)
        except ApplicationError as error:
            if error.non_retryable:
                raise
            await asyncio.sleep(error.next_retry_delay.total_seconds() if error.next_retry_delay else 0.2)


async def made(call: Call, **event: Any) -> dict[str, Any]:
    """A new event, as others than its creation show it."""
    created = await call("calendar.create_event", **event)
    return {name: value for name, value in created.items() if name != "overlaps"}


async def _titles(call: Call, **window: Any) -> list[str]:
    return [event["title"] for event in (await call("calendar.list_events", **window))["events"]]


async def test_a_created_event_comes_back_as_it_was_given(call: Call) -> None:
    given = {**LUNCH, "location": "Corner", "description": "Bring cake", "attendees": ["ana@example.com", "Bo"]}

    created = await made(call, **given)

    assert created == {**given, "event_id": created["event_id"], "timezone": "+01:00", "recurrence": None}
    assert (await call("calendar.list_events", **DAY))["events"] == [created]


async def test_times_come_back_in_the_zone_of_the_event(call: Call) -> None:
    created = await call("calendar.create_event", **LUNCH, timezone="America/New_York")

    assert (created["start"], created["end"]) == ("2026-11-27T06:00:00-05:00", "2026-11-27T07:00:00-05:00")


async def test_utc_is_called_by_its_name(call: Call) -> None:
    created = await call(
        "calendar.create_event", title="Call", start="2026-11-27T12:00:00Z", end="2026-11-27T12:30:00Z"
    )

    assert (created["timezone"], created["start"]) == ("UTC", "2026-11-27T12:00:00Z")


async def test_two_attempts_of_one_step_make_one_event(call: Call, count_events: Callable[[], int]) -> None:
    first = await call("calendar.create_event", step="s1", **LUNCH)
    second = await call("calendar.create_event", step="s1", **LUNCH)

    assert first == second
    assert count_events() == 1


async def test_two_steps_make_two_events(call: Call, count_events: Callable[[], int]) -> None:
    first = await call("calendar.create_event", step="s1", **LUNCH)
    second = await call("calendar.create_event", step="s2", **LUNCH)

    assert first["event_id"] != second["event_id"]
    assert count_events() == 2


async def test_twenty_attempts_at_once_make_one_event(call: Call, count_events: Callable[[], int]) -> None:
    """An attempt that finds another at work is tried again."""
    results = await asyncio.gather(*(retried(call, "calendar.create_event", step="s1", **LUNCH) for _ in range(20)))

    assert {result["event_id"] for result in results} == {results[0]["event_id"]}
    assert count_events() == 1


async def test_the_same_step_with_other_arguments_is_a_conflict(call: Call, count_events: Callable[[], int]) -> None:
    await call("calendar.create_event", step="s1", **LUNCH)

    with pytest.raises(ApplicationError) as refused:
        await call("calendar.create_event", step="s1", **{**LUNCH, "title": "Dinner"})

    assert (refused.value.type, refused.value.non_retryable) == ("Conflict", True)
    assert count_events() == 1


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"timezone": "Mars/Olympus"}, "Europe/Berlin"),
        ({"timezone": "Europe"}, "Europe/Berlin"),
        ({"timezone": "../etc/passwd"}, "Europe/Berlin"),
        ({"timezone": "+25:00"}, r"\+02:00"),
        ({"timezone": "x" * 5000}, "Europe/Berlin"),
        ({"end": "2026-11-27T12:00:00+01:00"}, "`end` must be after `start`"),
        ({"start": "2026-11-27T12:00:00.100+01:00", "end": "2026-11-27T12:00:00.900+01:00"}, "must be after `start`"),
        ({"start": "2026-11-27T12:00:00"}, "offset"),
        ({"start": "0001-01-01T00:00:00+14:00"}, "the years 1900 to 2199"),
        ({"end": "9999-12-31T23:59:59-12:00"}, "the years 1900 to 2199"),
        ({"title": ""}, "title"),
        ({"attendees": ["x" * 321]}, "an attendee"),
        ({"recurrence": "FREQ=HOURLY"}, "FREQ is DAILY, WEEKLY, MONTHLY or YEARLY"),
    ],
)
async def test_wrong_arguments_are_refused_with_what_is_right(
    call: Call, count_events: Callable[[], int], wrong: dict[str, Any], says: str
) -> None:
    with pytest.raises(ApplicationError, match=says) as refused:
        await call("calendar.create_event", **{**LUNCH, **wrong})

    assert (refused.value.type, refused.value.non_retryable) == ("InvalidArguments", True)
    assert count_events() == 0


async def test_a_refused_step_leaves_its_key_free(call: Call) -> None:
    """The ledger's claim is rolled back with the effect, so that the mended arguments are not a conflict."""
    with pytest.raises(ApplicationError):
        await call("calendar.create_event", step="s1", **LUNCH, timezone="Mars/Olympus")

    created = await call("calendar.create_event", step="s1", **LUNCH)

    assert created["title"] == "Lunch"


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-11-27T11:00:00+01:00", "2026-11-27T12:00:00+01:00", []),
        ("2026-11-27T11:00:00+01:00", "2026-11-27T12:00:01+01:00", ["Lunch"]),
        ("2026-11-27T12:15:00+01:00", "2026-11-27T12:30:00+01:00", ["Lunch"]),
        ("2026-11-27T12:59:59+01:00", "2026-11-27T14:00:00+01:00", ["Lunch"]),
        ("2026-11-27T13:00:00+01:00", "2026-11-27T14:00:00+01:00", []),
        ("2026-11-27T11:00:00Z", "2026-11-27T11:30:00Z", ["Lunch"]),
    ],
)
async def test_a_window_lists_what_overlaps_it_and_not_what_touches_it(
    call: Call, start: str, end: str, expected: list[str]
) -> None:
    await call("calendar.create_event", **LUNCH)

    assert await _titles(call, start=start, end=end) == expected


async def test_events_and_occurrences_come_in_order_of_time(call: Call) -> None:
    await call("calendar.create_event", **{**LUNCH, "title": "Noon", "recurrence": "FREQ=DAILY;COUNT=2"})
    await call(
        "calendar.create_event",
        title="Evening",
        start="2026-11-27T18:00:00+01:00",
        end="2026-11-27T19:00:00+01:00",
    )

    week = {"start": "2026-11-23T00:00:00+01:00", "end": "2026-11-30T00:00:00+01:00"}
    assert await _titles(call, **week) == ["Noon", "Evening", "Noon"]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("lunch", ["Lunch with ÄNNE"]),
        ("änne LUNCH", ["Lunch with ÄNNE"]),
        ("nne unc", ["Lunch with ÄNNE"]),
        ("lunch bo", []),
        ("%", []),
        ("  ", ["Lunch with ÄNNE"]),
    ],
)
async def test_a_query_finds_titles_that_hold_all_its_words(call: Call, query: str, expected: list[str]) -> None:
    await call("calendar.create_event", **{**LUNCH, "title": "Lunch with ÄNNE"})

    assert await _titles(call, **DAY, query=query) == expected


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("ana", ["Review"]),
        ("REVIEW ana", ["Review"]),
        ("sousa", ["Review"]),
        ("ben", ["Review"]),
        ("example", []),
        ("lunch ana", []),
    ],
)
async def test_a_query_finds_people_too_but_not_the_domains_of_their_addresses(
    call: Call, query: str, expected: list[str]
) -> None:
    attendees = ["Ana Sousa <a.s@example.com>", "ben@example.com"]
    await call("calendar.create_event", **{**LUNCH, "title": "Review", "attendees": attendees})

    assert await _titles(call, **DAY, query=query) == expected


async def test_match_is_the_event_when_exactly_one_was_found(call: Call) -> None:
    lunch = await made(call, **LUNCH)
    await call("calendar.create_event", **{**LUNCH, "title": "Dentist"})

    assert (await call("calendar.list_events", **DAY, query="lunch"))["match"] == lunch
    assert (await call("calendar.list_events", **DAY))["match"] is None
    assert (await call("calendar.list_events", **DAY, query="gym"))["match"] is None


async def test_what_began_before_the_window_is_left_out_where_only_starts_count(call: Call) -> None:
    await call("calendar.create_event", **LUNCH)
    half_past = {"start": "2026-11-27T12:30:00+01:00", "end": "2026-11-27T12:31:00+01:00"}
    noon = {"start": "2026-11-27T12:00:00+01:00", "end": "2026-11-27T12:01:00+01:00"}

    assert await _titles(call, **half_past) == ["Lunch"]
    assert (await call("calendar.list_events", **half_past, starting=True))["match"] is None
    assert (await call("calendar.list_events", **noon, starting=True))["match"]["title"] == "Lunch"


async def test_match_of_a_series_is_its_first_occurrence_in_the_window(call: Call) -> None:
    series = await call("calendar.create_event", **LUNCH, recurrence="FREQ=DAILY;COUNT=5")

    listed = await call(
        "calendar.list_events", start="2026-11-28T00:00:00+01:00", end="2026-11-30T00:00:00+01:00", query="lunch"
    )

    assert listed["match"] == listed["events"][0]
    assert [event["event_id"] for event in listed["events"]] == [series["event_id"]] * 2
    assert listed["match"]["start"] == "2026-11-28T12:00:00+01:00"


async def test_a_list_ends_after_two_hundred(call: Call) -> None:
    await call("calendar.create_event", **LUNCH, recurrence="FREQ=DAILY")
    year = {"start": "2026-11-27T00:00:00+01:00", "end": "2027-11-27T00:00:00+01:00"}
    exactly = {"start": "2026-11-27T00:00:00+01:00", "end": "2027-06-15T00:00:00+01:00"}

    listed = await call("calendar.list_events", **year)
    fitting = await call("calendar.list_events", **exactly)

    assert (len(listed["events"]), listed["truncated"]) == (200, True)
    assert (len(fitting["events"]), fitting["truncated"]) == (200, False)


async def test_a_list_cuts_long_texts(call: Call, provider: str) -> None:
    await call("calendar.create_event", **LUNCH, description="x" * 8000, attendees=["a"] * 100)

    (listed,) = (await call("calendar.list_events", **DAY))["events"]

    assert (len(listed["description"]), len(listed["attendees"])) == (255 if provider == "graph" else 500, 20)


async def test_a_list_of_large_events_is_cut_before_the_edge_refuses_it(call: Call) -> None:
    await call(
        "calendar.create_event",
        **{**LUNCH, "title": "ü" * 250},
        description="ü" * 500,
        location="ü" * 500,
        recurrence="FREQ=DAILY;COUNT=100",
    )

    listed = await call("calendar.list_events", start="2026-11-27T00:00:00+01:00", end="2027-11-27T00:00:00+01:00")

    assert listed["truncated"]
    assert 150 * 1024 < len(json.dumps(listed)) < 256 * 1024


@pytest.mark.parametrize("tool", ["calendar.list_events", "calendar.find_free_time"])
async def test_a_window_of_more_than_three_years_is_refused(call: Call, tool: str) -> None:
    wish = {"duration_minutes": 30} if tool == "calendar.find_free_time" else {}

    with pytest.raises(ApplicationError, match="longer than three years") as refused:
        await call(tool, start="2026-01-01T00:00:00Z", end="2029-02-01T00:00:00Z", **wish)

    assert refused.value.type == "InvalidArguments"


async def test_a_moved_event_keeps_its_length(call: Call) -> None:
    lunch = await made(call, **LUNCH)

    moved = await call("calendar.update_event", event_id=lunch["event_id"], start="2026-11-28T19:00:00+01:00")

    assert (moved["start"], moved["end"]) == ("2026-11-28T19:00:00+01:00", "2026-11-28T20:00:00+01:00")
    kept = moved["previous"]["kept"]
    assert moved["previous"] == {**lunch, "excluded": [], "busy": True, "uid": None, "days": 0, "kept": kept}


async def test_an_event_known_by_its_offset_takes_the_offset_of_its_new_start(call: Call) -> None:
    lunch = await call("calendar.create_event", **LUNCH)

    moved = await call("calendar.update_event", event_id=lunch["event_id"], start="2027-06-28T12:00:00+02:00")

    assert (moved["start"], moved["timezone"]) == ("2027-06-28T12:00:00+02:00", "+02:00")


async def test_an_update_changes_only_what_it_names(call: Call) -> None:
    lunch = await made(call, **LUNCH, location="Corner", attendees=["Bo"])

    changed = await call("calendar.update_event", event_id=lunch["event_id"], title="Brunch", attendees=[])

    brunch = {**lunch, "title": "Brunch", "attendees": []}
    previous = {**lunch, "excluded": [], "busy": True, "uid": None, "days": 0, "kept": changed["previous"]["kept"]}
    assert changed == {**brunch, "previous": previous, "deleted": False, "overlaps": []}
    assert (await call("calendar.list_events", **DAY))["events"] == [brunch]


async def test_a_second_attempt_of_an_update_reports_the_same_previous(call: Call) -> None:
    lunch = await call("calendar.create_event", **LUNCH)

    first = await call("calendar.update_event", step="s2", event_id=lunch["event_id"], title="Brunch")
    second = await call("calendar.update_event", step="s2", event_id=lunch["event_id"], title="Brunch")

    assert first == second
    assert second["previous"]["title"] == "Lunch"


@pytest.mark.parametrize(
    "change",
    [
        {"end": "2026-11-27T12:00:00+01:00"},
        {"end": "2026-11-26T13:00:00+01:00"},
        {"start": "2026-11-27T13:00:00+01:00", "end": "2026-11-27T13:00:00+01:00"},
        {"attendees": ["x" * 321]},
    ],
)
async def test_a_wrong_update_changes_nothing(call: Call, change: dict[str, Any]) -> None:
    lunch = await made(call, **LUNCH)

    with pytest.raises(ApplicationError) as refused:
        await call("calendar.update_event", event_id=lunch["event_id"], title="Brunch", **change)

    assert refused.value.type == "InvalidArguments"
    assert (await call("calendar.list_events", **DAY))["events"] == [lunch]


async def test_a_series_cannot_move_to_where_its_rule_does_not_hold(call: Call) -> None:
    """2026-11-27 is a Friday."""
    series = await call("calendar.create_event", **LUNCH, recurrence="FREQ=WEEKLY;BYDAY=FR")

    with pytest.raises(ApplicationError, match="Thursday 2026-11-26") as refused:
        await call("calendar.update_event", event_id=series["event_id"], start="2026-11-26T12:00:00+01:00")

    assert refused.value.type == "InvalidArguments"


async def test_a_moved_series_moves_as_a_whole(call: Call) -> None:
    series = await call("calendar.create_event", **LUNCH, recurrence="FREQ=DAILY;COUNT=2")

    await call("calendar.update_event", event_id=series["event_id"], start="2026-11-27T15:00:00+01:00")

    listed = await call("calendar.list_events", start=DAY["start"], end="2026-12-01T00:00:00+01:00")
    assert [event["start"] for event in listed["events"]] == ["2026-11-27T15:00:00+01:00", "2026-11-28T15:00:00+01:00"]


async def test_a_deleted_series_is_gone_with_all_its_occurrences(call: Call, count_events: Callable[[], int]) -> None:
    series = await made(call, **LUNCH, recurrence="FREQ=DAILY")
    other = await made(call, **{**LUNCH, "title": "Dinner"})

    gone = await call("calendar.delete_event", event_id=series["event_id"])

    assert (gone["event_id"], gone["title"], gone["deleted"]) == (series["event_id"], "Lunch", True)
    assert (await call("calendar.list_events", **DAY))["events"] == [other]
    assert count_events() == 1


async def test_a_second_attempt_of_a_deletion_reports_the_same(call: Call) -> None:
    lunch = await call("calendar.create_event", **LUNCH)

    first = await call("calendar.delete_event", step="s2", event_id=lunch["event_id"])
    second = await call("calendar.delete_event", step="s2", event_id=lunch["event_id"])

    assert first == second


@pytest.mark.parametrize("tool", ["calendar.update_event", "calendar.delete_event"])
async def test_an_unknown_event_is_not_found_with_a_hint(call: Call, tool: str) -> None:
    with pytest.raises(ApplicationError, match=r"calendar\.list_events gives the ids") as missing:
        await call(tool, event_id="nobody")

    assert (missing.value.type, missing.value.non_retryable) == ("NotFound", True)


async def test_free_time_lies_between_events(call: Call) -> None:
    await call("calendar.create_event", **LUNCH)

    found = await call(
        "calendar.find_free_time",
        start="2026-11-27T11:00:00+01:00",
        end="2026-11-27T14:30:00+01:00",
        duration_minutes=60,
    )

    assert found["slots"] == [
        {"start": "2026-11-27T11:00:00+01:00", "end": "2026-11-27T12:00:00+01:00"},
        {"start": "2026-11-27T13:00:00+01:00", "end": "2026-11-27T14:00:00+01:00"},
    ]


async def test_occurrences_are_busy_too(call: Call) -> None:
    await call("calendar.create_event", **LUNCH, recurrence="FREQ=WEEKLY")

    found = await call(
        "calendar.find_free_time",
        start="2026-12-04T12:00:00+01:00",
        end="2026-12-04T13:30:00+01:00",
        duration_minutes=30,
    )

    assert [slot["start"] for slot in found["slots"]] == ["2026-12-04T13:00:00+01:00"]


async def test_at_most_twenty_slots_are_found(call: Call) -> None:
    found = await call("calendar.find_free_time", **DAY, duration_minutes=5)

    assert len(found["slots"]) == 20
    assert found["slots"][-1]["end"] == "2026-11-27T01:40:00+01:00"


async def test_free_time_across_the_end_of_summer_time_counts_real_hours(call: Call) -> None:
    """Berlin, 2026-10-25: the night from midnight to six has seven hours."""
    night = {"start": "2026-10-25T00:00:00+02:00", "end": "2026-10-25T06:00:00+01:00"}

    found = await call("calendar.find_free_time", **night, duration_minutes=60)

    assert len(found["slots"]) == 7
    assert found["slots"][-1] == {"start": "2026-10-25T06:00:00+02:00", "end": "2026-10-25T07:00:00+02:00"}


async def test_an_id_is_looked_up_as_it_stands_and_one_of_no_event_says_so(call: Call) -> None:
    created = await made(call, **LUNCH, location="Corner", attendees=["ana@example.com"])
    await call("calendar.update_event", event_id=created["event_id"], title="Long lunch")

    found = await call("calendar.look_up", event_id=created["event_id"])

    given = {name: value for name, value in created.items() if value is not None}
    assert found == given | {"title": "Long lunch"}
    with pytest.raises(ApplicationError, match="there is no such event"):
        await call("calendar.look_up", event_id="none-such.ics")
