"""A chat goes on: what "it", "the first one" and "and in Porto?" mean after what was done before."""

from __future__ import annotations

import json
from typing import Any

import pytest

from offline.answers import complete
from offline.protocol import ChatRequest
from tests.offline.conftest import planning_messages

Agents = list[dict[str, Any]]
Plan = dict[str, Any]
Turn = tuple[str, str, dict[str, Any]]
EVENT = {"event_id": "e1", "title": "Dentist", "start": "2026-11-24T10:00:00+01:00", "end": "2026-11-24T11:00:00+01:00"}
OTHER = {"event_id": "e2", "title": "Lunch", "start": "2026-11-24T12:00:00+01:00", "end": "2026-11-24T13:00:00+01:00"}
MADE = ("Put the dentist into my calendar on Tuesday from 10 to 11", "calendar.create_event", EVENT)
LISTED = ("What is on my calendar on Tuesday?", "calendar.list_events", {"events": [EVENT, OTHER]})
MAILS = ("Show me my mails from Ana", "email.search", {"messages": [{"message_id": "m1"}, {"message_id": "m2"}]})
TASK = ("Add buy milk to my list", "tasks.add", {"task_id": "t1", "title": "buy milk"})
FORECAST: Turn = ("What will the weather be in Lisbon tomorrow?", "weather.forecast", {"days": []})


def planned(agents: Agents, turn: Turn, *said: str) -> Plan:
    """The plan after a turn that made one step, and what was said then."""
    request, tool, result = turn
    messages = planning_messages(agents, request, "Done.", *said)
    step = {"id": "s1", "tool": tool, "status": "completed", "result": result}
    progress = {"role": "system", "content": f"Progress (JSON):\n{json.dumps([step])}\n\nPlan only what is new."}
    body = {"model": "offline", "messages": [*messages[:4], progress, *messages[4:]]}
    form = {"type": "json_schema", "json_schema": {"name": "plan", "schema": {}}}
    plan: Plan = json.loads(complete(ChatRequest.model_validate({**body, "response_format": form})).text)
    return plan


def step_of(plan: Plan) -> tuple[str, dict[str, Any]]:
    """The one step: its tool, and its arguments with references written short."""
    assert plan["steps"], plan
    [step] = plan["steps"]
    assert step["id"] == "s2"
    assert step["depends_on"] == []
    args = {
        name: f"{value['$from']}{value['path']}" if isinstance(value, dict) else value
        for name, value in step["args"].items()
    }
    return step["tool"], args


def tuesday(start: str, end: str = "") -> dict[str, str]:
    return {"start": f"2026-11-24T{start}:00+01:00"} | ({"end": f"2026-11-24T{end}:00+01:00"} if end else {})


@pytest.mark.parametrize(
    ("said", "times"),
    [
        ("move it to 1pm", tuesday("13:00")),
        ("Can you push it back by half an hour?", tuesday("10:30", "11:30")),
        ("make it 2 hours earlier please", tuesday("08:00", "09:00")),
        ("make it 30 minutes longer", {"end": "2026-11-24T11:30:00+01:00"}),
        ("make it 45 minutes", {"end": "2026-11-24T10:45:00+01:00"}),
        ("move that to Friday", {"start": "2026-11-27T10:00:00+01:00"}),
        ("change the appointment to Thursday at 9am", {"start": "2026-11-26T09:00:00+01:00"}),
        ("no, at 3pm instead", tuesday("15:00")),
    ],
)
def test_the_event_that_was_made_is_moved(agents: Agents, said: str, times: dict[str, str]) -> None:
    assert step_of(planned(agents, MADE, said)) == ("calendar.update_event", {"event_id": "s1/event_id", **times})


@pytest.mark.parametrize(
    ("turn", "said", "tool", "args"),
    [
        (MADE, "cancel it", "calendar.delete_event", {"event_id": "s1/event_id"}),
        (MADE, "rename it to Checkup", "calendar.update_event", {"event_id": "s1/event_id", "title": "Checkup"}),
        (LISTED, "delete the second one", "calendar.delete_event", {"event_id": "s1/events/1/event_id"}),
        (LISTED, "move the last one to 4pm", "calendar.update_event", {"event_id": "s1/events/1/event_id", **tuesday("16:00")}),
        (MAILS, "read the first one", "email.read", {"message_id": "s1/messages/0/message_id"}),
        (MAILS, "the second mail", "email.read", {"message_id": "s1/messages/1/message_id"}),
        (MAILS, "archive the last one", "email.archive", {"message_id": "s1/messages/1/message_id"}),
        (
            MAILS,
            "reply to the first one saying that I will come",
            "email.reply",
            {"message_id": "s1/messages/0/message_id", "body": "I will come"},
        ),
        (
            MAILS,
            "forward the second one to bob@example.com",
            "email.forward",
            {"message_id": "s1/messages/1/message_id", "to": ["bob@example.com"]},
        ),
        (TASK, "mark it as done", "tasks.complete", {"task_id": "s1/task_id"}),
        (TASK, "delete that", "tasks.delete", {"task_id": "s1/task_id"}),
        (MADE, "remind me of it an hour before", "tasks.remind", {"title": "Dentist", "at": "2026-11-24T09:00:00+01:00"}),
    ],
)  # fmt: skip
def test_a_thing_is_named_by_its_place(agents: Agents, turn: Turn, said: str, tool: str, args: dict[str, Any]) -> None:
    assert step_of(planned(agents, turn, said)) == (tool, args)


