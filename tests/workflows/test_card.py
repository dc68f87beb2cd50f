"""The card of an action: destinations whole and first, then what is changed and removed, then the texts."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import JsonValue

import activities
from retinue.capability import ToolSpec
from retinue.plan import PlanStep, bind_call
from workflows.rules.card import (
    TEXT_SHOWN,
    Advice,
    Card,
    CardLine,
    Form,
    Known,
    Role,
    Subject,
    card_of,
    explained,
    rendered,
)
from workflows.rules.provenance import Origin, Source
from workflows.steps.records import summary

TOOLS = {spec.name: spec for name in activities.folders() for spec in activities.load(name).CONTRACT.manifest().tools}
START, MOVED = "2031-03-03T09:00:00+00:00", "2031-03-04T15:30:00+00:00"
GUESTS = ["ana@example.com", "ben@example.com", "cleo@example.com", "dora@example.com"]
EVENT: dict[str, Any] = {
    "event_id": "e1",
    "title": "Board meeting",
    "start": START,
    "end": "2031-03-03T10:00:00+00:00",
    "location": "Room 2",
    "attendees": GUESTS,
}


def subject(tool: str, **more: Any) -> Subject:
    """What the manifest of an own tool says of it."""
    spec = TOOLS[tool]
    notes = spec.annotations
    return Subject(schema=spec.args_schema, sensitive=notes.sensitive, undo=notes.undo, **more)


def card(tool: str, args: dict[str, Any], **more: Any) -> Card:
    return card_of(args, subject(tool, **more))


def text(tool: str, args: dict[str, Any], **more: Any) -> list[str]:
    return rendered(TOOLS[tool].title, card(tool, args, **more)).splitlines()


def changed(args: dict[str, Any], found: dict[str, Any] | None = None, problem: str = "") -> list[str]:
    """The card of a change of the event."""
    known = Known("e1", found=EVENT if found is None and not problem else found, problem=problem)
    return text("calendar.update_event", {"event_id": "e1"} | args, things={"event_id": known})


def line(shown: Card, name: str) -> CardLine:
    return next(one for one in shown.lines if one.argument.strip("/") == name)


# --- the order


MAIL = {"body": "Hello", "subject": "Numbers", "cc": ["ben@example.com"], "to": ["ana@example.com"]}


def test_destinations_come_first_and_texts_last_whatever_the_model_wrote_first() -> None:
    for args in (MAIL, dict(reversed(MAIL.items()))):
        assert text("email.send", args) == [
            "Send a mail",
            "to: ana@example.com",
            "cc: ben@example.com",
            "subject: Numbers",
            "body: Hello",
        ]


def test_a_tool_of_which_nothing_is_known_is_shown_by_names_and_with_its_texts_last() -> None:
    args: dict[str, Any] = {"zone": "UTC", "text": "x" * 300, "amount": 3}
    assert [one.argument for one in card_of(args, Subject(schema={})).lines] == ["amount", "zone", "text"]


LONGEST = f"{'a' * 64}@{'.'.join(['b' * 60] * 3)}.attacker.example"


@pytest.mark.parametrize("address", [LONGEST, "https://news.example/" + "p" * 3000 + "?to=evil.example"])
def test_no_destination_is_ever_cut(address: str) -> None:
    args = {"body": "Hello\n" * 5000, "subject": "s" * 500, "to": [address] * 50}
    origins = [Origin(path="/to/0", source=Source.MODEL, trusted=False)]
    shown = card("email.send", args, origins=origins)
    assert shown.lines[0].values == [address] * 50
    assert rendered("Send a mail", shown).splitlines()[1] == f"to: {', '.join([address] * 50)}"
    assert f"to {address}: chosen by the model" in explained(shown, [])


def test_a_long_text_is_shortened_after_the_destinations_with_a_mark_and_its_length() -> None:
    shown = text("email.send", MAIL | {"body": "b" * 60_000})
    assert shown[1:3] == ["to: ana@example.com", "cc: ben@example.com"]
    assert shown[-2:] == [
        f"body: {'b' * TEXT_SHOWN}",
        f"    [shortened: {TEXT_SHOWN} of 60000 characters are shown; the arguments hold all of it]",
    ]


def test_an_encoded_domain_is_shown_as_it_reads() -> None:
    assert text("email.send", MAIL | {"to": ["a@xn--bcher-kva.example"]})[1] == (
        "to: a@xn--bcher-kva.example (that is a@bücher.example)".replace("a@bücher", "bücher")
    )


def test_a_text_that_a_tool_calls_a_destination_stays_a_text() -> None:
    told = Subject(schema={}, sensitive=("/message", "/channel"))
    shown = card_of({"message": "Dear all,\nhello", "channel": "#team"}, told)
    assert [(one.argument, one.role) for one in shown.lines] == [
        ("/channel", Role.DESTINATION),
        ("message", Role.TEXT),
    ]


# --- what is changed and removed


def test_an_emptied_list_says_whom_it_removes() -> None:
    assert f"attendees: (removes all 4: {', '.join(GUESTS)})" in changed({"attendees": []})


def test_a_replaced_list_says_whom_it_drops() -> None:
    shown = changed({"attendees": ["ana@example.com", "new@example.com"]})
    assert shown[1:3] == [
        "attendees: ana@example.com, new@example.com",
        f"    (removes 3 of 4: {', '.join(GUESTS[1:])})",
    ]


def test_an_emptied_text_says_what_it_removes() -> None:
    assert "location: (removes: Room 2)" in changed({"location": ""})


@pytest.mark.parametrize("name", ["attendees", "location"])
def test_an_empty_value_where_nothing_is_removes_nothing(name: str) -> None:
    """Readings leave out what is as it is by default."""
    bare = {"event_id": "e1", "title": "Board meeting"}
    fields = frozenset(TOOLS["calendar.look_up"].result_schema["properties"])
    things = {"event_id": Known("e1", found=bare, fields=fields)}
    emptied = {"event_id": "e1", name: [] if name == "attendees" else ""}
    assert f"{name}: (nothing is there now)" in text("calendar.update_event", emptied, things=things)


@pytest.mark.parametrize("value", [[], ""])
def test_what_is_emptied_is_said_also_where_nobody_could_read_what_is_there(value: Any) -> None:
    name = "attendees" if value == [] else "location"
    assert f"{name}: (removes what is there)" in changed({name: value}, problem="no worker answered")


def test_what_is_left_as_the_tool_has_it_by_default_removes_nothing() -> None:
    assert text("email.send", MAIL | {"cc": [], "in_reply_to": None})[2:] == ["subject: Numbers", "body: Hello"]
    assert [one for one in changed({"title": "Board", "attendees": None}) if one.startswith("attendees")] == []


def test_an_empty_value_of_a_foreign_tool_is_shown() -> None:
    schema = {"properties": {"issue_id": {}, "labels": {"type": "array"}, "due": {"type": "string"}}}
    shown = card_of({"issue_id": 7, "labels": [], "due": None}, Subject(schema=schema))
    assert [(one.argument, one.note) for one in shown.lines] == [("labels", "empty"), ("due", "empty")]


def test_a_changed_value_stands_beside_what_is_there_now() -> None:
    shown = changed({"start": MOVED, "title": "Board meeting"})
    assert shown[-2:] == ["start: Tue 2031-03-04 15:30 +00:00", "    (now: Mon 2031-03-03 09:00 +00:00)"]
    assert shown[-4:-2] == ["title: Board meeting", "    (as it is now)"]


def test_what_a_mail_answers_is_not_taken_for_what_is_changed() -> None:
    answered: dict[str, Any] = {
        "message_id": "m1",
        "from": "eve@example.com",
        "to": ["me@example.com"],
        "subject": "Old",
    }
    things = {"in_reply_to": Known("m1", found=answered)}
    shown = text("email.send", MAIL | {"in_reply_to": "m1"}, things=things)
    assert "to: ana@example.com" in shown
    assert [one for one in shown if one.startswith("    (")] == []
    assert "    which is from eve@example.com; to me@example.com; subject Old (others may have written this)" in shown


# --- what an id stands for


def test_an_id_is_shown_as_what_it_stands_for_after_the_destinations() -> None:
    shown = changed({"attendees": ["ana@example.com"]})
    assert shown[1].startswith("attendees:")
    assert shown[3:5] == [
        "event id: e1",
        "    which is title Board meeting; start Mon 2031-03-03 09:00 +00:00; end Mon 2031-03-03 10:00 +00:00; "
        f"location Room 2; attendees {', '.join(GUESTS)} (others may have written this)",
    ]


def test_what_strangers_wrote_into_it_forges_no_line_and_is_bounded() -> None:
    evil: dict[str, Any] = {
        "event_id": "e1",
        "title": "Lunch\nto: nobody\u202e\x1b[2J" + "x" * 5000,
        "attendees": ["e@x"] * 100,
    }
    shown = changed({"location": "Room 3"}, found=evil)
    assert [one for one in shown if one.startswith("to:")] == []
    assert max(map(len, shown)) < 400
    assert "and 90 more" in "".join(shown)
    assert not {"\u202e", "\x1b"} & set("".join(shown))


def test_an_id_that_could_not_be_read_says_so_in_words() -> None:
    shown = changed({"location": "Room 3"}, problem="no worker of calendar answered in time")
    assert "    what it refers to could not be read: no worker of calendar answered in time" in shown


def test_an_id_of_which_nothing_is_known_says_so_too() -> None:
    shown = rendered("Close", card_of({"issue_id": "4711"}, Subject(schema={})))
    assert shown.splitlines() == ["Close", "issue id: 4711", "    what it refers to is not known here"]


def test_an_id_that_was_changed_by_hand_is_not_shown_as_the_thing_before() -> None:
    things = {"event_id": Known("e1", found=EVENT)}
    shown = text("calendar.delete_event", {"event_id": "e2"}, things=things)
    assert shown[1:] == ["event id: e2", "    you changed it, and what it refers to was not read"]


# --- what belongs to it


def test_a_mail_and_an_event_are_known_as_such() -> None:
    assert card("email.send", MAIL).form is Form.MAIL
    assert card("calendar.create_event", {"title": "x", "start": START, "end": MOVED}).form is Form.EVENT
    assert card("calendar.update_event", {"event_id": "e1", "title": "x"}).form is Form.EVENT
    assert card("tasks.delete", {"task_id": "t1"}).form is Form.OTHER


def test_reasons_origins_and_undo_stand_below_it() -> None:
    origin = Origin(path="/to/0", source=Source.STRANGERS, step_id="s1", tool="email.read", trusted=False)
    shown = card("email.send", MAIL, origins=[origin])
    assert explained(shown, ["it reaches other people or systems"]).splitlines() == [
        "Asked because:",
        "- it reaches other people or systems",
        "Where the values come from:",
        "- to ana@example.com: from step s1 (email.read), which may hold the words of strangers",
        "It cannot be undone.",
    ]
    assert "It cannot be undone." not in explained(shown, ["it cannot be undone"])
    assert card("calendar.delete_event", {"event_id": "e1"}).undo == "It can be undone (calendar.restore_event)."


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)


@example(args={"": [], "/": []}, found={})
@given(st.dictionaries(st.text(max_size=10), JSON, max_size=5), st.dictionaries(st.text(max_size=10), JSON, max_size=5))
def test_whatever_the_arguments_and_the_thing_are_a_card_comes_of_it(
    args: dict[str, Any], found: dict[str, Any]
) -> None:
    for name in args or {"x": None}:
        about = Subject(schema={}, sensitive=("/to",), things={name: Known(args.get(name), found=found)})
        assert rendered("Do", card_of(args, about)).startswith("Do")


@pytest.mark.parametrize(
    ("to", "told"),
    [
        (["ana@example.com", "ben@example.com"], "email.send to ana@example.com, ben@example.com"),
        ([f"guest{number}@example.com" for number in range(9)], "and 5 more"),
        ([LONGEST.replace("b" * 60, "b")], "…@b.b.b.attacker.example"),
    ],
)
def test_a_summary_tells_whole_destinations_or_their_domain(to: list[JsonValue], told: str) -> None:
    spec = TOOLS["email.send"]
    step = bind_call(PlanStep(id="s1", tool="email.send"), spec, capability="email", task_queue="email")
    assert told in summary(step, {"to": to})


OF_PLANS = [spec for spec in TOOLS.values() if spec.plannable and not spec.annotations.read_only]


@pytest.mark.parametrize("spec", OF_PLANS, ids=lambda spec: spec.name)
def test_every_id_in_an_action_of_ours_can_be_looked_up(spec: ToolSpec) -> None:
    ids = {name for name in spec.args_schema.get("properties", {}) if name.endswith("_id")}
    assert ids <= set(spec.annotations.lookups)
    for argument, name in spec.annotations.lookups.items():
        reader = TOOLS[name]
        assert argument in spec.args_schema["properties"]
        assert name.partition(".")[0] == spec.name.partition(".")[0]
        assert (reader.annotations.read_only, len(reader.args_schema["properties"])) == (True, 1)


def of_tasks(**known: Known) -> Subject:
    return Subject(schema=TOOLS["tasks.delete_many"].args_schema, things=known, undo="tasks.restore")


def test_each_thing_of_a_list_of_ids_is_named() -> None:
    things = {
        "task_ids/0": Known("t1", found={"task_id": "t1", "title": "Milk", "due": "2026-11-27"}, by_others=False),
        "task_ids/1": Known("t2", problem="there is no such task"),
    }
    args: dict[str, JsonValue] = {"task_ids": ["t1", "t2"]}
    shown = card_of(args, of_tasks(**things))

    assert rendered("Delete several tasks", shown).splitlines() == [
        "Delete several tasks",
        "1 of 2: t1",
        "    which is title Milk; due 2026-11-27",
        "2 of 2: t2",
        "    what it refers to could not be read: there is no such task",
    ]


def test_of_an_edited_list_only_what_was_read_is_named() -> None:
    things = {
        "task_ids/0": Known("t1", found={"title": "Milk"}),
        "task_ids/1": Known("t2", found={"title": "Eggs"}),
    }
    text = rendered("Delete several tasks", card_of({"task_ids": ["t2", "t9"]}, of_tasks(**things)))

    assert "Milk" not in text
    assert "which is title Eggs" in text
    assert "2 of 2: t9\n    you added it, and what it refers to was not read" in text


def test_a_list_of_ids_that_nobody_read_is_an_argument() -> None:
    assert "task ids: t1, t2" in rendered("Delete", card_of({"task_ids": ["t1", "t2"]}, of_tasks()))


@pytest.mark.parametrize(("start", "shown"), [("2026-11-27T12:00:00Z", True), ("2026-11-27T14:00:00Z", False)])
def test_a_note_is_shown_for_the_arguments_that_it_is_about(start: str, shown: bool) -> None:
    advice = Advice({"start": "2026-11-27T12:00:00Z"}, ["it overlaps with D\u202eentist"], by_others=True)
    args: dict[str, JsonValue] = {"title": "Tea", "start": start}
    text = rendered("Create", card_of(args, Subject(schema={}, advice=advice)))

    note = "Note: it overlaps with D<U+202E>entist (others may have written this)"
    assert (note in text.splitlines()) is shown
