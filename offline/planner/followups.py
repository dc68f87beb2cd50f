"""Messages of a chat that stand on what was done before: "move it to 1 pm", "the first one", "and in Porto?".

Such a message names a thing by "it" or by its place in a list, or changes one value of the request before. The things are
those in the results of the last turn; where several are meant, the person is asked which.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from offline.planner import mail_steps
from offline.planner.clauses import Clause, read_clauses, spans
from offline.planner.dates import Days
from offline.planner.draft import Draft, Gives, Json, reference
from offline.planner.intents import fitting
from offline.planner.match import Match, Values
from offline.planner.outcomes import Ask, Doubt, Refuse
from offline.planner.people import people
from offline.planner.readings import READINGS
from offline.planner.scan import Scan, phrases
from offline.planner.sift import skip_words
from offline.planner.when import When, occasion, read_when

EVENT, MAIL, TASK = "event", "mail", "task"
_MOST = 10
_LISTS = {
    "calendar.list_events": (EVENT, "events"),
    "email.search": (MAIL, "messages"),
    "email.thread": (MAIL, "messages"),
}
_LISTS |= {"tasks.list": (TASK, "tasks")}
_SINGLE = {"calendar.create_event": EVENT, "calendar.update_event": EVENT, "email.read": MAIL}
_SINGLE |= dict.fromkeys(("tasks.add", "tasks.remind", "tasks.complete", "tasks.reopen", "tasks.move"), TASK)
_ID = {EVENT: "event_id", MAIL: "message_id", TASK: "task_id"}
_NOUNS = {
    EVENT: "event|meeting|appointment|entry|call|one",
    MAIL: "mail|email|e-mail|message|one",
    TASK: "task|to-do|todo|reminder|item|one",
}
_COUNTED = ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth")
_IT = ("it", "that", "this", "them")


@dataclass(frozen=True)
class Done:
    """A finished step of the last turn.

    Attributes:
        id: By which its result can be referred to.
        tool: What ran.
        result: What may be seen of its result; texts that others may have written are missing.
    """

    id: str
    tool: str
    result: Json


@dataclass(frozen=True)
class Thing:
    """An event, mail or task in a result of the last turn.

    Attributes:
        kind: Of the thing.
        step: The step with the result.
        path: JSON pointer of the thing in it.
        data: What may be seen of it.
    """

    kind: str
    step: str
    path: str
    data: Mapping[str, Json] = field(default_factory=dict)

    @property
    def id(self) -> dict[str, str]:
        """The reference to its id."""
        return reference(self.step, f"{self.path}/{_ID[self.kind]}")

    def moment(self, name: str) -> datetime | None:
        """A time of it, if it may be seen."""
        try:
            return datetime.fromisoformat(str(self.data.get(name)))
        except ValueError:
            return None


@dataclass(frozen=True)
class Before:
    """What a chat did before the person's message.

    Attributes:
        done: The finished steps of the last turn, in order.
        requests: The person's earlier requests, oldest first, with the answers to questions about them worked in.
    """

    done: tuple[Done, ...] = ()
    requests: tuple[str, ...] = ()

    def things(self, kinds: Sequence[str]) -> list[Thing]:
        """The things of these kinds in the last result that holds any."""
        for step in reversed(self.done):
            if found := [thing for thing in _things(step) if thing.kind in kinds]:
                return found
        return []

    @property
    def used_ids(self) -> int:
        """The highest number of an earlier step's id."""
        numbers = [step.id.rpartition("s")[2] for step in self.done]
        return max((int(number) for number in numbers if number.isdigit()), default=0)


def _things(step: Done) -> list[Thing]:
    result = step.result if isinstance(step.result, Mapping) else {}
    if step.tool in _SINGLE:
        return [Thing(_SINGLE[step.tool], step.id, "", result)]
    if step.tool not in _LISTS:
        return []
    kind, name = _LISTS[step.tool]
    listed = result.get(name)
    items = listed if isinstance(listed, list) else []
    return [Thing(kind, step.id, f"/{name}/{at}", item) for at, item in enumerate(items) if isinstance(item, Mapping)]


