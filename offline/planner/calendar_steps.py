"""Phrases about the calendar."""

from datetime import datetime, timedelta

from offline.planner.dates import day_start
from offline.planner.draft import Draft, Gives, Json, reference
from offline.planner.events import KINDS, Event, search_words
from offline.planner.match import Match
from offline.planner.memory_steps import HOURS, working_hours
from offline.planner.outcomes import Ask, Doubt, Refuse, Unread
from offline.planner.weather_steps import span_name
from offline.planner.when import WORK, When, free_windows, later, local, occasion, one_day, window

SEARCH_DAYS = 90
ONE_EVENT = "I can change or delete only one event at a time, named by its title or its time."
_SOON = 3
_MANY = {"all", "every", "everything", "both", "each", "meetings", "events", "appointments", "entries", "any"}
_NO_EVENT = {"mail", "mails", "email", "emails", "message", "messages", "inbox", "contact", "contacts", "draft", "task"}
_BOOKED = {
    "taxi",
    "cab",
    "flight",
    "flights",
    "hotel",
    "room",
    "rooms",
    "table",
    "ticket",
    "tickets",
    "train",
    "bus",
    "car",
}
_NEXT = {"next", "my", "the", "event", "appointment", "meeting", "upcoming"}
_RESERVES = ("book", "reserve")
_BOOKED |= {"ride", "seat", "seats", "desk", "court", "restaurant", "hostel", "apartment", "ferry", "cruise", "tour"}


def _iso(moment: datetime) -> str:
    return moment.isoformat()


def _checked(event: Event, match: Match) -> Event:
    if event.unread and event.unread.split()[0].casefold() in ("if", "unless", "except", "or", "but", "not", "never"):
        raise Unread(event.unread)
    if event.unread:
        asked = f'I cannot place "{event.unread[:60]}". What is the event called?'
        raise Ask(Doubt(asked, match.ending, match.ending), template=' called "{}"')
    if event.doubts:
        raise Ask(event.doubts[0])
    return event


def create(match: Match, draft: Draft) -> None:
    """Plan a new event; ask for a missing title, day or time."""
    draft.require("calendar.create_event")
    event = match.get("event_rest", Event) or Event(match.when)
    _check_list(event, match)
    _checked(event, match)
    if not event.title or (event.generic and not event.quoted and event.title.casefold() in ("event", "entry", "slot")):
        raise Ask(Doubt("What is the event called?", match.ending, match.ending), template=' called "{}"')
    _check_booking(event, match)
    happens = occasion(event.when, match.ending)
    args: dict[str, Json] = {
        "title": event.title if event.quoted else event.title[0].upper() + event.title[1:],
        "start": _iso(happens.start),
        "end": _iso(happens.end),
    }
    extras = {"location": event.location, "description": event.description, "attendees": event.attendees}
    args |= {name: value for name, value in extras.items() if value}
    if happens.recurrence:
        args |= {"recurrence": happens.recurrence, "timezone": match.scan.zone.key}
    why = "puts the event into the calendar" + (f"; {happens.assumed}" if happens.assumed else "")
    draft.note(draft.add("calendar.create_event", args, why), Gives.EVENT, f'the event "{args["title"]}"')


def _check_list(event: Event, match: Match) -> None:
    """`Add milk to my list` puts something elsewhere than into the calendar."""
    verbs = {match.scan.low(at) for at in range(match.start, min(match.start + 4, match.end))}
    elsewhere = {"to", "into", "onto", *_NO_EVENT} & set(event.title.casefold().split())
    if {"add", "put", "enter", "create", "save"} & verbs and elsewhere and not event.quoted:
        raise Unread(match.words)


def _check_booking(event: Event, match: Match) -> None:
    """`Book a taxi` asks for a taxi, which an event in the calendar is not."""
    thing = not event.quoted and bool(_BOOKED & set(event.title.casefold().split()))
    verb = next(
        (at for at in range(match.start, min(match.start + 4, match.end)) if match.scan.low(at) in _RESERVES), None
    )
    if verb is None or (_names_an_event(event) and not thing):
        return
    rest = match.scan.typed(match.scan.skip(verb + 1, "me", "us"), match.end)
    question = (
        f'I cannot book or reserve anything outside your calendar. Shall I only put "{event.title}" into your calendar?'
    )
    raise Ask(_choice(match, question, yes=f"put {rest} into my calendar"))


