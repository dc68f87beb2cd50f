"""Reads a mail to write: to whom, about what, its text, and the data that it shall carry."""

from offline.planner.intents import fitting
from offline.planner.mail_content import BODY_CUES, Content, content_slot, read_back
from offline.planner.match import Values
from offline.planner.outcomes import Unread
from offline.planner.people import Person, people
from offline.planner.scan import Scan, phrases
from offline.planner.tokens import Kind

_LEADS = frozenset(
    phrases(
        "please|pls|can|could|would|will|you|i|i'd|i'll|we|need|want|wanna|like|have|got|kindly|hey|hi|ok|just|also|let's|"
        "now|must|should|and|then|go|ahead|a|an|another|new|short|quick|email|e-mail|emial|mail|message|send|write|compose|"
        "drop|shoot|tell|let|inform|ask|draft|prepare|start|begin|create|set|make|note|line|save|thank|up|it's|out|off|"
        "forward|notify|with|open|pull"
    )
)
_NOUNS = frozenset(
    phrases(
        "a|an|the|another|new|short|quick|email|e-mail|mail|message|note|line|know|draft|my|by|some|as|in|today|now"
    )
)
_DATA = (
    "weather.forecast",
    "calendar.list_events",
    "calendar.find_free_time",
    "tasks.list",
    "contacts.find",
    "weather.sun",
)
_TELLS = frozenset(phrases("tell|ask|inform|let|message|email|mail|e-mail|notify"))
_SURE = 0.4


def read_letter(scan: Scan, start: int, end: int) -> Values:
    """The recipients, the content and the data of a mail.

    Raises:
        Unread: A piece of the clause is none of these.
    """
    inside, at = scan.until(end), start
    while at < end and (inside.low(at) in _LEADS or (inside.low(at) == "to" and inside.low(at + 1) in _LEADS)):
        at += 1
    at = at + 1 if inside.low(at) == "to" else at
    to: tuple[Person, ...] = ()
    late = _late(inside, at, end)
    if late:
        to, end = late
        inside = scan.until(end)
    elif at < end and not _content(inside, at, end) and not read_back(inside, at, end) and not _data(inside, at, end):
        to, at = people(inside, at, end)
    return _rest(inside, at, end, to)


def _late(scan: Scan, start: int, end: int) -> tuple[tuple[Person, ...], int] | None:
    """Recipients at the end, where no text of the mail stands before them: `an email about lunch to Ana`."""
    for at in range(start, end - 1):
        if scan.kind(at) is Kind.QUOTED or scan.phrase(at, *BODY_CUES):
            return None
        found = people(scan, at + 1, end) if scan.low(at) == "to" and at > start else ((), at)
        if found[0] and found[1] == end:
            return found[0], at
    return None


def _data(scan: Scan, at: int, end: int) -> bool:
    """Whether words such as `the weather` or `my events` begin here, which are nobody."""
    return scan.low(at) in ("the", "my", "our") and fitting(scan.typed(at, end))[0].intent in _DATA


def _rest(scan: Scan, at: int, end: int, to: tuple[Person, ...]) -> Values:
    values: Values = []
    loose: list[int] = []
    while at < end:
        late = people(scan, at + 1, end) if scan.low(at) == "to" and not to else ((), at)
        if late[0]:
            to, at = late
            continue
        if content := _content(scan, at, end):
            values.append(("content", content))
            break
        if loose or scan.low(at) not in _NOUNS or read_back(scan, at, end) or _data(scan, at, end):
            loose.append(at)
        at += 1
    if loose:
        values += _loose(scan, loose, bool(values), bool(to))
    return [*values, *([("people", to)] if to else [])]


def _loose(scan: Scan, loose: list[int], has_content: bool, addressed: bool) -> Values:
    """Words that belong to no part: what stands for data, or the text itself where a name stands before it."""
    start, end = loose[0], loose[-1] + 1
    begin = scan.skip(start, "with", "containing", "about")
    back = read_back(scan, begin, end)
    if back and back[1] == end:
        return [("thing", back[0])]
    text = scan.typed(begin, end)
    if not has_content and scan.low(end - 1) in ("email", "mail", "e-mail", "message", "note"):
        return [("content", Content(about=scan.typed(begin, end - 1)))]
    if addressed and not has_content and scan.low(begin) == "to" and end - begin > 2:
        return [("content", Content(body=f"Please {scan.typed(begin + 1, end)}.", open_body=begin))]
    best = fitting(text)[0]
    if best.intent in _DATA and best.sure >= _SURE:
        return [("asked", (begin, end, best.intent))]
    told = any(scan.low(at) in _TELLS for at in range(start)) and not any(
        scan.low(at) in ("send", "write") for at in range(start)
    )
    if has_content or not addressed or len(loose) < 2 or not told:
        raise Unread(scan.typed(start, end))
    return [("content", Content(body=scan.typed(start, end), open_body=start))]


def _content(scan: Scan, at: int, end: int) -> Content | None:
    """The content that begins here and reaches to the end."""
    if scan.low(at) == "to" and scan.kind(at + 1) is not Kind.QUOTED and not scan.phrase(at, "to say"):
        return None
    found = content_slot(scan, at, end)
    return found if found and (found.body or found.subject or found.about or found.back or found.cc) else None