@dataclass(frozen=True)
class _Follow:
    """A message whose thing is known: what stands behind the words for it is still to be read."""

    scan: Scan
    thing: Thing
    at: int
    end: int
    verb: str

    @property
    def ending(self) -> int:
        """Where in the text an answer is inserted."""
        return self.scan.close(self.end)

    def rest(self, *words: str) -> int:
        """The place behind the thing and some words that carry no meaning there."""
        return skip_words(self.scan, self.at, self.end, frozenset(words))

    def finish(self, *words: str) -> None:
        """Check that nothing else is said, so that nothing is passed over."""
        at = self.rest(*words)
        if at < self.end:
            raise Refuse(f'I did not understand "{self.scan.typed(at, self.end)}" there, so I did nothing.')


Act = Callable[[_Follow, Draft], None]


def follow(scan: Scan, before: Before, draft: Draft) -> bool:
    """Plan what a message means that stands on the turn before; False if it stands alone.

    Raises:
        Ask: It is not clear which thing is meant, or a value is missing.
        Refuse: It cannot be done.
    """
    found = list(spans(scan))
    if len(found) != 1:
        return False
    start, end = found[0]
    inside = scan.until(end)
    for verbs, kinds, act in _ACTS:
        at = inside.phrase(start, *verbs) if verbs else start
        named = _named(inside, at, kinds) if at is not None else None
        things = before.things(kinds) if named else []
        if at is not None and named and things:
            thing = _chosen(inside, things, named, (at, named[1]))
            act(_Follow(inside, thing, named[1], end, inside.typed(start, at)), draft)
            return True
    return _corrects(inside, start, end, before, draft) or _varies(inside, start, end, before, draft)


def _named(scan: Scan, at: int, kinds: Sequence[str]) -> tuple[int | None, int] | None:
    """Which thing the words here stand for: its place in a list (-1: the last one), or None for `it`; and the next place."""
    nouns = [noun for kind in kinds for noun in _NOUNS[kind].split("|")]
    begin = skip_words(scan, at, scan.size, frozenset(("the", "my", "number")))
    place = _counted(scan, begin)
    if place is not None and begin > at:
        return place, scan.skip(begin + 1, *nouns)
    if place is not None and (after := scan.phrase(begin + 1, *nouns)):
        return place, after
    if after := scan.phrase(at, *(f"{lead} {noun}" for lead in ("that", "this", "the") for noun in nouns)):
        return None, after
    return (None, at + 1) if scan.low(at) in _IT else None


def _counted(scan: Scan, at: int) -> int | None:
    low = scan.low(at)
    if low in _COUNTED:
        return _COUNTED.index(low)
    if low in ("last", "newest", "latest", "earliest", "next"):
        return -1 if low == "last" else 0
    return int(low) - 1 if low.isdigit() and scan.low(at - 1) == "number" and 0 < int(low) <= _MOST else None


def _chosen(scan: Scan, things: list[Thing], named: tuple[int | None, int], span: tuple[int, int]) -> Thing:
    place = named[0]
    if place is None and len(things) == 1:
        return things[0]
    if place is not None and -1 <= place < len(things):
        return things[place]
    names = "; ".join(filter(None, map(_name, things[:_MOST])))
    which = f"There {'is one' if len(things) == 1 else f'are {len(things)}'}{f' ({names})' if names else ''}. Which one do you mean?"
    choices = tuple((f"the {name}", f"the {name} one") for name in _COUNTED[: len(things)])
    choices += tuple((f"the {name} one", f"the {name} one") for name in _COUNTED[: len(things)])
    raise Ask(Doubt(which, scan.begin(span[0]), scan.close(span[1]), choices, closed=True))


def _name(thing: Thing) -> str:
    """What a person calls it, as far as it may be seen."""
    start, title = thing.moment("start"), thing.data.get("title")
    return f"{title}{start.strftime(' at %H:%M') if start else ''}" if isinstance(title, str) else ""


def _delete(follow: _Follow, draft: Draft) -> None:
    follow.finish("again", "from", "my", "calendar", "off", "the", "list", "inbox")
    tool = {EVENT: "calendar.delete_event", MAIL: "email.delete", TASK: "tasks.delete"}[follow.thing.kind]
    draft.add(tool, {_ID[follow.thing.kind]: follow.thing.id}, f"deletes that {follow.thing.kind}")


def _archive(follow: _Follow, draft: Draft) -> None:
    follow.finish()
    draft.add("email.archive", {"message_id": follow.thing.id}, "archives that mail")


