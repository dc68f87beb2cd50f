"""Cases are read from YAML; what is wrong in one is said with its line."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from cli.evaluation import cases
from cli.evaluation.command import SHIPPED
from cli.evaluation.dates import Clock, check, next_monday
from cli.exits import WrongUsage

GOOD = """\
- id: add-milk
  area: tasks
  request: Add milk to my list
  expect:
    added:
      - task: {title: {has: milk}}
"""
MONDAY = datetime(2027, 3, 1, 8, tzinfo=UTC)


def written(folder: Path, text: str) -> Path:
    """A file of cases."""
    file = folder / "cases.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_every_shipped_case_can_be_read() -> None:
    found = cases.read([SHIPPED])
    assert len(found) >= 60
    areas = {
        "calendar",
        "email",
        "contacts",
        "tasks",
        "memory",
        "weather",
        "web",
        "plans",
        "questions",
        "chat",
        "out-of-scope",
    }
    assert {case.area for case in found} >= areas
    assert sum(case.hostile for case in found) >= 6


@pytest.mark.parametrize(
    ("old", "new", "line", "says"),
    [
        ("area: tasks", "area: tasks\n  colour: red", 3, "there is no such field"),
        ("  request: Add milk to my list\n", "", 1, "`request`: it is missing"),
        ("{title: {has: milk}}", "{name: milk}", 6, "task has no field 'name'; it has title, due"),
        ("task:", "errand:", 6, "there is no kind 'errand'; there are event, mail, file, contact, fact, task"),
        ("{title: {has: milk}}", "{due: thursdy}", 6, "'thursdy' is not a time; write a day and a time"),
        ("{title: {has: milk}}", "{remind_at: thursday 25:00}", 6, "'thursday 25:00' is not a time"),
        ("  expect:", "  timezone: Berlin\n  expect:", 1, "there is no time zone 'Berlin'"),
        ("  expect:", "  world:\n    events:\n      - {title: A, start: monday}\n  expect:", 6, "needs a time of day"),
        ("  expect:", "  world:\n    weather: {Atlantis: {}}\n  expect:", 5, "input should be 'Berlin'"),
        ("{has: milk}", "{has: milk", 7, "this is not YAML"),
        ("Add milk", "Add: milk", 3, "quote texts that hold ': '"),
        (GOOD, "id: one", 1, "a file of cases is a list; begin each case with '- id: ...'"),
        (GOOD, "- just text", 1, "valid dictionary"),
        (GOOD, GOOD + GOOD, 7, "the id 'add-milk' is taken by"),
    ],
)
def test_what_is_wrong_is_said_with_its_line(tmp_path: Path, old: str, new: str, line: int, says: str) -> None:
    assert old in GOOD
    file = written(tmp_path, GOOD.replace(old, new, 1))
    with pytest.raises(WrongUsage) as raised:
        cases.read([file])
    assert str(raised.value).startswith(f"{file}:{line}:")
    assert says in str(raised.value)


def test_words_and_numbers_are_texts(tmp_path: Path) -> None:
    text = GOOD.replace("  expect:", "  then: [yes, no, 12, 2027-03-01]\n  expect:").replace("{has: milk}", "{has: 23}")
    [case] = cases.read([written(tmp_path, text)])
    assert case.then == ["yes", "no", "12", "2027-03-01"]
    assert case.expect.added[0].fields["title"] == cases.Holds(has=["23"])


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(WrongUsage, match=r"nothing\.yaml cannot be read"):
        cases.read([tmp_path / "nothing.yaml"])
    with pytest.raises(WrongUsage, match=r"has no \.yaml file"):
        cases.read([tmp_path])


def test_two_cases_cannot_want_other_weather_at_the_same_place(tmp_path: Path) -> None:
    sky = "  world: {weather: {Oslo: {tomorrow: {rain: RAIN}}}}\n"
    one = GOOD.replace("  expect:", sky.replace("RAIN", "1") + "  expect:")
    two = one.replace("add-milk", "add-eggs").replace("rain: 1", "rain: 2")
    with pytest.raises(WrongUsage, match=r"Oslo has other weather tomorrow at .*:1; all cases share one sky"):
        cases.read([written(tmp_path, one + two)])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("today 17:30", "2027-03-01T17:30:00+01:00"),
        ("tomorrow 09:00", "2027-03-02T09:00:00+01:00"),
        ("yesterday 12:00", "2027-02-28T12:00:00+01:00"),
        ("thursday 15:00", "2027-03-04T15:00:00+01:00"),
        ("monday 15:00", "2027-03-08T15:00:00+01:00"),  # today's own weekday is in a week
        ("in 28 days 08:00", "2027-03-29T08:00:00+02:00"),  # summer time has begun
        ("2 days ago 23:59", "2027-02-27T23:59:00+01:00"),
    ],
)
def test_days_count_from_the_clock(text: str, expected: str) -> None:
    assert Clock(MONDAY, "Europe/Berlin").moment(text).isoformat() == expected


def test_a_day_without_a_time_is_a_date() -> None:
    assert Clock(MONDAY, "Europe/Berlin").at("friday") == date(2027, 3, 5)


def test_texts_name_days() -> None:
    clock = Clock(MONDAY, "Europe/Berlin")
    assert clock.filled("on {day thursday} ({iso in 3 days})") == "on 4 March 2027 (2027-03-04)"


@pytest.mark.parametrize("text", ["", "thursday15:00", "noon", "tomorrow 9:00", "tomorrow 09:60", "2027-03-01"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a time"):
        check(text)


@pytest.mark.parametrize("now", ["2027-02-28T23:30:00+00:00", "2027-02-26T12:00:00+00:00", "2027-02-23T00:00:00+00:00"])
def test_an_evaluation_begins_on_a_monday(now: str) -> None:
    monday = next_monday(datetime.fromisoformat(now), "UTC")
    assert (monday.weekday(), monday.hour) == (0, 9)
    assert 0 < (monday - datetime.fromisoformat(now)).days + 1 <= 7
