"""Readers of the smaller slots: times, places, people, quoted text and free words."""

from collections.abc import Iterable
from dataclasses import dataclass

from offline.planner.dates import count
from offline.planner.events import event_slot, whole_event
from offline.planner.outcomes import Doubt
from offline.planner.patterns import Reader
from offline.planner.scan import Scan
from offline.planner.tokens import Kind
from offline.planner.when import read_when

Found = Iterable[tuple[int, object]]
_PARTICLES = ("de", "la", "le", "les", "am", "an", "der", "den", "of", "the", "upon", "sur", "do", "da", "dos", "del")
_NO_NAME = frozenset(
    [
        "i",
        "a",
        "an",
        "the",
        "and",
        "or",
        "then",
        "that",
        "it",
        "them",
        "this",
        "these",
        "those",
        "my",
        "our",
        "your",
        "his",
        "her",
        "their",
        "with",
        "about",
        "saying",
        "to",
        "from",
        "in",
        "on",
        "at",
        "for",
        "by",
        "me",
        "us",
        "him",
        "not",
        "is",
        "are",
        "was",
        "will",
        "would",
        "please",
        "as",
        "of",
        "if",
        "now",
        "when",
        "what",
        "who",
        "mail",
        "email",
        "message",
        "event",
        "events",
        "all",
        "every",
        "each",
        "unread",
        "new",
        "any",
        "forecast",
        "weather",
        "result",
        "results",
        "know",
        "you",
        "we",
    ]
)
_KIN = (
    "team",
    "boss",
    "mum",
    "mom",
    "dad",
    "wife",
    "husband",
    "manager",
    "colleagues",
    "colleague",
    "family",
    "sister",
)
_ME = ("me", "myself", "us")


@dataclass(frozen=True, slots=True)
class Person:
    """A recipient: a typed address, a name to look up, or words that are not a person's name."""

    address: str = ""
    name: str = ""
    unknown: str = ""
    start: int = 0
    end: int = 0


@dataclass(frozen=True, slots=True)
class Place:
    """A town, as typed; `region_at` is where in its name a comma separates what may be its country or a second town."""

    name: str
    start: int = 0
    end: int = 0
    region_at: int = 0

    def alone(self) -> Doubt:
        """The question whether `Rome, Paris` is one place or two."""
        first, second = self.name[: self.region_at].strip(), self.name[self.region_at + 1 :].strip()
        question = f'Is "{self.name}" one place with its region, or two places?'
        return Doubt(
            question, self.start, self.end, (("one place", f'"{self.name}"'), ("two places", f"{first} and {second}"))
        )


def _when(scan: Scan, at: int, end: int) -> Found:
    found = read_when(scan.until(end), at)
    if found:
        yield found[1], found[0]


def _place(scan: Scan, at: int, end: int) -> Found:
    """Up to four words, with a region after a comma; a place in capitals ends at the first word that is not."""
    if scan.kind(at) is Kind.QUOTED and at < end:
        yield at + 1, Place(scan.tokens[at].value)
        return
    longest = _town(scan, at, end)
    for stop in range(longest, at, -1):
        if scan.low(stop - 1) in _PARTICLES:
            continue
        region = _town(scan, stop + 1, end) if scan.low(stop) == "," and stop + 1 < end else stop
        if region > stop + 1 and scan.tokens[stop + 1].capital and not read_when(scan.until(end), stop + 1):
            name, comma = scan.typed(at, region), scan.begin(stop) - scan.begin(at)
            yield region, Place(name, scan.begin(at), scan.close(region), comma)
        yield stop, Place(scan.typed(at, stop))


def _town(scan: Scan, at: int, end: int) -> int:
    if at >= end or scan.kind(at) is not Kind.WORD or read_when(scan.until(end), at):
        return at
    capital, stop, plain = scan.tokens[at].capital, at, 0
    while stop < end and plain < 4 and _in_town(scan, stop, capital) and not _time_starts(scan, stop, end):
        dotted = scan.low(stop + 1) == "." and scan.low(stop) in ("st", "mt", "ft")
        plain += scan.low(stop) not in _PARTICLES
        stop += 2 if dotted else 1
    return stop if capital or plain <= 2 else at


def _time_starts(scan: Scan, at: int, end: int) -> bool:
    return read_when(scan.until(end), at) is not None


def _in_town(scan: Scan, at: int, capital: bool) -> bool:
    if scan.kind(at) is not Kind.WORD:
        return False
    token = scan.tokens[at]
    if token.low in _PARTICLES:
        return True
    return token.capital if capital else token.low not in _NO_NAME and token.low not in ("like", "be", "today")


def _places(scan: Scan, at: int, end: int) -> Found:
    """One or several; after the first, each must be written like a name, or it could be a second request."""
    for stop, place in _place(scan, at, end):
        joint = scan.phrase(stop, "and", ", and", ",")
        if joint and joint < end and scan.tokens[joint].capital:
            for last, more in _places(scan, joint, end):
                yield last, (place, *(more if isinstance(more, tuple) else ()))
        yield stop, (place,)