def _read(follow: _Follow, draft: Draft) -> None:
    follow.finish("to", "me", "aloud", "out", "loud")
    step = draft.add("email.read", {"message_id": follow.thing.id}, "reads that mail")
    draft.note(step, Gives.MAIL, "the mail")


def _reply(follow: _Follow, draft: Draft) -> None:
    at = follow.rest("saying", "that", "with", "to", "say", "and", "them", "him", "her", "tell", "by")
    if at >= follow.end:
        raise Ask(Doubt("What shall the reply say?", follow.ending, follow.ending), template=' saying "{}"')
    scan = follow.scan
    body = scan.tokens[at].value if at + 1 == follow.end else scan.typed(at, follow.end)
    draft.add("email.reply", {"message_id": follow.thing.id, "body": body}, "answers that mail")


def _forward(follow: _Follow, draft: Draft) -> None:
    at = follow.scan.skip(follow.at, "on to", "to")
    found = people(follow.scan, at, follow.end) if at > follow.at else None
    if not found or not found[0]:
        raise Ask(Doubt("To whom (a name or an address)?", follow.ending, follow.ending), template=" to {}")
    replace(follow, at=found[1]).finish()
    args: dict[str, Json] = {"message_id": follow.thing.id, "to": mail_steps.addresses(found[0], draft)}
    draft.add("email.forward", args, "forwards that mail")


def _complete(follow: _Follow, draft: Draft) -> None:
    follow.finish("as", "done", "complete", "completed", "finished", "off", "now")
    draft.add("tasks.complete", {"task_id": follow.thing.id}, "closes that task")


def _rename(follow: _Follow, draft: Draft) -> None:
    at = follow.rest("to", "as")
    if at >= follow.end:
        raise Ask(Doubt("What is the new title?", follow.ending, follow.ending), template=' to "{}"')
    scan = follow.scan
    title = scan.tokens[at].value if at + 1 == follow.end else scan.typed(at, follow.end)
    draft.add("calendar.update_event", {"event_id": follow.thing.id, "title": title}, "renames that event")


_LATER, _EARLIER = ("later", "back", "longer"), ("earlier", "forward", "shorter", "ahead", "up")
_FILL = ("to", "at", "by", "for", "until", "till", "on", "into", "instead", "please", "a", "an", "the", "out", "start")


def _move(follow: _Follow, draft: Draft) -> None:
    scan, when, words = follow.scan, When(follow.scan, place=follow.scan.begin(follow.at)), set[str]()
    at = follow.at
    while at < follow.end:
        if found := read_when(scan, at):
            when, at = when.merged(found[0]), found[1]
        elif scan.low(at) in (*_FILL, *_LATER, *_EARLIER):
            words, at = words | {scan.low(at)}, at + 1
        else:
            replace(follow, at=at).finish()
    if when.empty:
        raise Ask(Doubt("To which day and time?", follow.ending, follow.ending), template=" to {}")
    only_length = when.minutes and not (when.days or when.clock or when.instant or when.part)
    if follow.thing.kind == TASK:
        _remind_later(follow, when, draft)
        return
    times = _shifted(follow, when.minutes or 0, words) if only_length else _set(follow, when)
    draft.add("calendar.update_event", {"event_id": follow.thing.id, **times}, "moves that event")


def _remind_later(follow: _Follow, when: When, draft: Draft) -> None:
    """A reminder at another time is another reminder."""
    title, before = follow.thing.data.get("title"), follow.thing.moment("at") or follow.thing.moment("remind_at")
    if not isinstance(title, str) or before is None:
        raise Refuse("I can't move that, since it has no reminder; tell me of what to remind you, and when.")
    if when.days is None and when.instant is None:
        day, place = before.astimezone(follow.scan.zone).date(), follow.scan.begin(follow.at)
        when = replace(when, days=Days(day, day, place, place))
    at = occasion(when, follow.ending).start.isoformat()
    old = draft.add("tasks.cancel_reminder", {"task_id": follow.thing.id}, "cancels that reminder")
    draft.add("tasks.remind", {"title": title, "at": at}, "reminds at the new time", after=[old])


