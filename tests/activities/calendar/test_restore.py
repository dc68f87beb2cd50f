"""Taking back changes and deletions: `calendar.restore_event` with what the other tools returned."""

from collections.abc import Awaitable, Callable, Iterable
from contextlib import closing
from pathlib import Path
from sqlite3 import Row, connect
from typing import Any

import pytest
from temporalio.exceptions import ApplicationError

from activities.calendar.settings import CalendarSettings
from activities.calendar.store import MOST_EXCLUDED
from activities.calendar.worker import import_file

Call = Callable[..., Awaitable[dict[str, Any]]]

LUNCH = {
    "title": "Lunch",
    "start": "2026-11-27T12:00:00+01:00",
    "end": "2026-11-27T13:00:00+01:00",
    "timezone": "Europe/Berlin",
    "location": "Corner",
    "description": "Bring cake",
    "attendees": ["ana@example.com", "Bo"],
    "recurrence": "FREQ=WEEKLY;BYDAY=FR;COUNT=5",
}
STANDUP = """BEGIN:VCALENDAR
BEGIN:VEVENT
UID:standup@example.com
SUMMARY:Standup
DTSTART;TZID=Europe/Berlin:20261012T090000
DTEND;TZID=Europe/Berlin:20261012T091500
RRULE:FREQ=DAILY
{excluded}TRANSP:TRANSPARENT
END:VEVENT
END:VCALENDAR
"""


def _undo(result: dict[str, Any]) -> dict[str, Any]:
    """The arguments of the undo, by name from the result."""
    return {name: result[name] for name in ("event_id", "previous", "deleted")}