def test_a_reminder_at_another_time_is_another_one(agents: Agents) -> None:
    reminder = {"task_id": "t1", "title": "call Ana", "at": "2026-11-24T08:00:00+01:00", "status": "planned"}
    plan = planned(agents, ("Remind me on Tuesday at 8am to call Ana", "tasks.remind", reminder), "move it to 9am")
    assert [(step["tool"], step["depends_on"]) for step in plan["steps"]] == [
        ("tasks.cancel_reminder", []),
        ("tasks.remind", ["s2"]),
    ]
    assert plan["steps"][1]["args"] == {"title": "call Ana", "at": "2026-11-24T09:00:00+01:00"}


def test_which_of_several_is_asked_and_then_done(agents: Agents) -> None:
    question = planned(agents, LISTED, "cancel it")["question"]
    assert question == "There are 2 (Dentist at 10:00; Lunch at 12:00). Which one do you mean?"
    plan = planned(agents, LISTED, "cancel it", question, "the first one")
    assert step_of(plan) == ("calendar.delete_event", {"event_id": "s1/events/0/event_id"})


@pytest.mark.parametrize(
    ("said", "args"),
    [
        ("and in Porto?", {"place": "Porto", "start": "2026-11-23", "end": "2026-11-23"}),
        ("What about Friday?", {"place": "Lisbon", "start": "2026-11-27", "end": "2026-11-27"}),
        ("the day after tomorrow?", {"place": "Lisbon", "start": "2026-11-24", "end": "2026-11-24"}),
        ("And in Madrid on Saturday?", {"place": "Madrid", "start": "2026-11-28", "end": "2026-11-28"}),
    ],
)
def test_one_value_of_the_request_before_is_changed(agents: Agents, said: str, args: dict[str, str]) -> None:
    assert step_of(planned(agents, FORECAST, said)) == ("weather.forecast", args)


def test_changes_follow_each_other(agents: Agents) -> None:
    plan = planned(agents, FORECAST, "and in Porto?", "It is sunny.", "and on Friday?")
    assert step_of(plan)[1] == {"place": "Porto", "start": "2026-11-27", "end": "2026-11-27"}


def test_the_day_of_the_agenda_is_changed(agents: Agents) -> None:
    tool, args = step_of(planned(agents, LISTED, "and on Wednesday?"))
    assert (tool, args["start"]) == ("calendar.list_events", "2026-11-25T00:00:00+01:00")


@pytest.mark.parametrize(
    ("said", "reply"),
    [
        ("never mind", "All right, I do nothing more."), ("Forget it.", "All right, I do nothing more."),
        ("Thanks!", "You're welcome."), ("Danke", "You're welcome."), ("Vielen Dank!", "You're welcome."),
        ("undo that", 'I cannot undo in words. The button "Cancel and undo" does it, or bin/retinue cancel --undo.'),
    ],
)  # fmt: skip
def test_words_that_ask_for_nothing_get_a_short_answer(agents: Agents, said: str, reply: str) -> None:
    plan = planned(agents, MADE, said)
    assert (plan["steps"], plan["reply"]) == ([], reply)


@pytest.mark.parametrize("said", ["delete it unless Ana comes", "move it to the moon", "rename it", "forward it"])
def test_what_is_not_understood_is_not_done(agents: Agents, said: str) -> None:
    turn = MAILS if said.startswith("forward") else MADE
    assert planned(agents, turn, said)["steps"] == []


def test_a_new_request_stands_alone(agents: Agents) -> None:
    plan = planned(agents, MADE, "What is on my calendar tomorrow?")
    assert step_of(plan)[0] == "calendar.list_events"


def test_without_anything_before_it_stands_for_nothing(agents: Agents) -> None:
    messages = planning_messages(agents, "move it to 1pm")
    form = {"type": "json_schema", "json_schema": {"name": "plan", "schema": {}}}
    body = {"model": "offline", "messages": messages, "response_format": form}
    assert json.loads(complete(ChatRequest.model_validate(body)).text)["steps"] == []
