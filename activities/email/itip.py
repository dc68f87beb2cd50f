"""Invitations in mails (iMIP, RFC 6047): what one says, its answer, and an invitation of one's own (iTIP, RFC 5546).

An iCalendar text is read as lines here, within bounds: what a mail must tell of it, and no more. The calendar reads it in
whole. Incoming texts are strangers'.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

from activities.email.contract import Answer, Invitation, Method
from activities.email.plaintext import one_line, plain
from retinue.addresses import check_address
from retinue.errors import InvalidArguments
from retinue.zones import zone_of

LONGEST = 60_000
"""Characters of an invitation that are read; a longer one is only an attachment."""
_MOST_LINES = 3_000
_MOST_PEOPLE = 50
_LONGEST_LINE = 75
_PRODUCT = "-//Retinue//Email//EN"
_FOLD = re.compile(r"\r?\n[ \t]")
_LINE = re.compile(
    r'([A-Za-z0-9-]{1,60})((?:;[A-Za-z0-9-]{1,60}=(?:"[^"]*"|[^";:,]*)(?:,(?:"[^"]*"|[^";:,]*))*)*):(.*)', re.S
)
_PARAMETER = re.compile(r';([A-Za-z0-9-]{1,60})=("[^"]*"|[^";:]*)')
_ESCAPED = re.compile(r"\\([nN\\;,])")
_UTC = re.compile(r"(\d{8})T(\d{6})(Z?)")
_LENGTH = re.compile(r"P(?:(\d{1,3})W)?(?:(\d{1,3})D)?(?:T(?:(\d{1,4})H)?(?:(\d{1,4})M)?(?:\d{1,4}S)?)?")
_KEPT_IN_A_REPLY = ("UID", "SEQUENCE", "SUMMARY", "RECURRENCE-ID", "ORGANIZER", "DTSTART")
_SET_BY_US = frozenset({"ORGANIZER", "ATTENDEE", "DTSTAMP", "STATUS", "METHOD", "REQUEST-STATUS", "ATTACH"})
_PARTSTATS = {Answer.ACCEPT: "ACCEPTED", Answer.DECLINE: "DECLINED", Answer.TENTATIVE: "TENTATIVE"}
_SUBJECTS = {Answer.ACCEPT: "Accepted", Answer.DECLINE: "Declined", Answer.TENTATIVE: "Tentative"}
_ANSWERED = {"ACCEPTED": "accepted", "DECLINED": "declined", "TENTATIVE": "tentative", "DELEGATED": "delegated"}


@dataclass(frozen=True)
class _Line:
    """One content line: its name, its parameters, its value, and as it is written."""

    name: str
    params: dict[str, str]
    value: str
    written: str

    @property
    def text(self) -> str:
        """The value as text."""
        return _ESCAPED.sub(lambda found: "\n" if found[1] in "nN" else found[1], self.value)

    @property
    def address(self) -> str:
        """The mail address in it, or an empty text."""
        address = self.value.strip()
        address = address[7:] if address.lower().startswith("mailto:") else ""
        try:
            return check_address(address)
        except ValueError:
            return ""


@dataclass
class _Event:
    """The lines of one event, without those of its reminders, and of the time zones that stand beside it."""

    method: str
    lines: list[_Line]
    zones: list[str] = field(default_factory=list)

    def first(self, name: str) -> _Line | None:
        """The first line of that name."""
        return next((line for line in self.lines if line.name == name), None)

    def text(self, name: str, limit: int) -> str:
        """The text of the first line of that name, on one line."""
        line = self.first(name)
        return "" if line is None else one_line(line.text, limit=limit)


def invitation_of(text: str) -> Invitation | None:
    """Return what an iCalendar text with a method says; None if it is none, or cannot be read."""
    try:
        event = _read(text)
    except InvalidArguments:
        return None
    if event.method not in set(Method):
        return None
    organizer = event.first("ORGANIZER")
    people = [line for line in event.lines if line.name == "ATTENDEE"]
    start, end = _times(event)
    return Invitation(
        method=Method(event.method),
        uid=event.text("UID", 500),
        sequence=_sequence(event),
        title=event.text("SUMMARY", 300),
        start=start if isinstance(start, datetime) else None,
        end=end if isinstance(end, datetime) else None,
        first_day=start if start and not isinstance(start, datetime) else None,
        recurrence=event.text("RRULE", 500) or None,
        location=event.text("LOCATION", 300) or None,
        organizer=organizer.address if organizer else "",
        attendees=[line.address for line in people[:_MOST_PEOPLE] if line.address],
        answers=list(_answers(people)) if event.method == Method.REPLY else [],
        icalendar=plain(text),
    )


def invitation_subject(invitation: Invitation) -> str:
    """Return the subject of an invitation of one's own."""
    first = "Invitation" if invitation.sequence == 0 else "Updated invitation"
    return f"{'Cancelled' if invitation.method is Method.CANCEL else first}: {described(invitation)}"[:500]


