"""Reads the values of a request whose intent is known: times, people, places and titles, anywhere in the sentence.

A reading takes what the readers of values recognise out of a clause, drops the words that only carry the request ("can you
put ... in my calendar"), and takes what remains as the title, the name, the place or the words to look for. It decides
nothing about effects: the functions that build steps do, and ask where something is missing or doubtful.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from offline.planner import (
    calendar_steps,
    contact_steps,
    mail_steps,
    meeting_steps,
    other_steps,
    task_steps,
    weather_steps,
)
from offline.planner.clocks import read_length
from offline.planner.dates import count
from offline.planner.draft import Draft
from offline.planner.events import Event, read_event
from offline.planner.letters import read_letter
from offline.planner.mail_content import Content
from offline.planner.match import Match, Values
from offline.planner.outcomes import Ask, Doubt, Refuse, Unread
from offline.planner.people import people
from offline.planner.referents import put_away, puts_away_known
from offline.planner.scan import Scan, phrases
from offline.planner.tokens import Kind
from offline.planner.weather_steps import Place
from offline.planner.when import When, read_when

Build = Callable[[Match, Draft], None]
Reading = Callable[[Scan, int, int], "tuple[Build, Values]"]
_MANNERS = frozenset(
    phrases(
        "please|pls|can|could|would|will|you|i|i'd|i'll|i'm|we|need|needs|want|wanna|like|to|have|has|got|kindly|hey|hi|ok|"
        "okay|just|also|let's|lets|let|now|must|should|help|me|us|go|ahead|and|then|a|an|the|my|our|new|another|some|so"
    )
)
_ARTICLES = frozenset(phrases("a|an|the|my|our|new|another|some|me|us|this|that|these|those|your"))


@dataclass
class Sifted:
    """What a clause holds: its times, its quoted text, addresses and pages, and the rest in runs of tokens."""

    scan: Scan
    when: When
    runs: list[list[int]]
    quoted: list[str]
    addresses: list[str]
    urls: list[str]

    def left(self, without: frozenset[str]) -> str:
        """The words that remain without some, in order."""
        return " ".join(
            self.scan.tokens[at].text for run in self.runs for at in run if self.scan.low(at) not in without
        )

    def texts(self) -> list[str]:
        """The runs as they were typed."""
        return [self.scan.typed(run[0], run[-1] + 1) for run in self.runs]


def sift(scan: Scan, start: int, end: int, *, times: bool = True) -> Sifted:
    """Take the values out of a clause."""
    inside, at, broken = scan.until(end), start, True
    found = Sifted(inside, When(inside, place=inside.begin(start)), [], [], [], [])
    while at < end:
        read = read_when(inside, at, repeated=found.when.rule is not None) if times else None
        if read:
            found.when, at, broken = found.when.merged(read[0]), read[1], True
            continue
        kept = _value(inside, at, found)
        if kept:
            broken = True
        else:
            if broken:
                found.runs.append([])
            found.runs[-1].append(at)
            broken = False
        at += 1
    return found


def _value(scan: Scan, at: int, found: Sifted) -> bool:
    token = scan.tokens[at]
    lists = {Kind.QUOTED: found.quoted, Kind.ADDRESS: found.addresses, Kind.URL: found.urls}
    if token.kind in lists:
        lists[token.kind].append(token.value)
    return token.kind in lists or token.low in (",", ";", "?", "!", ".", ":")


def skip_words(scan: Scan, at: int, end: int, words: frozenset[str]) -> int:
    """The place behind all such words that stand here in a row."""
    while at < end and (scan.low(at) in words or scan.low(at) in (",", ":", ";")):
        at += 1
    return at


def behind(scan: Scan, start: int, end: int, leads: Sequence[str]) -> int:
    """The place behind manners and one of the leads; behind nothing where no lead follows."""
    inside = scan.until(end)
    at = skip_words(inside, start, end, _MANNERS)
    for begin in dict.fromkeys((start, *range(start, at + 1))):
        if found := inside.phrase(begin, *leads):
            return found
    return start


# ---- calendar

_CREATE = phrases(
    "schedule|schedule in|plan|plan in|arrange|organise|organize|set up|set|book|book in|make|create|add|add in|put|put in|"
    "put down|enter|block|block out|block off|reserve|pencil in|pencil|note|note down|note in|save|save the date|fix|get|"
    "throw|have|i have|i've got|i've|there is|there's|mark|invite|remember|new|put together|squeeze in|register"
)
_MADE = frozenset(phrases("a|an|the|my|our|new|another|me|us|for|of|:|-|that|in|called|named|some|is"))


def _create(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    verb = behind(scan, start, end, _CREATE)
    at = skip_words(scan, verb, end, _MADE)
    event = read_event(scan, at, end) if at < end else None
    if event and verb == start and event.when.empty and not event.in_calendar:
        raise Unread(scan.typed(start, end))
    return calendar_steps.create, [("event_rest", event)] if event else []


_ASKED = frozenset(
    phrases(
        "what|what's|whats|when|when's|which|who|who's|where|where's|how|is|are|am|was|does|do|did|i|i'm|i've|my|me|the|a|an|"
        "of|on|in|at|to|for|with|from|about|have|has|got|be|will|there|any|anything|something|all|some|list|show|give|tell|"
        "read|check|see|find|look|looking|up|out|open|pull|get|want|need|know|like|can|could|would|you|your|please|if|"
        "whether|that|this|it|them|one|time|day|days|date|week|month|calendar|calender|agenda|diary|schedule|schedules|"
        "scheduled|schedualed|planned|plan|plans|set|event|events|appointment|appointments|appt|meeting|meetings|meet|"
        "entry|entries|next|coming|upcoming|left|busy|full|free|doing|going|happening|coming|start|starts|begin|begins|end|"
        "ends|long|many|much|until|before|after|go|details|description|information|search|still|by|and|or|not|remind|more|"
        "today's|tomorrow's|currently|now|again|over|through|run|bring|display|view|seeing|anywhere|place|actually|exactly|"
        "put|did|we|our|us|hi|hey|hello|thanks|thank|called|named|am|else|just|take|later|soon|first|last|previous|work|"
        "online|app|summary|overview|item|items|thing|things|commitments|engagements|no|yes|ok|so|as"
    )
)


def _agenda(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    sifted = sift(scan, start, end)
    words = [*sifted.quoted, *sifted.left(_ASKED).split()]
    query = " ".join(word.removesuffix("'s") for word in words)
    _check_mine(scan, start, end, query)
    when = _today_at(sifted.when.likely())
    return calendar_steps.look, [("when", when), *([("words", query)] if query else [])]


def _check_mine(scan: Scan, start: int, end: int, others: str) -> None:
    """Whether somebody else is free stands in no calendar of the person's."""
    words = {scan.low(at) for at in range(start, end)}
    mine = {"i", "i'm", "we", "me", "my", "our", "us"} & words
    if (
        others
        and not mine
        and {"free", "busy", "available"} & words
        and scan.low(start) in ("is", "will", "when", "are")
    ):
        raise Refuse("I see only your own calendar, so I cannot tell when others are free.")


