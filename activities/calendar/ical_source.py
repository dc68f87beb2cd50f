"""From the bytes of an iCalendar file to its calendars. A component that is broken costs itself and is named."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from icalendar import Calendar as ICalendar

from activities.calendar.ical_values import Unreadable, calendars
from retinue.file_import import LeftOut, quoted

_FOLD = re.compile(rb"\r?\n[ \t]")
_LINE_END = re.compile(rb"\r?\n")
_BOUNDARY = re.compile(r"(BEGIN|END)\s*:\s*([A-Z0-9-]+)\s*", re.I)
_DAMAGED = "\N{REPLACEMENT CHARACTER}"
"""Begins a line that is in no known encoding: no property has such a name, so the component counts as broken."""
_MOST_COMPONENTS = 20_000
_DEEPEST = 8
_TOP_LEVEL = {"VEVENT", "VTODO", "VJOURNAL", "VFREEBUSY", "VTIMEZONE"}
_MOST_TRIED = 200
"""Lines of a broken component that are tried one by one, to say which one it is."""

KINDS = {
    "VALARM": "a reminder",
    "VEVENT": "an event",
    "VTODO": "a task",
    "VJOURNAL": "a journal entry",
    "VFREEBUSY": "a free/busy record",
    "VTIMEZONE": "a time zone",
}


@dataclass(frozen=True)
class BrokenPart(LeftOut):
    """A component, or a line of a calendar, that cannot be read."""

    is_reminder: bool = False


@dataclass
class Source:
    """What a text held."""

    calendars: list[ICalendar] = field(default_factory=list)
    left_out: list[BrokenPart] = field(default_factory=list)


@dataclass(eq=False)
class _Block:
    """A component as lines, inner components among them."""

    name: str
    parts: list[str | _Block] = field(default_factory=list)
    ended: bool = False

    def lines(self) -> Iterator[str]:
        yield f"BEGIN:{self.name}"
        for part in self.parts:
            yield from [part] if isinstance(part, str) else part.lines()
        yield f"END:{self.name}"

    def label(self) -> str:
        """What the component is, and its title or name."""
        kind = KINDS.get(self.name, self.name)
        for key in ("SUMMARY", "TZID"):
            for part in self.parts:
                if isinstance(part, str) and re.match(rf"{key}[;:]", part, re.I):
                    return f"{kind} '{part.partition(':')[2]}'"
        return kind


def source_of(content: bytes | str) -> Source:
    """Return the calendars of a file.

    Lines are joined before they are decoded, since writers fold inside a character. A file that is not UTF-8 is read as
    Windows-1252; in one that is partly UTF-8 the other lines are damaged.

    Raises:
        Unreadable: It is no iCalendar, or nothing of it can be read.
    """
    lines = _lines(content.encode() if isinstance(content, str) else content)
    try:
        return Source(calendars("\r\n".join(lines) + "\r\n"))
    except Unreadable:
        return _mended(lines)


def _lines(content: bytes) -> list[str]:
    unfolded = _LINE_END.split(_FOLD.sub(b"", content.removeprefix(b"\xef\xbb\xbf")))
    decoded = [_utf8(line) for line in unfolded if line.strip()]
    if None not in decoded:
        return [line for line in decoded if line is not None]
    is_mixed = any(line is not None and not line.isascii() for line in decoded)
    return [
        line if line is not None else _other(raw, is_mixed)
        for line, raw in zip(decoded, filter(bytes.strip, unfolded), strict=True)
    ]


def _utf8(line: bytes) -> str | None:
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _other(line: bytes, is_mixed: bool) -> str:
    if not is_mixed:
        try:
            return line.decode("cp1252")
        except UnicodeDecodeError:
            pass
    return _DAMAGED + line.decode("ascii", "replace")


def _mended(lines: Iterable[str]) -> Source:
    """Each component is read alone; those that cannot be read are left out."""
    source, kept = Source(), []
    for calendar in _blocks(lines):
        if isinstance(calendar, str) or calendar.name != "VCALENDAR":
            continue
        readable = _Block("VCALENDAR")
        for part in calendar.parts:
            whole = _readable(part, readable, source.left_out)
            readable.parts += [whole] if whole is not None else []
        kept.append(readable)
    if not any(isinstance(part, _Block) for calendar in kept for part in calendar.parts):
        raise _nothing_left(source.left_out)
    source.calendars = calendars("".join(f"{line}\r\n" for calendar in kept for line in calendar.lines()))
    return source


def _nothing_left(left_out: list[BrokenPart]) -> Unreadable:
    unreadable = Unreadable("no part of it can be read" if left_out else "it is not iCalendar")
    unreadable.named = str(left_out[0]) if left_out else ""
    return unreadable


def _readable(part: str | _Block, within: _Block, left_out: list[BrokenPart]) -> str | _Block | None:
    """Return the part of a calendar as far as it can be read, or None."""
    if isinstance(part, str):
        if _reads([part], "VCALENDAR"):
            return part
        left_out.append(BrokenPart("the calendar's own properties", f"the line {quoted(part)} cannot be read"))
        return None
    if open_ones := [each for each in part.parts if isinstance(each, _Block) and not each.ended]:
        # what follows in the outer component may have been meant for either
        left_out.append(BrokenPart(part.label(), f"a component in it has no END:{open_ones[0].name}"))
        return None
    if not part.ended:
        left_out.append(BrokenPart(part.label(), f"it has no END:{part.name}"))
        return None
    if _reads(part.lines(), "VCALENDAR"):
        return part
    inner = [each for each in part.parts if isinstance(each, _Block)]
    broken = {each: None for each in inner if not _reads(each.lines(), "VCALENDAR", part.name)}
    rest = _Block(part.name, [each for each in part.parts if each not in broken], ended=True)
    if not broken or part.name == "VTIMEZONE" or not _reads(rest.lines(), "VCALENDAR"):
        left_out.append(BrokenPart(part.label(), _reason(part)))
        return None
    left_out.extend(
        BrokenPart(f"{each.label()} of {part.label()}", _reason(each), is_reminder=each.name == "VALARM")
        for each in broken
    )
    return rest


def _reason(block: _Block) -> str:
    own = [part for part in block.parts if isinstance(part, str) and block.name != "VTIMEZONE"]
    broken = next((line for line in own[:_MOST_TRIED] if not _reads([line], "VCALENDAR", block.name)), None)
    return "it cannot be read" if broken is None else f"its line {quoted(broken)} cannot be read"


def _reads(lines: Iterable[str], *around: str) -> bool:
    begin, end = [f"BEGIN:{name}" for name in around], [f"END:{name}" for name in reversed(around)]
    try:
        calendars("\r\n".join([*begin, *lines, *end, ""]))
    except Unreadable:
        return False
    return True


def _blocks(lines: Iterable[str]) -> list[str | _Block]:
    """Return the components of a text. An outer component's END, or the next event, closes an unclosed one.

    Raises:
        Unreadable: There are more than would be tried one by one in a reasonable time.
    """
    outer, number = _Block(""), 0
    open_ones = [outer]
    for line in lines:
        boundary = _BOUNDARY.fullmatch(line)
        name = boundary[2].upper() if boundary else ""
        if boundary is None:
            open_ones[-1].parts.append(line)
        elif boundary[1].upper() == "BEGIN":
            del open_ones[2 if name in _TOP_LEVEL else _DEEPEST :]
            number += 1
            if number > _MOST_COMPONENTS:
                raise Unreadable("a part of it is broken, and it has too many parts to find out which")
            open_ones[-1].parts.append(begun := _Block(name))
            open_ones.append(begun)
        elif any(block.name == name for block in open_ones[1:]):
            while (ending := open_ones.pop()).name != name:
                pass
            ending.ended = True
        else:
            open_ones[-1].parts.append(line)  # an END that nothing began
    return outer.parts