def answer_subject(invitation: Invitation, answer: Answer) -> str:
    """Return the subject of an answer."""
    return f"{_SUBJECTS[answer]}: {invitation.title}"[:500]


def described(invitation: Invitation) -> str:
    """Return what an invitation is about, on one line for a person."""
    when = (
        f"{_when(invitation.start)} to {_when(invitation.end)}" if invitation.start else str(invitation.first_day or "")
    )
    parts = [invitation.title, when, invitation.location, invitation.recurrence]
    return ", ".join(part for part in parts if part)[:500]


def _when(moment: datetime | None) -> str:
    return "" if moment is None else moment.strftime("%a %Y-%m-%d %H:%M %Z").strip()


def answer_text(text: str, answer: Answer, *, own: str, now: datetime) -> str:
    """Return the answer to an invitation: METHOD:REPLY, with the person's own attendance only."""
    event = _read(text)
    zones = event.zones if any("TZID" in line.params for line in event.lines) else []
    kept = [line.written for name in _KEPT_IN_A_REPLY for line in event.lines if line.name == name]
    attendee = f"ATTENDEE;PARTSTAT={_PARTSTATS[answer]}:mailto:{own}"
    return _calendar("REPLY", zones, [[*kept, _stamp(now), attendee]])


def invitation_text(text: str, *, organizer: str, attendees: Sequence[str], now: datetime) -> str:
    """Return an invitation, or a cancellation, of one's own: as the calendar wrote it, with who invites whom.

    Raises:
        InvalidArguments: It is no invitation or cancellation.
    """
    method, zones, events = _all(text)
    if method not in (Method.REQUEST, Method.CANCEL):
        raise InvalidArguments("this is no invitation", hint="calendar.write_invitation writes one")
    people = [
        f"ATTENDEE;ROLE=REQ-PARTICIPANT;PARTSTAT=NEEDS-ACTION;RSVP=TRUE:mailto:{address}" for address in attendees
    ]
    own = [_stamp(now), f"ORGANIZER:mailto:{organizer}", *people]
    status = ["STATUS:CANCELLED"] if method == Method.CANCEL else []
    kept = [[line.written for line in lines if line.name not in _SET_BY_US] for lines in events]
    return _calendar(method, zones, [[*lines, *own, *status] for lines in kept])


def _calendar(method: str, zones: Iterable[str], events: Iterable[Iterable[str]]) -> str:
    lines = ["BEGIN:VCALENDAR", f"PRODID:{_PRODUCT}", "VERSION:2.0", f"METHOD:{method}", *zones]
    for event in events:
        lines += ["BEGIN:VEVENT", *event, "END:VEVENT"]
    return "".join(f"{_folded(line)}\r\n" for line in [*lines, "END:VCALENDAR"])


def _folded(line: str) -> str:
    """Return a line in pieces of at most 75 bytes, none of which ends inside a character."""
    pieces, piece, size = [], "", 0
    for char in line:
        width = len(char.encode("utf-8", "replace"))
        if size + width > _LONGEST_LINE - 1:
            pieces.append(piece)
            piece, size = "", 0
        piece, size = piece + char, size + width
    return "\r\n ".join([*pieces, piece])


