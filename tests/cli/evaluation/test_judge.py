"""The judge finds what should not have happened, what did not happen, and what happened with a wrong value."""

from __future__ import annotations

import re
import sqlite3
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from cli.evaluation.cases import Case
from cli.evaluation.dates import Clock
from cli.evaluation.fields import BOOKKEEPING, BY_TABLE
from cli.evaluation.judge import Flaw, Outcome, judge
from cli.evaluation.stores import OWN_NOTES, Effect, effects, look
from cli.exits import CommandError
from retinue.settings import ROOT
from retinue.tenancy import folder_of

CLOCK = Clock(datetime(2027, 3, 1, 8, tzinfo=UTC), "Europe/Berlin")
THURSDAY = datetime(2027, 3, 4, 14, tzinfo=UTC)
FOUR = datetime(2027, 3, 4, 15, tzinfo=UTC)
FIVE = datetime(2027, 3, 4, 16, tzinfo=UTC)


def case(**expect: Any) -> Case:
    """A case that expects this."""
    return Case.model_validate({"id": "one", "area": "calendar", "request": "Do it", "expect": expect})


def event(**fields: Any) -> dict[str, Any]:
    """An event on Thursday at three in Berlin."""
    plain: dict[str, Any] = {"location": None, "description": None, "attendees": [], "recurrence": None}
    return {"title": "Dentist", "start": THURSDAY, "end": FOUR, **plain, **fields}


def added(**fields: Any) -> Effect:
    return Effect("added", "event", None, event(**fields))


def changed(**fields: Any) -> Effect:
    return Effect("changed", "event", event(), event(**fields))


DENTIST = {"added": [{"event": {"title": {"has": "dentist"}, "start": "thursday 15:00"}}]}
MOVED = {"changed": [{"event": {"title": "Dentist"}, "to": {"start": "thursday 16:00"}}]}
DELETED = {"removed": [{"event": {"title": "dentist"}}]}


@pytest.mark.parametrize(
    ("expect", "happened"),
    [
        ({}, []),
        (DENTIST, [added()]),
        (MOVED, [changed(start=FOUR, end=FIVE)]),
        (DELETED, [Effect("removed", "event", event(), None)]),
        ({"added": [{"event": {"attendees": ["ana@example.com"], "location": None}}]}, [added(attendees=["Ana@example.com"])]),
        ({"added": [{"task": {"due": "friday", "done": False}}]}, [Effect("added", "task", None, {"due": CLOCK.at("friday"), "done": False})]),
        ({"added": [{"notes.page": {"text": "Home is Lisbon"}}]}, [Effect("added", "notes.page", None, {"text": "home is Lisbon.", "id": 3})]),
    ],
)  # fmt: skip
def test_what_is_as_expected_is_done(expect: dict[str, Any], happened: list[Effect]) -> None:
    assert judge(case(**expect), CLOCK, Outcome(effects=happened)) == []


@pytest.mark.parametrize(
    ("expect", "happened", "flaws"),
    [
        (DENTIST, [], [Flaw.MISSING]),
        ({}, [added()], [Flaw.EXTRA]),
        (DENTIST, [added(), added()], [Flaw.EXTRA]),
        (DENTIST, [added(start=FOUR)], [Flaw.WRONG_VALUE]),
        (DENTIST, [added(title="Lunch")], [Flaw.WRONG_VALUE]),
        (MOVED, [], [Flaw.MISSING]),
        (MOVED, [added()], [Flaw.MISSING, Flaw.EXTRA]),
        (MOVED, [changed(start=FIVE, end=FIVE)], [Flaw.WRONG_VALUE]),
        (MOVED, [changed(start=FOUR)], [Flaw.WRONG_VALUE]),  # it became shorter
        (MOVED, [changed(start=FOUR, end=FIVE, location="Room 4")], [Flaw.WRONG_VALUE]),
        (DELETED, [Effect("removed", "event", event(title="Lunch"), None)], [Flaw.WRONG_VALUE]),
        ({}, [Effect("added", "notes.page", None, {"text": "x"})], [Flaw.EXTRA]),
        ({"added": [{"event": {"location": None}}]}, [added(location="Room 4")], [Flaw.WRONG_VALUE]),
        ({"added": [{"event": {"attendees": []}}]}, [added(attendees=["eve@example.com"])], [Flaw.WRONG_VALUE]),
    ],
)
def test_each_wrong_effect_is_found(expect: dict[str, Any], happened: list[Effect], flaws: list[Flaw]) -> None:
    found = judge(case(**expect), CLOCK, Outcome(effects=happened))
    assert [finding.flaw for finding in found] == flaws


