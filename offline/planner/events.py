"""Parses an event: its title, time, place and people in any order, to the end of a clause."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches

from offline.planner.dates import MONTHS, WEEKDAYS
from offline.planner.outcomes import Doubt
from offline.planner.scan import Scan, phrases
from offline.planner.tokens import Kind
from offline.planner.when import When, read_when

MAX_WORDS = 60
_IN_CALENDAR = tuple(
    f"{before} {whose}{name}"
    for before in ("to", "in", "into", "on", "from", "out of")
    for whose in ("my ", "the ", "")
    for name in ("calendar app", "calendar", "agenda", "diary", "schedule")
)
_SMALL = ("mit", "avec", "con", "chez", "de", "le", "la", "el", "cita", "rendez-vous", "termin")
_CALLED = ("called", "named", "titled", "entitled", "with the title", "with title", "title", "under the name")
_NOTE = ("with the description", "with description", "with the note", "with a note", "description", "note", "notes")
_LOCATION = ("with location", "with the location", "location", "place")
_DETERMINERS = ("a", "an", "the", "my", "our", "new", "another", "this", "that", "for", "of", ":", "-")
_GENERIC = ("event", "appointment", "meeting", "entry", "calendar", "slot")
KINDS = frozenset(
    phrases(
        "event|appointment|meeting|entry|slot|call|lunch|dinner|breakfast|brunch|coffee|drinks|party|standup|sync|review|"
        "interview|class|lesson|lecture|course|seminar|workshop|webinar|training|exam|conference|session|demo|retro|"
        "retrospective|briefing|presentation|talk|rehearsal|concert|dentist|doctor|checkup|haircut|visit|trip|holiday|"
        "vacation|birthday|anniversary|wedding|yoga|workout"
    )
)
"""Words for calendar entries. Anything else could be a task, a subscription or a thing."""
_ADVERBS = ("daily", "weekly", "monthly", "yearly")
_VAGUE = {"every", "each", "until", "till", "next", "last", "fortnight", "sometime", "soon", "later", "asap", "someday"}
_VAGUE |= {"eventually", "lunchtime", "dinnertime", "o'clock", "am", "pm", "tonite", "yesterday", "whenever"}
_CONDITIONS = {"if", "unless", "except", "but", "instead", "or", "not", "never", "don't", "because", "when", "while"}
_DATE_WORDS = [*WEEKDAYS, *(name for name in MONTHS if len(name) > 4), "tomorrow", "today", "tonight"]
_VAGUE_PLACES = {"lunchtime", "dinnertime", "night", "dawn", "dusk", "breakfast", "sunrise", "sunset", "some", "about"}


@dataclass
class Event:
    """The data about an event in a clause.

    Attributes:
        title: As typed, without articles at its beginning; empty if none.
        quoted: Whether the title was in quotes.
        generic: Whether it is only a word like "meeting".
        in_calendar: Whether the words say that it is in the calendar: its kind, a time, or "from my calendar".
        unread: A piece that does not belong to an event.
    """

    when: When
    title: str = ""
    quoted: bool = False
    generic: bool = False
    in_calendar: bool = False
    location: str | None = None
    description: str | None = None
    attendees: list[str] = field(default_factory=list)
    doubts: list[Doubt] = field(default_factory=list)
    unread: str = ""


@dataclass
class _Pieces:
    """Tokens of the title in runs, since a time may stand between them."""

    runs: list[list[int]] = field(default_factory=list)
    broken: bool = True

    def add(self, at: int) -> None:
        if self.broken:
            self.runs.append([])
        self.runs[-1].append(at)
        self.broken = False


def read_event(scan: Scan, at: int, end: int) -> Event | None:
    """Everything from `at` up to `end` as an event, or None where that is too long to be one."""
    if end - at > MAX_WORDS or at >= end:
        return None
    inside, begin = scan.until(end), at
    event, pieces = Event(When(inside, place=inside.begin(at))), _Pieces()
    while at < end:
        behind = _known(inside, at, event)
        if behind is None:
            pieces.add(at)
            at += 1
        else:
            pieces.broken, at = True, behind
    event.in_calendar = (
        any(inside.low(at).removesuffix("s") in KINDS or inside.low(at) in KINDS for at in range(begin, end))
        or any(inside.phrase(at, *_IN_CALENDAR) for at in range(begin, end))
        or not event.when.empty
    )
    _entitle(inside, event, pieces.runs)
    return event


def _known(scan: Scan, at: int, event: Event) -> int | None:
    """Parse anything but the title at a position; return the position after it."""
    if end := scan.phrase(at, *_IN_CALENDAR, "for me", "for us"):
        return end
    if scan.low(at) == "," and (at + 1 == scan.size or read_when(scan, at + 1) or scan.phrase(at + 1, *_IN_CALENDAR)):
        return at + 1
    for read in (_quoted_field, _time, _spot):
        if behind := read(scan, at, event):
            return behind
    return None


def _quoted_field(scan: Scan, at: int, event: Event) -> int | None:
    """`called "X"`, `with the note "Y"`: quoted text after such words is data."""
    for name, words in (("title", _CALLED), ("description", _NOTE), ("location", _LOCATION)):
        end = scan.phrase(at, *words)
        end = scan.skip(end, ":") if end else None
        if end and scan.kind(end) is Kind.QUOTED:
            setattr(event, name, scan.tokens[end].value)
            event.quoted = event.quoted or name == "title"
            return end + 1
        if end and name == "title" and scan.low(at) != "title":
            return end
    return None


def _time(scan: Scan, at: int, event: Event) -> int | None:
    if scan.low(at) in _ADVERBS and scan.low(at + 1) not in ("", "at", "on", "from", "for", "until", "starting", ","):
        return None
    found = read_when(scan, at, repeated=event.when.rule is not None)
    if found is None:
        return None
    event.when = event.when.merged(found[0])
    return found[1]


def _spot(scan: Scan, at: int, event: Event) -> int | None:
    """`at Luigi's`, `in room 4`, `in Rome`: a place, up to the next word that says something else."""
    word = scan.low(at)
    lead = scan.low(at + 1)
    named = at + 1 < scan.size and (scan.tokens[at + 1].capital or lead in ("room", "the", "my", "our"))
    if not (word == "at" and at + 1 < scan.size) and not (word == "in" and named):
        return None
    end = at + 1
    while end < scan.size and end - at < 8 and not _ends_spot(scan, end, at):
        end += 1
    if end == at + 1 or event.location or lead in _VAGUE_PLACES or scan.kind(at + 1) in (Kind.NUMBER, Kind.TIME):
        piece = scan.typed(at, max(end, at + 2))
        event.doubts.append(_undated(scan, at, max(end, at + 2), piece))
        return max(end, at + 2)
    event.location = " ".join(token.value for token in scan.tokens[at + 1 : end]) if end == at + 2 else None
    event.location = event.location or scan.typed(at + 1, end)
    return end


def _ends_spot(scan: Scan, at: int, start: int) -> bool:
    if scan.low(at) in ("with", "for", "called", "and", ",", "to", "about", ";", ".") and at > start:
        return True
    return bool(scan.phrase(at, *_IN_CALENDAR) or _is_time(scan, at) or scan.phrase(at, *_NOTE))


def _is_time(scan: Scan, at: int) -> bool:
    return read_when(scan, at) is not None


def _undated(scan: Scan, at: int, end: int, piece: str) -> Doubt:
    text = (
        f'I cannot read "{piece}" as a day or a time (a title with such words must stand in quotes). When do you mean?'
    )
    return Doubt(text, scan.begin(at), scan.close(end))


def _entitle(scan: Scan, event: Event, runs: list[list[int]]) -> None:
    words = [run for run in (_stripped(scan, run) for run in runs) if run]
    telling = [run for run in words if not all(scan.low(at) in _GENERIC for at in run)]
    words = telling or words
    if event.title:
        stray = [run for run in words if not all(scan.low(at) in _GENERIC for at in run)]
        event.unread = scan.typed(stray[0][0], stray[0][-1] + 1) if stray else ""
        return
    if not words:
        event.generic = any(scan.low(at) in _GENERIC for run in runs for at in run)
        return
    if len(words) == 1 and len(words[0]) == 1 and scan.kind(words[0][0]) is Kind.QUOTED:
        event.title, event.quoted = scan.tokens[words[0][0]].value, True
        return
    _judge(scan, event, words)
    event.title = " ".join(scan.typed(run[0], run[-1] + 1) for run in words)
    event.generic = event.title.casefold() in _GENERIC
    event.attendees = [scan.tokens[at].text for run in words for at in run if scan.kind(at) is Kind.ADDRESS]


def _stripped(scan: Scan, run: list[int]) -> list[int]:
    while run and scan.low(run[0]) in _DETERMINERS:
        run = run[1:]
    while run and scan.low(run[-1]) in (",", ":", "-"):
        run = run[:-1]
    if len(run) > 1 and scan.low(run[0]) in _GENERIC and scan.kind(run[1]) is Kind.QUOTED:
        run = run[1:]
    return run


def _judge(scan: Scan, event: Event, runs: list[list[int]]) -> None:
    """A title without quotes must look like one: no second request, no sentence, no failed date."""
    first = runs[0]
    for run in runs[1:]:
        if scan.low(run[0]) not in ("with", "about", "for", "on", "re", "to", "between"):
            event.unread = event.unread or scan.typed(run[0], run[-1] + 1)
    for run in runs:
        _judge_run(scan, event, run)
    quotes = [at for run in runs for at in run if scan.kind(at) is Kind.QUOTED]
    if quotes:
        event.unread = event.unread or scan.typed(first[0], first[-1] + 1)


def _judge_run(scan: Scan, event: Event, run: list[int]) -> None:
    for at in run:
        token = scan.tokens[at]
        follower = scan.tokens[at + 1] if at + 1 < scan.size else None
        if token.low in ("and", "then") and at > run[0] and follower and not follower.capital:
            text = scan.typed(run[0], run[-1] + 1)
            event.doubts.append(Doubt(f'Is "{text}" one title? If so, how is it called, in quotes?', *_span(scan, run)))
        elif token.low in _CONDITIONS or token.low in (",", ";", ".", "?", "!", '"') or token.kind is Kind.URL:
            event.unread = event.unread or scan.typed(at, run[-1] + 1)
        elif token.low in _VAGUE or token.low in _ADVERBS or _misspelt(token.low):
            event.doubts.append(_undated(scan, at, at + 1, token.text))
        elif token.low == "on" and at < run[-1]:
            event.doubts.append(_undated(scan, at, run[-1] + 1, scan.typed(at, run[-1] + 1)))


def _span(scan: Scan, run: list[int]) -> tuple[int, int]:
    return scan.begin(run[0]), scan.close(run[-1] + 1)


def _misspelt(word: str) -> bool:
    return len(word) > 4 and word not in _DATE_WORDS and bool(get_close_matches(word, _DATE_WORDS, 1, 0.85))


def search_words(event: Event) -> str | None:
    """Return the search text for titles and attendees: a quoted title unchanged, else its significant words; or None."""
    if event.quoted:
        return event.title
    words = [
        word
        for word in event.title.split()
        if word.casefold() not in ("with", "the", "a", "an", "of", "my", "and", "scheduled", "planned", *_SMALL)
    ]
    telling = [word.removesuffix("'s") for word in words if word.casefold() not in _GENERIC]
    return " ".join(telling) or None


def event_slot(scan: Scan, at: int, end: int) -> Iterable[tuple[int, object]]:
    """An event up to a word that may follow one, or up to the end of the clause."""
    words = ("to", "into", "as", "until", "by", "from", "for")
    stops = [stop for stop in range(at + 1, min(end, at + MAX_WORDS)) if scan.low(stop) in words]
    # Each candidate is parsed again, so only a few are tried: a title rarely has more such words.
    for stop in stops[:8]:
        event = read_event(scan, at, stop)
        if event and not event.unread:
            yield stop, event


def whole_event(scan: Scan, at: int, end: int) -> Iterable[tuple[int, object]]:
    """An event that takes the rest of the clause."""
    event = read_event(scan, at, end)
    if event:
        yield end, event