def _names_an_event(event: Event) -> bool:
    return event.quoted or bool(KINDS & {word.removesuffix("s") for word in event.title.casefold().split()})


def _choice(match: Match, question: str, **choices: str) -> Doubt:
    """A question whose answer is one of `choices`, each with the text that then takes the place of the clause."""
    found = tuple((name.replace("_", " "), text) for name, text in choices.items())
    return Doubt(question, match.scan.begin(match.start), match.ending, found, closed=True)


def agenda(match: Match, draft: Draft) -> None:
    """Plan a list of events."""
    draft.require("calendar.list_events")
    start, end, assumed = window(match.when)
    args = {"start": _iso(start), "end": _iso(end)}
    step = draft.add("calendar.list_events", args, assumed or "the events of that time")
    draft.note(step, Gives.EVENTS, f"my events, {_span(start, end)}")


def look(match: Match, draft: Draft) -> None:
    """Plan a list of events, of those that hold some words where words are named."""
    words = match.get("words", str)
    if not words:
        agenda(match, draft)
        return
    draft.require("calendar.list_events")
    start, end = _search_window(match.when) if match.when.empty else window(match.when)[:2]
    args = {"start": _iso(start), "end": _iso(end), "query": words[:200]}
    draft.note(draft.add("calendar.list_events", args, f"the events that match {words}"), Gives.EVENTS, words)


def _span(start: datetime, end: datetime) -> str:
    return span_name(start.date(), (end - timedelta(microseconds=1)).date())


def _search(event: Event, match: Match, draft: Draft, *, instead: When | None = None) -> str:
    """Look for the one event that is meant: on its day, else in the coming weeks."""
    draft.require("calendar.list_events")
    words = None if event.generic else search_words(event)
    _check_single(event)
    if words and not event.quoted and _NO_EVENT & set(words.casefold().split()):
        raise Unread(match.words)
    when = instead or event.when
    _check_day(when)
    named = words is not None or event.when.clock is not None or (event.generic and when.days is not None)
    if not named or (words is None and when.days is None):
        raise Ask(Doubt("Which event do you mean?", match.ending, match.ending), template=' called "{}"')
    start, end = _search_window(when)
    args: dict[str, Json] = {"start": _iso(start), "end": _iso(end)}
    if words:
        args["query"] = words
    if when.clock and draft.argument("calendar.list_events", "starting"):
        args["starting"] = True  # "my 3pm meeting" is not the one that has been on since two
    return draft.add("calendar.list_events", args, f"finds {words or 'the event'}; it must be exactly one")


def _check_single(event: Event) -> None:
    """Refuse other words: only a title, a day and a time can be searched, and nothing may be ignored."""
    words = set(event.title.casefold().split())
    if not event.quoted and words & _MANY:
        raise Refuse(ONE_EVENT)
    when = event.when
    if when.rule:
        raise Refuse(
            "I can change or delete a repeating event only as a whole: name it by its title or one of its days."
        )
    if when.minutes is not None or when.all_day or event.location or event.description:
        raise Refuse("I find an event only by its title, its day and its time; leave out its length, place and notes.")


def _check_day(when: When) -> None:
    """A time without its day cannot be searched for, and must not be passed over."""
    if when.days is not None or when.instant is not None or not (when.clock or when.part or when.bounds):
        return
    at = when.clock.close if when.clock else when.place
    raise Ask(Doubt("On which day is the event that you mean?", at, at), template=" on {}")


def _search_window(when: When) -> tuple[datetime, datetime]:
    when.sure()
    scan = when.scan
    if when.instant is not None:
        return when.instant, later(when.instant, 1)
    if when.days is None:
        return scan.now, day_start(scan.today + timedelta(days=SEARCH_DAYS), scan).replace(
            hour=scan.now.hour, minute=scan.now.minute, second=scan.now.second
        )
    if when.clock and not when.clock.end:
        half = "" if when.part is None else "am" if when.part == "morning" else "pm"
        start = local(one_day(when), when.clock.start.with_half_day(half), scan)
        return start, later(start, 1)
    start, end, _ = window(when)
    return start, end


def delete(match: Match, draft: Draft) -> None:
    """Plan the deletion of one event that is named by its title, its time, or both."""
    event = match.get("event_rest", Event) or Event(match.when)
    if event.in_calendar and set(event.title.casefold().split()) <= _NEXT and "next" in event.title.casefold():
        _delete_next(match, draft)
        return
    _checked(event, match)
    _check_kind(event, match, draft)
    found = _search(event, match, draft)
    args = {"event_id": reference(found, "/match/event_id")}
    draft.add("calendar.delete_event", args, "deletes the event that was found")