def _today_at(when: When) -> When:
    """A question about an hour without a day is about today: a look-up changes nothing."""
    if when.days is None and when.instant is None and (when.clock or when.part or when.bounds):
        return when.today()
    return when


_BOOKS = frozenset(phrases("book|reserve|schedule|take|block|use"))
_SLOTS = frozenset(phrases("slot|hour|time|one|it|that|gap|opening|minutes|free|window|first|earliest|hours"))
_FREE = frozenset(phrases("free|available|open|first|next|earliest|gap|opening"))


def _free(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    inside = scan.until(end)
    verb = skip_words(inside, start, end, _MANNERS)
    split = next((at for at in range(verb + 1, end) if inside.low(at) in ("as", "for") and _thing(inside, at + 1)), end)
    if inside.low(verb) in _BOOKS and any(inside.low(at) in _SLOTS for at in range(verb, split)):
        event = read_event(scan, split + 1, end) if split < end else None
        values: Values = [("event_rest", event)] if event else []
        if any(inside.low(at) in ("free", "available", "open") for at in range(verb, split)):
            return calendar_steps.book_free, [("when", sift(scan, verb, split).when), *values]
        return calendar_steps.book_found, values
    sifted = sift(scan, start, end)
    when = sifted.when
    _check_mine(scan, start, end, sifted.left(_ASKED | _FREE))
    return calendar_steps.free, [("when", when)]


def _thing(scan: Scan, at: int) -> bool:
    return at < scan.size and read_when(scan, at) is None and read_when(scan, at - 1) is None


_MOVE = phrases(
    "move|reschedule|shift|push|push back|postpone|bring forward|bring|delay|change|change the time of|change the date of|"
    "update|edit|put off|put|swap|set|make|have|let|extend|shorten|start|begin|mvoe|adjust|modify|"
    "change the day of|change the time for|set back"
)
_RENAME = phrases("rename|retitle|change the title of|change the name of|call")
_RELOCATE = phrases(
    "change the location of|change the place of|set the location of|set the place of|change the location for|move the location of"
)
_INTO = ("to", "until", "till", "into")
_WEAKER = ("at", "for", "by", "as", "on")
_INSTEAD = ("instead", "now", "please", ".")


def _change(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    inside = scan.until(end)
    for leads, build in ((_RENAME, calendar_steps.rename), (_RELOCATE, calendar_steps.relocate)):
        at = behind(scan, start, end, leads)
        split = _last(inside, at, end, "to", "into", "as") if at > start else None
        if split:
            value = inside.tokens[split + 1].value if split + 2 == end else inside.typed(split + 1, end)
            return build, [("event", _event(scan, at, split)), ("words", value)]
    at = behind(scan, start, end, _MOVE)
    return _moved(inside, at, end)


def _moved(scan: Scan, at: int, end: int) -> tuple[Build, Values]:
    """The event stands before the first word such as `to` behind which only a time follows, or before a length."""
    if shifted := _shifted(scan, at, end):
        return shifted
    for words in (_INTO, _WEAKER):
        for split in range(at, end - 1):
            found = read_when(scan, split + 1) if scan.low(split) in words else None
            if found is None or scan.low(found[1]) not in ("", *_INSTEAD) or found[1] + 1 < end:
                continue
            return calendar_steps.move, [("event", _event(scan, at, split)), ("when", found[0])]
    return calendar_steps.move_open, [("event_rest", _event(scan, at, end))] if at < end else []


_LATER = frozenset(phrases("later|back|postpone|delay"))
_EARLIER = frozenset(phrases("earlier|sooner|forward|ahead"))
_LONGER = frozenset(phrases("longer|shorter|extend|shorten|lengthen"))


def _shifted(scan: Scan, at: int, end: int) -> tuple[Build, Values] | None:
    """`half an hour later`, `by two days`: how far an event moves."""
    words = {scan.low(place) for place in range(max(0, at - 2), end)}
    for place in range(at, end):
        found = _far(scan, place)
        if found is None or (found[2] < end and scan.low(found[2]) not in _LATER | _EARLIER | _LONGER | {"please"}):
            continue
        event = _event(scan, at, _before_length(scan, at, place))
        if words & _LONGER or not words & (_LATER | _EARLIER | {"by"}):
            return calendar_steps.ask_target, [("event", event)]
        way = -1 if words & _EARLIER else 1 if words & _LATER or "push" in words else 0
        return calendar_steps.move_by, [("event", event), ("far", (found[0] * way, found[1] * way))]
    return None


def _before_length(scan: Scan, start: int, at: int) -> int:
    """The place before the words that only lead to a length."""
    while at > start and scan.low(at - 1) in ("by", "back", "forward", "to", "start", "begin", "for"):
        at -= 1
    return at


def _far(scan: Scan, at: int) -> tuple[int, int, int] | None:
    """Days, minutes, and the place behind them."""
    amount = count(scan, at)
    days = {"day": 1, "days": 1, "week": 7, "weeks": 7}.get(scan.low(at + 1))
    if amount and days:
        return amount * days, 0, at + 2
    found = read_length(scan, at)
    return (0, found[0], found[1]) if found else None


def _last(scan: Scan, start: int, end: int, *words: str) -> int | None:
    return next((at for at in range(end - 2, start, -1) if scan.low(at) in words), None)


def _event(scan: Scan, start: int, end: int) -> Event:
    at = skip_words(scan, start, end, _ARTICLES)
    return (read_event(scan, at, end) if at < end else None) or Event(When(scan, place=scan.begin(start)))


_SEVERAL = phrases(
    "all my meetings|all meetings|all my events|all events|all my appointments|all appointments|everything|all of my meetings|"
    "all the meetings|all the events|my calendar|the calendar|my agenda|my schedule|my day|the day|my afternoon|my morning|"
    "all of it|all my calls|all calls|my meetings|my appointments|my events"
)


def _several(scan: Scan, at: int, end: int) -> tuple[Build, Values] | None:
    """`all my meetings on Friday`, `my calendar tomorrow`: the events of a time."""
    after = scan.phrase(scan.skip(at, "off", "out"), *_SEVERAL)
    if after is None or (
        after < end and not read_when(scan, after) and scan.low(after) not in ("for", "on", "with", "of")
    ):
        return None
    sifted = sift(scan, after, end)
    words = sifted.left(frozenset(phrases("for|on|with|of|in|from|my|the|about|off|calendar|schedule|agenda")))
    return calendar_steps.delete_several, [("when", sifted.when), *([("words", words)] if words else [])]


_ALL = phrases(
    "calendar|calender|agenda|diary|schedule|day|week|afternoon|morning|everything|events|appointments|meetings"
)
_DELETE = phrases(
    "delete|cancel|remove|drop|scrap|call off|get rid of|take|erase|strike|clear|cancle|delet|take out|kill|discard"
)


def _delete(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    at = behind(scan, start, end, _DELETE)
    inside = scan.until(end)
    if at > start and (several := _several(inside, at, end)):
        return several
    whole = inside.phrase(skip_words(inside, at, end, _ARTICLES | {"all", "of", "off"}), *_ALL)
    if at == start or whole == end or (whole and read_when(inside, whole)):
        raise Refuse(calendar_steps.ONE_EVENT)
    _list_named(inside, start, end)
    stop = next((place for place in range(at, end) if inside.phrase(place, "off my", "off the", "out of my")), end)
    event = _event(scan, at, stop)
    return calendar_steps.delete, [("event_rest", replace(event, in_calendar=event.in_calendar or stop < end))]


# ---- weather

_SKY = frozenset(
    phrases(
        "what|what's|whats|when|when's|which|how|how's|hows|is|are|was|does|do|did|i|i'm|my|me|the|a|an|of|on|it|it's|its|be|"
        "will|would|there|any|some|give|show|tell|get|check|find|look|up|out|want|need|know|like|looking|can|could|you|"
        "please|if|whether|that|this|going|gonna|supposed|expected|weather|wether|wheather|forecast|forecasts|report|"
        "temperature|temperatures|temp|degrees|rain|rainy|raining|rains|rainfall|snow|snowy|snowing|storm|storms|stormy|"
        "thunder|freeze|freezing|sunny|sun|sunshine|cloud|clouds|cloudy|cold|colder|warm|warmer|hot|hotter|dry|wet|windy|"
        "wind|nice|fog|foggy|mist|ice|icy|hail|humid|humidity|high|highest|low|lowest|maximum|minimum|chance|chances|"
        "conditions|condition|take|bring|wear|pack|umbrella|coat|jacket|sunglasses|scarf|boots|rubber|sunscreen|raincoat|"
        "outside|out|outdoors|here|now|right|currently|current|moment|today's|tomorrow's|should|have|has|we|getting|to|and|"
        "or|beach|stop|sunrise|sunset|sun|dawn|dusk|rise|set|come|go|down|time|times|light|dark|day|long|get|enough|too|"
        "very|really|so|off|with|update|details|info|information|today|hey|hi|ok|also|then|much|many|home|area|city|town"
    )
)
_WHERE = ("in", "near", "around", "at", "over", "of", "for", "neighboring", "close to", "outside")
_NOWHERE = frozenset(phrases("a|an|my|our|here|the area|me|us|this|that|there|outside|general|it|walk|run|swim|picnic"))


def _weather(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    sifted = sift(scan, start, end)
    words = {scan.low(at) for at in range(start, end)}
    soon = bool(words & {"will", "going", "gonna", "supposed", "umbrella", "forecast", "need", "jacket", "coat"})
    here = bool(words & {"now", "currently", "current", "moment"}) and sifted.when.empty
    build = weather_steps.now if here else weather_steps.coming if soon else weather_steps.forecast
    return build, [("when", sifted.when), *_places(scan, start, end)]


def _sun(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    return weather_steps.sun, [("when", sift(scan, start, end).when), *_places(scan, start, end)]


def _places(scan: Scan, start: int, end: int) -> Values:
    inside = scan.until(end)
    for word in _WHERE:
        for at in range(start, end):
            after = inside.phrase(at, word)
            if after and read_when(inside, at) is None and (found := _named_places(inside, after, end)):
                return [("places", found)]
    sifted = sift(scan, start, end)
    runs = [kept for run in sifted.runs if (kept := [at for at in run if inside.low(at) not in _SKY])]
    if len(runs) == 1 and runs[0][-1] - runs[0][0] < 6:
        return [("places", (_place(inside, runs[0][0], runs[0][-1] + 1),))]
    return [("places", tuple(Place(text) for text in sifted.quoted))] if sifted.quoted else []


def _named_places(scan: Scan, start: int, end: int) -> tuple[Place, ...]:
    """The places from here up to a time, a mark, or a word that belongs to the question."""
    at = scan.skip(start, "the")
    if scan.low(at) in _NOWHERE or read_when(scan, start):
        return ()
    stop = at
    while stop < end and scan.low(stop) not in _SKY - {"and", "of", "the", "city", "home", "high", "nice"}:
        if scan.low(stop) in ("?", "!", ";", ".", ":") and scan.low(stop - 1) not in ("st", "mt", "ft"):
            break
        if read_when(scan, stop) or stop - at > 12:
            break
        stop += 1
    return tuple(_divided(scan, at, stop))


def _divided(scan: Scan, start: int, end: int) -> list[Place]:
    """`Rome and Paris` are two places where both are written like names; a comma may lead to the region."""
    while end > start and scan.low(end - 1) in (",", "and", "on", "for", "at"):
        end -= 1
    if end <= start:
        return []
    for at in range(start + 1, end - 1):
        if scan.low(at) == "and" and (scan.tokens[at + 1].capital or not scan.tokens[start].capital):
            return [*_divided(scan, start, at), *_divided(scan, at + 1, end)]
    return [_place(scan, start, end)]


def _place(scan: Scan, start: int, end: int) -> Place:
    name = scan.tokens[start].value if end == start + 1 else scan.typed(start, end)
    comma = next((at for at in range(start, end) if scan.low(at) == ","), None)
    region = scan.begin(comma) - scan.begin(start) if comma is not None else 0
    return Place(name, scan.begin(start), scan.close(end), region)


# ---- contacts

_REACHED = frozenset(
    phrases(
        "what|what's|whats|is|are|who|who's|how|do|does|can|could|you|i|my|me|the|a|an|of|for|in|on|to|from|have|has|got|give|"
        "show|tell|get|find|look|up|search|need|want|know|reach|call|phone|telephone|number|numbers|mobile|cell|email|e-mail|"
        "mail|address|addresses|contact|contacts|details|detail|data|info|information|book|list|please|which|there|any|hold|"
        "and|saved|stored|entry|work|home|it|that|this|if|whether|would|will|be|see|open|display|tell|hey|hi|current|"
        "phonebook|with|s|touch|at|as|also|then"
    )
)


def _who(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    sifted = sift(scan, start, end, times=False)
    name = " ".join([*sifted.quoted, *sifted.addresses, *sifted.left(_REACHED).split()])
    plain = name.removesuffix("'s").removesuffix("s'")
    return contact_steps.find, [("name", plain)] if plain else []


_STORED = _REACHED | frozenset(
    phrases(
        "add|put|save|store|enter|create|make|new|named|called|into|under|remember|keep|people|person|him|her|them|met|name|"
        "just|some|someone|somebody|another|cards|card"
    )
)


def _store(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    phone, rest = _phone(scan, start, end)
    sifted = sift(scan, start, end, times=False)
    words = [sifted.scan.tokens[at].text for run in sifted.runs for at in run if at not in rest]
    name = " ".join(word for word in words if word.casefold() not in _STORED and word[0].isalpha())
    name = " ".join([*sifted.quoted, *name.split()]).removesuffix("'s")
    values: Values = [("name", name)] if name else []
    values += [("address", sifted.addresses[0])] if sifted.addresses else []
    return contact_steps.add, [*values, *([("phone", phone)] if phone else [])]


def _phone(scan: Scan, start: int, end: int) -> tuple[str, range]:
    """Digits with the marks that people put between them."""
    for at in range(start, end):
        stop = at
        while stop < end and (scan.kind(stop) is Kind.NUMBER or scan.low(stop) in ("+", "(", ")", "-", "/", ".")):
            stop += 1
        text = scan.typed(at, stop).strip(" .-/")
        if sum(letter.isdigit() for letter in text) >= 5 and len(text) <= 40:
            return text, range(at, stop)
    return "", range(0)


def _forget(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    gone = _STORED | frozenset(phrases("delete|remove|erase|take|out|drop"))
    name = sift(scan, start, end, times=False).left(gone).removesuffix("'s")
    return contact_steps.remove, [("name", name)] if name else []


def _contacts(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    del scan, start, end
    return contact_steps.show, []


# ---- tasks

_ONTO = frozenset(phrases("to|on|onto|in|into|from|off|out|as"))
_ADD = phrases(
    "add|create|make|note|put|write|jot down|write down|note down|new|remember that|remember|don't let me forget|have|"
    "add something|put something|add an item|get"
)
_NOUNS = phrases("task|to-do|todo|to do|tasks|todos|item|task list|entry|reminder|something")
_OF = phrases(
    "to|:|called|named|that says|saying|for me to|that i have to|that i must|that i need to|that i should|i have to|of|about"
)
_DUE = ("by", "due", "until", "before", "due on", "due by", "for")


def _bare(scan: Scan, start: int, end: int) -> tuple[int, int]:
    """A clause without the words for the list, before or behind the task."""
    for at in range(start, end):
        if scan.low(at) in _ONTO and (after := _list_end(scan, at, end)):
            ahead = scan.phrase(after, *_DUE) or (after if read_when(scan, after) else None)
            behind_it = after >= end or scan.low(after) in (",", ".") or (ahead and at > start + 1)
            return (start, at) if behind_it else (scan.skip(after, ",", ":"), end)
    return start, end


def _list_end(scan: Scan, at: int, end: int) -> int | None:
    """The place behind `to my shopping list`, `on the list of things to do`."""
    stop = scan.skip(at + 1, "of", "to")
    stop = scan.skip(stop, "my", "the", "our", "a")
    for last in range(stop, min(end, stop + 5)):
        if scan.low(last) in ("list", "tasks", "todos", "to-dos", "todolist"):
            return scan.phrase(last + 1, *_LIST_OF) or last + 1
        if scan.kind(last) is not Kind.WORD:
            return None
    return None


_TO_DO = frozenset(phrases("to-do|todo|to|do|task|tasks|todos|to-dos|dos"))
_PLAIN = frozenset(
    phrases("my|the|our|a|on|in|from|off|of|open|current|whole|entire|up|show|read|list|what|what's|is|and|new")
)
_LIST_OF = phrases("of things to do|of to-dos|of to dos|of todos|of tasks|of contacts|of reminders|of things")


def _list_named(scan: Scan, start: int, end: int) -> Values:
    """The list that a clause names, as in `my shopping list`; nothing for the to-do list.

    Raises:
        Ask: It says only "the list".
    """
    for at in range(start, end):
        if scan.low(at) != "list" or scan.phrase(at + 1, *_LIST_OF):
            continue
        begin = at - 1
        while begin >= start and scan.low(begin) in _TO_DO:
            begin -= 1
        first = begin
        while first >= start and scan.kind(first) is Kind.WORD and scan.low(first) not in _PLAIN:
            first -= 1
        if first < begin:
            return [("list", scan.typed(first + 1, begin + 1))]
        if begin == at - 1:
            whole = scan.skip(at, "list") if begin < start or scan.low(begin) not in _ARTICLES else at + 1
            question = "Which list do you mean?"
            span = (scan.begin(begin if whole > at else at), scan.close(at + 1))
            raise Ask(Doubt(question, *span, (("my to-do list", "my to-do list"),)))
    return []


def _add(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    verb = behind(scan, start, end, _ADD)
    named = _list_named(scan, start, end)
    first, last = _bare(scan.until(end), verb, end)
    inside = scan.until(last)
    named_so = first < last and inside.tokens[first].capital and first > start  # `The Leopard` is a title
    at = first if named_so else skip_words(inside, first, last, _ARTICLES)
    at = inside.skip(at, *_NOUNS)
    at = skip_words(inside, at, last, frozenset((":", ",")))
    at = inside.skip(at, *_OF)
    at = skip_words(inside, at, last, frozenset((":", ",")))
    return task_steps.add_task, [*named, *_titled(scan, at, last, end)]


def _titled(scan: Scan, at: int, last: int, end: int) -> Values:
    """A title, and when it is due: a time at its end or behind the words for the list."""
    inside = scan.until(last)
    values: Values = []
    late = next((place for place in range(last, end) if read_when(scan.until(end), place)), None)
    if late is not None and late >= last and (found := read_when(scan.until(end), late)):
        values.append(("when", found[0]))
    for place in range(at, last):
        begin = inside.phrase(place, *_DUE) or place
        found = read_when(inside, begin) or read_when(inside, place)
        if found and found[1] == last and inside.kind(place) is not Kind.QUOTED:
            values.append(("when", found[0]))
            last = place
            break
    if last > at:
        title = inside.tokens[at].value if last == at + 1 else inside.typed(at, last)
        values.append(("words", title))
    return values


def _tasks(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    named = _list_named(scan, start, end)
    inside = scan.until(end)
    words = {inside.low(at) for at in range(start, end)}
    if words & {"done", "completed", "finished"} and not words & {"still", "not"}:
        return task_steps.show_all, []
    when = sift(scan, start, end).when
    return task_steps.show_tasks if when.empty else task_steps.show_due, [("when", when), *named]


_DONE = phrases(
    "mark|set|tick off|check off|tick|check|complete|finish|close|cross off|cross|i did|i have done|i finished|i've done|"
    "i'm done with|i am done with|done with|delete|remove|drop|erase|cancel|take|get rid of|reopen|open again|uncheck|"
    "restore|don't remind me|do not remind me|stop reminding me|stop|clear|turn off|delete|empty|wipe|i don't need|put"
)
_STATES = phrases(
    "as done|as complete|as completed|as finished|as not done|as undone|as open|as incomplete|as not completed|done|"
    "completed|complete|finished|off|is done|is finished|is complete|is completed|not done|to done|any more|anymore|please|"
    "again|is not done|after all"
)


_STATED = frozenset(phrases("done|complete|completed|finished|it"))
_WHOLE = ("tasks", "todos", "to-dos", "to do list", "to-do list", "todo list", "task list", "reminders", "list")


def _named_task(build: Build) -> Reading:
    many = task_steps.delete_many if build is task_steps.delete else task_steps.refuse_many

    def read(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
        verb = behind(scan, start, end, _DONE)
        if verb == start and not _STATED & {scan.low(at) for at in range(start, end)}:
            raise Unread(scan.typed(start, end))
        named = _list_named(scan, start, end)
        first, last = _bare(scan.until(end), verb, end)
        first, last = _without_deed(scan, first, _without_ends(scan, first, last, _STATES))
        inside = scan.until(last)
        at = skip_words(inside, first, last, _ARTICLES | {"off", "all", "of"})
        every = scan.low(skip_words(scan, verb, end, _ARTICLES | {"off"})) in ("all", "every", "everything")
        if every or inside.phrase(at, *_WHOLE) == last or (named and at >= last and verb > start):
            return many, named
        title = _task_title(inside, at, last)
        if named and "list" in title.casefold().split():
            return (many if build is task_steps.delete else build), named
        return build, [*named, *([("words", title)] if title else [])]

    return read


def _task_title(scan: Scan, at: int, end: int) -> str:
    at = skip_words(scan, scan.skip(at, *_NOUNS), end, frozenset((":", ",")))
    at = scan.skip(at, "to", "of", "about", "for", "called", "named", "that")
    return "" if at >= end else scan.tokens[at].value if end == at + 1 else scan.typed(at, end)


_IT_OFF = phrases("tick it|check it|cross it|mark it|tick that|mark that|so tick it|so mark it")
_TASK_NOUNS = ("task", "to-do", "todo", "reminder", "item")


def _without_deed(scan: Scan, start: int, end: int) -> tuple[int, int]:
    """`I've paid the rent, tick it off` names the rent, and `the rent task` does so too."""
    comma = next((at for at in range(start, end) if scan.low(at) == "," and scan.phrase(at + 1, *_IT_OFF)), None)
    if comma is not None:
        started = scan.phrase(start, "i have", "i")
        begin = started + 1 if started else start + 2 if scan.low(start) == "i've" else start
        return begin, comma
    return start, end - 1 if end - start > 1 and scan.low(end - 1) in _TASK_NOUNS else end


def _without_ends(scan: Scan, start: int, end: int, words: Sequence[str]) -> int:
    while end > start:
        shorter = [
            end - len(text.split()) for text in words if scan.until(end).phrase(end - len(text.split()), text) == end
        ]
        if not shorter or min(shorter) < start:
            return end
        end = min(shorter)
    return end


_REMIND = phrases(
    "remind me|set a reminder|set me a reminder|create a reminder|add a reminder|make a reminder|set up a reminder|"
    "set up a new reminder|give me a reminder|give me a nudge|alert me|notify me|ping me|nudge me|be reminded|a reminder|"
    "reminder|make me a reminder|help me remember|help me to remember|set reminder|don't let me forget|rimind me|tell me|"
    "make sure i|new reminder|create reminder|add reminder|set a new reminder|remember"
)


def _remind(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    inside, verb, first = scan.until(end), start, start
    for at in range(start, end):
        if found := inside.phrase(at, *_REMIND):
            first, verb = at, found
            break
    early = sift(scan, start, first).when
    sifted = sift(scan, verb, end)
    when = early.merged(sifted.when)
    if sifted.quoted and not sifted.left(_ARTICLES | {"to", "about", "of", "that", "for"}):
        title = sifted.quoted[0]
    else:
        title = _reminded(inside, verb, end)
    values: Values = [] if when.empty else [("when", when)]
    return task_steps.remind, [*values, *([("words", title)] if title else [])]


_ABOUT = frozenset(phrases("to|about|of|for|that|:|,|when|it's|time|notification|with|please|alert|me"))


def _reminded(scan: Scan, start: int, end: int) -> str:
    """What remains without the times; a time within belongs to the reminder, not to its title."""
    pieces: list[list[int]] = [[]]
    at = start
    while at < end:
        found = read_when(scan, at)
        if found and scan.kind(at) is not Kind.QUOTED:
            at = found[1]
            pieces.append([])
        else:
            pieces[-1].append(at)
            at += 1
    kept: list[str] = []
    for piece in pieces:
        while piece and scan.low(piece[0]) in (_ABOUT if not kept else {",", ":", "to", "that"}):
            piece = piece[1:]
        while piece and scan.low(piece[-1]) in (",", ":", ".", "for", "on", "at", "in", "please", "notification"):
            piece = piece[:-1]
        if piece:
            kept.append(scan.typed(piece[0], piece[-1] + 1))
    return " ".join(kept)


# ---- mail

_SOUGHT = frozenset(
    phrases(
        "forward|pass|share|respond|everybody|everyone|thread|"
        "what|what's|whats|is|are|who|was|has|have|did|do|does|i|i'm|me|my|the|a|an|of|in|on|for|to|from|about|with|by|any|"
        "anything|some|all|new|newest|latest|last|recent|unread|mail|mails|email|emails|e-mail|e-mails|message|messages|inbox|"
        "mailbox|show|list|find|search|get|give|look|looking|up|out|read|open|check|see|through|if|whether|there|it|that|"
        "this|which|please|can|could|would|you|received|receive|containing|contain|contains|mentioning|mention|regarding|"
        "on|got|came|arrived|wrote|written|write|sent|send|replied|answered|say|said|says|tell|person|want|need|know|time|"
        "since|refresh|fetch|poll|polling|update|initiate|outlook|gmail|how|many|one|ones|first|top|aloud|loud|summarise|"
        "summarize|archive|delete|trash|remove|bin|folder|drafts|draft|put|away|file|throw|rid|move|and|then|also|words|word|"
        "text|title|subject|where|today|recently|lately|just|most|back|reply|answer|something|be|will|should|them|him|her|"
        "pull|display|view|account|waiting|app|our|your|content|contents|news|as|so|yet|now|hey|hi|ok|news"
    )
)


def _mails(scan: Scan, start: int, end: int) -> Values:
    sifted = sift(scan, start, end)
    words = [*sifted.quoted, *sifted.addresses, *sifted.left(_SOUGHT).split()]
    query = " ".join(word.removesuffix("'s").removesuffix("s'") for word in words if word[0].isalnum())
    number = next(
        (int(scan.low(at)) for at in range(start, end) if scan.kind(at) is Kind.NUMBER and scan.low(at).isdigit()), 0
    )
    values: Values = [("number", number)] if (number and query.endswith(str(number))) or (number and not query) else []
    query = query.removesuffix(str(number)).strip() if values else query
    values += [("words", query)] if query else []
    days = sifted.when.days
    if days and (days.first, days.last) == (scan.today, scan.today):
        return values  # the newest come first
    return [*values, *([] if sifted.when.empty else [("when", sifted.when)])]


def _search(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    values = _mails(scan, start, end)
    if any(name == "when" for name, _ in values):
        return mail_steps.refuse_dates, []
    return mail_steps.search, values


def _one_mail(build: Build) -> Reading:
    def read(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
        inside = scan.until(end)
        words = [inside.low(at) for at in range(start, end)]
        if {"all", "everything", "mails", "emails", "messages", "and"} & set(words) and build is not mail_steps.read:
            return mail_steps.refuse_many, []
        if build is mail_steps.read and {"mails", "emails", "messages"} & set(words) and "the" not in words[:2]:
            return _search(scan, start, end)
        values = _mails(scan, start, end)
        return mail_steps.refuse_dates if any(name == "when" for name, _ in values) else build, values

    return read


_CUES = phrases(
    "saying that|saying|that says|that|with the text|with the words|with|:|to say that|to say|telling them that"
)
_REPLIES = frozenset(
    phrases("reply|respond|answer|write|back|to|the|my|this|that|it|him|her|them|yes|no|thanks|all|everybody|everyone")
)


def _reply(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    inside = scan.until(end)
    cue = next(
        ((at, after) for at in range(start + 1, end) if (after := inside.phrase(at, *_CUES)) and after < end), None
    )
    quote = next((at for at in range(start, end) if inside.kind(at) is Kind.QUOTED), None)
    begin, stop = (cue[1], cue[0]) if cue else (quote, quote) if quote is not None else (end, end)
    values = _mails(scan, start, stop)
    if begin < end:
        body = inside.tokens[begin].value if begin + 1 == end else inside.typed(begin, end)
        values.append(("content", Content(body=body, open_body=None if begin + 1 == end else begin)))
    everybody = any(inside.low(at) in ("all", "everybody", "everyone") for at in range(start, stop))
    return mail_steps.reply, [*values, *([("all", True)] if everybody else [])]


def _forward(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    inside = scan.until(end)
    for at in range(start + 1, end - 1):
        if inside.low(at) == "to" and (found := people(inside, at + 1, end)) and found[0] and found[1] == end:
            return mail_steps.forward, [("people", found[0]), *_mails(scan, start, at)]
    return mail_steps.forward, _mails(scan, start, end)


# ---- pages, meetings in mails, help


def _page(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    sifted = sift(scan, start, end, times=False)
    if not sifted.urls:
        raise Unread(scan.typed(start, end))
    url = sifted.urls[0]
    return other_steps.fetch, [("url", url if "://" in url else f"https://{url}")]


_CONFIRM = re.compile(
    r"confirm( it| that| this| the meeting)? (to|with) (its|the) (sender|writer|author)"
    r"|(confirm|answer|reply) to (its|the) (sender|writer|author)|(tell|let) (its|the) (sender|writer|author)( know)?"
    r"|send (its|the) (sender|writer|author) a confirmation|send a confirmation to (its|the) (sender|writer|author)"
)


def special(scan: Scan, start: int, end: int) -> Build | None:
    """What clauses mean that only stand for something before them."""
    if puts_away_known(scan, start, end):
        return put_away
    return meeting_steps.confirm if _CONFIRM.fullmatch(scan.typed(start, end).casefold()) else None


def _meeting(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    del scan, start, end
    return meeting_steps.enter, []


def _help(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    del scan, start, end
    return other_steps.abilities, []


def _letter(build: Build) -> Reading:
    def read(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
        return build, [_asked(scan, value) for value in read_letter(scan, start, end)]

    return read


def _asked(scan: Scan, value: tuple[str, object]) -> tuple[str, object]:
    """Data that the clause itself asks for, read as a request of its own."""
    if value[0] != "asked" or not isinstance(value[1], tuple):
        return value
    start, end, intent = value[1]
    build, values = READINGS[intent](scan.until(end), start, end)
    return "thing", mail_steps.Thing(Match(scan, start, end, tuple(values)), build)


def _refuse_change(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    del scan, start, end
    return contact_steps.refuse_change, []


def _lists(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    del scan, start, end
    return task_steps.show_lists, []


def _drop_list(scan: Scan, start: int, end: int) -> tuple[Build, Values]:
    return task_steps.delete_list, _list_named(scan, start, end)


READINGS: dict[str, Reading] = {
    "tasks.lists": _lists,
    "tasks.delete_list": _drop_list,
    "contacts.update": _refuse_change,
    "email.send": _letter(mail_steps.send),
    "email.draft": _letter(mail_steps.save_draft),
    "meeting.enter": _meeting,
    "calendar.create_event": _create,
    "calendar.list_events": _agenda,
    "calendar.find_free_time": _free,
    "calendar.update_event": _change,
    "calendar.delete_event": _delete,
    "weather.forecast": _weather,
    "weather.sun": _sun,
    "contacts.find": _who,
    "contacts.list": _contacts,
    "contacts.add": _store,
    "contacts.remove": _forget,
    "tasks.add": _add,
    "tasks.list": _tasks,
    "tasks.complete": _named_task(task_steps.complete),
    "tasks.delete": _named_task(task_steps.delete),
    "tasks.reopen": _named_task(task_steps.reopen),
    "tasks.cancel_reminder": _named_task(task_steps.cancel_reminder),
    "tasks.remind": _remind,
    "email.search": _search,
    "email.read": _one_mail(mail_steps.read),
    "email.archive": _one_mail(mail_steps.archive),
    "email.delete": _one_mail(mail_steps.delete),
    "email.reply": _reply,
    "email.forward": _forward,
    "web.fetch": _page,
    "help": _help,
}
