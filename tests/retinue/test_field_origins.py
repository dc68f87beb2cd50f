"""Whose text each field of a result is: what schemas say, and what the true values are."""

from __future__ import annotations

from typing import Any

import pytest

from retinue.plan import pointer_parts
from retinue.provenance.fields import Whose, at, field_origins, kept, texts
from tests.retinue.test_argument_references import TOOLS

TEXT = {"type": "string"}


def whose(value: Any, schema: dict[str, Any], *, other: Whose = Whose.STRANGERS) -> set[Whose]:
    """Of a field `x` of this schema."""
    fields = field_origins({"type": "object", "properties": {"x": schema}, "$defs": {"a": {"$ref": "#/$defs/a"}}})
    return set(texts({"x": value}, fields, other=other))


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        (7, {"type": "integer"}),
        (2.5, {}),
        (True, {"type": "boolean"}),
        (None, {"anyOf": [TEXT, {"type": "null"}], "format": "date"}),
        ("2027-02-03", {"type": "string", "format": "date"}),
        ("2027-02-03T09:00:00+01:00", {"type": "string", "format": "date-time"}),
        ("2027-02-03T09:00:00.5Z", {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]}),
        ("2027-02-03", {"anyOf": [{"type": "string", "format": "date-time"}, {"type": "string", "format": "date"}]}),
        ("PT1H30M", {"type": "string", "format": "duration"}),
        ("inbox", {"enum": ["inbox", "sent"]}),
        ("only", {"const": "only"}),
        ("0b5d7c3e9f3a4f5e8c1d2b3a4c5d6e7f", {"type": "string", "x-origin": "id"}),
    ],
)
def test_these_are_data_even_from_strangers(value: Any, schema: dict[str, Any]) -> None:
    assert whose(value, schema) <= {Whose.DATA}


@pytest.mark.parametrize(
    ("value", "schema"),
    [
        ("anything", TEXT),
        ("anything", {}),
        ("anything", {"type": "integer"}),
        ("2027-02-03", TEXT),
        ("2027-02-03 and obey", {"type": "string", "format": "date"}),
        ("2027-02-03\n", {"type": "string", "format": "date"}),
        ("２０２７-02-03", {"type": "string", "format": "date"}),
        ("tomorrow", {"type": "string", "format": "date-time"}),
        ("mark@attacker.example", {"type": "string", "format": "email"}),
        ("https://evil.example/obey", {"type": "string", "format": "uri"}),
        ("other", {"enum": ["inbox", "sent"]}),
        ("obey-and-mail-everything", {"type": "string", "x-origin": "id"}),
        ("anything", {"type": "string", "x-origin": "trusted"}),
        ("anything", {"anyOf": [{"type": "string", "x-origin": "own"}, TEXT]}),
        ("anything", {"$ref": "#/$defs/a"}),
        ("anything", {"$ref": "#/$defs/nowhere"}),
        (["anything"], {"type": "array", "items": TEXT}),
        ({"obey": 1}, {"type": "object"}),
        ({"known": 1, "obey": 1}, {"type": "object", "properties": {"known": {"type": "integer"}}}),
    ],
)
def test_these_may_be_strangers_words(value: Any, schema: dict[str, Any]) -> None:
    assert Whose.STRANGERS in whose(value, schema)
    assert Whose.STRANGERS not in whose(value, schema, other=Whose.OWN)


def test_what_is_said_to_be_our_own_is_with_all_that_is_in_it() -> None:
    assert whose("clear sky", {"type": "string", "x-origin": "own"}) == {Whose.OWN}
    assert whose({"any": ["thing"]}, {"type": "object", "x-origin": "own"}) == {Whose.OWN}


@pytest.mark.parametrize("width", [2, 50])
def test_a_schema_that_doubles_again_and_again_is_read_within_bounds(width: int) -> None:
    parts: dict[str, Any] = {
        f"d{n}": {"type": "object", "properties": {f"p{m}": {"$ref": f"#/$defs/d{n + 1}"} for m in range(width)}}
        for n in range(40)
    }
    fields = field_origins({"type": "object", "properties": {"x": {"$ref": "#/$defs/d0"}}, "$defs": parts})
    assert set(texts({"x": {"p0": {"p0": {"p1": "obey"}}}}, fields, other=Whose.STRANGERS)) == {Whose.STRANGERS}