def _name(scan: Scan, at: int, end: int) -> Found:
    """A person's name: up to four words in capitals, else one word, longest first."""
    if at < end and scan.kind(at) is Kind.QUOTED:
        yield at + 1, scan.tokens[at].value
        return
    stop = at
    while stop < end and stop - at < 4 and _name_word(scan, stop) and scan.tokens[stop].capital:
        stop += 1
    if stop == at and at < end and _name_word(scan, at) and len(scan.low(at)) > 1:
        stop = at + 1
    for last in range(stop, at, -1):
        yield last, scan.typed(at, last)


def _name_word(scan: Scan, at: int) -> bool:
    return scan.kind(at) is Kind.WORD and scan.low(at) not in _NO_NAME


def _owner(scan: Scan, at: int, end: int) -> Found:
    """A name in the possessive: `Ana's`, `Ana Silva's`."""
    for stop, name in _name(scan, at, end):
        if isinstance(name, str) and name.casefold().endswith(("'s", "s'")):
            yield stop, name[:-2] if name.casefold().endswith("'s") else name[:-1]


def _people(scan: Scan, at: int, end: int) -> Found:
    for stop, person in _person(scan, at, end):
        joint = scan.phrase(stop, "and", ", and", ",", "&")
        if joint and joint < end and (scan.kind(joint) is Kind.ADDRESS or scan.tokens[joint].capital):
            for last, more in _people(scan, joint, end):
                yield last, (person, *(more if isinstance(more, tuple) else ()))
        yield stop, (person,)


def _person(scan: Scan, at: int, end: int) -> Iterable[tuple[int, Person]]:
    if at >= end:
        return
    if scan.kind(at) is Kind.ADDRESS:
        yield at + 1, Person(scan.tokens[at].text, start=scan.begin(at), end=scan.close(at + 1))
        return
    if stop := _stranger(scan, at):
        yield stop, Person(unknown=scan.typed(at, stop), start=scan.begin(at), end=scan.close(stop))
        return
    for stop, name in _name(scan, at, end):
        yield stop, Person(name=str(name), start=scan.begin(at), end=scan.close(stop))


def _stranger(scan: Scan, at: int) -> int | None:
    """Parse `me`, `my team`, `everyone`: words that are not a name in an address book."""
    if scan.low(at) in (*_ME, "everyone", "everybody", "them", "him", "her"):
        return at + 1
    if scan.low(at) in ("my", "the", "our"):
        return at + 2 if scan.low(at + 1) in _KIN or scan.kind(at + 1) is Kind.WORD else None
    return None


def _quoted(scan: Scan, at: int, end: int) -> Found:
    if at < end and scan.kind(at) is Kind.QUOTED:
        yield at + 1, scan.tokens[at].value


def _address(scan: Scan, at: int, end: int) -> Found:
    if at < end and scan.kind(at) is Kind.ADDRESS:
        yield at + 1, scan.tokens[at].text


def _url(scan: Scan, at: int, end: int) -> Found:
    if at < end and scan.kind(at) is Kind.URL:
        yield at + 1, scan.tokens[at].text


def _number(scan: Scan, at: int, end: int) -> Found:
    amount = count(scan, at) if at < end else None
    if amount:
        yield at + 1, amount


def _phone(scan: Scan, at: int, end: int) -> Found:
    """Digits with the marks that people put between them."""
    stop = at
    while stop < end and (scan.kind(stop) is Kind.NUMBER or scan.low(stop) in ("+", "(", ")", "-", "/", ".")):
        stop += 1
    text = scan.typed(at, stop)
    if sum(letter.isdigit() for letter in text) >= 5 and len(text) <= 40:
        yield stop, text


def _words(scan: Scan, at: int, end: int) -> Found:
    """Free words without punctuation, fewest first; quoted text is taken without its quotes."""
    if at < end and scan.kind(at) is Kind.QUOTED:
        yield at + 1, scan.tokens[at].value
        return
    for stop in range(at + 1, min(end, at + 14) + 1):
        if scan.kind(stop - 1) is Kind.QUOTED or scan.low(stop - 1) in (",", ";", "?", "!", ":", '"', "then"):
            return
        yield stop, scan.typed(at, stop)


def _rest(scan: Scan, at: int, end: int) -> Found:
    """Everything up to the end of the clause."""
    if at + 1 == end and scan.kind(at) is Kind.QUOTED:
        yield end, scan.tokens[at].value
    elif at < end:
        yield end, scan.typed(at, end)


READERS: dict[str, Reader] = {
    "when": _when,
    "place": _place,
    "places": _places,
    "name": _name,
    "owner": _owner,
    "people": _people,
    "quoted": _quoted,
    "address": _address,
    "url": _url,
    "number": _number,
    "phone": _phone,
    "words": _words,
    "rest": _rest,
    "event": event_slot,
    "event_rest": whole_event,
}
