"""Phrases about mail."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from offline.planner.calendar_phrases import EVENTS_NOUN, FREE_NOUN, agenda, delete_known, free
from offline.planner.draft import Draft, Gives, Json, Outcome, reference
from offline.planner.mail_content import Back, Content, back_slot, content_slot
from offline.planner.outcomes import Ask, Doubt, Refuse
from offline.planner.patterns import Match, Matcher
from offline.planner.rules import Rule
from offline.planner.scan import Scan
from offline.planner.slots import READERS, Person
from offline.planner.weather_phrases import FORECAST_NOUN, forecast

_MAIL = "(email|e-mail|mail|message)"
_MAILS = "(emails|e-mails|mails|mail|messages|email)"
_NEWEST = "(newest|latest|last|most recent)"
_SHOW = "(show|list|find|search|search for|get|give|look for|look up|read|check|see|open) [me] [for]"
_FOLDER = "in [my|the] (inbox|sent|drafts|archive) [folder|mail]"
_ABOUT = "(about|with|containing|mentioning|regarding|on|for|that mention)"
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


def _thing(scan: Scan, at: int, end: int) -> Iterable[tuple[int, object]]:
    """`the weather in Rome tomorrow`, `my events on Friday`, longest first, or words that point back."""
    matcher = Matcher(scan.until(end), READERS)
    found: list[tuple[int, object]] = []
    for pattern, build in ((FORECAST_NOUN, forecast), (EVENTS_NOUN, agenda), (FREE_NOUN, free)):
        found += [(match.end, Thing(match, build)) for match in matcher.prefixes(pattern, at, end)]
    found += list(back_slot(scan, at, end))
    # Words that point back come first at the same length: "my events" may stand for an earlier clause.
    yield from sorted(found, key=lambda pair: (-pair[0], isinstance(pair[1], Thing)))


MAIL_READERS = {"content": content_slot, "thing": _thing}


def send(match: Match, draft: Draft) -> None:
    """Plan a mail that is sent."""
    _write(match, draft, "email.send", "sends the mail")


def save_draft(match: Match, draft: Draft) -> None:
    """Plan a mail that stays in Drafts."""
    _write(match, draft, "email.draft", "puts the mail into Drafts")


def tell(match: Match, draft: Draft) -> None:
    """Plan a mail whose text is the rest of the clause."""
    _write(match, draft, "email.send", "sends the mail")


def _write(match: Match, draft: Draft, tool: str, why: str) -> None:
    draft.require(tool)
    content = match.get("content", Content) or Content(body=match.get("rest", str) or "")
    people = match.get("people", tuple) or content.to
    if not people:
        raise Ask(Doubt("To whom (a name or an address)?", match.ending, match.ending), template=" to {}")
    if content.to and people is not content.to:
        raise Ask(Doubt("There are two lists of recipients. To whom shall it go?", 0, 0))
    gathered = _gather(match, content, draft)
    if not gathered and not content.body:
        raise Ask(Doubt("What shall the mail say?", match.ending, match.ending), template=' saying "{}"')
    to, cc = _addresses(people, draft), _addresses(content.cc, draft)
    subject = content.subject or content.about or _subject(gathered, content.body)
    args: dict[str, Json] = {"to": to, "subject": _one_line(subject), "body": _body(gathered, content, draft)}
    if cc:
        args["cc"] = cc
    draft.add(tool, args, why)


def _gather(match: Match, content: Content, draft: Draft) -> list[Outcome]:
    """The results that belong in the mail: those the clause asks for itself, and those it points back to."""
    gathered: list[Outcome] = []
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
    kinds = {agenda: Gives.EVENTS, free: Gives.SLOTS}
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


def _addresses(people: tuple[Person, ...], draft: Draft) -> list[Json]:
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
    inputs: list[Json] = [_input(outcome, draft) for outcome in gathered]
    instruction = f"Write a short mail with {' and '.join(dict.fromkeys(outcome.label for outcome in gathered))}."
    if content.body:
        inputs.insert(0, content.body)
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
    """Plan to find the newest mail that fits; gives the step."""
    return draft.add("email.search", {**_wish(match), "limit": 1}, "finds the newest mail that fits")


def archive(match: Match, draft: Draft) -> None:
    """Plan to archive one mail."""
    _put_away(match, draft, "email.archive", "archives that mail")


def delete(match: Match, draft: Draft) -> None:
    """Plan to delete one mail."""
    _put_away(match, draft, "email.delete", "deletes that mail")


def _put_away(match: Match, draft: Draft, tool: str, why: str) -> None:
    if match.get("back", Back) is None:
        found = newest(match, draft)
        draft.add(tool, {"message_id": reference(found, "/messages/0/message_id")}, why)
        return
    if tool == "email.delete" and _is_event(draft):
        delete_known(match, draft)
        return
    readers = [outcome.step for outcome in draft.outcomes if outcome.gives is Gives.MAIL]
    searches = [outcome.step for outcome in draft.outcomes if outcome.gives is Gives.MAILS]
    if readers:
        # The mail is read, and mailed on if asked, before it goes away.
        path, source, after = (
            "/message_id",
            readers[-1],
            [step.id for step in draft.steps if readers[-1] in step.depends_on],
        )
        draft.add(tool, {"message_id": reference(source, path)}, why, after)
        return
    if searches:
        raise Refuse("I can archive or delete only one mail at a time; name the newest one, or who wrote it.")
    raise Refuse('I see no mail before that in this request. Name it, as in "Archive the newest mail from Ana".')


def _is_event(draft: Draft) -> bool:
    """Return whether "it" refers to an event, the last result."""
    kinds = (Gives.MAIL, Gives.MAILS, Gives.EVENT, Gives.EVENTS)
    known = draft.last(*kinds)
    return bool(known) and known[-1].gives in kinds[2:]


def refuse_many(match: Match, draft: Draft) -> None:
    """One mail at a time: a slip over many cannot be undone."""
    del match, draft
    raise Refuse("I can archive or delete only one mail at a time; name the newest one, or who wrote it.")


def refuse_answer(match: Match, draft: Draft) -> None:
    """An answer needs the writer's address, which a plan cannot take from a mail."""
    del match, draft
    raise Refuse(
        'I can\'t answer or forward a mail by itself. Say to whom to write and what ("Email Ana that ..."), or "Read the '
        'newest mail and send it to ...".'
    )


