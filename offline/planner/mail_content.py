"""Parses the content of a mail: subject, text, and whether it includes results of other steps."""

from dataclasses import dataclass, field

from offline.planner.people import Person, people
from offline.planner.scan import Scan, phrases
from offline.planner.tokens import Kind

_SUBJECT = phrases(
    "with the subject|with subject|with a subject|with the subject line|subject|the subject|titled|with the title|entitled|called"
)
_BODY = phrases(
    "saying that|saying|that says that|that says|which says|and say that|and say|and tell them that|"
    "with the text|with text|with the body|with body|with the message|with message|with the words|text|"
    "body|message|with the content|telling them that|telling them|telling her|telling him|telling her that|telling him that|that|:|to say that|"
    "to say|and let them know that"
)
_ABOUT = phrases("about|regarding|re|concerning|on the subject of")
BODY_CUES = tuple(words for words in _BODY if words not in ("text", "body", "message"))
_CC = phrases("with cc to|cc to|cc|copying|with a copy to|and copy|with copy to")
_INSIDE = phrases("in the mail|in the email|in it|in the body|in the message|in the text|by email|by mail")
_RESULTS = phrases(
    "it|them|this|that|these|those|everything|both|all of it|all of them|all that|all|the result|"
    "the results|results|result|the answer|the list|the details|a summary|the summary|the outcome|"
    "that information|the information|the info"
)
_FORECAST = phrases(
    "the forecast|the weather|the weather forecast|forecast|the forecasts|that forecast|"
    "the weather report|the temperature|the temperatures"
)
_EVENTS = phrases(
    "my events|the events|my agenda|the agenda|my schedule|the schedule|my appointments|the appointments|"
    "my meetings|the meetings|my calendar|the calendar|the list of events"
)
_EVENT = phrases("the event|the appointment|the meeting|the invitation|the event details")
_SLOTS = phrases(
    "the free times|the free slots|my free times|the free time|the slots|the times|the free hours|"
    "my free slots|the free slot|my free time|the available times|the available slots"
)
_CONTACT = phrases(
    "the contact|the contact details|the phone number|the number|the address|the contacts|my contacts|the email address"
)
_MAIL = phrases("the mail|the email|the mails|the emails|the message|the messages|that mail|that email")
_PAGE = phrases("the page|the text of the page|the web page|the website")
BACK_REFERENCES = {
    "any": _RESULTS,
    "forecast": _FORECAST,
    "events": _EVENTS,
    "event": _EVENT,
    "slots": _SLOTS,
    "contacts": _CONTACT,
    "mail": _MAIL,
    "page": _PAGE,
}


@dataclass(frozen=True, slots=True)
class Back:
    """Words that stand for the result of an earlier clause."""

    kind: str
    words: str


@dataclass
class Content:
    """The content of a mail."""

    subject: str = ""
    body: str = ""
    about: str = ""
    open_body: int | None = None
    back: list[Back] = field(default_factory=list)
    cc: tuple[Person, ...] = ()
    to: tuple[Person, ...] = ()


def read_back(scan: Scan, at: int, end: int) -> tuple[Back, int] | None:
    """A back reference at a place: the longest one."""
    inside = scan.until(end)
    found = [(kind, stop) for kind, words in BACK_REFERENCES.items() if (stop := inside.phrase(at, *words))]
    if not found:
        return None
    kind, stop = max(found, key=lambda pair: pair[1])
    return Back(kind, scan.typed(at, stop)), stop


def content_slot(scan: Scan, at: int, end: int) -> Content | None:
    """The whole content of a mail, to the end of the clause; None where some of it is not understood."""
    inside, content = scan.until(end), Content()
    while at < end:
        stop = _part(inside, at, content)
        if stop is None or stop <= at:
            return None
        at = stop
    return content


def _part(scan: Scan, at: int, content: Content) -> int | None:
    begin = scan.skip(at, ", and", "and", ",", ";", ".")
    for start in dict.fromkeys((at, begin)):
        for read in (_inside, _subject, _copy, _recipients, _results, _about, _body):
            if stop := read(scan, start, content):
                return stop
    return None


def _inside(scan: Scan, at: int, content: Content) -> int | None:
    return scan.phrase(at, *_INSIDE) if content.back else None


def _subject(scan: Scan, at: int, content: Content) -> int | None:
    start = scan.phrase(at, *_SUBJECT)
    if start is None or content.subject:
        return None
    start = scan.skip(start, "line", ":", "of", "is")
    content.subject, stop = _short(scan, start)
    return stop


def _short(scan: Scan, start: int) -> tuple[str, int | None]:
    """A quoted text, or words up to a comma or to words that begin another part."""
    if scan.kind(start) is Kind.QUOTED:
        return scan.tokens[start].value, start + 1
    stop = start
    while stop < scan.size and not _begins_part(scan, stop):
        stop += 1
    return scan.typed(start, stop), stop if stop > start else None


def _begins_part(scan: Scan, at: int) -> bool:
    words = (*_BODY, *_SUBJECT, *_CC, *(f"and {word}" for word in (*_BODY, *_CC)), ",", ";")
    return (
        scan.kind(at) is Kind.QUOTED or scan.phrase(at, *(word for word in words if word not in ("that",))) is not None
    )


def _copy(scan: Scan, at: int, content: Content) -> int | None:
    start = scan.phrase(at, *_CC)
    found, stop = people(scan, start, scan.size) if start else ((), at)
    content.cc = found or content.cc
    return stop if found else None


def _recipients(scan: Scan, at: int, content: Content) -> int | None:
    """Recipients that come late, as in `send an email saying "Hi" to Ana`."""
    start = scan.phrase(at, "to") if not content.to else None
    found, stop = people(scan, start, scan.size) if start else ((), at)
    content.to = found or content.to
    return stop if found else None


def _results(scan: Scan, at: int, content: Content) -> int | None:
    start = scan.phrase(at, "with", "containing", "including", "about")
    found = read_back(scan, start, scan.size) if start else None
    if found is None:
        return None
    stop = scan.skip(found[1], *_INSIDE)
    if stop < scan.size and not _begins_part(scan, stop) and scan.low(stop) not in ("and", "."):
        return None
    content.back.append(found[0])
    return stop


def _about(scan: Scan, at: int, content: Content) -> int | None:
    start = scan.phrase(at, *_ABOUT)
    if start is None or content.about:
        return None
    content.about, stop = _short(scan, start)
    return stop


def _body(scan: Scan, at: int, content: Content) -> int | None:
    """Quoted text ends where its quotes end; without quotes the rest of the clause is meant."""
    start = scan.phrase(at, *_BODY) or at
    start = scan.skip(start, ":", ",") if start > at else start
    if content.body or start >= scan.size:
        return None
    if scan.kind(start) is Kind.QUOTED:
        content.body = scan.tokens[start].value
        return start + 1
    if start == at:
        return None
    return _open_body(scan, start, content)


def _open_body(scan: Scan, start: int, content: Content) -> int:
    stop = scan.size
    for at in range(start + 1, scan.size):
        if scan.phrase(at, "with the subject", "with subject", ", subject", "and the subject", "and subject"):
            stop = at
            break
    content.body, content.open_body = scan.typed(start, stop), start
    return stop
