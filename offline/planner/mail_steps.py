"""Phrases about mail."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from offline.planner.calendar_steps import free, look
from offline.planner.draft import Draft, Gives, Json, Outcome, reference
from offline.planner.mail_content import Back, Content
from offline.planner.match import Match
from offline.planner.other_steps import read_page
from offline.planner.outcomes import Ask, Doubt, Refuse
from offline.planner.people import Person

_UNSENT = re.compile(r",? ?(?:but )?(?:do not|don't) send it(?: yet)?$", re.IGNORECASE)
_PAGE_SAYS = re.compile(r"what (?:the page )?(https?://\S+) says", re.IGNORECASE)
_KINDS = {
    "any": tuple(Gives),
    "forecast": (Gives.FORECAST,),
    "events": (Gives.EVENTS,),
    "event": (Gives.EVENT, Gives.EVENTS),
    "slots": (Gives.SLOTS,),
    "contacts": (Gives.CONTACTS,),
    "mail": (Gives.MAIL, Gives.MAILS),
    "page": (Gives.PAGE,),
}


@dataclass(frozen=True)
class Thing:
    """Return the data to mail that this clause itself requests."""

    match: Match
    build: Callable[[Match, Draft], None]


def send(match: Match, draft: Draft) -> None:
    """Plan a mail that is sent."""
    _write(match, draft, "email.send", "sends the mail")


def save_draft(match: Match, draft: Draft) -> None:
    """Plan a mail that stays in Drafts."""
    _write(match, draft, "email.draft", "puts the mail into Drafts")


def _write(match: Match, draft: Draft, tool: str, why: str) -> None:
    draft.require(tool)
    content = match.get("content", Content) or Content()
    people = match.get("people", tuple) or content.to
    if not people:
        raise Ask(Doubt("To whom (a name or an address)?", match.ending, match.ending), template=" to {}")
    if content.to and people is not content.to:
        raise Ask(Doubt("There are two lists of recipients. To whom shall it go?", 0, 0))
    if tool == "email.draft":
        content = replace(content, body=_UNSENT.sub("", content.body))
    gathered = _gather(match, content, draft)
    if not gathered and not content.body:
        raise Ask(Doubt("What shall the mail say?", match.ending, match.ending), template=' saying "{}"')
    to, cc = addresses(people, draft), addresses(content.cc, draft)
    subject = content.subject or content.about or _subject(gathered, content.body)
    args: dict[str, Json] = {"to": to, "subject": _one_line(subject), "body": _body(gathered, content, draft)}
    if cc:
        args["cc"] = cc
    draft.add(tool, args, why)


def _gather(match: Match, content: Content, draft: Draft) -> list[Outcome]:
    """The results that belong in the mail: those the clause asks for itself, and those it points back to."""
    gathered: list[Outcome] = []
    if page := _PAGE_SAYS.fullmatch(content.body):
        read_page(page[1], draft)
        return draft.outcomes[-1:]
    thing = match.get("thing", Thing)
    if thing is not None and not _points_back(thing, draft, gathered):
        before = len(draft.outcomes)
        thing.build(thing.match, draft)
        gathered += draft.outcomes[before:]
    for back in [*([found] if (found := match.get("thing", Back)) else []), *content.back]:
        gathered += _found_back(back, match, draft)
    return list(dict.fromkeys(gathered))


def _points_back(thing: Thing, draft: Draft, gathered: list[Outcome]) -> bool:
    """`my events` without a day means those of an earlier clause, if there is one."""
    kinds = {look: Gives.EVENTS, free: Gives.SLOTS}
    known = draft.last(kinds[thing.build]) if thing.build in kinds and thing.match.when.empty else []
    gathered += known
    return bool(known)


def _found_back(back: Back, match: Match, draft: Draft) -> list[Outcome]:
    known = draft.last(*_KINDS[back.kind])
    if known and back.kind == "any" and back.words.casefold() in ("it", "this", "that"):
        known = [outcome for outcome in known if outcome.gives is known[-1].gives]
    if not known:
        place = match.ending
        question = (
            f'What do you mean by "{back.words}"? I see nothing before it in this request that it could stand for.'
        )
        raise Ask(Doubt(f"{question} What shall the mail say?", place, place), template=' saying "{}"')
    return known


def addresses(people: tuple[Person, ...], draft: Draft) -> list[Json]:
    """The recipients of a mail: typed addresses, and references to those that are looked up by name."""
    found: list[Json] = []
    for person in people:
        if person.unknown:
            question = f'Which mail address do you mean by "{person.unknown}"?'
            raise Ask(Doubt(question, person.start, person.end))
        if person.address:
            found.append(person.address)
        else:
            step = draft.add("contacts.find", {"name": person.name}, f"finds the address of {person.name}")
            found.append(reference(step, "/match/email"))
    return found


def _subject(gathered: list[Outcome], body: str) -> str:
    if gathered:
        text = " and ".join(dict.fromkeys(outcome.label for outcome in gathered))
        return _first_up(text.removeprefix("the ").removeprefix("my "))
    line = body.split("\n", 1)[0]
    return line if len(line) <= 60 else line[:60].rsplit(" ", 1)[0] + "..."


def _first_up(text: str) -> str:
    return text[:1].upper() + text[1:]


def _one_line(text: str) -> str:
    return " ".join(text.split())[:300]


def _body(gathered: list[Outcome], content: Content, draft: Draft) -> Json:
    if not gathered:
        return content.body
    body = "" if _PAGE_SAYS.fullmatch(content.body) else content.body
    inputs: list[Json] = [_input(outcome, draft) for outcome in gathered]
    instruction = f"Write a short mail with {' and '.join(dict.fromkeys(outcome.label for outcome in gathered))}."
    if body:
        inputs.insert(0, body)
        instruction += " Begin with the first text as it is."
    step = draft.add(
        "reasoning.compose", {"instruction": instruction[:1000], "inputs": inputs}, "writes the mail's text"
    )
    return reference(step, "/text")


def _input(outcome: Outcome, draft: Draft) -> Json:
    """Return a step's result for a text.

    Weather is passed without the service's name of the place: that is a text from outside, and the person's own name
    is enough.
    """
    [step] = [step for step in draft.steps if step.id == outcome.step]
    fields = draft.result_fields(step.tool)
    if outcome.gives is not Gives.FORECAST or "place" not in fields:
        return reference(outcome.step, "")
    return {"place": step.args["place"]} | {
        name: reference(outcome.step, f"/{name}") for name in fields if name != "place"
    }


def search(match: Match, draft: Draft) -> None:
    """Plan a search through one folder."""
    args = _wish(match)
    if amount := match.get("number", int):
        args["limit"] = min(amount, 50)
    draft.note(draft.add("email.search", args, "searches the mail"), Gives.MAILS, "the mails found")


def _wish(match: Match) -> dict[str, Json]:
    # The first word is the verb, which may be "archive".
    words = f" {match.scan.typed(match.start + 1, match.end).casefold()} "
    sought = [str(value) for name, value in match.values if name in ("name", "address", "words")]
    args: dict[str, Json] = {"query": " ".join(sought)} if sought else {}
    for text in sought:
        words = words.replace(text.casefold(), " ")
    if " unread " in words or " new " in words:
        args["unread"] = True
    folders = ("inbox", "sent", "drafts", "archive")
    folder = next((name for name in folders if f" {name} " in words.replace("?", " ")), None)
    if folder and folder != "inbox":
        args["folder"] = folder
    return args


def read(match: Match, draft: Draft) -> None:
    """Plan to read the newest mail that fits."""
    found = newest(match, draft)
    args = {"message_id": reference(found, "/messages/0/message_id")}
    draft.note(draft.add("email.read", args, "reads the newest of them"), Gives.MAIL, "the mail")


def newest(match: Match, draft: Draft) -> str:
    """Plan to find the newest mail that fits; gives the step. Which mails fit is all that the clause says about it."""
    return draft.add("email.search", {**_wish(match), "limit": 1}, "finds the newest mail that fits")


def archive(match: Match, draft: Draft) -> None:
    """Plan to archive one mail."""
    _put_away(match, draft, "email.archive", "archives that mail")


def delete(match: Match, draft: Draft) -> None:
    """Plan to delete one mail."""
    _put_away(match, draft, "email.delete", "deletes that mail")


def _put_away(match: Match, draft: Draft, tool: str, why: str) -> None:
    found = newest(match, draft)
    draft.add(tool, {"message_id": reference(found, "/messages/0/message_id")}, why)


def put_away_known(match: Match, draft: Draft, tool: str) -> None:
    """Plan to archive or delete the mail that an earlier clause read: after it was read, and mailed on if asked."""
    readers = [outcome.step for outcome in draft.last(Gives.MAIL)]
    if not readers:
        refuse_many(match, draft)
    after = [step.id for step in draft.steps if readers[-1] in step.depends_on]
    draft.add(tool, {"message_id": reference(readers[-1], "/message_id")}, "puts that mail away", after)


def refuse_many(match: Match, draft: Draft) -> None:
    """One mail at a time: a slip over many cannot be undone."""
    del match, draft
    raise Refuse("I can archive or delete only one mail at a time; name the newest one, or who wrote it.")


def reply(match: Match, draft: Draft) -> None:
    """Plan an answer to the newest mail that fits."""
    draft.require("email.reply")
    content = match.get("content", Content) or Content()
    if not content.body:
        raise Ask(Doubt("What shall the reply say?", match.ending, match.ending), template=' saying "{}"')
    args: dict[str, Json] = {
        "message_id": reference(newest(match, draft), "/messages/0/message_id"),
        "body": content.body,
    }
    if match.get("all", bool):
        args["all"] = True
    draft.add("email.reply", args, "answers that mail")


def forward(match: Match, draft: Draft) -> None:
    """Plan to forward the newest mail that fits."""
    draft.require("email.forward")
    people = match.get("people", tuple) or ()
    if not people:
        raise Ask(Doubt("To whom (a name or an address)?", match.ending, match.ending), template=" to {}")
    found = newest(match, draft)
    args = {"message_id": reference(found, "/messages/0/message_id"), "to": addresses(people, draft)}
    draft.add("email.forward", args, "forwards that mail")


def refuse_dates(match: Match, draft: Draft) -> None:
    """The search knows no dates."""
    del match, draft
    raise Refuse("I can't search mail by date: I can search by words, by sender, unread, and the newest.")