def unversioned(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows without what counts revisions, which only goes up."""
    return [{name: row[name] for name in row if name not in ("sequence", "modified_at")} for row in rows]


@pytest.fixture
def rows(database: Path) -> Callable[[], list[dict[str, Any]]]:
    """Every column of every event that an undo must bring back."""

    def read() -> list[dict[str, Any]]:
        with closing(connect(database)) as connection:
            connection.row_factory = Row
            return unversioned(dict(row) for row in connection.execute("SELECT * FROM event ORDER BY event_id"))

    return read


@pytest.fixture
def imported(settings: CalendarSettings, tmp_path: Path) -> Callable[[int], Awaitable[str]]:
    """Imports a daily series that leaves out so many days."""

    async def run(left_out: int) -> str:
        days = [f"{2026 + month // 12}{month % 12 + 1:02}{day:02}" for month in range(10, 150) for day in range(1, 29)]
        lines = [f"EXDATE;TZID=Europe/Berlin:{day}T090000\n" for day in days[:left_out]]
        path = tmp_path / "standup.ics"
        path.write_text(STANDUP.format(excluded="".join(lines)), encoding="utf-8")
        return await import_file(path, settings)

    return run


@pytest.mark.parametrize(
    "change",
    [
        {"title": "Brunch", "location": "Park", "description": "No cake", "attendees": []},
        {"start": "2026-12-04T10:00:00+01:00"},
        {"start": "2026-12-04T10:00:00+01:00", "end": "2026-12-04T15:00:00+01:00"},
    ],
)
async def test_a_changed_event_is_brought_back_to_the_last_column(
    call: Call, rows: Callable[[], list[dict[str, Any]]], change: dict[str, Any]
) -> None:
    lunch = await call("calendar.create_event", **LUNCH)
    before = rows()
    changed = await call("calendar.update_event", event_id=lunch["event_id"], **change)
    assert rows() != before

    await call("calendar.restore_event", **_undo(changed))

    assert rows() == before


async def test_an_event_known_by_its_offset_gets_its_old_offset_back(
    call: Call, rows: Callable[[], list[dict[str, Any]]]
) -> None:
    plain = {name: LUNCH[name] for name in ("title", "start", "end")}
    lunch = await call("calendar.create_event", **plain)
    before = rows()
    changed = await call("calendar.update_event", event_id=lunch["event_id"], start="2027-06-28T12:00:00+02:00")

    await call("calendar.restore_event", **_undo(changed))

    assert rows() == before


@pytest.mark.parametrize("left_out", [0, 3, MOST_EXCLUDED])
async def test_a_deleted_imported_series_comes_back_under_its_id(
    call: Call,
    rows: Callable[[], list[dict[str, Any]]],
    imported: Callable[[int], Awaitable[str]],
    left_out: int,
) -> None:
    """With the days it leaves out, as free time, and known to a later import."""
    await imported(left_out)
    before = rows()
    deleted = await call("calendar.delete_event", event_id=before[0]["event_id"])
    assert rows() == []

    await call("calendar.restore_event", **_undo(deleted))

    assert rows() == before
    assert (await imported(left_out)).startswith("0 events imported, 1 already known")


async def test_a_moved_series_that_leaves_out_very_many_days_is_brought_back(
    call: Call, rows: Callable[[], list[dict[str, Any]]], imported: Callable[[int], Awaitable[str]]
) -> None:
    """What does not fit into a run is moved back along with the series."""
    await imported(MOST_EXCLUDED + 1)
    before = rows()
    changed = await call("calendar.update_event", event_id=before[0]["event_id"], start="2026-10-12T11:00:00+02:00")
    assert changed["previous"]["excluded"] is None

    await call("calendar.restore_event", **_undo(changed))

    assert rows() == before


async def test_a_deleted_series_that_leaves_out_too_many_days_is_not_brought_back_by_half(
    call: Call, rows: Callable[[], list[dict[str, Any]]], imported: Callable[[int], Awaitable[str]]
) -> None:
    await imported(MOST_EXCLUDED + 1)
    deleted = await call("calendar.delete_event", event_id=rows()[0]["event_id"])

    with pytest.raises(ApplicationError, match="import it again") as refused:
        await call("calendar.restore_event", **_undo(deleted))

    assert refused.value.type == "InvalidArguments"
    assert rows() == []


async def test_an_event_that_was_imported_anew_is_not_doubled(
    call: Call, rows: Callable[[], list[dict[str, Any]]], imported: Callable[[int], Awaitable[str]]
) -> None:
    await imported(0)
    deleted = await call("calendar.delete_event", event_id=rows()[0]["event_id"])
    await imported(0)

    with pytest.raises(ApplicationError, match="imported anew") as refused:
        await call("calendar.restore_event", **_undo(deleted))

    assert refused.value.type == "Conflict"
    assert len(rows()) == 1


async def test_the_undo_of_a_change_does_not_bring_back_what_was_deleted_since(
    call: Call, rows: Callable[[], list[dict[str, Any]]]
) -> None:
    lunch = await call("calendar.create_event", **LUNCH)
    changed = await call("calendar.update_event", event_id=lunch["event_id"], title="Brunch")
    await call("calendar.delete_event", event_id=lunch["event_id"])

    with pytest.raises(ApplicationError) as refused:
        await call("calendar.restore_event", **_undo(changed))

    assert refused.value.type == "NotFound"
    assert rows() == []


async def test_a_change_and_a_deletion_are_taken_back_last_first(
    call: Call, rows: Callable[[], list[dict[str, Any]]]
) -> None:
    lunch = await call("calendar.create_event", **LUNCH)
    before = rows()
    changed = await call("calendar.update_event", event_id=lunch["event_id"], title="Brunch")
    deleted = await call("calendar.delete_event", event_id=lunch["event_id"])

    await call("calendar.restore_event", **_undo(deleted))
    await call("calendar.restore_event", **_undo(changed))

    assert rows() == before


async def test_a_second_attempt_of_a_restoration_changes_nothing(
    call: Call, rows: Callable[[], list[dict[str, Any]]]
) -> None:
    lunch = await call("calendar.create_event", **LUNCH)
    deleted = await call("calendar.delete_event", event_id=lunch["event_id"])
    first = await call("calendar.restore_event", step="u1", **_undo(deleted))
    await call("calendar.update_event", event_id=lunch["event_id"], title="Brunch")

    assert await call("calendar.restore_event", step="u1", **_undo(deleted)) == first
    assert [row["title"] for row in rows()] == ["Brunch"]
