"""One person's vCard: read as far as it makes sense, and written so that every address book takes it.

What is read was written by other programs and people: every value is bounded, and whatever cannot be read is refused as
a whole card, so that nobody is found under half a name.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import vobject

from activities.contacts.names import one_line
from retinue.addresses import check_address
from retinue.text import without_controls

LONGEST_NAME = 200
LONGEST_ADDRESS = 254
MOST_ADDRESSES = 10
_MOST_NICKNAMES = 5
_PHONE = re.compile(r"(?=\D*\d)[0-9+() ./-]{1,40}")
_FOLD = re.compile(r"\r?\n[ \t]")
_NICKNAMES = re.compile(r"^(?:[\w-]+\.)?NICKNAME[^:\n]*:(.*?)\r?$", re.I | re.M)
_END = re.compile(r"^END:VCARD\s*\Z", re.I | re.M)
_LINE_OCTETS = 75
_LAST = 101
"""After every preference that a vCard 4 can state, which goes from 1 (first) to 100."""


class Unreadable(Exception):
    """This card cannot be read; the text says why and repeats nothing of it."""


@dataclass(frozen=True)
class Card:
    """What Retinue knows of one card. `emails` begin with the preferred one."""

    name: str
    emails: tuple[str, ...] = ()
    phone: str | None = None
    nicknames: tuple[str, ...] = ()
    organization: str | None = None
    uid: str = ""
    is_group: bool = False


def read(text: str) -> Card:
    """Read one card (vCard 2.1, 3.0 or 4.0).

    Raises:
        Unreadable: It is broken or has no name.
    """
    card = _parsed(text)
    name = _first(card, "fn") or _first(card, "n") or _first(card, "org")
    if not name:
        raise Unreadable("it has no name")
    return Card(
        name=name[:LONGEST_NAME],
        emails=tuple(dict.fromkeys(_addresses(card)))[:MOST_ADDRESSES],
        phone=next(_phones(card), None),
        nicknames=tuple(_nicknames(text))[:_MOST_NICKNAMES],
        organization=_first(card, "org")[:LONGEST_NAME] or None,
        uid=_first(card, "uid")[:LONGEST_NAME],
        is_group="group" in (_first(card, "kind").casefold(), _first(card, "x-addressbookserver-kind").casefold()),
    )


def write(name: str, *, email: str, phone: str | None, uid: str) -> str:
    """A new card in vCard 3.0, which every server takes."""
    given, _, family = _printable(name).rpartition(" ")
    lines = [
        "BEGIN:VCARD",
        "VERSION:3.0",
        "PRODID:-//Retinue//Contacts//EN",
        f"UID:{uid}",
        f"FN:{_escaped(_printable(name))}",
        f"N:{_escaped(family)};{_escaped(given)};;;" if given else f"N:;{_escaped(family)};;;",
        f"EMAIL;TYPE=INTERNET:{_escaped(email)}",
        *([f"TEL:{_escaped(phone)}"] if phone else []),
        "END:VCARD",
    ]
    return "".join(f"{folded}\r\n" for line in lines for folded in _folded(line))


def with_phone(text: str, phone: str) -> str:
    """A card with one more telephone number and everything else as it was, also what Retinue cannot read."""
    return _END.sub(lambda _: f"TEL:{_escaped(phone)}\r\nEND:VCARD\r\n", text, count=1)


def _parsed(text: str) -> object:
    try:
        card = vobject.readOne(text)
    # vobject hands on whatever a broken line made it stumble over, besides errors of its own.
    except (vobject.base.VObjectError, ValueError, LookupError, AttributeError, TypeError, RecursionError):
        raise Unreadable("it cannot be read") from None
    if card is None or not hasattr(card, "contents"):
        raise Unreadable("it cannot be read")
    return card


def _lines(card: object, name: str) -> Sequence[object]:
    lines: Sequence[object] = card.contents.get(name, [])  # type: ignore[attr-defined]  # vobject has no types
    return lines


def _value(line: object) -> str:
    """A line's value as one line of text."""
    value = getattr(line, "value", "")
    return one_line(" ".join(map(str, value)) if isinstance(value, list) else str(value))


def _first(card: object, name: str) -> str:
    return next((_value(line) for line in _lines(card, name)), "")


def _addresses(card: object) -> Iterator[str]:
    """Addresses that may be written to, the preferred one first; those that are open to two readings are left out."""
    for line in sorted(_lines(card, "email"), key=_rank):
        value = _value(line).removeprefix("mailto:")
        try:
            yield check_address(value if len(value) <= LONGEST_ADDRESS else "")
        except ValueError:
            continue


def _phones(card: object) -> Iterator[str]:
    """Numbers in the characters that the contract allows, without what follows (an extension)."""
    for line in sorted(_lines(card, "tel"), key=_rank):
        if number := _PHONE.match(_value(line).removeprefix("tel:")):
            yield number[0].strip()


def _rank(line: object) -> int:
    """Where a line stands by its preference: PREF=1 to 100 in vCard 4, TYPE=pref in 3, PREF alone in 2.1."""
    params: dict[str, list[str]] = getattr(line, "params", {})
    rank = next(iter(params.get("PREF", [])), "")
    if rank.isascii() and rank.isdigit():
        return min(int(rank[:3]), _LAST)
    kinds = {kind.casefold() for value in params.get("TYPE", []) for kind in value.split(",")}
    kinds |= {kind.casefold() for kind in getattr(line, "singletonparams", [])}
    return 1 if "pref" in kinds else _LAST


def _nicknames(text: str) -> Iterator[str]:
    """Read from the text, since vobject gives only the first of several."""
    for values in _NICKNAMES.findall(_FOLD.sub("", text)):
        for value in re.split(r"(?<!\\),", values):
            if name := one_line(re.sub(r"\\(.)", r"\1", value)):
                yield name[:LONGEST_NAME]


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(",", "\\,").replace(";", "\\;")


def _printable(text: str) -> str:
    """One line without control characters, which servers refuse or read as the end of it."""
    return without_controls(one_line(text))


def _folded(line: str) -> Iterator[str]:
    """The line in parts of at most 75 octets, cut between characters; a part that goes on begins with a space."""
    part = ""
    for letter in line:
        if len(f"{part}{letter}".encode()) > _LINE_OCTETS:
            yield part
            part = " "
        part += letter
    yield part