def refuse_dates(match: Match, draft: Draft) -> None:
    """The search knows no dates."""
    del match, draft
    raise Refuse("I can't search mail by date: I can search by words, by sender, unread, and the newest.")


_FROM = "[from (<address>|<name>)]"
_ONE = f"[the|my|that] [{_NEWEST}] [unread] {_MAIL} {_FROM} [{_ABOUT} <words>] [{_FOLDER}]"
_THE_ONE = (
    f"(the|my) {_NEWEST} [unread] {_MAIL} {_FROM} [{_ABOUT} <words>]",
    f"(the|that|my) [{_NEWEST}] [unread] {_MAIL} from (<address>|<name>) [{_ABOUT} <words>]",
    f"(the|that|my) [{_NEWEST}] [unread] {_MAIL} {_ABOUT} <words>",
)
_MANY = f"[all|any|some|the|my] [of] [my|the] [<number>] [new|unread|{_NEWEST}|recent] [unread] {_MAILS}"
_SEND_MAIL = f"[an|a|another] [short|quick] {_MAIL}"
RULES = (
    Rule(
        (
            f"(reply|respond|answer) [to] {_ONE} [<content>]",
            "(reply|respond|answer) [to] <back> [<content>]",
            "(reply|respond|answer) [to] <people> [<content>]",
            "forward <back> to <people>",
            f"forward {_ONE} to <people>",
            f"(send|email|mail) (the|my) {_NEWEST} [unread] {_MAIL} {_FROM} to <people>",
        ),
        refuse_answer,
    ),
    Rule((f"[{_SHOW}] {_MANY} {_FROM} <when>", f"(any|do i have any) {_MANY} {_FROM} <when>"), refuse_dates),
    Rule(tuple(f"(read|open|show|show me|read me) {one}" for one in _THE_ONE), read),
    Rule((f"(read|open|show|show me|what is|what's) (the|my) {_NEWEST} [unread] {_MAIL}",), read),
    Rule((*(f"archive {one}" for one in _THE_ONE), "archive <back>", f"archive (the|that|this) {_MAIL}"), archive),
    Rule(
        (
            *(f"(delete|trash|remove) {one}" for one in _THE_ONE),
            "(delete|trash|remove) <back>",
        ),
        delete,
    ),
    Rule(
        (
            (
                "(archive|delete|trash|remove) [all|all of] [the|my|those|these] [unread|old|new] (mails|emails|messages) "
                f"{_FROM} [{_ABOUT} <words>] [{_FOLDER}]"
            ),
        ),
        refuse_many,
    ),
    Rule(
        (
            f"(do i have|have i got|are there|is there|any|did i get|what are) {_MANY} {_FROM} [{_ABOUT} <words>] [{_FOLDER}]",
            f"[{_SHOW}] {_MANY} {_FROM} [{_ABOUT} <words>] [{_FOLDER}]",
            "(check|show|show me|open|list) (my|the) (inbox|mailbox)",
            "(what is|what's|is there anything|anything) [new] in my (inbox|mailbox)",
            "(show|list|check|open) [me] my (drafts|sent mail|sent mails|archive)",
            "search (my|the) (mail|mails|emails|email|inbox|mailbox) for <words>",
            "(search|look) for <words> in my (mail|mails|emails|email|inbox)",
            "(find|show me|show|list) (mail|mails|emails|messages) <quoted>",
        ),
        search,
    ),
    Rule(
        (
            f"(draft|prepare) [{_SEND_MAIL}] to <people> [<content>]",
            f"(write|save|create|make|prepare) a draft [{_MAIL}] (to|for) <people> [<content>]",
            f"(draft|prepare) {_SEND_MAIL} (to|for) <people> [<content>]",
            "(draft|prepare) <thing> (to|for) <people> [<content>]",
            f"(draft|write a draft|prepare) [{_SEND_MAIL}] [<content>]",
        ),
        save_draft,
    ),
    Rule(
        (
            "(send|forward) <thing> [by email|by mail] to <people> [<content>]",
            "(email|e-mail|mail) <thing> to <people> [<content>]",
            f"(send|write|compose) {_SEND_MAIL} to <people> [<content>]",
            f"(send|write) <people> {_SEND_MAIL} [<content>]",
            "(email|e-mail|mail|message|write|write to) <people> [<content>]",
            "(send|email|e-mail|mail) <people> <thing> [by email|by mail] [<content>]",
            "send <people> <content>",
            "(email|e-mail|mail) <people> with <thing> [<content>]",
            f"(send|write) <people> {_SEND_MAIL} (with|containing|about) <thing> [<content>]",
            f"(send|write|compose) {_SEND_MAIL} to <people> (with|containing|about) <thing> [<content>]",
            f"(send|write|compose) {_SEND_MAIL} (with|containing|about) <thing> to <people> [<content>]",
            f"(send|write|compose) {_SEND_MAIL} [<content>]",
            "(send|email|e-mail|mail) <thing> [<content>]",
        ),
        send,
        open_ended=True,
    ),
    Rule(
        (
            "tell <people> (that|about|:) <rest>",
            "let <people> know (that|:) <rest>",
            "inform <people> that <rest>",
        ),
        tell,
        open_ended=True,
    ),
)