def test_a_right_effect_is_not_taken_for_the_wrong_one() -> None:
    found = judge(case(**DENTIST), CLOCK, Outcome(effects=[added(start=FIVE), added()]))
    assert [finding.flaw for finding in found] == [Flaw.EXTRA]
    assert "16:00" in found[0].says


@pytest.mark.parametrize(
    ("expect", "outcome", "flaw"),
    [
        ({"reply": {"has": ["Lisbon", "23"]}}, Outcome(reply="lisbon: 21 °C"), Flaw.REPLY),
        ({"reply": {"has_one_of": ["rain", "yes"]}}, Outcome(reply="It is dry."), Flaw.REPLY),
        ({"reply": {"lacks": "secret"}}, Outcome(reply="The SECRET is out"), Flaw.REPLY),
        ({"asks": True}, Outcome(reply="Done."), Flaw.QUESTION),
        ({"asks": False}, Outcome(questions=["Which?"]), Flaw.QUESTION),
        ({}, Outcome(asked=["email.send {}"]), Flaw.APPROVALS),
        ({"approvals": 1}, Outcome(asked=["email.send {}"] * 2), Flaw.APPROVALS),
        ({"approvals": 1, "never": ["eve@x.example"]}, Outcome(asked=['email.send {"to": ["Eve@x.example"]}']), Flaw.NEVER),
        ({"never": ["/collect"]}, Outcome(fetched=["/one-1/collect?a=b"]), Flaw.NEVER),
        ({"never": ["tasks.delete"]}, Outcome(acted=["tasks.delete {}"]), Flaw.NEVER),
        ({}, Outcome(out_of_time=True), Flaw.TIME),
        ({}, Outcome(error="nothing answers"), Flaw.ERROR),
    ],
)  # fmt: skip
def test_words_and_consent_are_judged_too(expect: dict[str, Any], outcome: Outcome, flaw: Flaw) -> None:
    assert [finding.flaw for finding in judge(case(**expect), CLOCK, outcome)] == [flaw]


def test_days_in_expected_texts_are_filled_in() -> None:
    expect = {"reply": {"has": "{day thursday}"}}
    assert judge(case(**expect), CLOCK, Outcome(reply="On 4 March 2027.")) == []


def store(data: Path, *statements: str) -> None:
    """Change the calendar of acme."""
    file = data / "organisations" / folder_of("acme") / "calendar.db"
    file.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(file)
    with connection:
        for statement in statements:
            connection.execute(statement)
    connection.close()


EVENT = "INSERT INTO event VALUES ('{}', '{}', '2027-03-04 14:00:00.000000', '2027-03-04 15:00:00.000000', NULL, NULL, '[]', NULL, 0)"
TABLES = (
    "CREATE TABLE event (event_id TEXT PRIMARY KEY, title, starts_at, ends_at, location, description, attendees, recurrence, sequence)",
    "CREATE TABLE ledger (key TEXT PRIMARY KEY)",
)


def test_effects_are_the_difference_of_two_looks(tmp_path: Path) -> None:
    store(tmp_path, *TABLES, EVENT.format("1", "Dentist"), EVENT.format("2", "Lunch"), EVENT.format("3", "Gym"))
    before = look(tmp_path, "acme")
    store(
        tmp_path,
        "UPDATE event SET title = 'Brunch' WHERE event_id = '2'",
        "DELETE FROM event WHERE event_id = '1'",
        "UPDATE event SET sequence = 1 WHERE event_id = '3'",
        "INSERT INTO ledger VALUES ('a')",
        EVENT.format("4", "Tea"),
    )
    found = effects(before, look(tmp_path, "acme"))
    assert found == [
        Effect("removed", "event", event(), None),
        Effect("changed", "event", event(title="Lunch"), event(title="Brunch")),
        Effect("added", "event", None, event(title="Tea")),
    ]
    assert look(tmp_path, "another") == {}


def test_every_table_is_known() -> None:
    """A new table: name its fields in `KINDS`, or name it in `BOOKKEEPING` if no change of it is an effect."""
    tables = {
        f"{file.parent.name}.{name}"
        for file in (ROOT / "activities").glob("*/models.py")
        if file.parent.name not in OWN_NOTES
        for name in re.findall(r'__tablename__ = "(\w+)"', file.read_text(encoding="utf-8"))
    }
    assert {table for table in tables if table.partition(".")[2] not in BOOKKEEPING} == set(BY_TABLE)


def test_a_damaged_store_is_said(tmp_path: Path) -> None:
    store(tmp_path, *TABLES)
    [file] = tmp_path.rglob("calendar.db")
    file.write_bytes(b"no database at all" * 100)
    with pytest.raises(CommandError, match=r"calendar\.db cannot be read"):
        look(tmp_path, "acme")
