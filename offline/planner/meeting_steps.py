"""Phrases about meetings in mails: add them to the calendar, and reply to the sender."""

from offline.planner.draft import Draft, Gives, Json, reference
from offline.planner.mail_steps import newest
from offline.planner.match import Match
from offline.planner.outcomes import Refuse

_FIELDS: list[Json] = [
    {"name": "title", "kind": "text"},
    {"name": "start", "kind": "moment"},
    {"name": "end", "kind": "moment"},
]


def enter(match: Match, draft: Draft) -> None:
    """Plan to read the newest mail and to enter the meeting of which it speaks."""
    draft.require("reasoning.extract")
    draft.require("calendar.create_event")
    found = newest(match, draft)
    mail = draft.add(
        "email.read", {"message_id": reference(found, "/messages/0/message_id")}, "reads the newest of them"
    )
    draft.note(mail, Gives.MAIL, "the mail")
    wanted: dict[str, Json] = {
        "instruction": "The meeting that this mail proposes.",
        "inputs": [reference(mail, "")],
        "fields": _FIELDS,
        "timezone": match.scan.zone.key,
    }
    values = draft.add("reasoning.extract", wanted, "reads when the meeting is")
    event = {name: reference(values, f"/values/{name}") for name in ("title", "start", "end")}
    draft.note(draft.add("calendar.create_event", event, "enters the meeting"), Gives.EVENT, "the meeting")


def confirm(match: Match, draft: Draft) -> None:
    """Plan an answer to the mail whose meeting was entered."""
    del match
    draft.require("email.send")
    mails, events = draft.last(Gives.MAIL), draft.last(Gives.EVENT)
    if not mails or not events:
        raise Refuse(
            'I see no meeting of a mail before that. Say "Put the meeting from the newest mail into my calendar".'
        )
    mail, event = mails[-1].step, events[-1].step
    text = draft.add(
        "reasoning.compose",
        {"instruction": "Write a short mail that confirms this meeting.", "inputs": [reference(event, "")]},
        "writes the mail's text",
    )
    answer: dict[str, Json] = {
        "to": [reference(mail, "/from")],
        "subject": "Confirmed",
        "body": reference(text, "/text"),
        "in_reply_to": reference(mail, "/message_id"),
    }
    draft.add("email.send", answer, "confirms it to who wrote")