def _shifted(follow: _Follow, minutes: int, words: set[str]) -> dict[str, Json]:
    """The times of an event that is moved by a length, or gets another length."""
    start, end = follow.thing.moment("start"), follow.thing.moment("end")
    if start is None or end is None:
        raise Ask(Doubt("To which day and time?", follow.ending, follow.ending), template=" to {}")
    by = timedelta(minutes=minutes)
    if {"longer", "shorter"} & words:
        return {"end": (end + by if "longer" in words else end - by).isoformat()}
    if words & {*_LATER} and not words & {*_EARLIER}:
        return {"start": (start + by).isoformat(), "end": (end + by).isoformat()}
    if words & {*_EARLIER}:
        return {"start": (start - by).isoformat(), "end": (end - by).isoformat()}
    if "by" not in words and follow.verb.casefold() in ("make", "extend"):
        return {"end": (start + by).isoformat()}
    raise Ask(Doubt("Earlier or later?", follow.ending, follow.ending))


def _set(follow: _Follow, when: When) -> dict[str, Json]:
    """The times of an event that is moved to a time; what is not said stays as it is."""
    start = follow.thing.moment("start")
    if when.days is None and when.instant is None and start is not None:
        day, place = start.astimezone(follow.scan.zone).date(), follow.scan.begin(follow.at)
        when = replace(when, days=Days(day, day, place, place))
    if when.clock is None and when.instant is None and when.part is None and not when.all_day and start is not None:
        day = occasion(replace(when, all_day=True, minutes=None), follow.ending).start.date()
        moved = datetime.combine(day, start.astimezone(follow.scan.zone).time(), follow.scan.zone)
        return {"start": moved.isoformat()}
    happens = occasion(when, follow.ending)
    if happens.recurrence:
        raise Refuse("I can't turn an event into a repeating one; create a new one instead.")
    exact = when.minutes or (when.clock and when.clock.end) or when.all_day
    return {"start": happens.start.isoformat(), **({"end": happens.end.isoformat()} if exact else {})}


def _remind(follow: _Follow, draft: Draft) -> None:
    scan, at = follow.scan, follow.at
    found = read_when(scan, at) or read_when(scan, at + 1)
    if found is None:
        raise Ask(Doubt("When shall I remind you?", follow.ending, follow.ending), template=" {}")
    start, ahead = follow.thing.moment("start"), scan.skip(found[1], "before", "beforehand", "earlier", "in advance")
    title = str(follow.thing.data.get("title") or f"the {follow.thing.kind}")
    replace(follow, at=ahead).finish("it", "that", "starts", "begins")
    if ahead > found[1] and found[0].minutes and start is not None:
        moment = start - timedelta(minutes=found[0].minutes)
    else:
        moment = occasion(found[0], follow.ending).start
    draft.add("tasks.remind", {"title": title, "at": moment.isoformat()}, "reminds at that time")


_REMIND = phrases("remind me of|remind me about|set a reminder for|add a reminder for|a reminder for")
_ACTS: tuple[tuple[tuple[str, ...], tuple[str, ...], Act], ...] = (
    (phrases("delete|remove|cancel|drop|scrap|call off|get rid of|trash"), (EVENT, MAIL, TASK), _delete),
    (phrases("archive|put away|file away"), (MAIL,), _archive),
    (phrases("read|read me|open|show|show me|see"), (MAIL,), _read),
    (phrases("reply to|reply|answer|respond to|write back to"), (MAIL,), _reply),
    (phrases("forward|send on|pass on|send|share|pass"), (MAIL,), _forward),
    (
        phrases("complete|finish|close|mark|check off|tick off|check|tick|cross off|i did|i've done|done with"),
        (TASK,),
        _complete,
    ),
    (phrases("rename|retitle|call|name"), (EVENT,), _rename),
    (
        phrases(
            "move|reschedule|shift|push|push back|postpone|bring forward|delay|change|put|put off|set|make|extend|shorten"
        ),
        (EVENT, TASK),
        _move,
    ),
    (_REMIND, (EVENT, TASK), _remind),
    ((), (MAIL,), _read),
)