def _stamp(now: datetime) -> str:
    return f"DTSTAMP:{now.astimezone(UTC):%Y%m%dT%H%M%SZ}"


def _read(text: str) -> _Event:
    """Return the event that a text is about: of a series the series, else its first occurrence.

    Raises:
        InvalidArguments: It holds none, or is too long.
    """
    method, zones, events = _all(text)
    whole = [lines for lines in events if not any(line.name == "RECURRENCE-ID" for line in lines)]
    return _Event(method, (whole or events)[0], zones)


def _all(text: str) -> tuple[str, list[str], list[list[_Line]]]:
    """Return the method, the lines of all time zones, and those of each event.

    Raises:
        InvalidArguments: There is no event, or the text is too long or nested wrongly.
    """
    if len(text) > LONGEST:
        raise InvalidArguments(f"the invitation has more than {LONGEST} characters")
    method = ""
    zones: list[str] = []
    events: list[list[_Line]] = []
    inside: list[str] = []
    for line in _lines(text):
        value = line.value.strip().upper()
        if line.name == "BEGIN":
            inside.append(value)
            if inside == ["VCALENDAR", "VEVENT"]:
                events.append([])
        if "VTIMEZONE" in inside:
            zones.append(line.written)
        elif inside == ["VCALENDAR"] and line.name == "METHOD":
            method = value
        elif inside == ["VCALENDAR", "VEVENT"] and line.name not in ("BEGIN", "END"):
            events[-1].append(line)
        if line.name == "END" and (not inside or inside.pop() != value):
            raise InvalidArguments("the invitation cannot be read")
    if not events or not all(any(line.name == "UID" for line in lines) for lines in events):
        raise InvalidArguments("the invitation holds no event")
    return method, zones, events


def _lines(text: str) -> Iterator[_Line]:
    written = _FOLD.sub("", text).replace("\r\n", "\n").split("\n")
    for line in written[:_MOST_LINES]:
        clean = plain(line)
        if (found := _LINE.fullmatch(clean)) is not None:
            params = {name.upper(): value.strip('"') for name, value in _PARAMETER.findall(found[2])}
            yield _Line(found[1].upper(), params, found[3], clean)


def _sequence(event: _Event) -> int:
    text = event.text("SEQUENCE", 9)
    return int(text) if text.isascii() and text.isdigit() else 0


def _times(event: _Event) -> tuple[datetime | date | None, datetime | date | None]:
    """Return start and end; None where they cannot be told here, as in a zone that only this text describes."""
    start = _moment(event.first("DTSTART"))
    if (end := _moment(event.first("DTEND"))) is not None:
        return start, end
    length = _LENGTH.fullmatch(event.text("DURATION", 40))
    if start is None or length is None or not isinstance(start, datetime):
        return start, None
    weeks, days, hours, minutes = (int(part or 0) for part in length.groups())
    return start, start + timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes)


def _moment(line: _Line | None) -> datetime | date | None:
    if line is None:
        return None
    value = line.value.strip()
    try:
        if len(value) == 8:
            return datetime.strptime(value, "%Y%m%d").replace(tzinfo=UTC).date()
        if (found := _UTC.fullmatch(value)) is None:
            return None
        moment = datetime.strptime(f"{found[1]}{found[2]}", "%Y%m%d%H%M%S")  # noqa: DTZ007  # its zone comes next
        if found[3]:
            return moment.replace(tzinfo=UTC)
        return moment.replace(tzinfo=zone_of(line.params["TZID"])) if "TZID" in line.params else None
    except (ValueError, InvalidArguments):
        return None


def _answers(people: Iterable[_Line]) -> Iterator[str]:
    for line in list(people)[:_MOST_PEOPLE]:
        said = _ANSWERED.get(line.params.get("PARTSTAT", "").upper())
        if said and line.address:
            yield f"{line.address}: {said}"