def test_only_what_is_allowed_is_kept() -> None:
    schema = {
        "type": "object",
        "properties": {
            "days": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "date": {"type": "string", "format": "date"},
                        "rain": {"type": "number"},
                        "by": TEXT,
                    },
                },
            },
            "source": {"type": "string", "x-origin": "own"},
            "names": {"type": "array", "items": TEXT},
        },
    }
    value: Any = {
        "days": [{"date": "2027-02-03", "rain": 1.5, "by": "obey"}, {"date": "obey", "rain": 0, "obey": 1}],
        "source": "us",
        "names": ["obey"],
        "obey": True,
    }
    fields = field_origins(schema)
    days = [{"date": "2027-02-03", "rain": 1.5, "by": None}, {"date": None, "rain": 0}]
    assert kept(value, fields, allowed=frozenset({Whose.DATA, Whose.OWN})) == {
        "days": days,
        "source": "us",
        "names": None,
    }
    assert kept(value, fields, allowed=frozenset({Whose.DATA})) == {"days": days, "source": None, "names": None}
    assert at(fields, pointer_parts("/days/1/date")) == ["date"]
    assert at(fields, pointer_parts("/days/1/by")) is None


STRANGE_OR_NOT: dict[str, str] = {
    "calendar.create_event": "overlaps",
    "calendar.move_event": "all texts",
    "calendar.delete_events": "all texts",
    "calendar.list_events": "events/* match: title timezone location description attendees recurrence",
    "calendar.write_invitation": "all texts",
    "calendar.add_invitation": "all texts",
    "calendar.update_from_invitation": "title",
    "calendar.find_free_time": "",
    "calendar.update_event": "all texts",
    "calendar.delete_event": "all texts",
    "contacts.find": "all texts",
    "contacts.list": "all texts",
    "contacts.add": "all texts: a card that was there already may have come from anybody",
    "contacts.remove": "name",
    "email.send": "",
    "email.draft": "",
    "email.reply": "",
    "email.forward": "",
    "email.invite": "",
    "email.answer_invitation": "",
    "email.read_attachment": "all texts",
    "email.save_attachment": "name content_type",
    "email.list_files": "files/*: name content_type",
    "email.delete_file": "name",
    "email.search": "all texts",
    "email.read": "all texts",
    "email.thread": "all texts",
    "email.archive": "message_id subject",
    "email.move": "message_id subject",
    "email.delete": "message_id subject",
    "reasoning.compose": "",
    "reasoning.extract": "",
    "tasks.add": "",
    "tasks.remind": "",
    "tasks.list": "all texts",
    "tasks.complete": "all texts: a title may have been taken from a mail",
    "tasks.reopen": "all texts",
    "tasks.delete": "title",
    "tasks.delete_many": "deleted",
    "tasks.delete_list": "deleted",
    "tasks.lists": "lists",
    "tasks.move": "title list",
    "tasks.rename_list": "list to",
    "tasks.skip": "all texts",
    "tasks.cancel_reminder": "title",
    "weather.forecast": "place",
    "weather.current": "place",
    "weather.sun": "place",
    "web.fetch": "all texts",
}
"""What of each built-in tool's result may be strangers' text, as it was looked through; empty where nothing may."""


def test_every_tool_was_looked_through() -> None:
    """Who adds a tool, or says that no text of its result comes from outside, says so here as well."""
    assert TOOLS.keys() == STRANGE_OR_NOT.keys()
    trusted = {name for name, spec in TOOLS.items() if spec.annotations.trusted_output}
    assert trusted == {name for name, strange in STRANGE_OR_NOT.items() if not strange}


@pytest.mark.parametrize("name", ["weather.forecast", "weather.current", "weather.sun"])
def test_of_the_weather_the_place_alone_is_strangers(name: str) -> None:
    schema = TOOLS[name].result_schema
    fields = field_origins(schema)
    strange = {field for field in schema["properties"] if at(fields, [field]) is None}
    assert strange == {"place"}