def _delete_next(match: Match, draft: Draft) -> None:
    """The next event is found by its place alone, so the person sees which one it is before it is deleted."""
    draft.require("calendar.list_events")
    start, end = _search_window(When(match.scan))
    found = draft.add("calendar.list_events", {"start": _iso(start), "end": _iso(end)}, "finds the next event")
    draft.add("calendar.delete_event", {"event_id": reference(found, "/events/0/event_id")}, "deletes the next event")


def _check_kind(event: Event, match: Match, draft: Draft) -> None:
    """Refuse a deletion that does not say it is an event: it may be a task, or something else."""
    if event.in_calendar or not event.title or _NO_EVENT & set(event.title.casefold().split()):
        return
    title = event.title.replace('"', "'")
    an_event, a_task = f'delete the event "{title}"', f'delete the task "{title}"'
    if "tasks.delete" in draft.schemas:
        question = f'I can delete events and tasks. Is "{title}" an event in your calendar, or a task on your list?'
        raise Ask(_choice(match, question, an_event=an_event, a_task=a_task, event=an_event, task=a_task))
    question = f'I can delete events from your calendar, nothing else of that name. Is "{title}" such an event?'
    raise Ask(_choice(match, question, yes=an_event))


def delete_known(match: Match, draft: Draft) -> None:
    """Plan the deletion of the event that an earlier clause made or found."""
    known = [outcome for outcome in draft.outcomes if outcome.gives in (Gives.EVENT, Gives.EVENTS)]
    if not known:
        raise Ask(Doubt("Which event do you mean?", match.ending, match.ending), template=' called "{}"')
    path = "/event_id" if known[-1].gives is Gives.EVENT else "/match/event_id"
    draft.add("calendar.delete_event", {"event_id": reference(known[-1].step, path)}, "deletes that event")


def move(match: Match, draft: Draft) -> None:
    """Plan another time for an event. Without an end it keeps its length."""
    draft.require("calendar.update_event")
    event = _checked(match.get("event", Event) or Event(match.when), match)
    target = match.when
    if target.days is None and target.instant is None and event.when.days is not None:
        target = target.merged(When(match.scan, days=event.when.days))
    happens = occasion(target, match.ending)
    if happens.recurrence:
        raise Refuse("I can't turn an event into a repeating one; create a new one instead.")
    found = _search(event, match, draft)
    args: dict[str, Json] = {"event_id": reference(found, "/match/event_id"), "start": _iso(happens.start)}
    if target.minutes or (target.clock and target.clock.end) or target.all_day:
        args["end"] = _iso(happens.end)
    draft.note(draft.add("calendar.update_event", args, "moves the event that was found"), Gives.EVENT, event.title)


def move_open(match: Match, draft: Draft) -> None:
    """A move without a goal: ask for it."""
    event = _checked(match.get("event_rest", Event) or Event(match.when), match)
    del draft
    if event.title:
        raise Ask(Doubt("To which day and time?", match.ending, match.ending), template=" to {}")
    raise Ask(Doubt("Which event do you mean?", match.ending, match.ending), template=' called "{}"')


def move_by(match: Match, draft: Draft) -> None:
    """Plan to move an event by a length."""
    if "calendar.move_event" not in draft.schemas:
        ask_target(match, draft)
    days, minutes = match.get("far", tuple) or (0, 0)
    event = _checked(match.get("event", Event) or Event(match.when), match)
    if not days and not minutes:
        raise Ask(Doubt("Later or earlier?", match.ending, match.ending), template=" {}")
    found = _search(event, match, draft)
    far = {name: value for name, value in (("days", days), ("minutes", minutes)) if value}
    args: dict[str, Json] = {"event_id": reference(found, "/match/event_id"), **far}
    draft.note(draft.add("calendar.move_event", args, "moves the event that was found"), Gives.EVENT, event.title)


def delete_several(match: Match, draft: Draft) -> None:
    """Plan to delete the events of a time; the person sees each before."""
    if "calendar.delete_events" not in draft.schemas:
        raise Refuse(ONE_EVENT)
    when = match.when.sure()
    if when.days is None:
        raise Ask(Doubt("Of which day?", match.ending, match.ending), template=" on {}")
    start, end, _ = window(when)
    args: dict[str, Json] = {"start": _iso(start), "end": _iso(end)}
    if words := match.get("words", str):
        args["query"] = words
    found = draft.add("calendar.list_events", args, "finds the events of that time")
    draft.add("calendar.delete_events", {"event_ids": reference(found, "/event_ids")}, "deletes all that were found")


