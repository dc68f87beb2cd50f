"""Days and times are read in the person's zone, over changes of the clocks, and asked about where they are ambiguous."""

import json
from typing import Any

import pytest

from offline.answers import complete
from offline.protocol import ChatRequest

from .conftest import planning_messages

EUROPE = "2026-03-20T10:00:00+01:00"
AUTUMN = "2026-10-20T10:00:00+02:00"


def _plan(agents: list[dict[str, Any]], *said: str, now: str, timezone: str = "Europe/Berlin") -> dict[str, Any]:
    wanted = {"type": "json_schema", "json_schema": {"name": "plan", "schema": {}}}
    messages = planning_messages(agents, *said, now=now, timezone=timezone)
    request = {"model": "offline", "messages": messages, "response_format": wanted}
    plan: dict[str, Any] = json.loads(complete(ChatRequest.model_validate(request)).text)
    return plan


@pytest.mark.parametrize(
    ("now", "said", "start", "end"),
    [
        (EUROPE, "Schedule a run on 28 March at 10am", "2026-03-28T10:00:00+01:00", "2026-03-28T11:00:00+01:00"),
        (EUROPE, "Schedule a run on 29 March at 10am", "2026-03-29T10:00:00+02:00", "2026-03-29T11:00:00+02:00"),
        (EUROPE, "Schedule a watch on 29 March at 01:30", "2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"),
        (AUTUMN, "Schedule a watch on 25 October at 01:30", "2026-10-25T01:30:00+02:00", "2026-10-25T02:30:00+02:00"),
        (AUTUMN, "Schedule a run on 25 October at 10am", "2026-10-25T10:00:00+01:00", "2026-10-25T11:00:00+01:00"),
    ],
)
def test_offsets_follow_the_clocks(agents: list[dict[str, Any]], now: str, said: str, start: str, end: str) -> None:
    args = _plan(agents, said, now=now)["steps"][0]["args"]
    assert (args["start"], args["end"]) == (start, end)


def test_a_skipped_time_is_asked_about(agents: list[dict[str, Any]]) -> None:
    plan = _plan(agents, "Schedule a watch on 29 March at 02:30", now=EUROPE)
    assert "02:30 does not exist on Sunday 29 March 2026" in plan["question"]


def test_a_repeated_time_is_asked_about_and_settled_by_the_answer(agents: list[dict[str, Any]]) -> None:
    said = "Schedule a watch on 25 October at 02:30"
    question = _plan(agents, said, now=AUTUMN)["question"]
    assert "happens twice" in question
    settled = _plan(agents, said, question, "the second", now=AUTUMN)
    assert settled["steps"][0]["args"]["start"] == "2026-10-25T02:30:00+01:00"


@pytest.mark.parametrize(
    ("now", "said", "day"),
    [
        ("2026-12-30T10:00:00+01:00", "tomorrow", "2026-12-31"),
        ("2026-12-30T10:00:00+01:00", "the day after tomorrow", "2027-01-01"),
        ("2026-12-30T10:00:00+01:00", "Friday", "2027-01-01"),
        ("2026-12-30T10:00:00+01:00", "5 January", "2027-01-05"),
        ("2026-12-30T10:00:00+01:00", "in a week", "2027-01-06"),
        ("2026-12-30T10:00:00+01:00", "the 4th", "2027-01-04"),
        ("2026-12-30T10:00:00+01:00", "Friday next week", "2027-01-08"),
        ("2028-02-25T10:00:00+01:00", "29 February", "2028-02-29"),
        ("2026-12-30T10:00:00+01:00", "31.12.2026", "2026-12-31"),
        ("2026-12-30T10:00:00+01:00", "12/31/2026", "2026-12-31"),
        ("2026-12-30T10:00:00+01:00", "1.1.2027", "2027-01-01"),
    ],
)
def test_days_roll_over_months_and_years(agents: list[dict[str, Any]], now: str, said: str, day: str) -> None:
    plan = _plan(agents, f"weather in Rome on {said}", now=now)
    assert plan["steps"][0]["args"] == {"place": "Rome", "start": day, "end": day}


@pytest.mark.parametrize(
    ("said", "piece"),
    [
        ("on 5.12.2026 at 10am", "Tuesday 12 May 2026 or Saturday 5 December 2026"),
        ("next Friday at 10am", "27 November 2026 or Friday 4 December 2026"),
        ("on Sunday at 15:00", "Sunday 22 November 2026 or Sunday 29 November 2026"),
        ("next weekend at 10am", "Which weekend"),
        ("tomorrow at 3", "3 am or 3 pm?"),
        ("tomorrow at 9:30", "9:30 am or 9:30 pm?"),
        ("tomorrow from 2 to 4", "2 am or 2 pm?"),
        ("tomorrow at half past nine", "9:30 am or 9:30 pm?"),
        ("tomorrow at midnight", "midnight"),
        ("on 31 November at 10am", "no day"),
        ("on 1 November 2026 at 10am", "past"),
        ("on Monday at 10am tomorrow at 11am", "Which is right?"),
        ("next month at 10am", "Which day"),
        ("tomorrow at 10am and 11am", "?"),
        ("in the evening tomorrow", "At what time?"),
    ],
)
def test_what_has_two_readings_is_asked(agents: list[dict[str, Any]], said: str, piece: str) -> None:
    plan = _plan(agents, f"Schedule a review {said}", now="2026-11-22T13:00:00+01:00")
    assert piece in str(plan["question"] or plan["reply"])
    assert plan["steps"] == []


@pytest.mark.parametrize(
    ("now", "day"), [("2026-11-27T10:00:00+01:00", "2026-12-04"), ("2026-11-28T10:00:00+01:00", "2026-12-04")]
)
def test_next_friday_is_taken_where_all_readings_agree(agents: list[dict[str, Any]], now: str, day: str) -> None:
    plan = _plan(agents, "weather in Rome next Friday", now=now)
    assert plan["steps"][0]["args"]["start"] == day


@pytest.mark.parametrize(
    ("said", "start", "end"),
    [
        ("from 2 to 4pm", "14:00", "16:00"),
        ("2-4 pm", "14:00", "16:00"),
        ("from 11 to 1pm", "11:00", "13:00"),
        ("9am-10:30am", "09:00", "10:30"),
        ("between 14:00 and 15:15", "14:00", "15:15"),
        ("at 3 p.m. for half an hour", "15:00", "15:30"),
        ("at quarter to four in the afternoon", "15:45", "16:45"),
        ("at noon for an hour and a half", "12:00", "13:30"),
        ("at 12am", "00:00", "01:00"),
        ("at 8 in the evening for 2 hours", "20:00", "22:00"),
        ("at 16:00 for 1 hour 30 minutes", "16:00", "17:30"),
    ],
)
def test_times_of_day(agents: list[dict[str, Any]], said: str, start: str, end: str) -> None:
    plan = _plan(agents, f"Schedule a review tomorrow {said}", now="2026-11-22T13:00:00+01:00")
    args = plan["steps"][0]["args"]
    assert (args["start"], args["end"]) == (f"2026-11-23T{start}:00+01:00", f"2026-11-23T{end}:00+01:00")


def test_the_day_is_that_of_the_persons_zone(agents: list[dict[str, Any]]) -> None:
    """At 23:30 UTC it is already tomorrow in Tokyo."""
    plan = _plan(agents, "weather in Kyoto tomorrow", now="2026-11-22T23:30:00+00:00", timezone="Asia/Tokyo")
    assert plan["steps"][0]["args"]["start"] == "2026-11-24"
