"""Reads requests about the calendar: events, their times, and free time."""

from dataclasses import replace

from offline.planner import (
    calendar_steps,
)
from offline.planner.clocks import read_length
from offline.planner.dates import count
from offline.planner.events import Event, read_event
from offline.planner.match import Values
from offline.planner.outcomes import Refuse, Unread
from offline.planner.scan import Scan, phrases
from offline.planner.sift import ARTICLES, MANNERS, Build, Reading, behind, sift, skip_words
from offline.planner.task_readings import list_named
from offline.planner.when import When, read_when

_CREATE = phrases(
    "i'm having|i am having|i'm going to|schedule|schedule in|plan|plan in|arrange|organise|organize|set up|set|book|book in|make|create|add|add in|put|put in|"
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
    verb = skip_words(inside, start, end, MANNERS)
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
    at = skip_words(scan, start, end, ARTICLES)
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
    whole = inside.phrase(skip_words(inside, at, end, ARTICLES | {"all", "of", "off"}), *_ALL)
    if at == start or whole == end or (whole and read_when(inside, whole)):
        raise Refuse(calendar_steps.ONE_EVENT)
    list_named(inside, start, end)
    stop = next((place for place in range(at, end) if inside.phrase(place, "off my", "off the", "out of my")), end)
    event = _event(scan, at, stop)
    return calendar_steps.delete, [("event_rest", replace(event, in_calendar=event.in_calendar or stop < end))]


READINGS: dict[str, Reading] = {
    "calendar.create_event": _create,
    "calendar.list_events": _agenda,
    "calendar.find_free_time": _free,
    "calendar.update_event": _change,
    "calendar.delete_event": _delete,
}