def ask_target(match: Match, draft: Draft) -> None:
    """A move by a length would need the event's time before it is looked up: ask for the new time."""
    del draft
    question = "I can't change only its length. To which day and time, from when to when?"
    raise Ask(Doubt(question, match.ending, match.ending), template=" to {}")


def rename(match: Match, draft: Draft) -> None:
    """Plan another title."""
    _change(match, draft, "title", "renames the event that was found")


def relocate(match: Match, draft: Draft) -> None:
    """Plan another place."""
    _change(match, draft, "location", "changes the place of the event that was found")


def _change(match: Match, draft: Draft, field: str, why: str) -> None:
    event = _checked(match.get("event", Event) or Event(match.when), match)
    value = match.get("words", str) or ""
    found = _search(event, match, draft)
    args = {"event_id": reference(found, "/match/event_id"), field: value[0].upper() + value[1:] if value else value}
    draft.note(draft.add("calendar.update_event", args, why), Gives.EVENT, event.title)


def free(match: Match, draft: Draft) -> None:
    """Plan a search for free time, one step per day."""
    _find_free(match, draft)


def _find_free(match: Match, draft: Draft) -> list[str]:
    draft.require("calendar.find_free_time")
    when = match.when
    if when.empty and match.scan.low(match.start) not in ("am", "will", "when", "is"):
        when = when.coming(_SOON)
    minutes, assumed = _minutes(match, when)
    steps = []
    usual = working_hours(draft.facts.get(HOURS, ""))
    for start, end in free_windows(when, match.ending, usual or WORK):
        args = {"start": _iso(start), "end": _iso(end), "duration_minutes": minutes}
        steps.append(draft.add("calendar.find_free_time", args, f"free time of {minutes} minutes{assumed}"))
        draft.note(steps[-1], Gives.SLOTS, f"free times on {span_name(start.date(), start.date())}")
    return steps


def _minutes(match: Match, when: When) -> tuple[int, str]:
    words = match.words.casefold()
    minutes = when.minutes or (30 if "half hour" in words else 60)
    if not 5 <= minutes <= 24 * 60:
        raise Ask(
            Doubt("For how long? It can be 5 minutes to 24 hours.", match.ending, match.ending), template=" for {}"
        )
    named = when.minutes or "hour" in words
    return minutes, "" if named else "; no length was given, so one hour"


def book_free(match: Match, draft: Draft) -> None:
    """Plan an event in the first free slot of one day."""
    slots = _find_free(match, draft)
    if len(slots) > 1:
        days = match.when.days
        span = (days.start, days.end) if days else (match.ending, match.ending)
        raise Ask(Doubt("I can book the first free time of one day only. Which day?", *span))
    _book(slots[0], match, draft)


def book_found(match: Match, draft: Draft) -> None:
    """Plan an event in the first of the slots that an earlier clause looks for."""
    slots = [outcome.step for outcome in draft.outcomes if outcome.gives is Gives.SLOTS]
    if not slots:
        raise Ask(Doubt("Which time shall I book?", match.ending, match.ending), template=" {}")
    if len(slots) > 1:
        raise Refuse("I can book the first free time of one day only; name a single day.")
    _book(slots[0], match, draft)


def _book(slot: str, match: Match, draft: Draft) -> None:
    title = _title(match)
    args = {
        "title": title,
        "start": reference(slot, "/slots/0/start"),
        "end": reference(slot, "/slots/0/end"),
    }
    step = draft.add("calendar.create_event", args, "books the first free time")
    # From here on "it" and "the details" are the event; the slots have served.
    draft.outcomes = [outcome for outcome in draft.outcomes if outcome.step != slot]
    draft.note(step, Gives.EVENT, f'the event "{title}"')


def _title(match: Match) -> str:
    event = _checked(match.get("event_rest", Event) or Event(When(match.scan)), match)
    if not event.when.empty:
        raise Ask(Doubt("The time stands there twice. Which is right?", 0, 0))
    if not event.title:
        raise Ask(Doubt("What is the event called?", match.ending, match.ending), template=" as {}")
    return event.title if event.quoted else event.title[0].upper() + event.title[1:]
