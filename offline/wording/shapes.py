"""Writes one result in English, recognised by its fields, since texts are composed from data of unknown origin."""

from collections.abc import Callable, Mapping
from datetime import tzinfo
from typing import Any

from offline.wording.times import date_text, span_text, time_text

Data = Mapping[str, Any]
_LONGEST = 6000
_SIMULATED = "These values are simulated: they are made up, not a real weather report."


def describe(value: Any, zone: tzinfo | None) -> str:
    """A result as plain text."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "\n\n".join(describe(item, zone) for item in value)
    if isinstance(value, Mapping):
        write = next((write for fields, write in _SHAPES if fields <= value.keys()), _generic)
        return write(value, zone)
    return "nothing" if value is None else str(value)


def _number(value: Any) -> str:
    return f"{value:g}" if isinstance(value, int | float) and not isinstance(value, bool) else str(value)


def weather_note(data: Data) -> str:
    """Return the notice about the source of weather values; empty for real ones without a notice."""
    notice = str(data.get("notice") or "")
    if data.get("source") == "simulated" and "simulated" not in notice.casefold():
        return f"{notice} {_SIMULATED}".strip()
    return notice


def _with_note(text: str, data: Data) -> str:
    note = weather_note(data)
    return f"{text}\nNote: {note}" if note else text


def forecast(data: Data, zone: tzinfo | None) -> str:
    """Weather per day."""
    del zone
    lines = [f"Weather for {data.get('place', 'the place')}:", *(_day(day) for day in data["days"])]
    return _with_note("\n".join(lines), data)


def _day(day: Data) -> str:
    low, high = _number(day.get("temperature_min_c")), _number(day.get("temperature_max_c"))
    rain, wind = _number(day.get("precipitation_mm")), _number(day.get("wind_kmh"))
    return f"- {date_text(day.get('date'))}: {day.get('summary')}, {low} to {high} °C, {rain} mm of rain, wind up to {wind} km/h"


def current(data: Data, zone: tzinfo | None) -> str:
    """The weather now."""
    values = f"{_number(data['temperature_c'])} °C, {_number(data.get('precipitation_mm'))} mm of rain"
    wind = _number(data.get("wind_kmh"))
    # The time of an observation stays in the place's own offset.
    del zone
    text = f"{data.get('place')} now ({time_text(data.get('time'), None)} there): {data.get('summary')}, {values}, wind {wind} km/h"
    return _with_note(text, data)


def sun(data: Data, zone: tzinfo | None) -> str:
    """The sun's day, in the place's own time."""
    del zone
    parts = [
        f"{name} {time_text(data[name], None)}" for name in ("dawn", "sunrise", "sunset", "dusk") if data.get(name)
    ]
    text = (
        f"The sun at {data.get('place')} on {date_text(data.get('date'))}: {', '.join(parts) or 'no rise and no set'}"
    )
    return _with_note(text, data)


def events(data: Data, zone: tzinfo | None) -> str:
    """A list of events."""
    if not data["events"]:
        return "There are no events in that time."
    lines = ["Events:", *(f"- {event(item, zone)}" for item in data["events"])]
    return "\n".join([*lines, "There are more than are listed here."] if data.get("truncated") else lines)


def event(data: Data, zone: tzinfo | None) -> str:
    """One event in a line."""
    text = f"{span_text(data.get('start'), data.get('end'), zone)}: {data.get('title')}"
    if data.get("location"):
        text += f", at {data['location']}"
    return text + (", repeating" if data.get("recurrence") else "")


def slots(data: Data, zone: tzinfo | None) -> str:
    """Free times."""
    if not data["slots"]:
        return "There is no free time of that length."
    return "\n".join(["Free times:", *(f"- {span_text(slot['start'], slot['end'], zone)}" for slot in data["slots"])])


def contacts(data: Data, zone: tzinfo | None) -> str:
    """People of the address book."""
    del zone
    if not data["contacts"]:
        return "No contact was found."
    lines = ["Contacts:", *(f"- {contact(item)}" for item in data["contacts"])]
    return "\n".join([*lines, "There are more than are listed here."] if data.get("truncated") else lines)


def facts(data: Data, zone: tzinfo | None) -> str:
    """What is remembered."""
    del zone
    if not data["facts"]:
        return "Nothing is remembered."
    return "\n".join(["I remember this:", *(f"- {item.get('text')} ({item.get('says')})" for item in data["facts"])])


def contact(data: Data) -> str:
    """One person in a line."""
    known = [str(data[field]) for field in ("email", "phone") if data.get(field)]
    return f"{data.get('name')}: {', '.join(known)}" if known else f"{data.get('name')}: no address, no phone number"


def mails(data: Data, zone: tzinfo | None) -> str:
    """A list of mails."""
    if not data["messages"]:
        return "No mail was found."
    return "\n".join(["Mails:", *(f"- {_mail_line(item, zone)}" for item in data["messages"])])


def _mail_line(data: Data, zone: tzinfo | None) -> str:
    mark = " (unread)" if data.get("unread") else ""
    return f'{time_text(data.get("date"), zone)}, from {data.get("from")}: "{data.get("subject")}"{mark}'


def mail(data: Data, zone: tzinfo | None) -> str:
    """A mail with its text."""
    head = [
        f"From: {data.get('from')}",
        f"Subject: {data.get('subject')}",
        f"Date: {time_text(data.get('date'), zone)}",
    ]
    attached = ", ".join(str(item.get("name")) for item in data.get("attachments") or [])
    text = str(data["text"])
    cut = ["(The text is longer than shown here.)"] if data.get("truncated") or len(text) > _LONGEST else []
    files = [f"Attachments: {attached}"] if attached else []
    return "\n".join([*head, *files, "", text[:_LONGEST], *cut])


def tasks(data: Data, zone: tzinfo | None) -> str:
    """A list of tasks."""
    if not data["tasks"]:
        return "No task was found."
    lines = ["Tasks:", *(f"- {task(item, zone)}" for item in data["tasks"])]
    return "\n".join([*lines, "There are more than are listed here."] if data.get("truncated") else lines)


def task(data: Data, zone: tzinfo | None) -> str:
    """One task in a line."""
    marks = [
        f"due {_due_text(data['due'], zone)}" if data.get("due") else "",
        f"reminder on {time_text(data['remind_at'], zone)}" if data.get("remind_at") else "",
        "done" if data.get("done") else "",
    ]
    return ", ".join([str(data.get("title")), *(mark for mark in marks if mark)])


def _due_text(due: Any, zone: tzinfo | None) -> str:
    return date_text(due) if len(str(due)) == len("2026-11-27") else time_text(due, zone)


def page(data: Data, zone: tzinfo | None) -> str:
    """A web page as text."""
    del zone
    text = str(data.get("text") or "")
    cut = "\n(The page is longer than shown here.)" if data.get("truncated") or len(text) > _LONGEST else ""
    return f"{data.get('title') or data['url']} ({data['url']}):\n{text[:_LONGEST]}{cut}"


def _text(data: Data, zone: tzinfo | None) -> str:
    del zone
    return str(data["text"])


def _person(data: Data, zone: tzinfo | None) -> str:
    del zone
    return contact(data)


def _generic(data: Data, zone: tzinfo | None) -> str:
    """Fields of an unknown result, a line each."""
    return "\n".join(f"{_label(name)}: {_inner(value, zone)}" for name, value in data.items()) or "nothing"


def _label(name: str) -> str:
    return name.replace("_", " ")


def _inner(value: Any, zone: tzinfo | None) -> str:
    if isinstance(value, list):
        return "; ".join(_inner(item, zone) for item in value) or "none"
    if isinstance(value, Mapping):
        return ", ".join(f"{_label(name)} {_inner(item, zone)}" for name, item in value.items())
    if isinstance(value, str) and len(value) > 15 and value[4:5] == "-" and value[10:11] == "T":
        return time_text(value, zone)
    return "none" if value is None else str(value)


_SHAPES: tuple[tuple[set[str], Callable[[Data, tzinfo | None], str]], ...] = (
    ({"days", "source"}, forecast),
    ({"temperature_c", "source"}, current),
    ({"sunrise", "sunset"}, sun),
    ({"events"}, events),
    ({"slots"}, slots),
    ({"contacts"}, contacts),
    ({"facts"}, facts),
    ({"messages"}, mails),
    ({"message_id", "text"}, mail),
    ({"event_id", "start", "end"}, event),
    ({"contact_id", "name"}, _person),
    ({"tasks"}, tasks),
    ({"task_id", "done"}, task),
    ({"url", "text"}, page),
    ({"text"}, _text),
)