def _corrects(scan: Scan, start: int, end: int, before: Before, draft: Draft) -> bool:
    """`At 3 pm instead` moves the one event that was made or changed."""
    made = [thing for thing in before.things((EVENT,)) if not thing.path]
    at = skip_words(
        scan, start, end, frozenset(phrases("no|make|actually|sorry|better|rather|i|meant|mean|at|on|can|we|do"))
    )
    last = end - 1 if scan.low(end - 1) == "instead" else end
    found = read_when(scan, at) if made and at < last else None
    if found is None or found[1] != last or not (last < end or at > start):
        return False
    _move(_Follow(scan, made[0], at, last, "move"), draft)
    return True


_VARIES = phrases("and what about|what about|and how about|how about|and|same for|the same for|and for|or|also")
_LEADS = ("and", "or", "also", "then")
_VARIED = frozenset(
    phrases(
        "weather.forecast|weather.sun|calendar.list_events|calendar.find_free_time|tasks.list|email.search|contacts.find"
    )
)
_MOST_WORDS = 6
_SURE = 0.8
_WHOLE = frozenset(phrases("what|what's|whats|who|when|where|how|is|are|am|do|does|will|can|show|list|find|my|i|me"))
"""Words of requests that are more than another value."""


def _varies(scan: Scan, start: int, end: int, before: Before, draft: Draft) -> bool:
    """`And in Porto?` is the request before with another place."""
    at = scan.skip(start, *_VARIES)
    found = read_when(scan, at)
    led = at > start or scan.low(0) in _LEADS
    if not (led or (found and found[1] == end)) or not 0 < end - at <= _MOST_WORDS:
        return False
    old = _last(before.requests, scan)
    if old is None or _is_about_another(scan, at, end, old.intent):
        return False
    build, values = READINGS[old.intent](scan, at, end)
    mixed = _mixed(values, list(old.match.values), scan)
    if not _says_anything(values):
        return False
    timed = any(isinstance(value, When) and not value.empty for _, value in values)
    (build if timed else old.build)(Match(scan, at, end, tuple(mixed)), draft)
    return True


def _is_about_another(scan: Scan, at: int, end: int, intent: str) -> bool:
    """Whether a message is a request of its own, about something else. A time or a place alone is none."""
    if not any(scan.low(place) in _WHOLE for place in range(at, end)):
        return False
    best = fitting(scan.typed(at, end))[0]
    return best.intent in READINGS and best.intent != intent and best.sure >= _SURE


def _last(requests: Sequence[str], scan: Scan) -> Clause | None:
    """The clause that the last request ends with, itself completed by those before it."""
    if not requests:
        return None
    text = Scan.of(requests[-1], scan.now, scan.zone)
    [*_, (start, end)] = [(0, 0), *spans(text)]
    inside, at = text.until(end), text.skip(start, *_VARIES)
    led = at > start or text.low(0) in _LEADS or read_when(inside, start)
    older = _last(requests[:-1], scan) if led else None
    if older is not None and 0 < end - at <= _MOST_WORDS:
        build, values = READINGS[older.intent](inside, at, end)
        mixed = _mixed(values, list(older.match.values), text)
        return Clause(older.intent, Match(inside, at, end, tuple(mixed)), build)
    try:
        clause = read_clauses(text, {})[-1]
    except (Ask, Refuse):
        return None
    return clause if clause.intent in _VARIED else None


def _mixed(new: Values, old: Values, scan: Scan) -> Values:
    """The values of a request with those that a later message names in their place."""
    kinds = {kind for kind, value in new if not (isinstance(value, When) and value.empty)}
    whens = [value for _, value in (*new, *old) if isinstance(value, When)]
    kept = [pair for pair in old if pair[0] not in kinds and not isinstance(pair[1], When)]
    said = [pair for pair in new if pair[0] in kinds and not isinstance(pair[1], When)]
    return [*said, *kept, *([("when", _time(whens, scan))] if whens else [])]


def _time(whens: Sequence[When], scan: Scan) -> When:
    """The later time; of the earlier one stays what the later does not say, such as the hour."""
    later, *earlier = whens
    if not earlier or later.instant or earlier[-1].instant:
        return replace(later if not later.empty or not earlier else earlier[-1], scan=scan)
    old: Any = earlier[-1]
    kept = {name: getattr(later, name) or getattr(old, name) for name in ("days", "clock", "part", "minutes", "bounds")}
    return replace(later, scan=scan, **kept)


def _says_anything(values: Values) -> bool:
    return any(not (isinstance(value, When) and value.empty) for _, value in values)
